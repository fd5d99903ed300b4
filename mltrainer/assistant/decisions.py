"""Tools about markets and decisions: regime, prices, forecast, recommendation, what is held, quality, alerts, trail."""

from typing import Any

import numpy as np

from mltrainer.assistant import parameters as ask
from mltrainer.assistant.claims import Turn
from mltrainer.data import market, quality
from mltrainer.data.universes import universe
from mltrainer.errors import BadInput
from mltrainer.evaluation.baselines import BASELINES
from mltrainer.settings import settings
from mltrainer.trust import audit
from mltrainer.trust.provenance import Dataset


def _source(data: Dataset | None) -> str:
    p = None if data is None else data.provenance
    return "" if p is None else f"{p.source}, content {p.content_sha256[:12]}, mode {p.mode}"


def regime(p: ask.Market, turn: Turn) -> str:
    """Say the regime of a ticker's market."""
    from mltrainer.trading.regimes import regimes

    found = regimes(p.ticker, as_of=p.as_of)
    now, day = found.now, str(found.session.date())
    about = {"ticker": p.ticker, "as_of": day, "source": _source(found.data)}
    hidden = {k[2:]: v for k, v in now.items() if str(k).startswith("p_") and v is not None}
    rows = [["Regime", str(now["regime"])]]
    rows += [[w.capitalize(), str(now[w])] for w in ("volatility", "trend", "volume", "economy") if now.get(w)]
    rows += [["Score, 0 to 100", turn.claim(now["score"], "score", "regime score", **about)]]
    rows += [[f"Probability of {k}", turn.claim(v, "probability", f"probability of the state {k}", **about)]
             for k, v in hidden.items()]  # fmt: skip
    turn.table(f"Regime of {p.ticker}", ["What", "Now"], rows)
    on, score = turn.claim(day, "date", "session", **about), turn.claim(now["score"], "score", "regime score", **about)
    state = max(hidden, key=lambda k: hidden[k]) if hidden else ""
    last = f"; {state} with probability {turn.claim(hidden[state], 'probability', state, **about)}" if state else ""
    return f"{p.ticker} on {on}: {now['regime']}, score {score}{last}."


def prices(p: ask.Figure, turn: Turn) -> str:
    """Say the last price of a ticker, its return and its volatility over a span."""
    data = market.bars(p.ticker, start=p.start, end=p.end)
    close = data.frame["close"]
    first, last = (str(close.index[i].date()) for i in (0, -1))
    about = {"ticker": p.ticker, "as_of": last, "source": _source(data)}
    moves = close.pct_change().dropna()
    unit = "plain" if p.ticker in ("SPX", "COMP") else "dollars"
    rows = [
        ("Close", close.iloc[-1], unit, "adjusted close"),
        ("Return over the span", close.iloc[-1] / close.iloc[0] - 1, "fraction", "return over the span"),
        ("Return of the last session", moves.iloc[-1] if len(moves) else np.nan, "fraction", "return of a session"),
        (
            "Volatility, annual",
            moves.std() * np.sqrt(252) if len(moves) > 2 else np.nan,
            "fraction",
            "annual volatility",
        ),
        ("Highest close", close.max(), unit, "highest adjusted close"),
        ("Lowest close", close.min(), unit, "lowest adjusted close"),
        ("Largest drawdown", float((1 - close / close.cummax()).max()), "fraction", "largest drawdown over the span"),
    ]
    signed = {"return over the span", "return of a session"}
    cells = [[head, turn.claim(v, u, w, signed=w in signed, **about)] for head, v, u, w in rows]
    turn.table(f"{p.ticker}", ["Figure", "Value"], [*cells, ["Sessions", turn.claim(len(close), "count", "sessions")]])
    since, on = (turn.claim(d, "date", f"{w} session", **about) for d, w in ((first, "first"), (last, "last")))
    told = {"highest": 4, "lowest": 5, "volatility": 3, "drawdown": 6}
    if p.figure in told:
        row = told[p.figure]
        return f"{p.ticker}, {rows[row][3]} from {since} to {on}: {cells[row][1]}."
    return f"The adjusted close of {p.ticker} was {cells[0][1]} on {on}; since {since} it returned {cells[1][1]}."


AIMS = {  # target -> unit of its figures, what they are, whether a sign is written
    "return": ("fraction", "forecast of the return", True),
    "excess": ("fraction", "forecast of the return over the market", True),
    "direction": ("probability", "forecast probability of a rise", False),
}


