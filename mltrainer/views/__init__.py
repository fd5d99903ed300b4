"""One look: figures, tables and cards as reports, notebooks and dashboards show them.

Colors carry one meaning each (`look.css` holds the same ones): accent is the model in question, grey is the benchmark
or no evidence, amber a warning, vermilion a loss. A figure's title states the finding, its corner the source and date.
"""

from mltrainer.views.cards import asides, banner, card, mode_words
from mltrainer.views.dashboards import correlations, lines, price
from mltrainer.views.drawings import ACCENT, AMBER, CONFIG, FONT, NONE, SOFT, VERMILION, drawing
from mltrainer.views.evaluations import WEEK, equity, forecasts
from mltrainer.views.glossary import GLOSSARY, glossary, term
from mltrainer.views.heat import heat
from mltrainer.views.numbers import DASH, MINUS, fixed, number, percent
from mltrainer.views.portfolio import contributions, drawdowns, frontier, kelly, wealth
from mltrainer.views.ranking import LINES, PHONE_ROWS, SCREEN, gains, sharpes
from mltrainer.views.regimes import SHADES, regimes, states
from mltrainer.views.tables import BOARD, BOARDS, COLUMNS, MAJOR, SKILL, Column, board, figures, pill, table

__all__ = [
    "ACCENT",
    "AMBER",
    "BOARD",
    "BOARDS",
    "COLUMNS",
    "CONFIG",
    "DASH",
    "FONT",
    "GLOSSARY",
    "LINES",
    "MAJOR",
    "MINUS",
    "NONE",
    "PHONE_ROWS",
    "SCREEN",
    "SHADES",
    "SKILL",
    "SOFT",
    "VERMILION",
    "WEEK",
    "Column",
    "asides",
    "banner",
    "board",
    "card",
    "contributions",
    "correlations",
    "drawdowns",
    "drawing",
    "equity",
    "figures",
    "fixed",
    "forecasts",
    "frontier",
    "gains",
    "glossary",
    "heat",
    "kelly",
    "lines",
    "mode_words",
    "number",
    "percent",
    "pill",
    "price",
    "regimes",
    "sharpes",
    "states",
    "table",
    "term",
    "wealth",
]  # fmt: skip
