"""The interface for programs, one row a route; its description, its checks and its tests are made of these rows.

A route is a plain function: its parameters say, by type, what may be asked, and its answer is a record. It runs in a
thread, so that one long question does not keep the others waiting.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, Literal

from pydantic import Field

from mltrainer.server import records as a
from mltrainer.server.identity import HOLDER
from mltrainer.server.records import Answer, Caller, Findings, Forgotten, Health, Job, NoSuchAlert, Page, Trail
from mltrainer.server.roles import may
from mltrainer.settings import settings

AWHILE = 20.0  # seconds in which a training that the chat began is waited for


def health(caller: Caller) -> Health:
    """Is it up, on which data, who am I, and what may I do?"""
    return Health("ok", settings().data_mode, version("mltrainer"), caller.role, may(caller.role))


def openapi() -> dict[str, Any]:
    """Describe the interface."""
    from mltrainer.server.openapi import document

    return document()


def recommendations(ticker: a.Ticker | None = None, limit: a.Limit = 50, offset: a.Offset = 0) -> Page:
    """Recommendations and what became of them, the newest first."""
    from mltrainer.trading.recommendations import history

    found = history(ticker and [ticker]).to_dict()["rows"][::-1]
    return _page(found, limit, offset, "" if found else "no recommendation has been made on this installation")


def portfolio(account: a.Account = "main", as_of: a.Day | None = None, benchmark: a.Ticker | None = None) -> Answer:
    """What an account holds, what it cost and what it earned."""
    from mltrainer.trading import positions

    if not positions.entries(account):
        return _answer({"positions": []}, "", f"account {account} has no entry; mltrainer portfolio add writes one")
    found = positions.value(account, as_of=as_of, benchmark=benchmark).to_dict()
    return _answer(found, found["session"])


def optimized(
    tickers: a.Tickers,
    method: a.Word = "risk-parity",
    as_of: a.Day | None = None,
    sessions: Annotated[int, Field(ge=60, le=5000, description="daily returns that risk is estimated on")] = 756,
    upper: Annotated[float, Field(gt=0, le=1, description="largest weight of one name")] | None = None,
) -> Answer:
    """Weights of a portfolio by a named method, within limits; nothing is traded and nothing is kept."""
    from mltrainer.trading.portfolio.limits import Constraints
    from mltrainer.trading.portfolio.optimize import optimize

    limits = None if upper is None else Constraints(upper=upper)
    found = optimize(list(tickers), method=method, as_of=as_of, sessions=sessions, constraints=limits).to_dict()
    return _answer(found, found["as_of"])


def quality(ticker: a.Tickers = ["MSFT"]) -> Findings:  # noqa: B006 - read only; a default of the interface
    """What every rule of quality finds in daily bars, and how often data was refused here."""
    from mltrainer.data.quality import quality as check
    from mltrainer.trust import audit

    found = [(q := check(name), asdict(q) | {"ok": q.ok})[1] for name in dict.fromkeys(ticker)]
    refused = len(audit.entries(kind="violation"))
    return Findings(settings().data_mode, all(f["ok"] for f in found), found, refused)


def trail(
    limit: a.Limit = 50,
    offset: a.Offset = 0,
    kind: a.Word | None = None,
    verify: Annotated[bool, Field(description="recompute the whole chain, and all that it tells of")] = True,
) -> Trail:
    """The audit trail, the newest entry first, and whether it holds."""
    from mltrainer.trust import audit

    found = [asdict(entry) for entry in audit.entries(kind=kind)[::-1]]
    findings = audit.verify() if verify else None
    told = {"head": str(audit.head()), "holds": None if findings is None else not findings, "findings": findings}
    return Trail(**vars(_page(found, limit, offset)) | told)


def models(
    family: a.Word | None = None,
    task: Literal["regressor", "classifier", "clusterer", "outlier", "series"] | None = None,
    name: a.Word | None = None,
    limit: a.Limit = 50,
    offset: a.Offset = 0,
) -> Page:
    """The catalog: what each model is, runs, gives and costs, and whether it is available here."""
    from mltrainer.models import catalog

    rows = [catalog.spec(name)] if name is not None else catalog.specs(family)
    return _page([s.card.to_dict() for s in rows if task in (None, s.task)], limit, offset)


def regime(ticker: a.Ticker = "MSFT", as_of: a.Day | None = None) -> Answer:
    """The regime of a ticker's market: volatility, trend, volume, economy, score and two hidden states."""
    from mltrainer.trading.regimes import regimes

    found = regimes(ticker, as_of=as_of).to_dict()  # three states take half a minute: a question for Python
    return _answer(found, found["session"])


