"""The served chat: a conversation of one's own, in the role the server knows, and a model's key that no kernel has."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from caller import ADD, ROLES, TOKEN, Running, folder_of

import mltrainer as mt
from mltrainer.assistant.records import UNKNOWN

TRAIN = "train RidgeRegression on MSFT between 2005-01-03 and 2009-12-31"
LINES = {"Accept": "application/x-ndjson"}


def asked(served: Running, question: str, **who: str) -> dict:
    said = served("/api/chat", "POST", body={"question": question}, **who)
    assert said.status == 200, said.text
    return said.json["answer"]


def kept(served: Running, **who: str) -> list[str]:
    return [turn["question"] for turn in served("/api/chat", **who).json["items"]]


def test_a_conversation_is_its_users_is_still_there_later_and_ends_when_it_is_forgotten(served: Running):
    ann, bob = ({"token": token} for token in served.users("add:anna:viewer", "add:boris:researcher"))
    asked(served, "which tickers are there?", **ann)
    asked(served, "what does drawdown mean?", **ann)
    asked(served, "how many models are there?", **bob)
    assert kept(served, **ann) == ["what does drawdown mean?", "which tickers are there?"]
    assert kept(served, **bob) == ["how many models are there?"]
    assert served("/api/chat?limit=1&offset=1", **ann).json["items"][0]["question"] == "which tickers are there?"
    assert served("/api/chat", "DELETE", **ann).json == {"mode": "sample", "forgotten": 2}
    assert kept(served, **ann) == []
    assert kept(served, **bob) == ["how many models are there?"]


def test_of_the_servers_own_token_nothing_is_kept_as_many_hold_it(served: Running):
    asked(served, "which tickers are there?", role="holder")
    said = served("/api/chat", role="holder").json
    assert (said["items"], said["reason"]) == ([], "what is asked with the server's own token is not kept")


@pytest.mark.slow
def test_a_training_by_chat_waits_for_the_yes_of_who_may_and_is_a_training_like_any_other(served: Running):
    assert "the role viewer may not" in asked(served, TRAIN, role="viewer")["text"]
    assert asked(served, "yes", role="viewer")["text"] == "Nothing waits for a yes."
    before = served("/api/models/train", role="researcher").json["total"]
    assert asked(served, TRAIN, role="researcher")["pending"]["tool"] == "train"
    assert asked(served, "yes", role="viewer")["text"] == "Nothing waits for a yes."  # another's is not theirs to give
    said = asked(served, "yes", role="researcher")
    assert served("/api/models/train", role="researcher").json["total"] == before + 1
    job = served("/api/models/train?limit=1", role="researcher").json["items"][0]
    assert job["user"] == "my-researcher"
    assert job["request"] == {"model": "RidgeRegression", "tickers": ["MSFT"], "start": "2005-01-03",
                              "end": "2009-12-31", "horizon": 5, "target": "return"}  # fmt: skip
    until = time.monotonic() + 120
    while (job := served(f"/api/models/train/{job['id']}", role="researcher").json)["state"] in ("queued", "running"):
        assert time.monotonic() < until
        time.sleep(0.5)
    assert job["state"] == "done", job
    assert "was trained on MSFT" in said["text"] or "is being trained" in said["text"]


@pytest.mark.slow
def test_a_training_by_chat_that_fails_says_why(served: Running):
    asked(served, "train RidgeRegression on MSFT between 2009-12-01 and 2009-12-31", role="admin")
    said = asked(served, "yes", role="admin")
    job = served("/api/models/train?limit=1", role="admin").json["items"][0]
    until = time.monotonic() + 120
    while (job := served(f"/api/models/train/{job['id']}", role="admin").json)["state"] in ("queued", "running"):
        assert time.monotonic() < until
        time.sleep(0.5)
    assert (job["state"], job["user"]) == ("failed", "my-admin")
    assert job["error"]
    assert job["error"] in said["text"] or "is being trained" in said["text"]  # where it took longer than is waited


def test_a_page_of_another_site_cannot_make_a_browser_forget(served: Running):
    from test_api import joined, session

    asked(served, "which tickers are there?", role="admin")
    pairs = session(served, served.tokens["admin"])
    assert served("/api/chat", "DELETE", Cookie=joined(pairs)).status == 403
    assert served("/api/chat", "DELETE", Cookie=joined(pairs), X_XSRFToken=pairs["_xsrf"]).status == 200


def test_an_answer_comes_in_lines_to_who_asks_for_lines(served: Running):
    body = {"question": "which tickers are there?"}
    said = served("/api/chat", "POST", role="viewer", body=body, **LINES)
    assert said.headers["Content-Type"] == "application/x-ndjson"
    (line,) = said.text.splitlines()
    assert json.loads(line)["answer"]["answer"] == asked(served, body["question"], role="viewer")
    assert served("/api/chat", "POST", role="auditor", body=body, **LINES).status == 403
    assert served("/api/chat", "POST", role="viewer", body={"question": " "}, **LINES).status == 400


# --- with a language model ------------------------------------------------------------------------------------

CANARY = "canary-of-a-model-5e1f"
SPEAKING = """
import asyncio, io, json, os, sys
from pathlib import Path
from pydantic_ai import models
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from mltrainer.server.serve import serve

