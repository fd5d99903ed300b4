"""Analytics: a market's price and regime, the economy, what moves together, what was forecastable, a portfolio.

What takes seconds and rests on data alone (regimes, portfolio) is kept by itself and made once for each day of data.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from itertools import combinations
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd

from mltrainer import metrics, reports, views
from mltrainer.dashboards.incidents import incident
from mltrainer.dashboards.page import Basis, Page, empty, fold, foot, hidden
from mltrainer.dashboards.pictures import caption
from mltrainer.data import market, quality, universes
from mltrainer.errors import MltrainerError
from mltrainer.features.indicators import compute
from mltrainer.features.targets import target
from mltrainer.reports.verify import proven
from mltrainer.settings import settings
from mltrainer.trading.portfolio.optimize import efficient_frontier, optimize
from mltrainer.trading.regimes import regimes
from mltrainer.trust import gate

MEAN, YEAR, NAMES = 200, 252, 10  # sessions of the mean, of correlations; names in their picture
SPANS = {"2 years": 504, "5 years": 1260, "all": 0}
SHOWN = (
    "rsi_14",
    "volatility_21",
    "macd_histogram",
    "bollinger_position",
    "volume_zscore_21",
)  # where the bars have them
BOARD = "name ticker family verdict p_knows p_pays timing_sharpe sharpe ic max_drawdown".split()
TOP = 12  # rows of the leaderboard


class AnalyticsPage(Page):
    """What state is the market in, and what does anybody know about it?"""

    NAME = "analytics"
    CONTROLS = ("Ticker", "Span", "Indicator", "Run", "Portfolio")
    EVERY = 60

    def __init__(
        self, runs: Sequence[reports.Run], others: Mapping[str, str], state: Mapping[str, str], basis: Basis = Basis()
    ) -> None:
        self.runs, self.others = {run.id: run for run in runs}, others
        self.tickers = _tickers(runs)
        names = ("market", "indicator", "economy", "together", "known", "board", "portfolio", "fit")
        self.bodies = {name: widgets.HTML() for name in names}
        super().__init__(list(self.bodies.values()), state, basis)

    @classmethod
    def read(cls, state: Mapping[str, str], out: str | Path | None, basis: Basis) -> widgets.Widget:
        """The page of the runs that verify and of the tickers that can be read here."""
        runs, others = proven(out)
        if not _tickers(runs):
            return empty("There is no market to show yet.", "Fetch one: <code>mltrainer fetch bars MSFT</code>.")
        return cls(runs, others, state, basis)

    def load(self) -> None:
        """Runs, tickers, and whether the prices of the chosen one can be read now."""
        runs, others = proven(self.basis.out)
        market.bars(str(self.controls["Ticker"].value))
        self.runs, self.others, self.tickers = {run.id: run for run in runs}, others, _tickers(runs)

    def settle(self, state: Mapping[str, str]) -> None:
        """Tickers, spans and indicators, runs, and ways to weigh a portfolio."""
        first = "MSFT" if "MSFT" in self.tickers else self.tickers[0]
        self.offer("Ticker", [(t, t) for t in self.tickers], state, first)
        self.offer("Span", [(s, s) for s in SPANS], state)
        self.offer("Indicator", [(i.replace("_", " "), i) for i in SHOWN], state)
        runs = [(run.title, run.id) for run in self.runs.values()]
        self.offer("Run", runs or [("no run yet", "")], state)
        self.offer("Portfolio", [(m.replace("-", " "), m) for m in METHODS], state)

    def fill(self) -> None:
        """Every part; one that cannot be made says why, and the others stand."""
        ticker, span, indicator, run, method = (str(self.controls[c].value) for c in self.CONTROLS)
        chosen = self.runs.get(run)
        parts: dict[str, Callable[[], str]] = {
            "market": lambda: self.section("market", f"{ticker} {span}", lambda: _market(ticker, SPANS[span])),
            "indicator": lambda: _indicator(ticker, SPANS[span], indicator),
            "economy": lambda: self.section("economy", ticker, lambda: _economy(ticker)),
            "together": lambda: self.section("together", ticker, lambda: _together(ticker)),
            "known": lambda: _known(list(self.runs.values()), ticker),
            "board": lambda: _board(chosen),
            "portfolio": lambda: self.section("portfolio", method, lambda: _portfolio(method)),
            "fit": lambda: self.section("fit", ticker, lambda: _fit(ticker)),
        }
        try:
            bars = market.bars(ticker)
        except MltrainerError as error:
            self.banner.value = views.banner(settings().data_mode, "")
            self.bodies["market"].value = _not_there(ticker, error)
            for name in ("known", "board"):  # which rest on runs alone
                self.bodies[name].value = _or_why(name, parts[name])
            self.foot.value = hidden(self.others) + foot([], self.state)
            return
        self.banner.value = views.banner(settings().data_mode, str(bars.frame.index[-1].date()))
        for name, make in parts.items():
            self.bodies[name].value = _or_why(name, make)
        sources = [p.__dict__ for p in gate.roots(bars)]
        self.foot.value = hidden(self.others) + foot(sources, self.state)


METHODS = ("risk-parity", "minimum-variance", "equal-weight", "hierarchical-risk-parity", "maximum-diversification")


def _not_there(ticker: str, error: MltrainerError) -> str:
    """What to do where the prices of a ticker cannot be read here; a page asks no provider, it has no key."""
    lede = f'<p class="lede">The prices of {escape(ticker)} are not here yet.</p>'
    advice = f"<p>Whoever holds the key fetches them: <code>mltrainer fetch bars {escape(ticker)}</code>.</p>"
    return f'{lede}{advice}<p class="quiet">{escape(str(error))}</p>'


def _or_why(name: str, make: Callable[[], str]) -> str:
    try:
        return make()
    except MltrainerError as error:
        return f'<p class="quiet">{escape(str(error))}</p>'
    except Exception:
        return incident(f"analytics, {name}")


def _tickers(runs: Sequence[reports.Run]) -> list[str]:
    """What can be read here: all of a sample, else what runs were made of."""
    if settings().data_mode == "sample":
        return market.tickers()
    return list(dict.fromkeys(t for run in runs for t in run.rows["ticker"]))


def _cut(frame: pd.DataFrame, span: int) -> pd.DataFrame:
    return frame.iloc[-span:] if span else frame


# --- the parts ------------------------------------------------------------------------------------------------


def _market(ticker: str, span: int) -> str:
    """The regime in one sentence and four figures, and the price shaded by it."""
    found = regimes(ticker)
    now, history = found.now, _cut(found.history, span)
    mean = found.history["close"].rolling(MEAN).mean().loc[history.index]
    gap = float(history["close"].iloc[-1] / mean.iloc[-1] - 1) if np.isfinite(mean.iloc[-1]) else np.nan
    lede = f"{ticker} was {now['regime'] or 'in no regime that can be told'} at the close of {found.session:%Y-%m-%d}"
    trend = ", ".join(f"{now[k]} {k}" for k in ("trend", "volatility", "volume") if now.get(k))
    weighed = f"made of {now['weight']:.0%} of its parts" if now["weight"] is not None else "not known"
    items = [
        ("Regime", str(now["regime"] or "unknown"), trend),
        ("Regime score", views.fixed(0)(_float(now["score"])), f"0 is a crisis, 100 is calm; {weighed}"),
        ("Chance of calm", views.fixed(2)(_float(now["p_calm"])), "of its hidden state, by prices up to that day"),
        (f"Above its mean of {MEAN}, %", views.percent(gap), "sessions; below zero the price is under it"),
    ]
    missing = [f"{name}: {why}" for name, why in found.unavailable.items()]
    figure = views.price(history, ticker, f"{ticker} by regime: {found.sentence()}", mean, MEAN)
    head = f'<p class="lede">{escape(lede)}.</p>{views.figures(items, terms=True)}'
    return head + caption("market", figure) + fold("What is not known of it", views.asides(missing)) * bool(missing)


def _float(value: Any) -> float:
    return np.nan if value is None else float(value)


def _indicator(ticker: str, span: int, name: str) -> str:
    """One indicator, as models see it."""
    table, missing = compute(market.bars(ticker).frame)
    if name not in table:
        return f'<p class="quiet">{escape(name)}: {escape(missing.get(name, "these bars do not have it"))}</p>'
    values = _cut(table[[name]], span)
    last = values[name].iloc[-1]
    share = float((values[name] <= last).mean())
    title = f"{name.replace('_', ' ')} stands at {views.number(last)}, above {share:.0%} of the sessions shown"
    figure = views.lines(values, title=title, y=name.replace("_", " "), corner=_corner(ticker, values))
    return caption("indicator", figure)


def _corner(name: str, table: pd.DataFrame) -> str:
    return f"{name}, {settings().data_mode}, sessions to {table.index[-1].date()}"


def _economy(ticker: str) -> str:
    """The latest value of each macro series that was known at the last session, and a year before."""
    bars = market.bars(ticker)
    last, rows = bars.frame.index[-1], []
    for series in market.context(bars):
        if series.kind != "macro":
            continue
        known = series.frame[series.frame["available"] <= last].sort_index()
        if len(known):
            before = known[known.index <= known.index[-1] - pd.DateOffset(years=1)]
            past = float(before["value"].iloc[-1]) if len(before) else np.nan
            day = f"{known.index[-1]:%Y-%m-%d}"
            rows.append([series.name, _note(series), day, float(known["value"].iloc[-1]), past])
    heads = ["Series", "What", "Period", "Latest", "A year before"]
    body = views.table(rows, heads) if rows else "<p>No macro series is at hand for this span.</p>"
    return f"<h2>The economy, as known on {last:%Y-%m-%d}</h2>{body}"


def _note(series: Any) -> str:
    return str(series.provenance.note).split(";")[0] if series.provenance else ""


def _together(ticker: str) -> str:
    """Correlations of daily returns over the last year, of the ticker with the names that move most like it."""
    closes = {ticker: market.bars(ticker).frame["close"]}
    last = closes[ticker].index[-1]
    for name in _names():
        if name not in closes:
            closes[name] = market.bars(name, end=last).frame["close"]
    table = pd.DataFrame(closes).loc[:last].iloc[-YEAR - 1 :]
    returns = table.dropna(axis=1, thresh=YEAR).pct_change(fill_method=None).iloc[1:]
    if ticker not in returns or returns.shape[1] < 3:
        return '<p class="quiet">Too few names trade over the same year to compare.</p>'
    near = returns.corr()[ticker].drop(ticker).sort_values(ascending=False)
    chosen = [ticker, *near.index[: NAMES - 1]]
    matrix = returns[chosen].corr()
    pairs = [float(matrix.loc[a, b]) for a, b in combinations(chosen, 2)]
    most = f"{ticker} moves most like {near.index[0]} ({near.iloc[0]:.2f})"
    title = f"{most}; these names' mean correlation is {np.mean(pairs):.2f}"
    figure = views.correlations(matrix, title=title, corner=_corner(f"{YEAR} daily returns", returns))
    return f"<h2>What moves together</h2>{caption('together', figure)}{views.glossary(['Correlation'])}"


def _names() -> tuple[str, ...]:
    return universes.universe("sample20").tickers if settings().data_mode == "sample" else ()


def _known(runs: Sequence[reports.Run], ticker: str) -> str:
    """What runs have found forecastable of a ticker, one row a question; nothing is computed."""
    rows = []
    for run in runs:
        same = run.rows[(run.rows["ticker"] == ticker) & (run.rows["status"] == "ok")]
        if len(same):
            p = run.manifest["parameters"]
            aim, best = target(p.get("target", "return")), same.iloc[0]
            rows.append([aim.title, str(p["horizon"]), best["name"], best["baseline"] or "none",
                         100 * best["gain"], best["p_knows"], best["p_pays"], best["verdict"]])  # fmt: skip
    heads = [
        "Target",
        "Sessions",
        "Best model",
        "Best plain forecast",
        "Loss saved, %",
        "p, knows",
        "p, pays",
        "Verdict",
    ]
    none = f"No run has asked it of {escape(ticker)} yet: <code>mltrainer report --ticker {escape(ticker)}</code>."
    body = views.table(rows, heads, write=views.fixed(2)) + views.glossary(heads) if rows else f"<p>{none}</p>"
    return f"<h2>What is forecastable</h2>{body}"


def _board(run: reports.Run | None) -> str:
    if run is None:
        return "<h2>Leaderboard</h2><p>There is no run yet: <code>make report</code> makes one.</p>"
    board = views.board(run.rows.head(TOP), BOARD)
    best = f"The best {min(TOP, len(run.rows))} of {len(run.rows)} results of {escape(run.title)}."
    return (
        f"<h2>Leaderboard</h2><p>{best}</p>"
        + board
        + views.glossary(["p, knows", "p, pays", "Timing Sharpe", "Sharpe", "IC"])
    )


WEIGH = "Weigh tickers of your own: <code>mltrainer optimize --ticker A --ticker B</code>."


def _portfolio(method: str) -> str:
    """A book of the sample's names by one method, and where it lies beside the frontier."""
    if not _names():
        return f"<h2>Portfolio</h2><p>{WEIGH}</p>"
    universe = universes.universe("sample20")
    book, equal = (optimize(universe, method=m) for m in (method, "equal-weight"))
    year = np.array([metrics.SESSIONS**0.5, metrics.SESSIONS])
    curve = efficient_frontier(universe)[["volatility", "expected_return"]] * year
    points = {b.method: (b.volatility * year[0], b.expected_return * year[1]) for b in (equal, book)}
    risk, implied = points[method]
    title = f"{method.replace('-', ' ')}: a volatility of {risk:.0%} a year for an implied return of {implied:.0%}"
    corner = f"{len(universe)} names, {book.sessions} sessions to {book.as_of}"
    drawn = caption("portfolio", views.frontier(curve, points, title, corner))
    rows = [[str(r["name"]), 100 * r["weight"], 100 * r["risk"]] for r in book.to_dict()["rows"]]
    heads = ["Name", "Weight, %", "Share of risk, %"]
    table = fold("Weights and shares of risk", views.table(rows, heads, write=views.fixed(1)))
    return f"<h2>Portfolio</h2>{drawn}{table}{views.glossary([*heads, 'Frontier'])}{views.asides(book.notes)}"


def _fit(ticker: str) -> str:
    """Is the data fit to be learned from?"""
    found = quality.quality(ticker)
    worst = "no error" if found.ok else "errors: do not learn from it before they are looked at"
    items = [
        ("Completeness, %", views.percent(found.completeness), "of the exchange's sessions have a bar"),
        ("Sessions", f"{found.sessions:,}", f"judged as of {found.asof}"),
        ("Findings", str(len(found.findings)), worst),
    ]
    rows = [[f.severity, f.rule, f.message, f.remedy] for f in found.findings]
    table = (
        views.table(rows, ["Severity", "Rule", "Finding", "What to do"])
        if rows
        else "<p>The bars raise no finding.</p>"
    )
    return f"<h2>Data quality</h2>{views.figures(items, terms=True)}{table}"
