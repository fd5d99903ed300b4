"""What a provider can do wrong, one row each: a function from the right answer to the wrong one."""

import copy
import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

Rows = list[dict[str, Any]]


@dataclass
class Sent:
    """An answer on its way out: `how` it is written, and to whom ("url" is the whole address that was asked)."""

    document: Any = None
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    how: str = "whole"
    url: str = ""
    key: str = ""
    elsewhere: str = "http://elsewhere.invalid"

    def bytes(self) -> bytes:
        return self.body if self.document is None else json.dumps(self.document, separators=(",", ":")).encode()


Fault = Callable[[Sent], Sent]
MIDNIGHT = 86_400_000


def raw(change: Callable[[bytes], bytes], kind: str = "application/json") -> Fault:
    """Change the bytes, keep the rest."""
    return lambda s: replace(s, document=None, body=change(s.bytes()), headers={"Content-Type": kind})


def answer(status: int, document: Any, **headers: str) -> Fault:
    kinds = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda s: replace(s, status=status, document=document, headers={"Content-Type": "application/json"} | kinds)


def how(name: str) -> Fault:
    return lambda s: replace(s, how=name)


def envelope(**changes: Any) -> Fault:
    """Fields of the envelope set (or removed, with None); a function gets the answer."""

    def fault(s: Sent) -> Sent:
        document = copy.deepcopy(s.document)
        for name, value in changes.items():
            new = value(s) if callable(value) else value
            document.pop(name, None)
            document |= {} if new is None else {name: new}
        return replace(s, document=document)

    return fault


