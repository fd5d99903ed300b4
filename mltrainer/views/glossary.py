"""What the words beside figures mean, for a reader who has never heard them; each one tap away from its figure."""

from collections.abc import Iterable
from html import escape

GLOSSARY = {
    "Deflated Sharpe": (
        "The chance that what the model earned by moving in and out is more than luck. Whoever tries "
        "many models finds a lucky one; this counts how many were tried. Near 1 luck is unlikely, "
        "near 0.5 it is a coin."
    ),
    "Timing Sharpe": (
        "Gain over risk of moving in and out alone: what would be earned by simply holding as much on "
        "average is taken away. Zero means that the moves added nothing."
    ),
    "Sharpe": (
        "Gain over risk: the mean yearly return divided by how much returns swing. Shares held for "
        "decades have about 0.4."
    ),
    "Sharpe, net of costs": (
        "Gain over risk after trading costs: the mean yearly return divided by how much returns "
        "swing. Shares held for decades have about 0.4."
    ),
    "Buy-and-hold Sharpe": (
        "The same figure for buying once and doing nothing. A model that does not beat it was not worth its effort."
    ),
    "Rank": "The place of this model among all that were tried on this ticker; 1 is the best.",
    "Information coefficient": (
        "Whether high forecasts were followed by high returns: 1 is always, 0 is by chance alone. "
        "Good forecasts of a share reach about 0.05."
    ),
    "Worst drawdown, %": "The most that would have been lost from a high point to the next low one.",
    "Break-even cost, bps": (
        "How dear each trade could be until nothing is left; 100 bps are 1 % of what is traded. Large "
        "shares cost about 5."
    ),
    "p, knows": (
        "The chance that luck alone would order the outcomes as well, counting every model that was "
        "tried. Below 0.05 it is called evidence."
    ),
    "p, pays": (
        "The chance that luck alone would earn as much by moving in and out, counting every model that was tried."
    ),
    "Loss saved, %": (
        "How much smaller the errors are than those of the best plain forecast; below zero the model is worse."
    ),
    "Size, %": (
        "The share of the wealth to hold. It comes from how much the price is expected to swing, not "
        "from a belief that it will rise."
    ),
    "Held in all, %": "The share of the wealth in all names together; the rest stays in cash.",
    "Volatility, %": (
        "How far a price usually swings from its mean in a year. About two years in three lie within it."
    ),
    "Stop": "The price at which one gives up: it is further away than the usual noise.",
    "Target": "The price at which the recommendation has done what could be expected of it.",
    "Recommendations over": "Those whose time is up, so that their outcome is known.",
    "Volatility as said, %": ("How often the price swung as much as was said; of 90 % intervals it should be 9 in 10."),
    "Evidence": "Whether a model has shown that it knows something, counting how many models were tried.",
    "Regime": "The state of the market: calm or stormy, rising, falling or neither.",
    "Regime score": ("0 is a crisis, 100 is calm and rising. Made of volatility, momentum, breadth and the economy."),
    "Chance of calm": "How likely it is, by prices alone, that the market is in its calm state.",
    "Above its mean of 200, %": (
        "How far the price is from its mean of the last 200 trading days. Many take above it for a rising market."
    ),
    "Sessions": "Trading days that there is a price of.",
    "Findings": "What rules of quality found to look at. Few are errors; an error says not to learn from the data.",
    "Completeness, %": "The share of trading days that have a price. Below 100 something is missing.",
    "Alerts standing": "Alerts whose condition is not over yet.",
    "Acknowledged": "Alerts that somebody has said to have seen; the audit trail has who and when.",
    "Critical": "Something is at or beyond the line that was drawn beforehand.",
    "False alarms, %": "How often such an alert was wrong in the past.",
    "Any day, %": (
        "How often saying the same on any day would have been wrong: only what is below it is worth anything."
    ),
    "Correlation": "Whether two prices move together: 1 is always, 0 is no relation, below 0 they move apart.",
    "Share of risk, %": "How much of the swings of the whole portfolio come from this name.",
    "Frontier": (
        "The least risk for each expected return; these returns are what equal weights imply, and no forecast."
    ),
    "Hit rate": "Share of forecasts that had the sign of the outcome. A rising share is often right by saying up.",
    "Value at risk": "The loss that is exceeded only on the worst of days, as a positive fraction of wealth.",
    "Expected shortfall": "The mean loss on the days beyond the value at risk.",
    "p value": "How often luck alone would do as well. Small means that luck is a poor explanation.",
    "Trial": "Every fit ever made, kept in a ledger; the more was tried, the better luck looks.",
    "Leaderboard": "All results, the strongest evidence first, judged against what luck does in so wide a search.",
    "Walk-forward": "Learn from the past, forecast what comes next, move on; nothing is learned before it was known.",
    "Purge": "Rows left out between train and test, as their labels reach into the test.",
    "Embargo": "More rows left out before each test block, so that nothing carries over.",
    "Look-ahead": "Knowing at a time what was known only later; the commonest way to be fooled by a backtest.",
    "Baseline": "A plain forecast, as the mean of the past; a model has to beat it to be worth anything.",
    "Skill": "What a model adds to holding the share and to the plain forecasts. Exposure alone is none.",
    "Calibration": "Whether what is called likely happens as often as was said.",
    "Coverage": "Share of outcomes that lay inside the forecast's interval.",
    "Turnover": "How much is traded a year, in units of wealth; each unit costs.",
    "Risk parity": "Weights by which every position carries the same share of the risk.",
    "Kelly": "The stake that makes wealth grow fastest in the long run, if the odds are known.",
    "Black-litterman": "Weights that start from the market's and move as far as views are certain.",
    "Provenance": "Where a number came from: source, address, time and the hash of the bytes.",
    "Audit trail": "A chain of entries in which any change shows.",
    "Sample": "Real history that ships with the package, ending years ago; for research, not for trading.",
    "Horizon": "How many sessions a forecast looks ahead, and how long a position is held.",
    "Basis point": "A hundredth of a percent.",
    "Overfitting": "Learning the noise of the past, which does not come again.",
    "Backtest": "What a rule would have earned in the past; evidence only if the rule was not chosen by it.",
    "Alpha": "Return beyond what the exposure to the market explains.",
    "Beta": "How far a return moves when the market's moves by one.",
    "Conformal interval": "An interval as wide as the model's own past errors make it.",
    "Claim": "A figure of a tool result, with its unit, day and source; no other number is shown in an answer.",
}
ALIASES = {  # other words for the same, in lower case
    "ic": "Information coefficient", "rank correlation": "Information coefficient", "sharpe ratio": "Sharpe",
    "net sharpe": "Sharpe, net of costs", "deflated sharpe ratio": "Deflated Sharpe", "timing": "Timing Sharpe",
    "drawdown": "Worst drawdown, %", "largest drawdown": "Worst drawdown, %", "max drawdown": "Worst drawdown, %",
    "maximum drawdown": "Worst drawdown, %", "volatility": "Volatility, %", "vol": "Volatility, %",
    "break-even cost": "Break-even cost, bps", "breakeven": "Break-even cost, bps", "var": "Value at risk",
    "es": "Expected shortfall", "cvar": "Expected shortfall", "p": "p value", "p-value": "p value",
    "false alarm": "False alarms, %", "completeness": "Completeness, %", "loss saved": "Loss saved, %",
    "bps": "Basis point", "kelly criterion": "Kelly", "efficient frontier": "Frontier", "walk forward": "Walk-forward",
    "look ahead": "Look-ahead", "lookahead": "Look-ahead", "p knows": "p, knows", "p pays": "p, pays",
}  # fmt: skip
_KNOWN = {k.lower(): k for k in GLOSSARY}


