"""Structured logs of processes that stay: one JSON object a line in `logs/` of the state folder, secrets masked.

What was done stands in the audit trail; logs are for whoever runs the server, and may be thrown away.
"""

import logging
import os
import re
from functools import lru_cache
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from mltrainer.errors import MltrainerError
from mltrainer.settings import Settings, settings
from mltrainer.trust.provenance import plain

BYTES, FILES = 2_000_000, 5  # of one process: ten megabytes at most
MASK = "***"
LEAST = 4  # characters of a secret: shorter ones are parts of words
NAMED = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSPHRASE)$", re.IGNORECASE)
PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(bearer|token|basic)\s+[\w.~+/=-]{8,}", rf"\1 {MASK}"),
        (r"(://[^/\s:@]*):[^/\s@]+@", rf"\1:{MASK}@"),
        (
            r"((?:api[_ -]?key(?: provided)?|token|password|secret|passphrase)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;]+",
            rf"\1{MASK}",
        ),
    )
)


def begin(process: str) -> Path | None:
    """Have what this process logs under `mltrainer` end in `logs/<process>.jsonl`; None where MLTRAINER_LOG is off.

    A line has time (UTC), level, logger and event, and the fields that were given as `extra`.
    """
    level = settings().log
    if level == "off":
        return None
    path = settings().home / "logs" / f"{process}.jsonl"
    log = logging.getLogger("mltrainer")
    if not any(getattr(h, "baseFilename", "") == str(path.absolute()) for h in log.handlers):
        handler = rotating(path, formatter())
        terminal = logging.StreamHandler()
        terminal.setFormatter(Masked("%(message)s"))
        terminal.setLevel(logging.WARNING)
        for one in (handler, terminal):
            log.addHandler(one)
        log.propagate = False
    log.setLevel(level.upper())
    return path


def rotating(path: Path, form: logging.Formatter) -> logging.Handler:
    """What writes to a log of at most ten megabytes, in a folder for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    handler = RotatingFileHandler(path, maxBytes=BYTES, backupCount=FILES - 1, encoding="utf-8")
    handler.setFormatter(form)
    return handler


class Masked(logging.Formatter):
    """A record as text, masked."""

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line, and its traceback."""
        return masked(super().format(record))


def formatter() -> logging.Formatter:
    """A record as one line of JSON, with its traceback, all of it masked."""
    import structlog  # half a second that only a server needs

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    last: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redacted,
        structlog.processors.JSONRenderer(sort_keys=True),
    ]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


def redacted(_log: Any, _method: str, event: Any) -> dict[str, Any]:
    """The same event without a secret in any field: by name, by form, and by what this installation's secrets are."""
    return {key: _masked(value) for key, value in plain(dict(event)).items()}


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def masked(text: str) -> str:
    """Text without a secret.

    >>> masked("GET /v2/aggs?apiKey=abc123 by postgresql://ada:word@host/db, Bearer 0123456789abcdef")
    'GET /v2/aggs?apiKey=*** by postgresql://ada:***@host/db, Bearer ***'
    """
    for secret in _secrets():
        text = text.replace(secret, MASK)
    for pattern, replacement in PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _secrets() -> tuple[str, ...]:
    """What this process knows that nobody may read: of the settings, and of variables that are named like secrets."""
    named = tuple(value for name, value in os.environ.items() if NAMED.search(name) and len(value) >= LEAST)
    try:
        return named + _of(settings())
    except MltrainerError:  # what cannot be read holds no key of ours, and its form is masked all the same
        return named


@lru_cache(maxsize=4)
def _of(here: Settings) -> tuple[str, ...]:
    found = [getattr(here, name) for name in Settings.model_fields]
    words = [v.get_secret_value() for v in found if hasattr(v, "get_secret_value")]
    return tuple(sorted((w for w in words if len(w) >= LEAST), key=len, reverse=True))
