"""Days and spans in words: "since 2009", "15 March 2009", "first quarter of 2010"; what stays unread is said."""

import re
from calendar import monthrange
from datetime import date, timedelta
from typing import Any

_MONTHS = "january february march april may june july august september october november december".split()
_MONTH = "|".join(f"{m}|{m[:3]}\\.?" for m in _MONTHS) + r"|sept\.?"
_YEAR = r"(?:19|20)\d{2}"
_PART = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4, "last": 4}
_FORMS = (  # of a day or span, the most exact first; the groups by name
    r"(?P<iso>\d{4}-\d{2}-\d{2})",
    rf"(?P<d1>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<m1>{_MONTH}),? (?P<y1>{_YEAR})",
    rf"(?P<m2>{_MONTH}) (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y2>{_YEAR})",
    rf"(?P<m3>{_MONTH}),? (?:of )?(?P<y3>{_YEAR})",
    rf"(?P<q1>{'|'.join(_PART)}) quarter (?:of |in )?(?P<y4>{_YEAR})",
    rf"q(?P<q2>[1-4]) (?:of )?(?P<y5>{_YEAR})",
    rf"(?P<h>first|second) half (?:of )?(?P<y6>{_YEAR})",
    rf"(?P<y7>{_YEAR})(?!-\d| ?(?:sessions?|days?|trials?|rows?|shares?|models?)\b)",
)
_WHEN = re.compile(
    r"(?<![\w.\-$])(?:(?P<how>since|after|from|until|till|to|before|up to|through|by|as of|on|in|during|between|and)"
    rf" (?:the )?(?:end of |year )?)?(?:{'|'.join(_FORMS)})(?![\w%])"
)
_UNREAD = re.compile(
    r"\b(?:yesterday|(?:last|this|past|previous) (?:\d+ )?(?:trading )?"
    r"(?:year|month|week|quarter|session|day|decade)s?|"
    r"ytd|year to date|\w+ ago|(?:january|february|april|june|july|august|september|october|november|december)|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:19|20)\d{2}s?|\d+/\d+/\d+|\d{4}-\d+(?:-\d+)?)\b"
)


def days(low: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """What a question in lower case says of start, end and as_of, and the words on days that were not read.

    >>> days("since march 2009")[0], days("until 2009")[0], days("last year")[1]
    ({'start': '2009-03-01'}, {'end': '2009-12-31', 'as_of': '2009-12-31'}, ('last year',))
    """
    found: list[tuple[str, date, date]] = []
    rest = low
    for m in _WHEN.finditer(low):
        try:
            first, last = _span(m)
        except ValueError:  # as 31 February
            continue
        found.append((m["how"] or "", first, last))
        rest = rest.replace(m[0], " ", 1)
    unread = tuple(dict.fromkeys(m[0] for m in _UNREAD.finditer(rest)))
    return ({} if not found else _said(found)), unread


def _said(found: list[tuple[str, date, date]]) -> dict[str, str]:
    (how, first, last), more = found[0], found[1:]
    if more:
        return {"start": str(first), "end": str(more[0][2]), "as_of": str(more[0][2])}
    if how in ("since", "from"):
        return {"start": str(first)}
    if how == "after":
        return {"start": str(last + timedelta(days=1))}
    if how == "before":
        last = first - timedelta(days=1)
    if how in ("until", "till", "to", "before", "up to", "through", "by", "as of", "on"):
        return {"end": str(last), "as_of": str(last)}
    return {"start": str(first), "end": str(last), "as_of": str(last)} if first != last else {"start": str(first)}


def _span(m: re.Match[str]) -> tuple[date, date]:
    said = {k.rstrip("1234567"): v for k, v in m.groupdict().items() if v and k != "how"}
    if "iso" in said:
        day = date.fromisoformat(said["iso"])
        return day, day
    year = int(said["y"])
    if "m" in said:
        month = [n[:3] for n in _MONTHS].index(said["m"][:3]) + 1
        if "d" in said:
            return date(year, month, int(said["d"])), date(year, month, int(said["d"]))
        return _months(year, month, month)
    if "q" in said:
        n = int(_PART.get(said["q"], said["q"]))
        return _months(year, 3 * n - 2, 3 * n)
    if "h" in said:
        return _months(year, *((1, 6) if said["h"] == "first" else (7, 12)))
    return _months(year, 1, 12)


def _months(year: int, first: int, last: int) -> tuple[date, date]:
    return date(year, first, 1), date(year, last, monthrange(year, last)[1])


def missed(found: dict[str, Any], fields: Any) -> tuple[str, ...]:
    """Days that were read and that a tool cannot be asked for."""
    return () if set(found) & set(fields) or not found else tuple(dict.fromkeys(found.values()))
