"""What the description of the interface promises is what a running server does, for each role: nothing else comes."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import schemathesis
from caller import ROLES, Running, alerts_of
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance, response_schema_conformance

from mltrainer.server import metrics
from mltrainer.server.openapi import document
from mltrainer.server.roles import allowed
from mltrainer.server.routes import ROUTES

pytestmark = pytest.mark.slow
# Without `security`: a token made up would be a guess, and guesses are throttled; each role brings its own.
SCHEMA = schemathesis.openapi.from_dict({name: said for name, said in document().items() if name != "security"})
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
EXAMPLES = 6  # of each operation, role and kind of request
LEFT_OUT = [positive_data_acceptance]  # a ticker that fits its pattern may still be none
ONCE = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def routes() -> dict[str, Any]:
    monitor = SimpleNamespace(permission=metrics.Metrics.permission, status=200)  # it answers in a form of its own
    return {f"{route.method} {route.path}": route for route in ROUTES} | {f"GET {metrics.PATH}": monitor}


CELLS = [
    (label, role, kind)
    for label, operation in OPERATIONS.items()
    for role in ("nobody", *ROLES)
    for kind in GenerationMode
    if kind is GenerationMode.POSITIVE or operation.body or list(operation.iter_parameters())  # else nothing is wrong
]


@pytest.mark.parametrize(("label", "role", "kind"), CELLS)
def test_every_answer_is_one_that_the_description_has(served: Running, label: str, role: str, kind: GenerationMode):
    headers = {"Authorization": f"Bearer {served.tokens[role]}"} if role in ROLES else {}
    may = role in ROLES and allowed(role, routes()[label].permission)
    refused = (403, 404) if kind is GenerationMode.NEGATIVE else (403,)  # an id that is none leads nowhere
    asked = []

    @ONCE
    @given(case=OPERATIONS[label].as_strategy(generation_mode=kind))
    def ask(case: schemathesis.Case) -> None:
        said = case.call(base_url=served.base, headers=headers, timeout=120)
        case.validate_response(said, headers=headers, excluded_checks=LEFT_OUT)
        assert said.status_code < 500, said.text
        assert may or said.status_code in refused, said.text
        asked.append(said.status_code)

    ask()
    assert asked


# What is done, where the requests above are made up and mostly name what there is not.
DONE: dict[str, dict[str, Any]] = {
    "GET /api/metrics": {},
    "GET /api/chat": {},
    "DELETE /api/chat": {},
    "GET /api/recommendations": {"query": {"ticker": "MSFT", "limit": 3}},
    "GET /api/portfolio": {"query": {"account": "main"}},
    "POST /api/portfolio": {"body": {"tickers": ["MSFT", "IBM"], "method": "equal-weight"}},
    "GET /api/data-quality": {"query": {"ticker": ["MSFT", "IBM"]}},
    "GET /api/compliance/audit": {"query": {"limit": 5, "verify": "true"}},
    "GET /api/models": {"query": {"family": "trees"}},
    "GET /api/regime": {"query": {"ticker": "MSFT", "as_of": "2003-06-30"}},
    "GET /api/models/train": {"query": {"state": "done"}},
    "POST /api/alerts/{id}/acknowledge": {"body": {"note": "seen"}},
    "GET /api/models/train/{id}": {},
    "POST /api/models/train": {"body": {"model": "RidgeRegression", "ticker": "MSFT", "end": "2012-06-29"}},
    "POST /api/models/train/{id}": {},
    "POST /api/predict": {"body": {"rows": 2}},
    "POST /api/chat": {"body": {"question": "which tickers are there?"}},
    **{key: {} for key in ("GET /api/health", "GET /api/openapi.json", "GET /api/alerts", "GET /api/users")},
}


@pytest.fixture(scope="module")
def trained(served: Running) -> dict[str, Any]:
    """A training that is done."""
    begun = served("/api/models/train", "POST", role="researcher", body=DONE["POST /api/models/train"]["body"]).json
    while (found := served(f"/api/models/train/{begun['id']}", role="auditor").json)["state"] in ("queued", "running"):
        time.sleep(0.2)
    assert found["state"] == "done", found
    return found


@pytest.mark.parametrize("label", DONE)
def test_what_can_be_done_is_answered_as_described(served: Running, trained: dict[str, Any], label: str):
    route, given = routes()[label], DONE[label]
    if label == "POST /api/predict":
        given = {"body": given["body"] | {"artifact": trained["artifact"]}}
    for role in (r for r in ROLES if allowed(r, route.permission)):
        if label == "POST /api/models/train" and role != "researcher":
            continue  # one training is enough
        id_ = alerts_of(served)[-1] if "alerts" in label else trained["id"]
        case = OPERATIONS[label].Case(path_parameters={"id": id_} if "{id}" in label else {}, **given)
        headers = {"Authorization": f"Bearer {served.tokens[role]}"}
        said = case.call(base_url=served.base, headers=headers, timeout=120)
        case.validate_response(said, headers=headers)
        assert said.status_code == route.status, said.text


def test_every_operation_is_done_once():
    assert set(DONE) == set(OPERATIONS)


def test_the_description_has_every_route_and_no_other():
    assert set(OPERATIONS) == set(routes())


def test_an_answer_that_does_not_fit_the_description_is_seen(served: Running):
    """The guard itself: a health that says no mode is none."""
    case = OPERATIONS["GET /api/health"].Case()
    said = case.call(base_url=served.base, headers={"Authorization": f"Bearer {served.tokens['viewer']}"})
    said.content = said.content.replace(b'"mode"', b'"mood"')
    with pytest.raises(schemathesis.core.failures.FailureGroup, match="1 distinct failure"):
        case.validate_response(said, checks=[response_schema_conformance])
