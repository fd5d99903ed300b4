"""The tools: a row each, with what it may be asked, who may ask it and what it says."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from mltrainer.assistant import decisions, glossary, research
from mltrainer.assistant import parameters as ask
from mltrainer.assistant.claims import Turn
from mltrainer.errors import BadInput, MltrainerError, UnknownName
from mltrainer.settings import settings

EVERYBODY = frozenset({"viewer", "auditor", "researcher", "admin"})
READERS = frozenset({"auditor", "researcher", "admin"})
MAKERS = frozenset({"researcher", "admin"})
ROLES = ("viewer", "auditor", "researcher", "admin")


class Tool(NamedTuple):
    """One thing that can be asked for.

    `run` takes parameters and the turn, puts claims and tables into it and returns words. `confirmed` tools run only
    after a person said yes; no language model can say it. What `writes` for who may run it (trials, committed
    forecasts) waits for that yes too where a language model calls it, and not the person.
    """

    name: str
    description: str
    parameters: type[BaseModel]
    roles: frozenset[str]
    run: Callable[[Any, Turn], str]
    confirmed: bool = False
    writes: bool = False


TOOLS = {
    t.name: t
    for t in (
        Tool("models", "list the models of the catalog, or of a family", ask.Catalog, EVERYBODY, research.models),
        Tool("leaderboard", "rank stored results, the strongest evidence first", ask.Board, EVERYBODY, research.board),
        Tool("evaluate", "judge a model on a ticker out of sample; a trial like any other", ask.Trial, MAKERS,
             research.evaluate, writes=True),
        Tool("compare", "put models side by side on a ticker", ask.Several, EVERYBODY, research.compare,
             writes=True),
        Tool("forecastable", "say what can be forecast of a ticker: targets by horizons", ask.Cells, EVERYBODY,
             research.what_is_forecastable),
        Tool("regime", "say the regime of a ticker's market", ask.Market, EVERYBODY, decisions.regime),
        Tool("prices", "close, highest, lowest, return, volatility and drawdown of a ticker over a span",
             ask.Figure, EVERYBODY, decisions.prices),
        Tool("forecast", "say what is forecast of a ticker, and by whom", ask.Ahead, EVERYBODY, decisions.forecast,
             writes=True),
        Tool("recommend", "say what is recommended now, with size and evidence", ask.Advice, EVERYBODY,
             decisions.recommend, writes=True),
        Tool("portfolio", "say what an account holds, what it is worth and what it gained", ask.Account, EVERYBODY,
             decisions.holdings),
        Tool("weights", "weigh tickers by a portfolio method, within limits", ask.Weights, MAKERS, decisions.weights),
        Tool("quality", "ask every rule of quality of a ticker's bars", ask.Prices, EVERYBODY, decisions.data_quality),
        Tool("alerts", "list the alerts that are not resolved", ask.Nothing, EVERYBODY, decisions.alerts),
        Tool("audit", "verify the audit trail, or list its last entries", ask.Trail, READERS, decisions.trail),
        Tool("explain", "explain a term, a metric, a target or a model in plain words", ask.Term, EVERYBODY,
             glossary.explain),
        Tool("tickers", "list the tickers that there is data of", ask.Nothing, EVERYBODY, decisions.tickers),
        Tool("status", "say which data this is, and how much has been tried", ask.Nothing, EVERYBODY, decisions.status),
        Tool("train", "train a model on a ticker and keep it", ask.Trial, MAKERS, research.train, confirmed=True),
    )
}  # fmt: skip


def allowed(role: str) -> list[Tool]:
    """The tools a role may call; none for a role that is in no row."""
    return [t for t in TOOLS.values() if role in t.roles]


def call(
    name: str, given: Mapping[str, Any], turn: Turn, *, role: str, confirmed: bool = False, by_model: bool = False
) -> str:
    """Call a tool in a role; what it says has marks of the claims that it put into the turn.

    Raises
    ------
    BadInput
        A role that may not, a tool that is none, or parameters that cannot be meant; nothing was run then.
    """
    if name not in TOOLS:
        raise UnknownName.of("tool", name, [t.name for t in allowed(role)])
    tool = TOOLS[name]
    if role not in tool.roles:
        raise BadInput(f"the role {role} may not ask for this: {tool.description}")
    try:
        asked = tool.parameters(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "parameters"
        raise BadInput(f"{where[:40]} cannot be meant: {first['msg'].lower()}") from None
    if not confirmed and (tool.confirmed or (by_model and tool.writes and role in MAKERS)):
        turn.pending = {"tool": name, "parameters": asked.model_dump()}
        return f"To {tool.description} takes time and is written down. Say yes to do it: {_meant(asked)}."
    turn.called.append({"tool": name, "parameters": asked.model_dump(exclude_none=True)})
    turn.may_run, turn.confirmed = role in MAKERS, confirmed and role in MAKERS
    said = tool.run(asked, turn)
    turn.sourced(f"tool {name}, mode {settings().data_mode}")
    turn.said.append(said)
    return said


def _meant(asked: BaseModel) -> str:
    return ", ".join(f"{k} {v}" for k, v in asked.model_dump(exclude_none=True).items())


def tried(name: str, given: Mapping[str, Any], turn: Turn, *, role: str, **how: bool) -> tuple[str, bool]:
    """Like `call`, with a mistake as words: what was said, and whether it worked."""
    try:
        return call(name, given, turn, role=role, **how), True
    except MltrainerError as error:
        told = str(error).replace("{{", "{ {")  # what was asked for stands in it, and is no mark of ours
        return f"That cannot be answered: {told}.".replace("..", "."), False
