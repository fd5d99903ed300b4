"""The public client of the MCP SDK lists and calls the tools over a real process, and gets no free number."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from apart import apart
from mcp import ClientSession, StdioServerParameters, stdio_client

from mltrainer.assistant import protocol
from mltrainer.assistant.tools import allowed
from mltrainer.errors import UnknownName

MLTRAINER = Path(sys.executable).with_name("mltrainer")


def session(role: str, calls: list[tuple[str, dict[str, Any]]]) -> tuple[set[str], list[dict[str, Any]]]:
    """Names of the tools, and what calls answer, of a process in a role."""

    async def talk() -> tuple[set[str], list[dict[str, Any]]]:
        started = StdioServerParameters(command=str(MLTRAINER), args=["mcp", "--role", role], env=dict(os.environ))
        async with stdio_client(started) as (r, w), ClientSession(r, w) as client:
            await client.initialize()
            names = {t.name for t in (await client.list_tools()).tools}
            said = [json.loads((await client.call_tool(n, a)).content[0].text) for n, a in calls]
            return names, said

    return apart(talk())


def test_a_client_lists_and_calls_the_tools(home: Path):
    price = {"ticker": "MSFT", "start": "2010-01-04", "end": "2010-12-31"}
    texts = ["MSFT closed at a price of {{c1}}.", "MSFT closed at a price of 25.6."]
    calls: list[tuple[str, dict[str, Any]]] = [("prices", price)]
    calls += [("render", {"turn": "turn-1", "text": t}) for t in texts]
    calls += [("tickers", {}), ("train", {"model": "RidgeRegression"}), ("prices", {"ticker": "../x"})]
    calls += [("render", {"turn": "no", "text": "x"})]
    names, (found, shown, withheld, tickers, train, hostile, lost) = session("researcher", calls)
    assert names == {t.name for t in allowed("researcher")} | {"render"}
    assert found["ok"]
    assert {"id", "value", "unit", "sign", "as_of", "source", "text"} <= found["claims"][0].keys()
    assert found["claims"][0]["text"] in shown["text"]
    assert withheld["withheld"]
    assert withheld["text"].startswith("I don't know. But based on the data, I would suggest")
    assert "MSFT" in tickers["text"]
    assert train["pending"]["tool"] == "train"
    assert not hostile["ok"]
    assert not lost["ok"]


def test_a_viewer_gets_the_tools_of_a_viewer(home: Path):
    names, (said,) = session("viewer", [("audit", {})])
    assert not names & {"train", "evaluate", "audit", "weights"}
    assert "the role viewer may not" in said["text"]


def test_a_role_that_is_none_is_refused():
    with pytest.raises(UnknownName, match="role"):
        protocol.Desk("root")
