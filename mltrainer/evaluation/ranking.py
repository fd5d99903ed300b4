"""The whole ledger ranked, one result in memory at a time, and what of it is left out as its data was taken back."""

from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from mltrainer import blobstore
from mltrainer.errors import Tampered, Unavailable
from mltrainer.evaluation import judgments, projects, trials
from mltrainer.evaluation.leaderboard import Leaderboard, leaderboard
from mltrainer.evaluation.record import Evaluation
from mltrainer.settings import settings
from mltrainer.trust import gate


@dataclass
class Excluded:
    """Results that rest on revoked data: how many, and what was revoked, by its hash, and why."""

    results: int = 0
    revocations: dict[str, str] = field(default_factory=dict)

    def sentence(self) -> str:
        """It in one line; "" of none."""
        if not self.results:
            return ""
        of = "; ".join(f"{content[:12]}: {why}" for content, why in self.revocations.items())
        one = self.results == 1
        how = f"result{'' if one else 's'} rest{'s' if one else ''} on revoked data and {'is' if one else 'are'}"
        return f"{self.results} {how} left out ({of})"


def ranked(project: str | None = None) -> tuple[Leaderboard, Excluded]:
    """Every trial of the mode in force that ran, or those of a project, tested together with all of them."""
    joined = projects.joined(project) if project is not None else ()
    name = projects.named(project) if project is not None else None
    left = Excluded()
    judgment = judgments.judgment()
    known = judgment.evidence.keys()
    strays = [e for e in _results(name, joined, Excluded()) if e.trial not in known] if judgment.luck["lost"] else []
    judgment = judgments.judgment(strays) if strays else judgment  # what is there of a panel that lost a ticker
    return leaderboard(_results(name, joined, left), judgment), left


def _results(project: str | None, joined: Container[str], left: Excluded) -> Iterator[Evaluation]:
    """Results of the ledger in its order; what is lost or damaged is in none, and what is revoked in `left`."""
    mode, revocations = settings().data_mode, cache(gate.revocations)
    for row in trials.rows():
        wanted = project is None or row["project"] == project or row["key"] in joined
        if not (wanted and row["mode"] == mode and row["status"] == "ok"):
            continue
        if taken := revocations(row["matrix"]):
            left.results += 1
            left.revocations |= taken
            continue
        with suppress(Unavailable, Tampered):
            yield trials.with_measured(Evaluation.from_bytes(blobstore.get(row["blob"])), row)
