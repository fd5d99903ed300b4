"""Is there a number in this text? Digits of any script, number words, fractions, percentages, Roman numerals."""

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

from mltrainer.plain import cleaned

_ONES = "one two three four five six seven eight nine".split()
_TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fourty fifty sixty seventy eighty ninety".split()
_LARGE = "hundred thousand million billion trillion quadrillion dozen score gross myriad googol lakh crore".split()
_PARTS = "half halves quarter third fourth fifth sixth seventh eighth ninth tenth hundredth thousandth".split()
_TIMES = "twice thrice double doubled doubling triple tripled quadruple quadrupled quintuple halve halved".split()
_ORDINALS = "second eleventh twelfth thirteenth twentieth thirtieth fortieth fiftieth".split()
_ORDINALS += "couple pair trio zero nil nought".split()
# of languages that a model may slip into, without what is an English word too
_FOREIGN = (
    "eins zwei drei vier fünf sechs sieben acht neun zehn zwanzig hundert tausend halb prozent "
    "deux trois quatre cinq sept huit neuf dix vingt cent mille demi pourcent dos tres cuatro cinco seis siete ocho "
    "nueve diez veinte quince cien mil medio ciento tre quattro cinque sei sette otto nove dieci venti "
    "mezzo percento dreißig vierzig fünfzig sechzig siebzig achtzig neunzig zwölf dreizehn einhundert eintausend "
    "onze douze treize quatorze trente quarante cinquante soixante quatrevingt septante nonante doce trece "
    "catorce veintiuno treinta cuarenta cincuenta sesenta setenta ochenta noventa doscientos trescientos quinientos "
    "undici dodici trenta quaranta cinquanta sessanta settanta ottanta novanta cento mille dois vinte trinta quarenta "
    "cinquenta sessenta oitenta twee drie vijf zeven negen twintig dertig veertig vijftig honderd duizend "
    "dwa trzy cztery pięć sześć siedem osiem dziewięć dziesięć dwadzieścia sto tysiąc "
    "один два две три четыре пять шесть семь восемь девять десять двадцать тридцать сорок пятьдесят шестьдесят "
    "семьдесят восемьдесят девяносто сто двести тысяча тысячи процент процента процентов"
).split()
WORDS = frozenset(_ONES + _TEENS + _TENS + _LARGE + _PARTS + _TIMES + _ORDINALS) | {
    "".join(c for c in unicodedata.normalize("NFKD", w) if not unicodedata.combining(c)).replace("ß", s)
    for w in _FOREIGN
    for s in ("ß", "ss")
}
PLURALS = (
    frozenset(f"{w}s" for w in [*_LARGE, *_PARTS, *_TEENS, *_TENS, *_ONES, "couple", "pair"])
    | {"sixes"}
    | {f"{w[:-1]}ies" for w in _TENS}
)
PERCENT = re.compile(
    r"[%‰‱٪﹪％]|\b(?:per\s?cents?|pct|percents?|bps|bp|basis points?|percentage points?|permille)\b", re.I
)
# "one" and its kin are words as often as numbers
IDIOMS = re.compile(
    r"\b(?:no|any|every|each|some|which|this|that|the other|another|the|a good|a better|"
    r"a weak|a strong|a bad|a poor|a plain|a simple|a different|a new|not) one\b(?! (?:hundred|"
    r"thousand|million|half|third|quarter|in|out|of (?:two|three|four|five|ten)))|\bone (?:of|another|can|cannot|could|"
    r"should|must|may|might|would|has to|needs|who|that|another's)\b|\bone's\b|\bone-sided\b|\bone by one\b|"
    r"\b(?:on the one hand|one more time|one at a time)\b|"
    r"(?:^|(?<=[.;:] ))second,|\bin the second place\b|\bsecond (?:guess|opinion|thought|look)s?\b|\bsplit second\b|"
    r"\b(?:fiscal|calendar|next|last|this|per|each|every) quarter\b|\bquarter (?:end|of the year)\b|"
    r"\bdouble[- ]check(?:ed|ing)?\b|\bthird[- ](?:party|parties)\b|\bpair (?:trading|trade)s?\b|\bpairs trading\b|"
    r"\bscore\b(?! of)|\brisk scores?\b|\bscores\b(?! of)|\bzero[- ](?:in on|sum)\b|\bdos and don'?ts\b|"
    r"\bgross (?:of|returns?|exposure|margin|profit)\b|\bhalf[- ](?:life|hearted)\b",
    re.I,
)
_COMPOUND = re.compile(
    rf"^(?:{'|'.join(_TENS)})(?:{'|'.join(_ONES)})$|^(?:{'|'.join(_ONES + _TEENS + _TENS)})"
    r"(?:fold|percent|hundred|thousand|million|billion|th|some|teen|ty|ish|score)$|"
    r"^(?:hundred|thousand|million|billion|many|umpteen)fold$|^(?:umpteen|umpty|[a-z]{0,4}zillion)(?:th|s)?$|"
    # as German and the Romance languages write them together
    r"^[a-z]*(?:hundert|tausend)[a-z]*$|^[a-z]+und(?:zwanzig|dreissig|dreißig|vierzig|funfzig|sechzig|siebzig|achtzig|"
    r"neunzig)$|^(?:zwei|drei|vier|funf|sechs|sieben|acht|neun)(?:zehn|zig|fach|prozent)$|"
    r"^(?:vingt|trent|quarant|cinquant|sessant|settant|ottant|novant|veinti|dieci)[a-z]{2,8}$"
)
_PICTURED = re.compile(
    "[\N{KEYCAP TEN}\N{HUNDRED POINTS SYMBOL}\u2680-\u2685\U0001f030-\U0001f093\U0001f0a0-\U0001f0ff\u20e3]"
)
_UNDER_40 = frozenset(
    t + o
    for t in ("", "x", "xx", "xxx")
    for o in ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")
    if len(t + o) > 1
)
_ROMAN = re.compile(r"^(?=[MDCLXVI])M{0,4}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})$")
_SPACED = re.compile(r"(?<!\w)(?:\w[\s.\-_*'·]+){2,}\w(?!\w)")


