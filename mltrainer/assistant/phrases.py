"""The phrasings that are understood without a language model: a row each, tried from top to bottom."""

import re
from typing import Any, NamedTuple


class Phrase(NamedTuple):
    """A way to ask: an example, the pattern that tells it, the tool, and parameters it fixes."""

    example: str
    pattern: str
    tool: str
    given: dict[str, Any] = {}  # noqa: RUF012 - never changed

    def fits(self, question: str) -> bool:
        """Whether a question, in lower case, is asked this way."""
        return re.search(self.pattern, question) is not None


_WHY = r"^(?:what (?:is|are|does)|what's|explain|define|tell me about|how do i read|meaning of|describe)\b"
PHRASES = (
    # doing
    Phrase("train RidgeRegression on MSFT", r"^(?:please |can you |could you )?(?:re)?train\b", "train"),
    Phrase("fit and keep RidgeRegression on AAPL", r"\bfit and (?:keep|save)\b", "train"),
    # comparing comes before judging
    Phrase("compare RidgeRegression and LassoRegression on MSFT", r"\bcompare\b|\bcomparison\b", "compare"),
    Phrase("RidgeRegression vs LassoRegression on MSFT", r"\b(?:vs\.?|versus|against)\b.*", "compare"),
    Phrase(
        "which is better, RidgeRegression or LassoRegression, on MSFT?",
        r"\b(?:which|what) is (?:better|best|stronger),",
        "compare",
    ),
    Phrase("is RidgeRegression better than LassoRegression on MSFT?", r"\b(?:better|worse|stronger) than\b", "compare"),
    Phrase("put RidgeRegression and LassoRegression side by side", r"\bside by side\b", "compare"),
    # what is forecastable
    Phrase("what is forecastable of MSFT?", r"\bforecastable\b|\bpredictable\b", "forecastable"),
    Phrase(
        "what can be forecast of MSFT?",
        r"\b(?:what|anything|which targets?) can (?:be|you|one|we|i) (?:forecast|predict)",
        "forecastable",
    ),
    Phrase("can anything be predicted about MSFT?", r"\bcan anything\b.*\b(?:predict|forecast)", "forecastable"),
    Phrase("show the map of MSFT", r"\b(?:the|a) map\b", "forecastable"),
    # audit
    Phrase(
        "verify the audit trail",
        r"\bverify\b|\b(?:audit|trail)\b.*\b(?:intact|hold|ok|valid|sound)",
        "audit",
        {"what": "verify"},
    ),
    Phrase("has anybody tampered with the records?", r"\btamper|\bmanipulat|\bfalsif", "audit", {"what": "verify"}),
    Phrase("show the last entries of the audit trail", r"\b(?:audit|trail)\b", "audit", {"what": "recent"}),
    Phrase(
        "who did what recently?", r"\bwho did what\b|\bwhat was done\b|\brecent activity\b", "audit", {"what": "recent"}
    ),
    # data quality
    Phrase(
        "is the data of MSFT fit to use?",
        r"\bdata\b.*\b(?:fit|good|clean|usable|ok|okay|sound|trustworthy)\b",
        "quality",
    ),
    Phrase("data quality of AAPL", r"\bquality\b", "quality"),
    Phrase("are there gaps in the data of IBM?", r"\bgaps?\b|\bmissing (?:data|bars|sessions|days)\b", "quality"),
    Phrase("check the bars of MSFT", r"\bcheck\b.*\b(?:bars|data|prices)\b", "quality"),
    # regime
    Phrase("what regime is MSFT in?", r"\bregimes?\b(?!.*\bmean\b)", "regime"),
    Phrase("is the market calm or turbulent?", r"\b(?:calm|turbulent|stormy|nervous|quiet)\b", "regime"),
    Phrase("is MSFT in a bull or a bear market?", r"\b(?:bull|bear)(?:ish)?\b", "regime"),
    Phrase("is the market trending?", r"\btrend(?:ing|s)?\b", "regime"),
    Phrase(
        "what is the state of the market?",
        r"\bstate of the (?:market|economy)\b|\bmarket (?:state|conditions?|mood)\b|\bhow is the market\b",
        "regime",
    ),
    # advice
    Phrase("what do you recommend?", r"\brecommend|\bsuggest\b|\badvi[cs]e\b", "recommend"),
    Phrase("what should I buy?", r"\bshould (?:i|we|one)\b.*\b(?:buy|sell|hold|do|own)\b", "recommend"),
    Phrase(
        "is MSFT a buy?", r"^(?:buy|sell) (?:or|and) (?:buy|sell)|^(?:is|are) .* (?:a )?(?:buy|sell)\b", "recommend"
    ),
    Phrase(
        "any trade ideas today?",
        r"\b(?:trade|trading|investment) ideas?\b|\bsignals? (?:now|today)\b|\btop (?:pick|idea)s?\b",
        "recommend",
    ),
    # weights
    Phrase("weights of AAPL, MSFT and IBM by risk parity", r"\bweights?\b|\ballocat|\boptimi[sz]e\b", "weights"),
    Phrase("how much of each of AAPL and IBM by minimum variance?", r"\bhow much (?:of|to put)\b.*", "weights"),
    Phrase(
        "minimum variance portfolio of AAPL, IBM and MSFT",
        r"\b(?:minimum|mean|maximum|risk|equal|inverse|kelly|hierarchical)[- ]\w+ portfolio\b|\bfrontier\b",
        "weights",
    ),
    # account
    Phrase(
        "what do we hold?",
        r"\b(?:do|did) (?:i|we) (?:hold|own|have)\b|\bwhat (?:is|are) held\b|\bholdings\b|\bpositions?\b",
        "portfolio",
    ),
    Phrase("how is my portfolio doing?", r"\bportfolio\b|\baccount\b", "portfolio"),
    Phrase("how much money did we make?", r"\b(?:money|profit|p&l|pnl)\b", "portfolio"),
    # alerts
    Phrase("are there any alerts?", r"\balerts?\b|\bwarnings?\b|\balarms?\b", "alerts"),
    Phrase("what needs my attention?", r"\bmy attention\b|\banything (?:new|wrong|unusual|to worry)\b", "alerts"),
    # the catalog
    Phrase("how many models are there?", r"\bhow many models\b", "models"),
    Phrase("which models are in the family trees?", r"\bmodels?\b.*\bfamil|\bfamil(?:y|ies)\b", "models"),
    Phrase(
        "list the models",
        r"\b(?:list|show|name)\b.*\bmodels\b|\b(?:which|what) models (?:are there|do you|exist|can|are available)\b|\bcatalog(?:ue)?\b",
        "models",
    ),
    # results
    Phrase(
        "which model is best?",
        r"\b(?:best|top|strongest|winning|good) models?\b|\bmodels? (?:is|are|was|performs?|works?|do|does) (?:the )?(?:best|well|strongest)\b",
        "leaderboard",
    ),
    Phrase("show the leaderboard", r"\bleader ?board\b|\branking\b|\branked?\b", "leaderboard"),
    Phrase(
        "does any model show skill on MSFT?",
        r"\b(?:any|which|what|do|does) (?:of the )?models?\b.*\b(?:skill|work|evidence|beat|profit|true|know)",
        "leaderboard",
    ),
    Phrase("who beats the market?", r"\bbeat(?:s|ing)? (?:the )?(?:market|index|buy)", "leaderboard"),
    Phrase(
        "what has been tried on AAPL?",
        r"\b(?:been|was|were) tried\b|\btrials? (?:on|of)\b|\bstored results\b|\bresults?\b",
        "leaderboard",
    ),
    # judging one
    Phrase("evaluate RidgeRegression on MSFT", r"\b(?:evaluate|backtest|judge|assess|back-test)\b", "evaluate"),
    Phrase(
        "how good is RidgeRegression on AAPL over 5 sessions?",
        r"\bhow (?:good|well|bad|accurate|reliable|skill\w*) (?:is|does|do|are|was|would)\b",
        "evaluate",
    ),
    Phrase(
        "does RidgeRegression work on MSFT?",
        r"^(?:does|do|can|will) \w[\w.]* (?:work|forecast|predict|know|beat|have skill)\b",
        "evaluate",
    ),
    Phrase(
        "Sharpe ratio of RidgeRegression on MSFT",
        r"\b(?:sharpe|hit rate|drawdown|ic|information coefficient|r2|turnover|coverage|verdict|returns?)\b.*\b(?:of|for)\b.* on\b",
        "evaluate",
    ),
    Phrase("try RidgeRegression on MSFT", r"^(?:please )?(?:try|test|run)\b", "evaluate"),
    Phrase("performance of RidgeRegression on IBM", r"\bperformance of\b.* on\b", "evaluate"),
    # what was, before what will be
    Phrase(
        "how much did AAPL go up since 2009?",
        r"\bhow (?:much|far) (?:did|has|have)\b|\bdid \w+ (?:go|move|rise|fall|climb|drop)\b",
        "prices",
    ),
    Phrase("largest drawdown of MSFT in 2008", r"\bdrawdowns?\b.*\b(?:of|for|in)\b", "prices"),
    # forecasts
    Phrase("forecast MSFT for 5 sessions", r"^(?:please )?(?:forecast|predict)\b", "forecast"),
    Phrase("what is the forecast for AAPL?", r"\b(?:forecast|prediction|outlook)s? (?:for|of|on)\b", "forecast"),
    Phrase(
        "what will MSFT do next week?", r"\bwhat will\b|\bwhere (?:will|is) .* (?:go|going|headed|be)\b", "forecast"
    ),
    Phrase(
        "will MSFT go up tomorrow?",
        r"^will\b|\b(?:go|going|move) (?:up|down)\b|\b(?:rise|fall) (?:tomorrow|next)\b",
        "forecast",
    ),
    Phrase("expected return of MSFT over a month", r"\bexpected (?:return|volatility|move|range)\b", "forecast"),
    Phrase(
        "how volatile will MSFT be next week?",
        r"\bhow volatile will\b|\bvolatility (?:next|tomorrow|forecast)\b",
        "forecast",
    ),
    # prices
    Phrase("highest price of MSFT in 2008", r"\b(?:highest|lowest|high|low) \b", "prices"),
    Phrase("what is the price of MSFT?", r"\bprices?\b|\bquote\b", "prices"),
    Phrase("where did AAPL close?", r"\bclos(?:e|ed|ing)\b|\btrading at\b", "prices"),
    Phrase(
        "how did IBM do in 2010?",
        r"\bhow (?:did|has|have)\b.*\b(?:do|done|perform|performed|move|moved|fare|fared)\b|\bperformance of\b",
        "prices",
    ),
    Phrase(
        "what did MSFT return since 2010-01-04?",
        r"\breturn(?:ed|s)? (?:since|from|in|of|over|between)\b|\bdid \w+ (?:return|earn|gain|lose)\b",
        "prices",
    ),
    Phrase("how volatile is AAPL?", r"\bhow (?:volatile|risky)\b|\bvolatility of\b", "prices"),
    # data and status
    Phrase("which tickers are there?", r"\b(?:tickers|symbols|stocks|shares|companies|universe)\b", "tickers"),
    Phrase(
        "is this live data?",
        r"\b(?:live|real|sample|delayed) data\b|\bwhich data\b|\bdata (?:mode|source)\b|\bwhere does the data\b",
        "status",
    ),
    Phrase("what mode is this?", r"\bmode\b|\bstatus\b", "status"),
    Phrase("how many trials have there been?", r"\bhow many (?:trials|tests|fits)\b", "status"),
    # words
    Phrase("what does Sharpe ratio mean?", r"\bmean(?:s|ing)?\b|\bdefinition\b", "explain"),
    Phrase("explain deflated Sharpe", r"^(?:please )?(?:explain|define|describe)\b", "explain"),
    Phrase("what is a drawdown?", _WHY, "explain"),
    Phrase("how does RidgeRegression work?", r"\bhow does\b.*\bwork\b", "explain"),
    Phrase("more about Theta", r"\babout\b", "explain"),
)
YES = re.compile(r"^(?:yes|y|yes please|ok|okay|do it|go ahead|confirm(?:ed)?|please do|sure|go)[.! ]*$", re.I)
HELP = re.compile(r"^(?:help|\?|hi|hello|hey|what can (?:you do|i ask)|who are you|menu|commands?)[?!. ]*$", re.I)
