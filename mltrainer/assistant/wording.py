"""Words of a sentence that say what its figures are: metrics, directions, comparisons, periods, times, negations."""

import re

TOPICS = {  # of a figure, and the words that say so
    "sharpe": r"sharpe",
    "information coefficient": r"\bIC\b|information coefficient|rank correlation",
    "hit rate": r"hit rate|\bhits\b",
    "drawdown": r"drawdown",
    "volatility": r"volatilit",
    "weight": r"\bweights?\b|allocation",
    "price": r"\bprices?\b|\bclosed?\b|trades? at",
    "p value": r"\bp[- ]values?\b|by luck|\bluck\b",
    "value at risk": r"value at risk|\bVaR\b",
    "shortfall": r"shortfall",
    "coverage": r"coverage|covered",
    "loss": r"loss saved|saves|\bgain over\b",
    "score": r"regime score|\bscores?\b",
    "determination": r"\bR2\b|R²|r-squared|out-of-sample R",
    "turnover": r"turnover",
    "cost": r"break-?even|\bcosts?\b",
    "completeness": r"completeness|complete\b",
    "return": r"\breturn(?:s|ed)?\b|\bgained\b|\bearned\b|\brose\b|\bfell\b",
    "probability": r"probabilit|\bchance\b",
    "t statistic": r"t[- ]statistic|\bt of\b",
    "horizon": r"horizon",
}
TOPIC = {name: re.compile(pattern, re.I) for name, pattern in TOPICS.items()}
KINDS = tuple(  # of which metrics, and words of which a sentence may say only what the metric says
    (re.compile(of, re.I), {k: re.compile(w, re.I) for k, w in words.items()})
    for of, words in (
        (r"\b(?:close|price)", {"highest": r"\bhigh(?:est|s)?\b|\bpeak\b|\bmaximum\b|\btop\b",
                                "lowest": r"\blow(?:est|s)?\b|\bminimum\b|\bbottom\b", "target": r"\btargets?\b",
                                "stop": r"\bstop\b", "mean": r"\bmean\b|\baverage\b|\bmedian\b",
                                "opening": r"\bopen(?:ed|ing)?\b"}),
        (r"sharpe", {"timing": r"\btiming\b", "net": r"\bnet\b|after costs", "gross": r"\bgross\b|before costs",
                     "deflated": r"\bdeflated\b", "held": r"buy[- ]and[- ]hold"}),
        (r"probability of a rise|of the side", {
            "rise": r"\b(?:rises?|rising|up|gains?|climbs?|increases?)\b",
            "fall": r"\b(?:falls?|falling|down|drops?|declines?|loses?|losing|loss|decreases?)\b"}),
        (r"\bstate\b|^(?:calm|turbulent)$", {"calm": r"\bcalm\b|\bquiet\b",
                                              "turbulent": r"\bturbulent\b|\bstormy\b|\bcrisis\b"}),
        (r"\bforecast|\bend\b", {"lower": r"\blower (?:end|bound|limit)\b|\bat least\b|\bfloor\b",
                                 "upper": r"\bupper (?:end|bound|limit)\b|\bat most\b|\bceiling\b"}),
        (r"knows nothing|pays nothing", {"knows": r"\bknow(?:s|n|ing)?\b", "pays": r"\bpays?\b|\btiming\b"}),
    )
)  # fmt: skip
PERIODS = {
    "session": r"\b(?:per|an?|each|every|any|single) (?:trading )?(?:day|session)\b|\bdaily\b|\bof the last session\b",
    "week": r"\b(?:per|a|each|every) week\b|\bweekly\b",
    "month": r"\b(?:per|a|each|every) month\b|\bmonthly\b",
    "year": r"\b(?:per|a|each|every) (?:year|annum)\b|\bannual(?:ly|i[sz]ed)?\b|\byearly\b|\bp\.a\.",
}
PERIOD = {name: re.compile(pattern, re.I) for name, pattern in PERIODS.items()}
AHEAD = re.compile(r"\bwill\b|'ll\b|\bshall\b|\btomorrow\b|\bgoing to\b|\bnext (?:day|session|week|month|year)\b", re.I)
FORESEEN = re.compile(  # of a past return or price, these are as untrue
    r"\bforecast|\bpredict|\bexpect|\boutlook\b|\bproject(?:ed|s|ion)\b|\blikely to\b|\b(?:may|might|could) "
    r"(?:rise|fall|gain|lose|reach|return|climb|drop|go)\b", re.I)  # fmt: skip
OF_AHEAD = re.compile(r"forecast|end,|known|interval|horizon|confidence|probabilit|stop|target|size", re.I)
AFTER = {  # a unit a model may write behind a figure -> the units it fits, whose own words then stand
    r"(?:%|percent|per cent|pct)(?!age| point)": {"fraction"},
    r"(?:percentage points?|pp)\b": {"percentage points"},
    r"(?:basis points?|bps?)\b": {"basis points"},
    r"(?:dollars?|usd)\b": {"dollars"},
    r"(?:sessions?|trading days?)\b": {"sessions"},
    r"(?:seconds?|secs?)\b": {"seconds"},
}
OTHER = re.compile(  # that would make another figure of it
    r"^\s*(?:x\b|times\b|fold\b|million|billion|thousand|hundred|k\b|m\b|bn\b|e\b|€|£|\$|years?\b|months?\b|weeks?\b|"
    r"days?\b|hours?\b|euros?\b|points?\b|squared\b|standard deviations?\b|sigmas?\b|"
    r"(?:,? ?(?:or|and) )(?:more|less|above|below|up|over|under|higher|lower|so|beyond)\b|at (?:least|most)\b|plus\b)",
    re.I)  # fmt: skip
