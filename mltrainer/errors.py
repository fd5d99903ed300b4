"""What can go wrong, as one tree; every message says what was found, why it matters here, and the next step.

::

    MltrainerError
    ├── BadInput (ValueError)             a date, number or name that cannot be meant
    │   └── UnknownName (KeyError)        no such model, family, ticker or series; close names are offered
    ├── NotEnoughHistory (ValueError)     the span is too short for what was asked
    ├── Unavailable (LookupError)         the source does not hold it, or an extra is not installed
    ├── Refused (PermissionError)         no shown origin: not admitted as data
    ├── Tampered (ValueError)             stored bytes no longer match their recorded hash
    ├── ProviderError (ConnectionError)   a provider failed, or sent what cannot be right
    │   └── NotEntitled (PermissionError) it refused the key, or the plan does not hold what was asked for
    └── StorageError (OSError)            the disk is full, or the state folder cannot be written
        └── Locked                        it is encrypted, and the key is not here
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MltrainerError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""

    def __str__(self) -> str:
        # KeyError would print the repr of its argument, OSError an errno tuple.
        return " ".join(str(a) for a in self.args)


class BadInput(MltrainerError, ValueError):
    """A value that cannot be meant: an end before its start, a negative horizon, a path as a ticker."""


class UnknownName(BadInput, KeyError):
    """A name that is in no table."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> "UnknownName":
        """Build the error that offers the closest known names.

        >>> str(UnknownName.of("family", "treees", ["trees", "linear"]))
        "no family is called 'treees'; close: trees"
        """
        known = list(known)
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        close = get_close_matches(name[:100], known, n=3, cutoff=0.5)
        hint = f"close: {', '.join(close)}" if close else f"known: {_shorten(known)}"
        return cls(f"no {kind} is called {shown!r}; {hint}")


def _shorten(names: list[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


class NotEnoughHistory(MltrainerError, ValueError):
    """The span is too short for the features, the folds or the horizon asked for."""


class Unavailable(MltrainerError, LookupError):
    """The source does not hold it, or the extra that provides it is not installed; nothing is invented instead."""


class Partial(UserWarning):
    """Part of what was asked for is not there; it is named, and the rest goes on."""


class Exposed(Partial):
    """A secret lies where others may read it."""


class Refused(MltrainerError, PermissionError):
    """The origin of the data cannot be shown, so it is not used; a violation is written to the audit trail."""


class Tampered(MltrainerError, ValueError):
    """Stored bytes no longer match the hash recorded for them."""


class StorageError(MltrainerError, OSError):
    """The disk is full, or the state folder cannot be written."""


class Locked(StorageError):
    """It is encrypted, and the key is not here; nothing is lost, and nothing is written in its place."""


class ProviderError(MltrainerError, ConnectionError):
    """A provider failed or sent what cannot be right; nothing of it was kept.

    Parameters
    ----------
    message : what it did, and the next step; never a key.
    provider : "polygon" or "fred".
    status : of its HTTP answer; None where there was none.
    """

    def __init__(self, message: str, provider: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.provider, self.status = provider, status


class NotEntitled(ProviderError, PermissionError):
    """The provider knows the question and will not answer it with this key or plan."""