def folded(text: str) -> str:
    """What a reader would read: entities resolved, compatibility forms and accents folded, curly signs made plain."""
    known = html.unescape(html.unescape(text))
    plain = unicodedata.normalize("NFKD", known)
    return cleaned("".join(c for c in plain if not unicodedata.combining(c))).replace("’", "'")


def numerals(text: str, names: Iterable[str] = ()) -> list[str]:
    """Everything in a text that says a number and belongs to no name.

    Parameters
    ----------
    text : one sentence, without the marks of claims.
    names : what may hold digits: exactly as written, as a word of its own.

    >>> numerals("Sharpe of 0.5"), numerals("about three in RidgeRegression_10", ["RidgeRegression_10"])
    (['0', '.5'], ['three'])
    """
    plain = _named(html.unescape(html.unescape(cleaned(text))), names)
    if pictured := _PICTURED.findall(plain):
        return pictured
    raw = [c for c in plain if unicodedata.numeric(c, None) is not None]
    if raw:
        return re.findall(r"\.?\d+", plain) or raw
    return list(dict.fromkeys(_worded(IDIOMS.sub(" ", folded(plain)))))


def _named(text: str, names: Iterable[str]) -> str:
    """The text with names blanked out; longest first, so that no name hides in another."""
    for name in sorted({n for n in names if n in text}, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.,\-+/]){re.escape(name)}(?![\w%]|[.,\-/]\w)", " ", text)
    return text


def _worded(text: str) -> Iterator[str]:
    yield from (m[0] for m in PERCENT.finditer(text))
    if any(unicodedata.numeric(c, None) is not None for c in text):
        yield "numeral"
    letters = ["".join(re.findall(r"\w", m[0])) for m in _SPACED.finditer(text)]
    for word in [*re.findall(r"[^\W\d_]+", text), *letters]:
        low = word.lower()
        if (
            low in WORDS
            or low in PLURALS
            or _COMPOUND.match(low)
            or (low.endswith("percent") and low != "percent")
            or low in _UNDER_40
            or (
                word.isupper()
                and word != "I"
                and (_ROMAN.match(word) or re.search(r"^[MDCLXVI]*([IXCM])\1{3}[MDCLXVI]*$", word))
            )
            or _mixed(word)
        ):
            yield word


def _mixed(word: str) -> bool:
    """Whether letters of several scripts stand in one word, as in a disguised one."""
    return len({unicodedata.name(c, "?").split()[0] for c in word if c.isalpha()}) > 1
