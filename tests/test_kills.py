"""Stopped at any call that changes its folder, nothing that was acknowledged is lost and nothing is there twice.

Some stops of some jobs; a hundred of all are `tests/benchmarks/bench_kills.py`, and how to run them stands there.
"""

import os
import random
import sys
from pathlib import Path

import pytest
import stops
from replay.server import Replay

from mltrainer import disk

pytestmark = pytest.mark.usefixtures("database")  # what is stopped is a folder with all that it holds


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stops.compiled(tmp_path_factory.mktemp("library"))


@pytest.mark.slow
@pytest.mark.parametrize("job", ["batch", "fetch", "backup", "restore", "forecast", "watch"])
def test_what_is_stopped_loses_nothing_and_runs_again_to_its_end(job: str, tmp_path: Path, library: Path) -> None:
    with Replay() as replay:
        made = list(stops.stopped(job, tmp_path, library, replay, stops=4, chance=random.Random(3)))
    assert {what: broken for what, broken in made if broken} == {}
    assert len(made) > 4


@pytest.mark.slow
@pytest.mark.parametrize("job", ["train", "restore"])
def test_a_power_cut_right_after_an_acknowledgement_takes_nothing_of_it(
    job: str, tmp_path: Path, library: Path
) -> None:
    with Replay() as replay:
        whole = stops.World(tmp_path / "whole", library, stops.environment(tmp_path / "whole", job, replay))
        assert whole.run(job).code == 0
        ends = sum(kind == "head" for kind, _ in whole.acknowledged)
        for after in {1, random.Random(4).randint(2, ends), ends}:
            folder = tmp_path / f"cut-{after}"
            world = stops.World(folder, library, stops.environment(folder, job, replay))
            run = world.run(job, how="power", after=after)
            assert (run.code, len(world.acknowledged)) == (-9, after)
            with stops.inside(world):
                assert world.findings() == []


def test_a_new_file_does_not_hold_what_a_removed_one_held_on_the_disk(tmp_path: Path, library: Path) -> None:
    world = stops.World(tmp_path / "world", library, dict(os.environ))
    world.folder.mkdir()
    stops.imaged(world.folder, image := tmp_path / "world.image")
    call = [sys.executable, "-c", REUSED]
    stop = {"LD_PRELOAD": str(library), "STOP_HOME": str(world.folder), "STOP_IMAGE": str(image)}
    done = stops.ended(call, {**world.environment, **stop}, world.folder, 60)
    assert (done.returncode, done.stderr) == (0, "")
    stops.replaced(world.folder, image)
    assert {path.name: path.read_bytes() for path in world.folder.iterdir()} == dict.fromkeys("abcdefgh", b"")


REUSED = """import os
for name in "abcdefgh":  # a file system gives the number of a removed file to a new one
    with open("old", "wb") as file:
        file.write(b"of the old one")
        file.flush()
        os.fsync(file.fileno())
    os.unlink("old")
    open(name, "wb").close()
os.fsync(os.open(".", os.O_RDONLY))
"""


def test_every_new_folder_is_forced_to_the_disk_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "_sync", synced.append)
    disk.make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    disk.make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2
