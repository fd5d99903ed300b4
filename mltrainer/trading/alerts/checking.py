"""Asking every condition of what is watched, as of a day: once for each condition and period, however often."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import pandas as pd

from mltrainer.data import market
from mltrainer.data.dates import Day
from mltrainer.data.universes import Universe
from mltrainer.errors import BadInput, MltrainerError, Partial, StorageError, Tampered, Unavailable
from mltrainer.evaluation.record import Evaluation
from mltrainer.settings import settings
from mltrainer.trading.alerts import delivery, holding, ledger, watching
from mltrainer.trading.alerts.delivery import Delivery
from mltrainer.trading.alerts.holding import Account
from mltrainer.trading.alerts.ledger import Alert
from mltrainer.trading.alerts.watching import Book, Position, Watched
from mltrainer.trading.regimes import regimes

BEAT = "alerts.beat"  # a file whose time says when somebody last looked


@dataclass(frozen=True)
class Checked:
    """What a check found.

    Attributes
    ----------
    new : alerts that were not there before.
    subjects : what was checked -> its last session.
    withheld : what was not -> why: nothing is said of data in doubt, and the next check looks at all of it again.
    deliveries : what was sent.
    """

    new: list[Alert]
    subjects: dict[str, str]
    withheld: dict[str, str] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def table(self) -> pd.DataFrame:
        """The new alerts, one row each."""
        return pd.DataFrame([[getattr(a, c) for c in ledger.COLUMNS] for a in self.new], columns=ledger.COLUMNS)

    def sentence(self) -> str:
        """Say it in one line."""
        n, last = len(self.new), max(self.subjects.values(), default="no session")
        said = f"{n} new alert{'s' * (n != 1)} of {len(self.subjects)} subjects as of {last}"
        return f"{said}; withheld: {', '.join(self.withheld)}" if self.withheld else said

    def __repr__(self) -> str:
        return f"Checked({self.sentence()})"


def check(
    tickers: "str | Sequence[str] | Universe" = (),
    *,
    positions: Iterable[Position] = (),
    books: Iterable[Book] = (),
    accounts: "Iterable[str | Account]" = (),
    evaluations: Iterable[Evaluation] = (),
    skilled: Iterable[str] = (),
    as_of: Day = None,
    breadth: str | None = None,
    send: bool = True,
    at: str | None = None,
) -> Checked:
    """Look for what there is to say of markets, positions, books and signals, write it down, and send it.

    Parameters
    ----------
    tickers : whose regimes are watched.
    positions, books : what is held; see `Position` and `Book`.
    accounts : of the ledger of positions, whose purchases and book are watched; a name, or an `Account` with limits.
    evaluations : out-of-sample forecasts whose signals are watched.
    skilled : names of models of which the leaderboard says that there is evidence; others enter nothing.
    as_of : the day to check as of; default the last session there is.
    breadth : the universe whose breadth counts, as for `regimes`.
    send : whether to send what MLTRAINER_ALERT_URLS asks for; it is written down in any case.
    at : time to write beside an alert, UTC; it decides nothing.

    Notes
    -----
    Asked again, of the same day, an earlier one, or by two processes at once, it finds nothing new. Where a subject is
    checked for the first time, what changed in the last five sessions is news, and of positions and books what stands.
    """
    new: list[str] = []
    subjects: dict[str, str] = {}
    withheld: dict[str, str] = {}
    if as_of is None:
        settings().home.mkdir(parents=True, exist_ok=True)
        (settings().home / BEAT).touch()
    if send:
        delivery.begin()
    known = set(skilled)
    looks: list[tuple[str, partial[Watched]]] = [(n, partial(_market, n, as_of, breadth)) for n in named(tickers)]
    looks += [(p.subject, partial(_position, p, as_of)) for p in positions]
    looks += [(b.name, partial(_book, b, as_of)) for b in books]
    for own in accounts:
        looks += holding.looks(Account(own) if isinstance(own, str) else own, as_of).items()
    looks += [
        (f"{e.model} on {e.ticker}", partial(watching.signal, e, evidence=e.model in known, as_of=as_of))
        for e in evaluations
    ]
    if twice := [name for name, n in Counter(subject for subject, _ in looks).items() if n > 1]:
        raise BadInput(f"{twice[0]} would be two subjects of one history; give the book, account or position a name")
    for subject, look in looks:
        try:
            watched = look()
        except (Tampered, StorageError):
            raise  # which concerns the others as well
        except MltrainerError as error:
            withheld[subject] = str(error)
            continue
        if watched.withheld:
            withheld[subject] = watched.withheld
        else:
            new += ledger.settle(watched, at=at)
            subjects[subject] = watched.session
    written = {key[:12] for key in new}
    return Checked([a for a in ledger.alerts() if a.id in written], subjects, withheld, _delivered() if send else [])


def _delivered() -> list[Delivery]:
    try:
        done, lost = delivery.deliver(), delivery.invalid()
    except Unavailable as error:
        warnings.warn(str(error), Partial, stacklevel=3)
        return []
    for failed in (d for d in done if not d.sent):
        warnings.warn(
            f"{failed.alerts} alerts could not be sent to {failed.channel}; the next check tries again", Partial, 3
        )
    for n in lost:  # said before there is an alert to send
        where = f"address {n} of MLTRAINER_ALERT_URLS is none that a message can be sent to"
        warnings.warn(f"{where}; write it as apprise has it, as json://host/path", Partial, 3)
    return done


def named(tickers: "str | Sequence[str] | Universe") -> list[str]:
    """Tickers, one or more or those of a universe."""
    if isinstance(tickers, Universe):
        return list(tickers.tickers)
    return [tickers] if isinstance(tickers, str) else list(tickers)


def _market(name: str, as_of: Day, breadth: str | None) -> Watched:
    bars = market.bars(name, end=as_of)
    return watching.market(regimes(bars, breadth=breadth), bars)


def _position(held: Position, as_of: Day) -> Watched:
    return watching.position(held, market.bars(held.ticker, end=as_of))


def _book(held: Book, as_of: Day) -> Watched:
    return watching.book(held, {t: market.bars(t, end=as_of) for t in held.weights})
