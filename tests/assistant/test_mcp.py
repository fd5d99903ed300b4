"""The public client of the MCP SDK lists and calls the tools over a real process, and gets no free number."""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from apart import apart
from mcp import ClientSession, StdioServerParameters, stdio_client, types

from mltrainer.assistant import protocol
from mltrainer.assistant.tools import ROLES, TOOLS, allowed
from mltrainer.errors import UnknownName
from mltrainer.evaluation import trials
from mltrainer.trust import audit

MLTRAINER = Path(sys.executable).with_name("mltrainer")


Calls = list[tuple[str, dict[str, Any]]]


def talked(role: str, talk: Callable[[ClientSession], Awaitable[Any]], **client: Any) -> Any:
    """What a talk with a process in a role comes to."""

    async def whole() -> Any:
        started = StdioServerParameters(command=str(MLTRAINER), args=["mcp", "--role", role], env=dict(os.environ))
        async with stdio_client(started) as (r, w), ClientSession(r, w, **client) as session:
            await session.initialize()
            return await talk(session)

    return apart(whole())


async def asked(client: ClientSession, name: str, given: dict[str, Any]) -> dict[str, Any]:
    return json.loads((await client.call_tool(name, given)).content[0].text)


def session(role: str, calls: Calls) -> tuple[set[str], list[dict[str, Any]]]:
    """Names of the tools, and what calls answer, of a process in a role."""

    async def talk(client: ClientSession) -> tuple[set[str], list[dict[str, Any]]]:
        return {t.name for t in (await client.list_tools()).tools}, [await asked(client, n, a) for n, a in calls]

    return talked(role, talk)


def test_a_client_lists_and_calls_the_tools(home: Path):
    price = {"ticker": "MSFT", "start": "2010-01-04", "end": "2010-12-31"}
    texts = ["MSFT closed at a price of {{c1}}.", "MSFT closed at a price of 25.6."]
    calls: list[tuple[str, dict[str, Any]]] = [("prices", price)]
    calls += [("render", {"turn": "turn-1", "text": t}) for t in texts]
    calls += [("tickers", {}), ("train", {"model": "RidgeRegression"}), ("prices", {"ticker": "../x"})]
    calls += [("render", {"turn": "no", "text": "x"})]
    names, (found, shown, withheld, tickers, train, hostile, lost) = session("researcher", calls)
    assert names == {t.name for t in allowed("researcher")} | {"render", "confirm"}
    assert found["ok"]
    assert {"id", "value", "unit", "sign", "as_of", "source", "text"} <= found["claims"][0].keys()
    assert found["claims"][0]["text"] in shown["text"]
    assert withheld["withheld"]
    assert withheld["text"].startswith("I don't know. But based on the data, I would suggest")
    assert "MSFT" in tickers["text"]
    assert train["pending"]["tool"] == "train"
    assert not hostile["ok"]
    assert not lost["ok"]


@pytest.mark.slow
def test_a_viewer_gets_the_tools_of_a_viewer(home: Path):
    names, (said,) = session("viewer", [("audit", {})])
    assert not names & {"train", "evaluate", "audit", "weights"}
    assert "the role viewer may not" in said["text"]


def test_a_role_that_is_none_is_refused():
    with pytest.raises(UnknownName, match="role"):
        protocol.Desk("root")


# --- what writes waits for a yes ------------------------------------------------------------------------------

GIVEN: dict[str, dict[str, Any]] = {
    "compare": {"models": ["RidgeRegression", "LassoRegression"]},
    "evaluate": {"model": "RidgeRegression"},
    "train": {"model": "RidgeRegression"},
    "explain": {"term": "Sharpe ratio"},
    "prices": {"ticker": "MSFT"},
    "quality": {"ticker": "MSFT"},
    "weights": {"tickers": ["MSFT", "IBM"], "method": "equal-weight"},
}
WRITES = {t.name for t in TOOLS.values() if t.writes or t.confirmed}
OFFERS = {"forecastable"}  # answers by what is stored, and offers to measure the rest
LACKS = {"compare"}  # has nothing to answer from where nobody evaluated