BEFORE = re.compile(
    r"(?:minus|negative|inverse of|opposite of|reciprocal of|square root of|square of|log of|not|no longer|"
    r"times|multiplied by|divided by|plus)[()\s]*$", re.I)  # fmt: skip
DENIED = re.compile(
    r"(?:n't|\bcannot|\b(?:not|hardly|barely|scarcely|never|nowhere|neither|nor|far from|anything but|rather than|"
    r"instead of|nothing like|fail(?:s|ed)? to))(?: [\w\-]+){0,4}[\s(]*$", re.I)  # fmt: skip
JOINED = re.compile(r"[\w.,*/+^=×÷−–\-~#$€£<>(]$")
FOLLOWS = re.compile(r"^(?:[\w*/+^=×÷−–\-~<>$€£]|[.,]\w)")
SIGNS = r"[<>≤≥≦≧≈≠~⩽⩾*/+^=×÷]"
ABOVE = (
    r"(?:above|higher than|more than|greater than|larger than|over(?=\s*$)|exceed(?:s|ed|ing)?|beats?|better than|"
    r"at least|ahead of|bigger than|stronger than|tops|topped|surpass(?:es|ed)?|outperform(?:s|ed)?|outdo(?:es)?|"
    r"outpaces?|superior to|in excess of|eclipses)"
)
BELOW = (
    r"(?:below|lower than|less than|smaller than|under(?=\s*$)|at most|behind|worse than|short of|fewer than|"
    r"weaker than|underperform(?:s|ed)?|(?<!audit )trails|lags|inferior to|beaten by)"
)
COMPARED = re.compile(
    rf"\b(?:({ABOVE})|({BELOW}))\b(?!.*\b(?:{ABOVE}|{BELOW})\b)", re.I
)  # the last in front of a figure
BEATEN = re.compile(  # what is beaten or not here is no figure
    r"\b(?:beats?|beating|outperforms?|better than|ahead of|above) (?:the |a )?(?:market|index|baselines?|luck|"
    r"buy[- ]and[- ]hold|plain forecasts?)\b", re.I)  # fmt: skip
ASIDE = re.compile(r";|,? (?:although|though|but|yet|while|whereas)\b", re.I)  # ends what a clause says
RANKING = re.compile(
    r"\b(?:larger|smaller|higher|lower|better|worse|greater|lesser|bigger|stronger|weaker|less|more|former|latter|"
    r"winner|wins|loser|loses|leads|leader|ahead|largest|smallest|highest|lowest|best|worst|strongest|weakest|equal|"
    r"same|identical)\b", re.I)  # fmt: skip
BESIDE = frozenset(  # may stand between two figures of one kind, as it compares nothing
    "and or but that those of the is was are were for on in with while whereas versus vs against compared to at a an "
    "its their has have had respectively by as than which s it from also over span after then between this last first "
    "one model models gained lost rose fell returned closed shows showed compare".split()
)
_ROSE = (
    "rose|risen|surged|soared|jumped|rallied|advanced|climbed|grew|increased|gained|earned|appreciated|rocketed|spiked"
)
_FELL = (
    "fell|fallen|plunged|shed|tumbled|sank|slid|slumped|crashed|declined|dropped|decreased|shrank|lost|plummeted|"
    "dived|dipped|retreated|collapsed|depreciated|eased|slipped"
)
_FILL = (
    r"(?:[\s,(]+(?:by|of|to|an?|the|about|around|roughly|nearly|almost|some|approximately|just|only|over|under|return|"
    r"total|full|was|is|were|are|sharply|as|much|modest|steep|sharp|some|[A-Z]{2,5}))*[\s(]*$"
)
MOVED = re.compile(rf"\b(?:({_ROSE})|({_FELL}))\b(?!.*\b(?:{_ROSE}|{_FELL})\b)[^;]*$", re.I)
RISE = re.compile(rf"\b(?:rises?|gains?|increases?|surges?|jumps?|rall(?:y|ies)|up(?! to)|added|made){_FILL}", re.I)
FALL = re.compile(
    rf"\b(?:falls?|down(?! to)|loss(?:es)?|loses?|drops?|declines?|decreases?|plunges?|sheds?|slumps?|minus)"
    rf"(?: of \S+)?{_FILL}", re.I)  # fmt: skip
CAPITALS = frozenset(  # words in capitals that are no tickers
    "AND OR THE OF ON FOR IN IS IT TO BY VS IC BUY SELL HOLD NOT ALL WHAT WHICH HOW ARE WITH DOES PBO SPA OK HELP AN "
    "AS AT BE DO IF MY NO SO UP US WE WHO WHY CAN ANY VAR ES IR HAC API FRED NYSE USD ETF LLM AI MCP CSV PCA YES AUC "
    "REGIME DATA".split()
)
ACRONYMS = CAPITALS | frozenset("AR MA EU UK GDP CPI FED SEC CEO IPO OOS RMSE MAE MSE CV ML SVM NYC HAR EWMA RSI "
                                "MACD EPS PE ROC BPS PP AM PM DO".split())  # fmt: skip
PLAIN = frozenset("a an the of in on over for to by is at and that its".split())  # say nothing of a metric
