"""Terms in plain words, for who never met them; an example where one helps."""

import re
from difflib import get_close_matches

from mltrainer.assistant import parameters as ask
from mltrainer.assistant.claims import Turn
from mltrainer.errors import UnknownName
from mltrainer.evaluation import columns
from mltrainer.features.targets import TARGETS
from mltrainer.models import catalog

TERMS = {
    "sharpe ratio": "Mean return over its deviation, per year: how much was earned for its ups and downs.",
    "deflated sharpe": "The probability that a Sharpe ratio is above luck's best among all trials.",
    "timing": "What a model earns by being in or out at the right time, without what its usual exposure earns anyway.",
    "information coefficient": "Rank correlation of forecast and outcome: at zero it knows nothing.",
    "hit rate": "Share of forecasts that had the sign of the outcome. A rising share is often right by saying up.",
    "drawdown": "The loss from a peak of wealth to the lowest point after it, as a positive share of the peak.",
    "value at risk": "The loss that is exceeded only on the worst of days, as a positive fraction of wealth.",
    "expected shortfall": "The mean loss on the days beyond the value at risk.",
    "volatility": "Standard deviation of returns: how far they usually are from their mean.",
    "p value": "How often luck alone would do as well. Small means that luck is a poor explanation.",
    "trial": "Every fit ever made, kept in a ledger; the more was tried, the better luck looks.",
    "leaderboard": "All results, the strongest evidence first, judged against what luck does in so wide a search.",
    "walk-forward": "Learn from the past, forecast what comes next, move on; nothing is learned before it was known.",
    "purge": "Rows left out between train and test, as their labels reach into the test.",
    "embargo": "More rows left out before each test block, so that nothing carries over.",
    "look-ahead": "Knowing at a time what was known only later; the commonest way to be fooled by a backtest.",
    "regime": "The state of a market: calm or turbulent, rising or falling, as far as one could know on the day.",
    "baseline": "A plain forecast, as the mean of the past; a model has to beat it to be worth anything.",
    "skill": "What a model adds to holding the share and to the plain forecasts. Exposure alone is none.",
    "calibration": "Whether what is called likely happens as often as was said.",
    "coverage": "Share of outcomes that lay inside the forecast's interval.",
    "turnover": "How much is traded a year, in units of wealth; each unit costs.",
    "break-even cost": "The cost of trading at which nothing would be left of what was earned.",
    "risk parity": "Weights by which every position carries the same share of the risk.",
    "kelly": "The stake that makes wealth grow fastest in the long run, if the odds are known.",
    "black-litterman": "Weights that start from the market's and move as far as views are certain.",
    "provenance": "Where a number came from: source, address, time and the hash of the bytes.",
    "audit trail": "A chain of entries in which any change shows.",
    "sample": "Real history that ships with the package, ending years ago; for research, not for trading.",
    "horizon": "How many sessions a forecast looks ahead, and how long a position is held.",
    "basis point": "A hundredth of a percent.",
    "overfitting": "Learning the noise of the past, which does not come again.",
    "backtest": "What a rule would have earned in the past; evidence only if the rule was not chosen by it.",
    "alpha": "Return beyond what the exposure to the market explains.",
    "beta": "How far a return moves when the market's moves by one.",
    "conformal interval": "An interval as wide as the model's own past errors make it.",
    "claim": "A figure of a tool result, with its unit, day and source; no other number is shown in an answer.",
}

SAID = ("Method", "Assumes", "Use", "Runs", "Reference", "Status")  # of a card


def explain(p: ask.Term, turn: Turn) -> str:
    """Explain a term, a model, a target or a column."""
    asked = p.term.strip().strip("?").lower()
    known = {s.name.lower(): s.name for s in catalog.specs()}
    if asked in known:
        return _card(known[asked], turn)
    if asked in TARGETS:
        row = TARGETS[asked]
        return f"{asked.capitalize()} is a target: {row.title}, in units of {row.unit}."
    if found := _term(asked):
        return f"{found[:1].upper()}{found[1:]}: {TERMS[found]}"
    column = asked.replace(" ", "_").replace("-", "_")
    if column in columns.LEADERBOARD:
        return f"{asked}: {columns.LEADERBOARD[column].text}."
    raise UnknownName.of("term", p.term, [*TERMS, *TARGETS, *known.values()])


def _term(asked: str) -> str | None:
    shorter = re.sub(r"^(?:the|a|an) ", "", asked)
    for word in (shorter, shorter.rstrip("s")):
        if word in TERMS:
            return word
    inside = [t for t in TERMS if len(t) > 3 and (t in shorter or (len(shorter) > 3 and shorter in t))]
    return next(iter(inside or get_close_matches(shorter, TERMS, n=1, cutoff=0.75)), None)


def _card(name: str, turn: Turn) -> str:
    card = catalog.spec(name).card
    rows = [[what, words] for what, words in card.rows() if what in SAID]
    turn.table(name, ["What", "Said"], rows)
    return f"{name}, of the family {catalog.FAMILIES[card.family].title}: {card.method.assumes}"