def forecast(p: ask.Ahead, turn: Turn) -> str:
    """Say what is forecast of a ticker, by whom, how sure, and when it is called wrong."""
    from mltrainer.trading.forecasts import forecast as said

    models = [p.model] if p.model and turn.may_run else None
    found = said(p.ticker, target=p.target, horizon=p.horizon, models=models, commit=turn.may_run)
    about = {"ticker": p.ticker, "as_of": found.as_of, "source": f"forecast {found.id}, mode {found.mode}"}
    unit, words, signed = AIMS.get(p.target, ("plain", f"forecast of the {p.target}", False))
    if p.target == "volatility":  # kept as log variance per session; a reader knows the deviation
        unit, words, signed = "fraction", "forecast volatility a session", False
    value, low, high = (_read(p.target, x) for x in (found.forecast, found.low, found.high))
    middle = turn.claim(value, unit, words, signed=signed, **about)
    rows = [
        ["Forecast", middle],
        ["Lower end", turn.claim(low, unit, f"lower end, {words}", signed=signed, **about)],
        ["Upper end", turn.claim(high, unit, f"upper end, {words}", signed=signed, **about)],
        ["Level of the interval", turn.claim(found.interval, "fraction", "level of the interval", **about)],
        ["Confidence in the side", turn.claim(found.confidence, "probability", "confidence in the side", **about)],
        ["Known on", turn.claim(found.known_on, "date", "session on which the outcome is known", **about)],
        ["Speakers", ", ".join(found.models)],
    ]
    turn.table(f"Forecast of {p.ticker}", ["What", "Said"], rows)
    h = turn.claim(p.horizon, "sessions", "horizon", **about)
    on = turn.claim(found.as_of, "date", "session", **about)
    told = {"forward": "It is committed before its outcome", "late": "Part of its outcome was known already",
            "historical": "It is of a past that is known, so it is no evidence"}  # fmt: skip
    without = (
        f"{p.model} was left out: to ask for a model's own forecast is a researcher's. "
        if p.model and not models
        else ""
    )
    return (
        f"{without}{p.ticker}, {words} over {h} from {on}: {middle}, by {', '.join(found.models)}. "
        f"{told.get(found.evidence, 'It was not committed')}. {_who(found)}"
    )


def _read(target: str, value: float) -> float:
    return float(np.exp(value / 2)) if target == "volatility" else float(value)


def _who(found: Any) -> str:
    plain = set(found.models) <= set(BASELINES)
    return "No model is shown to beat the plain forecast, so that speaks." if plain else ""


def recommend(p: ask.Advice, turn: Turn) -> str:
    """Say what is recommended, how much of it, and on which evidence."""
    from mltrainer.trading.recommendations import recommend as advised

    found = advised(p.tickers or None, commit=turn.may_run)
    rows = []
    for r in found.given.to_dict("records"):
        about = {"ticker": str(r["ticker"]), "as_of": found.as_of, "source": f"recommendation, mode {found.mode}"}
        rows.append([
            str(r["ticker"]), str(r["action"]), turn.claim(r["size"], "fraction", "size of the wealth", **about),
            turn.claim(r["stop"], "plain", "stop", **about),
            turn.claim(r["volatility"], "fraction", "forecast volatility a year", **about), str(r["regime"] or ""),
        ])  # fmt: skip
    turn.table("Recommended", ["Ticker", "Action", "Size", "Stop", "Volatility, annual", "Regime"], rows)
    on = turn.claim(found.as_of, "date", "session", as_of=found.as_of)
    kind = "of today" if found.live else "historical, for research and not for trading"
    if not rows:
        return f"As of {on} ({kind}) nothing is recommended: {next(iter(found.refused.values()), 'no name')}."
    named = {a: [r[0] for r in rows if r[1] == a] for a in ("buy", "sell", "reduce")}
    told = "; ".join(f"{a} {', '.join(t)}" for a, t in named.items() if t) or "no model knows where any of them will go"
    whole = turn.claim(float(found.given["size"].sum()), "fraction", "share of the wealth held", as_of=found.as_of)
    return f"As of {on} ({kind}), {told}; hold {whole} of the wealth, sized by forecast volatility, the rest in cash."


def holdings(p: ask.Account, turn: Turn) -> str:
    """Say what is held, what it is worth and what it earned."""
    from mltrainer.trading.positions import value

    try:
        found = value(p.account)
    except BadInput as error:
        if "has no entry" not in str(error):
            raise
        return f"Account {p.account} holds nothing: no entry was ever recorded in it."
    about = {"as_of": found.session, "source": f"account {p.account}, mode {found.mode}"}
    rows = [
        [str(t), turn.claim(r["quantity"], "plain", "shares held", ticker=str(t), **about),
         turn.claim(r["price"], "dollars", "price", ticker=str(t), **about),
         turn.claim(r["value"], "dollars", "value held", ticker=str(t), **about),
         turn.claim(r["weight"], "fraction", "weight", ticker=str(t), **about),
         turn.claim(r["unrealized"], "dollars", "unrealized gain", ticker=str(t), signed=True, **about)]
        for t, r in found.positions.iterrows()
    ]  # fmt: skip
    turn.table("Held", ["Ticker", "Shares", "Price", "Value", "Weight", "Unrealized"], rows)
    total = turn.claim(found.value, "dollars", "value of the account", **about)
    cash = turn.claim(found.cash, "dollars", "cash", **about)
    gain = turn.claim(found.gain, "dollars", "gain of the account", signed=True, **about)
    on = turn.claim(found.session, "date", "session of the prices", **about)
    return f"Account {p.account} is worth {total} on {on}, of which {cash} are cash; its gain is {gain}."