def known(name: str) -> str | None:
    """The word of `GLOSSARY` that is meant, whatever its case, by an alias or in the plural; None where there is none.

    >>> known("sharpe ratio"), known("ES"), known("Trials"), known("no such word")
    ('Sharpe', 'Expected shortfall', 'Trial', None)
    """
    low = " ".join(name.lower().split())
    forms = (low, low.removesuffix("s"))
    return next((found for w in forms if (found := ALIASES.get(w) or _KNOWN.get(w))), None)


def term(name: str) -> str:
    """The name of a figure, which opens on a tap where there is an explanation; escaped."""
    meaning = GLOSSARY.get("Information coefficient" if name == "IC" else name)
    if meaning is None:
        return f'<span class="name">{escape(name)}</span>'
    return f'<details class="name term"><summary>{escape(name)}</summary><p>{escape(meaning)}</p></details>'


def glossary(names: Iterable[str]) -> str:
    """A part that opens on a tap and explains the heads of a table; nothing where none is known."""
    said = {n: known(n) for n in dict.fromkeys(names) if n in GLOSSARY or n.lower() in ALIASES}
    rows = "".join(f"<dt>{escape(n)}</dt><dd>{escape(GLOSSARY[k])}</dd>" for n, k in said.items() if k)
    return f"<details><summary>What these words mean</summary><dl>{rows}</dl></details>" if said else ""
