"""An alert is acknowledged by whoever may, in their own name, and by nobody else."""

import pytest
from caller import Running, alerts_of
from test_api import joined, session

MAKERS, OTHERS = ("researcher", "admin"), ("viewer", "auditor", "holder")


def entries(served: Running) -> list[dict]:
    """What the trail has of acknowledged alerts, the newest first."""
    found = served("/api/compliance/audit?kind=alert%20event&verify=false&limit=500", role="auditor").json["items"]
    return [entry for entry in found if entry["payload"].get("event") == "acknowledged"]


def address(alert: str) -> str:
    return f"/api/alerts/{alert}/acknowledge"


@pytest.mark.slow
@pytest.mark.parametrize("who", [*OTHERS, ""])
def test_who_may_not_writes_nothing(served: Running, who: str):
    alert, before = alerts_of(served)[0], entries(served)
    assert served(address(alert), "POST", role=who, body={}).status == 403
    assert entries(served) == before
    may = served("/api/health", role=who).json["may"] if who else []
    assert "alerts:acknowledge" not in may


@pytest.mark.parametrize("who", MAKERS)
def test_the_trail_names_who_acknowledged_and_a_second_time_changes_nothing(served: Running, who: str):
    alert = alerts_of(served)[MAKERS.index(who)]
    assert "alerts:acknowledge" in served("/api/health", role=who).json["may"]
    for _ in range(2):
        said = served(address(alert), "POST", role=who, body={"note": "seen \x1b[31m"})
        assert said.status == 200, said.text
        assert said.json["answer"]["id"] == alert
        assert said.json["answer"]["state"] in ("acknowledged", "resolved")
    mine = [entry for entry in entries(served) if entry["payload"]["alert"].startswith(alert)]
    assert [entry["actor"] for entry in mine] == [f"my-{who}"]
    assert mine[0]["payload"]["note"] == "seen "


@pytest.mark.parametrize("number", ["0" * 12, "f" * 12])
def test_an_alert_that_there_is_not_is_not_found(served: Running, number: str):
    said = served(address(number), "POST", role="researcher", body={})
    assert said.status == 404
    assert "GET /api/alerts lists them" in said.json["error"]["message"]


def test_a_browsers_session_alone_acknowledges_nothing(served: Running):
    """Another site can make a browser send its cookie, and not the header that only our pages can read."""
    cookies = session(served, served.tokens["researcher"])
    alert, before = alerts_of(served)[2], entries(served)
    for more in ({}, {"X-XSRFToken": "guess"}, {"Origin": "http://evil.example", "X-XSRFToken": cookies["_xsrf"]}):
        said = served(address(alert), "POST", body={}, Cookie=joined(cookies), **more)
        assert said.status in (403, 404), more
    assert entries(served) == before
    said = served(address(alert), "POST", body={}, Cookie=joined(cookies), X_XSRFToken=cookies["_xsrf"])
    assert said.status == 200
    assert entries(served)[0]["actor"] == "my-researcher"