models.ALLOW_MODEL_REQUESTS = False
CALLS = {"price": ("prices", {"ticker": "MSFT", "start": "2010-01-04", "end": "2010-12-31"}),
         "train": ("train", {"model": "RidgeRegression", "ticker": "MSFT"})}

def reply(messages, info):
    question = [p.content for m in messages for p in m.parts if p.part_kind == "user-prompt"][-1]
    results = [p.content for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
    known = [(name, given) for word, (name, given) in CALLS.items() if word in question]
    offered = {t.name for t in info.function_tools}
    if known and known[0][0] in offered and not results:
        return known[0], ""
    has = "has the key" if os.environ.get("OPENAI_API_KEY") == sys.argv[1] else "has no key"
    words = "MSFT closed at a price of {{c1}}. It may reach $99. " if results else ""
    if known and known[0][0] not in offered:
        words = "There is no such tool. "
    return None, words + "This process " + has + "."

def say(messages, info):
    call, words = reply(messages, info)
    return ModelResponse(parts=[ToolCallPart(*call) if call else TextPart(words)])

async def stream(messages, info):
    call, words = reply(messages, info)
    question = [p.content for m in messages for p in m.parts if p.part_kind == "user-prompt"][-1]
    if "tumble" in question:
        if "late" in question:
            yield "All is well so far. And then "
            await asyncio.sleep(0.3)  # pieces that come close together are handed on together
        raise RuntimeError("a secret of the provider " + sys.argv[1])
    if call:
        yield {0: DeltaToolCall(name=call[0], json_args=json.dumps(call[1]))}
        return
    for word in words.split(" "):
        yield word + " "

def run(command, environment, plan):
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = io.StringIO(plan)
    from mltrainer.assistant import language
    language._model = lambda: FunctionModel(say, stream_function=stream)
    from mltrainer.assistant import history
    from mltrainer.errors import StorageError, Tampered
    write = history.write
    def full(user, role, answer):
        if "tampered" in answer.question:
            raise Tampered("a secret of the trail")
        if "unkept" in answer.question:
            raise StorageError("the disk is full") if "disk" in answer.question else RuntimeError("a secret of ours")
        return write(user, role, answer)
    history.write = full
    from mltrainer.server import app
    app.main()

sys.modules["mltrainer.server.serve"].become = run
serve(0, token=sys.argv[2], out=sys.argv[3], dashboards=Path(sys.argv[4]))
"""


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose chat has a language model of the test's own, in the process where a provider's would be asked."""
    place = folder_of(tmp_path_factory.mktemp("speaking"))
    env = {**os.environ, "MLTRAINER_HOME": str(place / "home"), "MLTRAINER_MODE": "sample"}
    added = subprocess.run([sys.executable, "-c", ADD, *ROLES], env=env, capture_output=True, text=True, check=True)
    env |= {"MLTRAINER_LLM": "openai:none", "OPENAI_API_KEY": CANARY, "ANTHROPIC_API_KEY": "canary-of-another"}
    place_of = [str(place / name) for name in ("reports", "dashboards")]
    with (place / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", SPEAKING, CANARY, TOKEN, *place_of], env=env,
                                   stdout=subprocess.PIPE, stderr=log, text=True)  # fmt: skip
        assert process.stdout is not None
        address = process.stdout.readline()
        assert address, (place / "log").read_text()
        tokens = dict(zip(ROLES, added.stdout.split(), strict=True)) | {"holder": TOKEN}
        yield Running(address.partition("/?")[0], place, tokens, process)
        process.terminate()
        process.wait(30)
        process.stdout.close()


def test_a_served_model_names_figures_and_no_number_of_its_own_passes_in_any_piece(speaking: Running):
    said = speaking("/api/chat", "POST", role="viewer", body={"question": "what was the price?"}, **LINES)
    *pieces, last = (json.loads(line) for line in said.text.splitlines())
    close = mt.bars("MSFT", end="2010-12-31").frame["close"].iloc[-1]
    answer = last["answer"]["answer"]
    assert f"${close:.2f}" in "".join(piece["piece"] for piece in pieces)
    assert f"${close:.2f}" in answer["text"]
    assert "99" not in said.text.partition('"withheld"')[0].partition('{"answer"')[0]
    assert "$99" not in answer["text"] + answer["html"]
    assert UNKNOWN in answer["text"]
    assert answer["withheld"][0]["why"] == "no claim holds 99"
    assert answer["by"] == "openai:none"


def streamed(running: Running, question: str) -> tuple[list[str], dict]:
    """The pieces that came, and the last line."""
    said = running("/api/chat", "POST", role="viewer", body={"question": question}, **LINES)
    assert (said.status, said.headers["Content-Type"]) == (200, "application/x-ndjson")
    *pieces, last = (json.loads(line) for line in said.text.splitlines())
    return [piece["piece"] for piece in pieces], last


@pytest.mark.parametrize(("when", "pieces"), [("at once", []), ("late", ["All is well so far. "])])
def test_where_a_model_breaks_in_the_middle_the_last_line_has_the_answer_without_it(
    speaking: Running, when: str, pieces: list[str]
):
    """What was said stays said; the rules answer, the reason is a kind of error, and no text of it."""
    found, last = streamed(speaking, f"which tickers are there? tumble {when}")
    assert found == pieces
    answer = last["answer"]["answer"]
    assert answer["text"].startswith("The language model did not answer (RuntimeError); this is the answer without it.")
    assert "MSFT" in json.dumps(answer)
    assert "secret of the provider" not in json.dumps(last)
    assert CANARY not in json.dumps(last)


def logged(running: Running, incident: str) -> bool:
    return incident in (running.folder / "home" / "logs" / "serve.jsonl").read_text() + running.log


BROKE = re.compile(r"it broke; incident ([0-9a-f]{8}) in the server's log")


@pytest.mark.parametrize("question", ["what was the price? unkept", "what was the price? unkept, a full disk"])
def test_where_an_answer_breaks_after_its_first_piece_the_last_line_says_so(speaking: Running, question: str):
    """The status is long out: a stream that just ended, or an error without words, would look like an answer."""
    pieces, last = streamed(speaking, question)
    assert pieces
    assert last.keys() == {"error"}
    assert (found := BROKE.fullmatch(last["error"])), last
    assert logged(speaking, found[1])
    assert question not in kept(speaking, role="viewer")


@pytest.mark.parametrize(
    ("question", "status"), [("tumble unkept", 500), ("tumble unkept, a full disk", 503), ("a tampered tumble", 500)]
)
def test_an_answer_that_breaks_before_anything_was_said_is_an_error_with_its_status(
    speaking: Running, question: str, status: int
):
    said = speaking("/api/chat", "POST", role="viewer", body={"question": question}, **LINES)
    told = said.json["error"]
    assert (said.status, told["status"]) == (status, status)
    assert logged(speaking, told["incident"])
    assert "secret" not in said.text
    assert "seats" not in said.text  # a disk that is full is no matter of those
    for incident in re.findall("incident ([0-9a-f]{8})", told["message"]):
        assert incident == told["incident"]  # what is told and what is logged is one number


def test_an_answer_that_nobody_reads_to_its_end_is_kept(speaking: Running):
    """A visitor goes after the first piece: a page that comes back finds the whole answer."""
    question = "what was the price, to somebody who leaves?"
    connection = http.client.HTTPConnection(urlsplit(speaking.base).netloc, timeout=60)
    sent = {"Authorization": f"token {speaking.tokens['admin']}", "Content-Type": "application/json", **LINES}
    connection.request("POST", "/api/chat", json.dumps({"question": question}), sent)
    connection.getresponse().readline()
    connection.sock.close()
    until = time.monotonic() + 60
    while question not in kept(speaking, role="admin"):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_served_model_calls_in_the_role_of_who_asks_and_never_says_yes(speaking: Running):
    assert "There is no such tool" in asked(speaking, "train it", role="viewer")["text"]
    assert asked(speaking, "train it", role="researcher")["pending"]["tool"] == "train"
    assert speaking("/api/models/train", role="researcher").json["total"] == 0


def test_the_models_key_is_in_the_serving_process_and_in_no_other(speaking: Running):
    assert "This process has the key" in asked(speaking, "hello", role="viewer")["text"]
    assert speaking("/voila/render/probe.ipynb", role="viewer").status == 200  # now there is a kernel
    kernels = [
        p for p in psutil.Process(speaking.process.pid).children(recursive=True) if "ipykernel" in str(p.cmdline())
    ]
    assert kernels
    for kernel in kernels:
        assert not [k for k, v in kernel.environ().items() if CANARY in v or k in ("MLTRAINER_LLM", "OPENAI_API_KEY")]
    assert CANARY not in speaking.log


def test_a_training_is_started_without_the_models_key(monkeypatch: pytest.MonkeyPatch, home: Path):
    from mltrainer.server import jobs, private

    monkeypatch.setattr(private, "_names", set())
    monkeypatch.setattr(os, "environ", dict(os.environ))
    private.learn({"OPENAI_API_KEY": CANARY})
    started: list[dict] = []
    monkeypatch.setattr(jobs.subprocess, "Popen", lambda command, **how: started.append(how["env"]))
    jobs.start("0" * 12)
    assert CANARY not in started[0].values()
    assert started[0]["MLTRAINER_HOME"] == str(home)


def test_each_provider_is_reached_by_its_own_variables_and_no_others():
    from mltrainer.server.private import of_model

    there = {
        "OPENAI_API_KEY": "o",
        "ANTHROPIC_API_KEY": "a",
        "GEMINI_API_KEY": "g",
        "AWS_PROFILE": "w",
        "PGPASSWORD": "p",
    }
    assert of_model(None, there) == {}
    for llm, names in {"openai-responses:x": "OPENAI_API_KEY", "anthropic:x": "ANTHROPIC_API_KEY",
                       "google-gla:x": "GEMINI_API_KEY", "bedrock:x": "AWS_PROFILE", "test": ""}.items():  # fmt: skip
        assert of_model(llm, there) == {n: there[n] for n in names.split()} | {"MLTRAINER_LLM": llm}
