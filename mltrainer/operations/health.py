"""Is every part well? Each has its figure and the limits at which somebody should look; a change of state is told."""

import re
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from mltrainer import blobstore
from mltrainer.data.providers import cache
from mltrainer.disk import Place
from mltrainer.errors import MltrainerError, Partial, Unavailable
from mltrainer.settings import settings
from mltrainer.trading.alerts import checking, delivery
from mltrainer.trust import audit

KIND = "health"  # of the entries that tell of a change
STATES = ("ok", "warning", "failed")


@dataclass(frozen=True)
class Part:
    """One part: its figure and unit, where a warning and a failure begin, and its state.

    Attributes
    ----------
    worse : "above" or "below": on which side of the limits it is worse; "" of a part that either answers or does not.
    said : why it failed, where there is no figure.
    """

    name: str
    figure: float
    unit: str
    warning: float
    failure: float
    worse: str
    said: str = ""

    @property
    def state(self) -> str:
        """ok, warning or failed."""
        if self.said:
            return "failed"
        sign = {"above": 1, "below": -1, "": 0}[self.worse]
        return STATES[sum(sign * self.figure > sign * limit for limit in (self.warning, self.failure)) if sign else 0]

    def sentence(self) -> str:
        """The part in words."""
        limits = f"; a warning {self.worse} {self.warning:g}, a failure {self.worse} {self.failure:g}"
        measured = f"{self.figure:,.4g} {self.unit}{limits if self.worse else ''}"
        return f"{self.name}: {self.said or measured}"


def _free(folder: Place) -> float | None:
    """Gigabytes free where a folder is, or would be made; None of a bucket, which has no end."""
    if not isinstance(folder, Path):
        return None
    return shutil.disk_usage(next(p for p in (folder, *folder.absolute().parents) if p.exists())).free / 1e9


def _milliseconds(ask: Callable[[], object]) -> float:
    begin = time.perf_counter()
    ask()
    return (time.perf_counter() - begin) * 1e3


def _silence() -> float:
    """Hours since the watch of alerts last looked; 0 where none was ever begun."""
    beat = settings().home / checking.BEAT
    return (time.time() - beat.stat().st_mtime) / 3600 if beat.exists() else 0.0


PARTS: tuple[tuple[str, str, float, float, str, Callable[[], float | None]], ...] = (
    ("store answers", "ms", 500, 5_000, "above", lambda: _milliseconds(audit.head)),
    ("audit trail", "entries", 0, 0, "", lambda: float(audit.head().size)),
    ("free disk, state", "GB", 5, 0.5, "below", lambda: _free(settings().home)),
    ("free disk, results", "GB", 5, 0.5, "below", lambda: _free(blobstore.folder())),
    ("place of results answers", "ms", 500, 5_000, "above", lambda: _milliseconds(lambda: blobstore.exists("0" * 64))),
    ("available memory", "GB", 1, 0.25, "below", lambda: psutil.virtual_memory().available / 1e9),
    ("memory of this process", "GB", 2, 4, "above", lambda: psutil.Process().memory_info().rss / 1e9),
    ("kept answers", "answers", 0, 0, "", lambda: float(re.sub(r"\D.*", "", cache.summary()["kept answers"]) or 0)),
    ("watch of alerts is silent for", "hours", 97, 169, "above", _silence),  # over a long weekend, over a week
)
"""Name, unit, where a warning and a failure begin, on which side, and what is measured; None leaves it out."""


def health() -> list[Part]:
    """Measure every part; one that breaks has failed, and the others are measured all the same."""
    return [part for row in PARTS if (part := _measured(*row))]


def _measured(
    name: str, unit: str, warning: float, failure: float, worse: str, measure: Callable[[], float | None]
) -> Part | None:
    try:
        figure = measure()
        return None if figure is None else Part(name, figure, unit, warning, failure, worse)
    except (MltrainerError, OSError, ValueError) as error:
        return Part(name, float("nan"), unit, warning, failure, worse, said=str(error)[:200] or type(error).__name__)


def told() -> list[Part]:
    """Parts whose state is another than the trail last said; tell the trail, and send them where alerts are sent.

    So a part that fails is told once, and once more when it is well again. It is sent before it is written down: what
    no address took is sent again the next time. What cannot be written, as the store itself failed, is sent each time.
    """
    parts = health()
    try:
        last = {e.payload["part"]: e.payload["state"] for e in audit.entries(kind=KIND)}
        changed = [p for p in parts if p.state != last.get(p.name, "ok")]
    except MltrainerError:
        last, changed = None, [p for p in parts if p.state == "failed"]
    if changed and _sent(changed) and last is not None:
        for part in changed:
            audit.append(KIND, part=part.name, state=part.state, sentence=part.sentence())
    return changed


def _sent(changed: list[Part]) -> bool:
    """Whether whoever is to be told was; True where nobody is."""
    worst = max((p.state for p in changed), key=STATES.index)
    try:
        took = delivery.notify(f"mlTrainer: {worst}", "\n".join(f"{p.state}: {p.sentence()}" for p in changed), worst)
    except Unavailable as error:
        warnings.warn(str(error), Partial, stacklevel=3)
        return False
    if lost := len(delivery.addresses()) - took:
        warnings.warn(f"{lost} addresses did not take what changed in health; it is sent again", Partial, stacklevel=3)
    return took > 0 or not delivery.addresses()
