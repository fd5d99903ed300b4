"""Sending alerts to where MLTRAINER_ALERT_URLS says: one message a channel, however many alerts it holds.

Before a message leaves it is written down that it will, and afterwards that it did. A process that is killed between
the two has left it open whether the message arrived: the alert is sent again, and the message says so, as no alert may
be lost. One process sends at a time; a lock that its death releases sees to that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from filelock import FileLock, Timeout

from mltrainer.errors import StorageError, Unavailable
from mltrainer.settings import settings
from mltrainer.trading.alerts import ledger
from mltrainer.trading.alerts.ledger import Alert

SEVERITIES = ("info", "success", "warning", "critical")
TYPES = {"info": "info", "success": "success", "warning": "warning", "critical": "failure"}  # as apprise calls them
PATIENCE = 60.0  # seconds to wait for another process that is sending
AGAIN = "(sent again: whether an earlier message arrived is not known)"


@dataclass(frozen=True)
class Delivery:
    """What became of the alerts of one channel; its address holds a secret and is shown as a hash."""

    channel: str
    alerts: int
    sent: bool


def deliver(urls: Sequence[str] | None = None) -> list[Delivery]:
    """Send every new alert that a channel has not had.

    Parameters
    ----------
    urls : addresses as apprise takes them; default those of MLTRAINER_ALERT_URLS.

    Raises
    ------
    Unavailable
        There is an address, and apprise is not installed.
    """
    chosen = list(urls) if urls is not None else addresses()
    if not chosen:
        return []
    notifier()
    lock = FileLock(settings().home / "alerts.lock", timeout=PATIENCE)
    try:
        with lock:
            return [d for url in chosen if (d := _send(url)) is not None]
    except Timeout:
        raise StorageError(f"another process has been sending alerts for {PATIENCE:.0f} s; check again later") from None


def addresses() -> list[str]:
    """Where MLTRAINER_ALERT_URLS says."""
    named = settings().alert_urls
    return named.get_secret_value().split() if named else []


def invalid() -> list[int]:
    """Which of the addresses, counted from 1, are none that a message could be sent to; their words may be secret."""
    there = addresses()
    return [
        n for n, url in enumerate(there, 1) if notifier().Apprise.instantiate(url, suppress_exceptions=True) is None
    ]


def begin() -> None:
    """Write from which alert on each address is told everything: from those that are not written yet."""
    for url in addresses():
        ledger.begin(channel(url))


def notifier() -> Any:
    """The library that sends, or `Unavailable` with the command that installs it."""
    try:
        import apprise
    except ImportError:
        raise Unavailable(
            "alerts are written, and not sent: sending needs apprise; pip install 'mltrainer[alerts]'"
        ) from None
    return apprise


def channel(url: str) -> str:
    """The name under which deliveries to an address are written down: its scheme, and a hash of all of it."""
    return f"{url.partition(':')[0][:20]}:{sha256(url.encode()).hexdigest()[:12]}"


def _send(url: str) -> Delivery | None:
    to, waiting = channel(url), ledger.pending(channel(url))
    if not waiting:
        return None
    found = [alert for alert, _ in waiting]
    ledger.tell(found, "sending", to)
    sent = _sent(url, *message(waiting))
    ledger.tell(found, "sent" if sent else "failed", to)
    return Delivery(to, len(found), sent)


def message(waiting: Sequence[tuple[Alert, bool]]) -> tuple[str, str, str]:
    """Title, body and type: one line an alert, the worst first."""
    ordered = sorted(waiting, key=lambda w: -SEVERITIES.index(w[0].severity))
    worst, n = ordered[0][0], len(ordered)
    over = {True: " (over by now)", False: ""}
    lines = [
        f"{a.severity} {a.kind}: {a.message} [{a.session}, {a.id}]{over[a.state == 'resolved']}{f' {AGAIN}' * again}"
        for a, again in ordered
    ]
    title = f"mlTrainer, mode {worst.mode}: {n} alert{'s' * (n > 1)}, {worst.severity} {worst.kind} of {worst.subject}"
    return title, "\n".join(lines), TYPES[worst.severity]


def notify(title: str, body: str, severity: str) -> int:
    """Send words that are no alert of a market to every address; returns how many took them."""
    return sum(_sent(url, title, body, TYPES.get(severity, "failure")) for url in addresses())


def _sent(url: str, title: str, body: str, kind: str) -> bool:
    apprise = notifier()
    there = apprise.Apprise()
    return bool(there.add(url)) and bool(there.notify(title=title, body=body, notify_type=kind))
