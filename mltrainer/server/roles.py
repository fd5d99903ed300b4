"""Roles: who may do what. What no row gives is not given; a role comes from this server's own list of users alone."""

from dataclasses import dataclass

ROLES = {
    "viewer": "a stakeholder: sees dashboards and answers, asks in plain words, starts nothing",
    "auditor": "reads all there is, the audit trail and training jobs too, and starts nothing",
    "researcher": "reads all there is, acknowledges alerts, trains, forecasts and computes portfolios",
    "admin": "all of it, and sees who the users are",
}
EVERYBODY = frozenset(ROLES)
READERS = frozenset({"auditor", "researcher", "admin"})
MAKERS = frozenset({"researcher", "admin"})


@dataclass(frozen=True)
class Permission:
    """One thing that can be done, in words, and the roles that may."""

    name: str
    what: str
    roles: frozenset[str]


PERMISSIONS = {
    row.name: row
    for row in (
        Permission("health:read", "see that the server is up, and the description of its interface", EVERYBODY),
        Permission("dashboards:read", "open the dashboards", EVERYBODY),
        Permission("recommendations:read", "read recommendations and what became of them", EVERYBODY),
        Permission("portfolio:read", "read what is held and what it earned", EVERYBODY),
        Permission("quality:read", "read what the rules of quality found", EVERYBODY),
        Permission("models:read", "read the catalog of models", EVERYBODY),
        Permission("regime:read", "read the regime of a market", EVERYBODY),
        Permission("alerts:read", "read alerts", EVERYBODY),
        Permission("alerts:acknowledge", "say that an alert was seen", MAKERS),
        Permission("stream:read", "listen to events, of alerts and jobs those that may be read", EVERYBODY),
        Permission("chat:ask", "ask in plain words", frozenset({"viewer", "researcher", "admin"})),
        Permission("audit:read", "read and verify the audit trail", READERS),
        Permission("jobs:read", "see training jobs", READERS),
        Permission("models:train", "start training, or take it up again", MAKERS),
        Permission("models:predict", "forecast with a trained model", MAKERS),
        Permission("portfolio:compute", "compute weights", MAKERS),
        Permission("metrics:read", "read the figures that a monitor collects", frozenset({"admin"})),
        Permission("users:read", "see who the users are", frozenset({"admin"})),
    )
}


def allowed(role: str, permission: str) -> bool:
    """Whether a role may; what is in no row, nobody may.

    >>> allowed("auditor", "audit:read"), allowed("viewer", "audit:read"), allowed("admin", "make:coffee")
    (True, False, False)
    """
    row = PERMISSIONS.get(permission)
    return row is not None and role in row.roles


def may(role: str) -> list[str]:
    """What a role may, by name.

    >>> may("auditor")[-2:], may("nobody")
    (['audit:read', 'jobs:read'], [])
    """
    return [name for name in PERMISSIONS if allowed(role, name)]
