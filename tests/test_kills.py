"""Stopped at any call that changes its folder, nothing that was acknowledged is lost and nothing is there twice.

A dozen stops; a hundred are `tests/benchmarks/bench_kills.py`.
"""

import random
from pathlib import Path

import pytest
import stops
from replay.server import Replay

from mltrainer import disk


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stops.compiled(tmp_path_factory.mktemp("library"))


@pytest.mark.slow
@pytest.mark.parametrize("job", ["batch", "fetch", "backup", "watch"])
def test_what_is_stopped_loses_nothing_and_runs_again_to_its_end(job: str, tmp_path: Path, library: Path) -> None:
    with Replay() as replay:
        made = list(stops.stopped(job, tmp_path, library, replay, stops=4, chance=random.Random(3)))
    assert {what: broken for what, broken in made if broken} == {}
    assert len(made) > 4


def test_every_new_folder_is_forced_to_the_disk_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "_sync", synced.append)
    disk.make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    disk.make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2