def alerts(
    state: Literal["new", "acknowledged", "resolved"] | None = None,
    severity: a.Word | None = None,
    limit: a.Limit = 50,
    offset: a.Offset = 0,
) -> Page:
    """The alerts there were, the newest first."""
    from mltrainer.trading.alerts import ledger

    found = [x for x in ledger.alerts()[::-1] if state in (None, x.state) and severity in (None, x.severity)]
    return _page([x.to_dict() for x in found], limit, offset, "" if found else "no alert; mltrainer alerts check asks")


def acknowledged(
    id: a.AlertId,  # noqa: A002 - its name in the address
    note: Annotated[str, Field(max_length=500, description="what there is to say of it, kept in the trail")] = "",
) -> Answer:
    """Say that an alert was seen; the audit trail has by whom. A second time changes nothing."""
    from mltrainer.trading.alerts import ledger

    if all(x.id != id for x in ledger.alerts()):
        raise NoSuchAlert(f"no alert of this kind of data has the number {id}; GET /api/alerts lists them")
    (found,) = ledger.acknowledge(id, note=note)
    return _answer(found.to_dict(), found.session)


def train(
    caller: Caller,
    model: a.Word,
    ticker: a.Ticker | a.Tickers = "MSFT",
    start: a.Day | None = None,
    end: a.Day | None = None,
    horizon: a.Horizon = 5,
    target: a.Word = "return",
) -> Job:
    """Start training one model on all that is known of a ticker, or of several at once; two at a time run."""
    from mltrainer.server import jobs

    names = [ticker] if isinstance(ticker, str) else list(ticker)
    asked = {"model": model, "tickers": names, "start": start, "end": end, "horizon": horizon, "target": target}
    return jobs.submit(caller.name, asked)


def trainings(
    state: Literal["queued", "running", "done", "failed", "interrupted"] | None = None,
    limit: a.Limit = 50,
    offset: a.Offset = 0,
) -> Page:
    """Training jobs, the newest first."""
    from mltrainer.server import jobs

    found = [asdict(job) for job in jobs.jobs()[::-1] if state in (None, job.state)]
    return _page(found, limit, offset)


def training(id: a.JobId) -> Job:  # noqa: A002 - its name in the address
    """One training job: its state, how far it is, and the address of its model once it is done."""
    from mltrainer.server import jobs

    return jobs.job(id)


def resumed(id: a.JobId) -> Job:  # noqa: A002
    """Take up a training that was interrupted or failed."""
    from mltrainer.server import jobs

    return jobs.resume(id)


def predict(
    artifact: a.Artifact, rows: Annotated[int, Field(ge=1, le=1000, description="latest sessions")] = 20
) -> Answer:
    """Forecast with a trained model: the latest sessions after those it was trained on."""
    import json

    from mltrainer.evaluation.lifecycle import Model

    model = Model.load(artifact)
    said = json.loads(model.predict(model.matrix_now()).to_json())
    said["rows"] = said["rows"][-rows:]
    return _answer(said, said["rows"][-1]["session"])


def chat(
    caller: Caller,
    hear: a.Hear,
    question: Annotated[str, Field(min_length=1, max_length=2000, description="in plain words")],
) -> Answer:
    """Ask in plain words, and say yes to what waits for it; no figure is a language model's own.

    Who comes with a token of their own goes on where they were. With Accept: application/x-ndjson each sentence is a
    line {"piece": "..."} as soon as it may be shown, and the last line has the answer.
    """
    from mltrainer.assistant import ask, research

    research.QUEUE.set(partial(_trained, caller.name))  # of this request's context alone
    return _answer(ask(question, role=caller.role, user=_own(caller), hear=hear).to_dict(), "")