def rows(change: Callable[[Rows, int], Rows]) -> Fault:
    """Change the rows, given them and the middle one's number; the counts of the envelope follow."""

    def fault(s: Sent) -> Sent:
        document = copy.deepcopy(s.document)
        name = "observations" if "observations" in document else "results"
        document[name] = change(document[name], len(document[name]) // 2)
        for count in {"count", "queryCount", "resultsCount"} & document.keys():
            document[count] = len(document[name])
        return replace(s, document=document)

    return fault


def cell(**changes: Callable[[Any], Any]) -> Fault:
    """Change fields of the middle row; "value" is FRED's, the others are of a bar."""

    def change(found: Rows, k: int) -> Rows:
        found[k] |= {name: new(found[k][name]) for name, new in changes.items() if name in found[k]}
        return found

    return rows(change)


def price(value: Callable[[float], Any], *names: str) -> Fault:
    return cell(**dict.fromkeys(names or ("c", "value"), value))


def weekend(found: Rows, k: int) -> Rows:
    """A bar on the Saturday after the first Friday from the middle on."""
    friday = next(i for i in range(k, len(found)) if time.gmtime(found[i]["t"] / 1000).tm_wday == 4)
    return [*found[: friday + 1], found[friday] | {"t": found[friday]["t"] + MIDNIGHT}, *found[friday + 1 :]]


def split(found: Rows, k: int) -> Rows:
    """From the middle on a tenth of the price and ten times the volume, as a 10:1 split nobody adjusted for."""
    names = dict.fromkeys("ohlc", 0.1) | {"v": 10.0}
    return found[:k] + [row | {n: round(row[n] * by, 4) for n, by in names.items()} for row in found[k:]]


def conflicting(row: dict[str, Any]) -> dict[str, Any]:
    return row | ({"value": str(2 * float(row["value"]))} if "value" in row else {"c": row["l"], "v": row["v"] + 1})


LATIN = b'{"status":"OK","ticker":"AAPL","name":"Soci\xe9t\xe9","results":[],"resultsCount":0}'
HTML = b"<!doctype html><html><body>Please sign in</body></html>"
XML = b'<?xml version="1.0" encoding="utf-8"?><observations count="0"></observations>'
POLYGON = {"status": "ERROR", "request_id": "0" * 32}
SLOW_DOWN = POLYGON | {"error": "You've exceeded the maximum requests per minute, please wait or upgrade."}
PLAN = {"status": "NOT_AUTHORIZED", "request_id": "0" * 32, "message": "You are not entitled to this data."}
TIMEFRAME = PLAN | {"message": "Your plan doesn't include this data timeframe. Please upgrade your plan."}
BAD = "Bad Request.  The value for variable api_key is "
MALFORMED = {"error_code": 400, "error_message": f"{BAD}not a 32 character alpha-numeric lower-case string."}
UNREGISTERED = {"error_code": 400, "error_message": f"{BAD}not registered."}
NO_SERIES = {"error_code": 400, "error_message": "Bad Request.  The series does not exist."}
VINTAGES = {"error_code": 400, "error_message": "Bad Request.  This exceeds the maximum number of vintage dates."}


def redirect(status: int) -> Fault:
    """Elsewhere, with what was asked: a client that follows gives its key away."""
    return lambda s: replace(s, status=status, document={}, headers={"Location": f"{s.elsewhere}/taken?apiKey={s.key}"})


def packed(s: Sent) -> Sent:
    """The same in gzip, as most answers come."""
    return replace(s, document=None, body=gzip.compress(s.bytes()), headers=s.headers | {"Content-Encoding": "gzip"})


def onward(make: Callable[[Sent], str]) -> Fault:
    return envelope(next_url=make)


FAULTS: dict[str, Fault] = {
    # transport
    "timeout": how("timeout"),
    "drip": how("drip"),
    "drip_head": how("drip_head"),
    "reset": how("reset"),
    "reset_in_body": how("reset_in_body"),
    "short": how("short"),
    "huge": how("huge"),
    "closed": how("closed"),
    "bomb": lambda s: packed(replace(s, body=b" " * 3 * 2**20, document=None)),
    "gzip": lambda s: packed(s),
    # bytes
    "truncated": raw(lambda body: body[: len(body) * 2 // 3]),
    "html": raw(lambda _: HTML, "text/html"),
    "html_as_json": raw(lambda _: HTML),
    "bom": raw(lambda body: b"\xef\xbb\xbf" + body),
    "latin1": raw(lambda _: LATIN),
    "empty": raw(lambda _: b""),
    "nan": price(lambda _: float("nan")),
    "twice": raw(lambda body: b'{"status":"OK",' + body[1:]),
    "deep": raw(lambda _: b"[" * 200_000),
    "text": raw(lambda body: body, "text/plain"),
    "xml": raw(lambda _: XML, "text/xml"),
    # status
    "204": lambda s: replace(s, status=204, document=None, body=b"", headers={}),
    "301": redirect(301),
    "302": redirect(302),
    "307": redirect(307),
    "400": answer(400, POLYGON | {"error": "bad request"}),
    "401": answer(401, POLYGON | {"error": "Unknown API Key"}),
    "401_echo": lambda s: answer(401, POLYGON | {"error": f"Unknown API Key {s.key} (api_key={s.key})"})(s),
    "403": answer(403, PLAN),
    "403_timeframe": answer(403, TIMEFRAME),
    "404": answer(404, {"status": "NOT_FOUND", "request_id": "0" * 32, "message": "Ticker not found."}),
    "429": answer(429, SLOW_DOWN),
    "429_wait_1": answer(429, SLOW_DOWN, Retry_After="1"),
    "429_wait_long": answer(429, SLOW_DOWN, Retry_After="3600"),
    "500": answer(500, POLYGON | {"error": "internal"}),
    "502": lambda s: replace(raw(lambda _: HTML, "text/html")(s), status=502),
    "503": answer(503, POLYGON | {"error": "unavailable"}),
    # envelope
    "status_error": answer(200, POLYGON | {"error": "something failed"}),
    "delayed": envelope(status="DELAYED"),
    "wrong_ticker": envelope(ticker="ZZZZ"),
    "count": envelope(resultsCount=lambda s: s.document["resultsCount"] + 1),
    "no_results": envelope(results=None, observations=None),
    "results_null": lambda s: replace(s, document=s.document | {"results": None}),
    "next_loop": onward(lambda s: s.url),
    "next_host": onward(lambda s: f"{s.elsewhere}/v2/aggs/ticker/AAPL/range/1/day/1/2?cursor=x"),
    "next_scheme": onward(lambda s: s.url.replace("http://", "ftp://")),
    "next_user": onward(lambda s: s.url.replace("http://", f"http://{s.url.split('/')[2]}@elsewhere.invalid/")),
    "next_path": onward(lambda s: f"http://{s.url.split('/')[2]}/v1/account"),
    # values of bars, and of observations where they have the field
    "null": price(lambda _: None),
    "string": price(str, "c"),
    "negative": price(lambda v: -v, "c"),
    "zero": price(lambda v: 0, "c"),
    "negative_volume": cell(v=lambda v: -v),
    "high_below_low": rows(lambda r, k: [*r[:k], r[k] | {"h": r[k]["l"], "l": r[k]["h"]}, *r[k + 1 :]]),
    "spike": price(lambda v: 1000 * v, "o", "h", "l", "c"),
    "missing_field": rows(lambda r, k: [*r[:k], {n: v for n, v in r[k].items() if n != "c"}, *r[k + 1 :]]),
    "duplicate": rows(lambda r, k: [*r[: k + 1], r[k], *r[k + 1 :]]),
    "conflict": rows(lambda r, k: [*r[: k + 1], conflicting(r[k]), *r[k + 1 :]]),
    "unsorted": rows(lambda r, k: [*r[: k - 1], r[k], r[k - 1], *r[k + 1 :]]),
    "future": rows(lambda r, _: [*r[:-1], r[-1] | {"t": int(time.time() * 1000) + 30 * MIDNIGHT}]),
    "seconds": rows(lambda r, _: [row | {"t": row["t"] // 1000} for row in r]),
    "weekend": rows(weekend),
    "split": rows(split),
    "gap": rows(lambda r, k: r[: k - 15] + r[k + 15 :]),
    # FRED
    "dot": cell(value=lambda _: "."),
    "all_dots": rows(lambda r, _: [row | {"value": "."} for row in r]),
    "value_word": cell(value=lambda _: "n/a"),
    "value_number": cell(value=float),
    "big_revision": cell(value=lambda v: str(10 * float(v))),
    "fred_400": answer(400, NO_SERIES),
    "fred_malformed": answer(400, MALFORMED),
    "fred_unregistered": answer(400, UNREGISTERED),
    "fred_vintages": answer(400, VINTAGES),
    "fred_429": answer(429, {"error_code": 429, "error_message": "Too Many Requests.  Exceeded Rate Limit"}),
}