@pytest.mark.slow
@pytest.mark.parametrize("role", ["viewer", "researcher"])
def test_every_tool_of_a_role_is_called_and_none_writes_without_a_yes(home: Path, role: str):
    """Each by a public client; of a role that may write, what would write waits under a token of its own."""
    every = [(name, GIVEN.get(name, {})) for name in TOOLS]
    names, said = session(role, every)
    assert names - {"render", "confirm"} == {t.name for t in allowed(role)}
    may_write = role in ("researcher", "admin")
    assert ("confirm" in names) is may_write
    for name, answer in zip(TOOLS, said, strict=True):
        if name not in names:
            assert "may not ask" in answer["text"]
        elif name in WRITES and may_write:
            assert answer["pending"]["tool"] == name
        else:
            assert answer["ok"] or name in LACKS, (name, answer["text"])
            assert (answer["pending"] is not None) is (may_write and name in OFFERS)
    tokens = [a["pending"]["token"] for a in said if a.get("pending")]
    assert len(set(tokens)) == len(tokens) == (len(WRITES | OFFERS) if may_write else 0)
    assert len(trials.ledger()) == 0
    assert not {"forecast", "artifact", "job"} & {e.kind for e in audit.entries()}


@pytest.mark.slow
def test_what_waits_is_done_once_as_it_was_shown(home: Path):
    async def talk(client: ClientSession) -> list[dict[str, Any]]:
        waits = (await asked(client, "train", {"model": "RidgeRegression", "end": "2010-12-31"}))["pending"]
        wrong = await asked(client, "confirm", {"token": "0" * 16})
        no = (await asked(client, "train", {"model": "RidgeRegression", "end": "2009-12-31"}))["pending"]
        assert "not done" in (await asked(client, "confirm", {"token": no["token"], "yes": "no"}))["text"]
        done = await asked(client, "confirm", {"token": waits["token"]})
        return [wrong, done, await asked(client, "confirm", {"token": waits["token"]})]

    wrong, done, again = talked("researcher", talk)
    assert "nothing waits" in wrong["error"]
    assert done["ok"], done["text"]
    assert "nothing waits" in again["error"]
    (entry,) = audit.entries(kind="artifact")
    assert entry.actor == "mcp (researcher)"


@pytest.mark.slow
@pytest.mark.parametrize(("action", "content", "runs"), [
    ("accept", {"yes": True}, True), ("accept", {"yes": False}, False), ("accept", None, False),
    ("decline", None, False), ("cancel", None, False),
])  # fmt: skip
def test_a_client_that_can_ask_its_person_is_asked_to(home: Path, action: str, content: Any, runs: bool):
    shown = []

    async def person(context: Any, params: Any) -> types.ElicitResult:
        shown.append(params.message)
        return types.ElicitResult(action=action, content=content)

    async def talk(client: ClientSession) -> dict[str, Any]:
        return await asked(client, "train", {"model": "RidgeRegression", "end": "2010-12-31"})

    said = talked("researcher", talk, elicitation_callback=person)
    assert len(shown) == 1
    assert "model RidgeRegression" in shown[0]
    assert said["ok"] is runs
    assert said["pending"] is None  # no token that a model could use
    assert len(audit.entries(kind="artifact")) == runs


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_offered_its_tools_and_a_yes_only_where_it_may_write(role: str):
    names = [t["name"] for t in protocol.listed(role)]
    more = ["render", "confirm"] if role in ("researcher", "admin") else ["render"]
    assert names == [t.name for t in allowed(role)] + more
    waits = protocol.answered(protocol.Desk(role), "train", {"model": "RidgeRegression"})[0]["pending"]
    assert bool(waits) is ("confirm" in names)


def test_tools_that_only_read_say_so():
    hints = {t["name"]: t["annotations"]["readOnlyHint"] for t in protocol.listed("researcher")}
    assert {name for name, reads in hints.items() if not reads} == WRITES | {"confirm"}
    assert all(t["annotations"]["readOnlyHint"] for t in protocol.listed("viewer"))