def _trained(user: str, asked: dict[str, Any]) -> dict[str, Any]:
    """A training that was asked for in the chat, waited for as long as anybody waits for an answer."""
    from mltrainer.server import jobs

    known = {k: asked[k] for k in ("model", "start", "end", "horizon", "target")}
    found = jobs.submit(user, known | {"tickers": [asked["ticker"]]})
    until = time.monotonic() + AWHILE
    while found.state in ("queued", "running") and time.monotonic() < until:
        time.sleep(0.5)
        found = jobs.job(found.id)
    return asdict(found)


def _own(caller: Caller) -> str:
    """Under whose name a conversation is kept: of whoever holds the server's own token under none, they are many."""
    return "" if caller.name == HOLDER else caller.name


def conversation(caller: Caller, limit: a.Limit = 20, offset: a.Offset = 0) -> Page:
    """What you asked and were answered, the newest first; nothing of the server's own token, which many hold."""
    from mltrainer.assistant import history

    found = history.recent(_own(caller), caller.role, history.MOST)[::-1]
    reason = "nothing was asked yet" if _own(caller) else "what is asked with the server's own token is not kept"
    return _page(found, limit, offset, "" if found else reason)


def forgotten(caller: Caller) -> Forgotten:
    """Forget what you asked and were answered."""
    from mltrainer.assistant import history

    return Forgotten(settings().data_mode, history.forget(_own(caller), caller.role))


def users() -> Page:
    """Who may come in, and as what."""
    from mltrainer.server import users as kept

    found = [{"name": u.name, "role": u.role, "since": u.since} for u in kept.users()]
    return _page(found, 500, 0)


def _page(found: list[dict[str, Any]], limit: int, offset: int, reason: str = "") -> Page:
    return Page(settings().data_mode, len(found), limit, offset, found[offset : offset + limit], reason)


def _answer(found: dict[str, Any], as_of: str, notice: str = "") -> Answer:
    from mltrainer.views import mode_words

    mode = settings().data_mode
    return Answer(mode, as_of, notice or mode_words(mode, as_of), found)


@dataclass(frozen=True)
class Route:
    """One address and method: who may, what it calls, and with which status it answers.

    Attributes
    ----------
    quick : answered at once, without a thread of its own.
    location : where what was begun will be found, for the header of that name.
    """

    method: str
    path: str
    permission: str
    call: Callable[..., Any]
    status: int = 200
    quick: bool = False
    location: str = ""


TRAINING = "/api/models/train/{id}"
ROUTES = (
    Route("GET", "/api/health", "health:read", health, quick=True),
    Route("GET", "/api/openapi.json", "health:read", openapi),
    Route("GET", "/api/recommendations", "recommendations:read", recommendations),
    Route("GET", "/api/portfolio", "portfolio:read", portfolio),
    Route("POST", "/api/portfolio", "portfolio:compute", optimized),
    Route("GET", "/api/data-quality", "quality:read", quality),
    Route("GET", "/api/compliance/audit", "audit:read", trail),
    Route("GET", "/api/models", "models:read", models),
    Route("GET", "/api/regime", "regime:read", regime),
    Route("GET", "/api/alerts", "alerts:read", alerts),
    Route("POST", "/api/alerts/{id}/acknowledge", "alerts:acknowledge", acknowledged),
    Route("GET", "/api/models/train", "jobs:read", trainings),
    Route("POST", "/api/models/train", "models:train", train, status=202, location=TRAINING),
    Route("GET", TRAINING, "jobs:read", training),
    Route("POST", TRAINING, "models:train", resumed, status=202, location=TRAINING),
    Route("POST", "/api/predict", "models:predict", predict),
    Route("POST", "/api/chat", "chat:ask", chat),
    Route("GET", "/api/chat", "chat:ask", conversation),
    Route("DELETE", "/api/chat", "chat:ask", forgotten),
    Route("GET", "/api/users", "users:read", users),
)
