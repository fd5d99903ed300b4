"""Who may be asked: where, what, how often and with which key, which is in nothing that is kept, shown or logged."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from mltrainer.errors import BadInput, Unavailable, UnknownName
from mltrainer.settings import settings
from mltrainer.trust import audit, gate


@dataclass(frozen=True)
class Provider:
    """Who may be asked: where, what, with which key, how often, and how long an answer is fresh."""

    name: str
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    key: str
    variable: str
    by_header: bool
    per_minute: Callable[[], int]
    keep: timedelta
    probe: tuple[str, dict[str, str]]


_T = r"[A-Za-z0-9][A-Za-z0-9.:-]*"
_SPAN = "second|minute|hour|day|week|month|quarter|year"
_DAY = r"\d{4}-\d\d-\d\d"

PROVIDERS: dict[str, Provider] = {
    "polygon": Provider(
        name="Polygon",
        hosts=("https://api.massive.com", "https://api.polygon.io"),
        paths=(
            rf"/v2/aggs/ticker/{_T}/range/\d+/({_SPAN})/({_DAY}|\d+)/({_DAY}|\d+)",
            rf"/v3/(trades|quotes)/{_T}",
            rf"/v3/reference/(tickers(/{_T})?|splits|dividends)",
            rf"/v2/snapshot/locale/us/markets/stocks/tickers/{_T}",
            r"/stocks/v1/(splits|dividends)",
            r"/v1/marketstatus/now",
            r"/fed/v1/(inflation|inflation-expectations|labor-market|treasury-yields)",
        ),
        key="polygon_api_key",
        variable="POLYGON_API_KEY",
        by_header=True,
        per_minute=lambda: settings().polygon_per_minute,
        keep=timedelta(minutes=15),
        probe=("/v1/marketstatus/now", {}),
    ),
    "fred": Provider(
        name="FRED",
        hosts=("https://api.stlouisfed.org",),
        paths=(r"/fred/series(/(observations|vintagedates|release))?", r"/fred/release/dates"),
        key="fred_api_key",
        variable="FRED_API_KEY",
        by_header=False,
        per_minute=lambda: 120,
        keep=timedelta(hours=1),
        probe=("/fred/series", {"series_id": "CPIAUCSL", "file_type": "json"}),
    ),
}
SHORTEST = 8  # letters of a key; one that is shorter may stand in a number
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def source(provider: str) -> str:
    """Return the source id under which the gate admits what this provider says now: its own, or "replay"."""
    return "replay" if settings().data_mode == "replay" else provider


def named(name: str) -> Provider:
    """The row of a provider; `UnknownName` for any other name."""
    if name not in PROVIDERS:
        raise UnknownName.of("provider", name, PROVIDERS)
    return PROVIDERS[name]


def address(provider: str) -> str:
    """Where the provider answers in the mode in force: its own host in live, this machine in replay."""
    row, now, variable = PROVIDERS[provider], settings(), f"MLTRAINER_{provider.upper()}_URL"
    url = str(getattr(now, f"{provider}_url") or "").rstrip("/").removesuffix("/fred")
    if now.data_mode == "live":
        url = f"https://{url}" if url and "://" not in url else url
        if not url or url in row.hosts:
            return url or row.hosts[0]
        remedy = f"unset {variable}, or set MLTRAINER_MODE=replay for answers served on this machine"
        gate.refuse(f"the address {_host(url)!r}", f"is not {row.name}'s", remedy)
    if now.data_mode == "sample":
        raise Unavailable(f"mode sample asks no provider; set {row.variable} and MLTRAINER_MODE=live")
    if not url:
        raise BadInput(f"mode replay needs {variable}, the address of a server on this machine")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname not in LOOPBACK or parts.path or "@" in parts.netloc:
        remedy = f"set {variable} to http://127.0.0.1:PORT"
        gate.refuse(f"the address {_host(url)!r}", "is not on this machine, and mode replay leaves it never", remedy)
    return url


def _host(url: str) -> str:
    return (urlsplit(url).hostname or url.partition("?")[0])[:80]


def key_of(provider: str) -> SecretStr:
    """The key as it is set, fit to be sent; `Unavailable` where there is none."""
    row, secret = PROVIDERS[provider], getattr(settings(), PROVIDERS[provider].key)
    key = secret.get_secret_value().strip() if secret else ""
    if not key:
        raise Unavailable(f"{row.name} answers nobody without a key; set {row.variable}")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise BadInput(f"{row.variable} holds a character that no key has; set it anew")
    return SecretStr(key)  # a traceback that shows local names shows no key


def masked(text: str) -> str:
    """The text with `***` for every configured key, also quoted or in capitals, and every parameter named like one."""
    for key in _secrets():
        text = re.sub(re.escape(key), "***", text, flags=re.IGNORECASE)
    return re.sub(r"(?i)((?:api_?key|token)=)[^&\s\"')]+", r"\1***", text)


def unkeyed(provider: str, where: str, body: bytes) -> bytes:
    """What a provider sent, with `***` where it repeats a key of ours: nothing that is kept or shown may hold one."""
    low = body.lower()
    found = [key for key in _secrets() if len(key) >= SHORTEST and key.lower().encode() in low]
    for key in found:
        body = re.sub(re.escape(key).encode(), b"***", body, flags=re.IGNORECASE)
    if found:
        audit.append("key_repeated", provider=provider, where=where)
    return body


def _secrets() -> list[str]:
    """Every configured key, as it is and as it stands in an address."""
    held = (getattr(settings(), row.key) for row in PROVIDERS.values())
    plain = {secret.get_secret_value().strip() for secret in held if secret}
    return sorted(plain | {quote(key) for key in plain} - {""}, key=len, reverse=True)


def turns_at() -> Path | str:
    """Where turns are taken: the redis that homes share, or else the file of all processes of this home."""
    shared = settings().cache_url or ""
    return shared if shared.startswith(("redis://", "rediss://")) else settings().home / "turns.sqlite"
