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
    "IC": ("Whether high forecasts were followed by high returns: 1 is always, 0 is never more than by chance."),
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
    "Completeness, %": "The share of trading days that have a price. Below 100 something is missing.",
    "Alerts standing": "Alerts whose condition is not over yet.",
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
}


def term(name: str) -> str:
    """The name of a figure, which opens on a tap where there is an explanation; escaped."""
    meaning = GLOSSARY.get(name)
    if meaning is None:
        return f'<span class="name">{escape(name)}</span>'
    return f'<details class="name term"><summary>{escape(name)}</summary><p>{escape(meaning)}</p></details>'


def glossary(names: Iterable[str]) -> str:
    """A part that opens on a tap and explains the heads of a table; nothing where none is known."""
    known = [n for n in dict.fromkeys(names) if n in GLOSSARY]
    rows = "".join(f"<dt>{escape(n)}</dt><dd>{escape(GLOSSARY[n])}</dd>" for n in known)
    return f"<details><summary>What these words mean</summary><dl>{rows}</dl></details>" if known else ""