def weights(p: ask.Weights, turn: Turn) -> str:
    """Weigh tickers by a method, within limits."""
    from mltrainer.trading.portfolio.optimize import optimize

    found = optimize(p.tickers or universe("sample20"), method=p.method)
    source = f"{p.method}, mode {found.mode}"
    rows = []
    for t, r in found.frame.iterrows():
        about = {"ticker": str(t), "as_of": found.as_of, "source": source}
        rows.append([str(t), turn.claim(r["weight"], "fraction", "weight", **about),
                     turn.claim(r["risk"], "fraction", "share of the risk", **about)])  # fmt: skip
    turn.table(f"Weights by {p.method}", ["Ticker", "Weight", "Share of the risk"], rows)
    about = {"as_of": found.as_of, "source": source}
    vol = turn.claim(found.volatility, "fraction", "volatility a session", **about)
    cash = turn.claim(found.cash, "fraction", "cash", **about)
    largest = str(found.weights.abs().idxmax())
    w = turn.claim(found.weights[largest], "fraction", "weight", ticker=largest, **about)
    stood = "" if found.status == "optimal" else f" The method ended as {found.status.partition(':')[0]}."
    return (
        f"By {p.method}, the largest weight is {largest} with {w}; cash is {cash} and the volatility of the book "
        f"{vol} a session.{stood} These are weights and no recommendation."
    )


def data_quality(p: ask.Prices, turn: Turn) -> str:
    """Ask every rule of quality of a ticker's bars."""
    found = quality.quality(p.ticker, start=p.start, end=p.end)
    about = {"ticker": p.ticker, "as_of": found.asof, "source": f"rules of quality, mode {settings().data_mode}"}
    counts = {s: sum(f.severity == s for f in found.findings) for s in ("error", "warning", "info")}
    rows = [
        [f.severity, f.rule, turn.claim(f.rows, "count", f"rows of rule {f.rule}", **about)] for f in found.findings
    ]
    turn.table(f"Findings on {p.ticker}", ["Severity", "Rule", "Rows"], rows)
    whole = turn.claim(found.completeness, "fraction", "completeness", **about)
    n = turn.claim(found.sessions, "count", "sessions checked", **about)
    bad, warned = (turn.claim(counts[s], "count", f"{s}s found", **about) for s in ("error", "warning"))
    fit = "is fit to be learned from" if found.ok else "is not fit to be learned from"
    return f"{p.ticker} {fit}: {n} sessions, completeness {whole}, errors {bad}, warnings {warned}."


def alerts(p: ask.Nothing, turn: Turn) -> str:
    """List the alerts that are not resolved."""
    from mltrainer.trading.alerts import history

    found = history()
    open_ = found[found["state"] != "resolved"]
    turn.table("Alerts", ["Session", "Severity", "Kind", "Of", "State"],
               [[turn.claim(r["session"], "date", "session of the alert"), r["severity"], r["kind"], r["subject"],
                 r["state"]] for _, r in open_.head(20).iterrows()])  # fmt: skip
    n = turn.claim(len(open_), "count", "alerts that are not resolved")
    return f"Alerts that are not resolved: {n}."


def trail(p: ask.Trail, turn: Turn) -> str:
    """Verify the audit trail, or list its last entries."""
    head = audit.head()
    size = turn.claim(head.size, "count", "entries of the audit trail", source=f"audit head {head}"[:40])
    if p.what == "recent":
        last = audit.entries(p.many)[::-1]
        days = [turn.claim(e.at[:10], "date", "day of the entry") for e in last]
        rows = [[turn.claim(e.seq, "count", "entry"), d, e.kind, e.actor] for e, d in zip(last, days, strict=True)]
        turn.table("Last entries of the audit trail", ["Entry", "Day", "Kind", "By"], rows)
        return f"The audit trail has {size} entries; the table shows the last."
    found = audit.verify()
    turn.table("Audit trail", ["Check", "Finding"], [["trail", f] for f in found[:20]] or [["trail", "holds"]])
    n = turn.claim(len(found), "count", "findings of the audit trail")
    said = "holds" if not found else "does not hold"
    return f"The audit trail {said}: {size} entries, findings {n}."


def tickers(p: ask.Nothing, turn: Turn) -> str:
    """List what the mode in force holds."""
    if settings().data_mode != "sample":
        return (
            f"The mode is {settings().data_mode}: any ticker of the provider can be asked for, as far as the plan goes."
        )
    names = market.tickers()
    turn.table("Tickers of the sample", ["Ticker"], [[t] for t in names])
    return f"The sample holds {turn.claim(len(names), 'count', 'tickers')} tickers: {', '.join(names)}."


def status(p: ask.Nothing, turn: Turn) -> str:
    """Say which data this is, and how much has been tried."""
    from mltrainer.evaluation import trials
    from mltrainer.views import mode_words

    n = turn.claim(len(trials.ledger()), "count", "trials in the ledger", source="trial ledger")
    size = turn.claim(audit.head().size, "count", "entries of the audit trail", source="audit trail")
    mode = settings().data_mode
    return f"The mode is {mode}: {mode_words(mode)}. The ledger holds {n} trials, the audit trail {size} entries."
