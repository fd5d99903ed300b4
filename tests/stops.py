"""Processes that are stopped at the n-th call that changes their folder, and what must hold of it then.

`powercut.c` is put before the C library of a process: it ends it in the middle of a write, has the disk full from there
on, or keeps what the disk would hold after a power cut. The table `JOBS` says what is stopped.
"""

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from replay.server import FRED_KEY, POLYGON_KEY, Replay
from sqlalchemy import select

from mltrainer import blobstore, store
from mltrainer.operations import backup, scrub
from mltrainer.reports import folder as reports
from mltrainer.reports import verify
from mltrainer.trust import audit

SOURCE = Path(__file__).with_name("powercut.c")
HOW = ("kill", "full", "power")
SPAN = 'start="2004-01-02", end="2006-12-29"'
MODELS = '["KNeighborsRegressor_5", "KNeighborsRegressor_3"]'

# What is acknowledged is printed the moment it is: each end of the trail, then what the job returns.
FRAME = """
import os, sys
import mltrainer as mt
from mltrainer import blobstore, store
from mltrainer.errors import MltrainerError
remember = store._remember
last, told = int(os.environ.get("STOP_AFTER", "0")), 0
def acknowledged(url, head):
    global told
    remember(url, head)
    print("head", head, flush=True)
    told += 1
    if told == last:
        os.kill(os.getpid(), 9)
store._remember = acknowledged
try:
{body}
except MltrainerError as error:
    print("said", type(error).__name__, str(error), flush=True)
    sys.exit(2)
print("done", flush=True)
"""

JOBS = {
    "batch": f'mt.evaluate({MODELS}, mt.matrix("MSFT", {SPAN}), jobs=1)',
    "fetch": 'print("bars", len(mt.bars("AAPL", start="2005-01-03", end="2006-01-03").frame))',
    "report": """from mltrainer.reports import run
print("run", run.report(["neighbors"], ["MSFT"], start="2004-01-02", end="2006-12-29", jobs=1, out="out").path)""",
    "train": f"""kept = mt.model("KNeighborsRegressor_3").train(mt.matrix("MSFT", {SPAN})).save()
print("artifact", kept)""",
    "alerts": """from mltrainer.trading import alerts
for day in ("2006-03-31", "2006-06-30", "2006-12-29"):
    alerts.check(["MSFT"], as_of=day, send=False)""",
    "watch": """from mltrainer.trading import alerts
held = [alerts.Position(ticker, "2010-01-04", stop=0.01) for ticker in ("MSFT", "IBM")]
for day in ("2010-01-29", "2010-03-01"):
    alerts.check(positions=held, as_of=day, send=False)""",
    "forecast": """from mltrainer.trading.forecasts import forecast
for day in ("2006-12-28", "2006-12-29"):
    forecast(["MSFT"], models=["KNeighborsRegressor_5"], as_of=day)""",
    "backup": """from mltrainer.operations import backup
from mltrainer.trust import audit
audit.append("begun")
audit.append("work", blob=blobstore.put(b"x" * 300_000))
name = f"backup-{audit.head().size}"
backup.backup(name)
print("backup", name)""",
    "restore": """from mltrainer.operations import backup
from mltrainer.trust import audit
audit.append("begun")
audit.append("work", blob=blobstore.put(b"y" * 300_000))
if not os.path.exists("kept"):
    backup.backup("kept")
store._remember = remember  # what follows is of another home
os.environ["MLTRAINER_HOME"] = os.path.abspath("second")
if not os.path.exists("second"):
    backup.restore("kept")
print("restored", "second", flush=True)""",
    "alternative": f"""from mltrainer.data.alternative import alternative
print("rows", len(alternative("elnino").frame), flush=True)
print("columns", len(mt.matrix("MSFT", {SPAN}).X.columns))""",
}
"""What is stopped, by its name; each asks for the same thing again when it is run again."""


@dataclass
class Run:
    """One run: its exit code, what it acknowledged (kind, words), and how many calls changed the folder."""

    code: int
    acknowledged: list[tuple[str, str]]
    errors: str = ""
    calls: int = 0


@dataclass
class World:
    """A folder with a home, runs and backups, and all that was acknowledged in it."""

    folder: Path
    library: Path
    environment: dict[str, str] = field(default_factory=dict)
    acknowledged: list[tuple[str, str]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(self, job: str, at: int = 0, how: str = "kill", seconds: float = 240, after: int = 0) -> Run:
        """Run a job, stopped at call `at` or right after acknowledgement `after` (0: never).

        After a power cut the folder is what the disk would hold.
        """
        self.folder.mkdir(exist_ok=True)
        image, count = (self.folder.with_name(f"{self.folder.name}.{name}") for name in ("image", "count"))
        count.unlink(missing_ok=True)
        stop = {"LD_PRELOAD": str(self.library), "STOP_HOME": str(self.folder), "STOP_AT": str(at), "STOP_HOW": how}
        stop |= {"STOP_COUNT": str(count), "STOP_AFTER": str(after)}
        if how == "power":
            imaged(self.folder, image)
            stop |= {"STOP_IMAGE": str(image), "STOP_HOW": "kill"}
        body = "\n".join(f"    {line}" for line in JOBS[job].splitlines())
        call = [sys.executable, "-c", FRAME.format(body=body)]
        done = ended(call, {**self.environment, **stop}, self.folder, seconds)
        told = [tuple(line.split(" ", 1)) for line in done.stdout.splitlines() if " " in line]
        self.acknowledged += [(kind, words) for kind, words in told if kind != "said"]
        if how == "power" and done.returncode:
            replaced(self.folder, image)
        shutil.rmtree(image, ignore_errors=True)
        calls = int(count.read_text()) if count.exists() else 0
        return Run(done.returncode, [(k, w) for k, w in told], done.stderr, calls)

    def findings(self) -> list[str]:
        """What does not hold of the folder as it is."""
        found = [*audit.verify(), *map(str, scrub.scrub(self.folder / "out")), *unsound(self.home)]
        entries = {f"{e.seq}:{e.hash}" for e in audit.entries()}
        found += [f"acknowledged {w} is lost" for k, w in self.acknowledged if k == "head" and w not in entries]
        found += [f"artifact {w} is lost" for k, w in self.acknowledged if k == "artifact" and blobstore.flaw(w)]
        for word in {w for k, w in self.acknowledged if k == "run"}:
            found += [f"{word}: {line}" for line in verify(word)]
        for word in {w for k, w in self.acknowledged if k == "backup"}:
            found += [f"{word}: {line}" for line in backup.check(self.folder / word)[1]]
        found += elsewhere(self.folder / "second", [w for k, w in self.acknowledged if k == "restored"])
        found += [f"{path} is torn" for path in (self.folder / "out").glob("*/[!.]*.html") if torn(path)]
        return found

    def contents(self) -> dict[str, list[str]]:
        """What there is, by what names it: equal to that of a world in which nothing was stopped."""
        with store.reading() as connection:
            tables = (store.trials, store.alerts, store.recommendations)
            held = {t.name: sorted(connection.execute(select(t.c.key)).scalars()) for t in tables}
            held["admitted"] = sorted(connection.execute(select(store.admitted.c.content)).scalars())
        held["forecasts"] = sorted(str(e.payload["address"]) for e in audit.entries(kind="forecast"))
        held["artifacts"] = sorted({str(e.payload["artifact"]) for e in audit.entries(kind="artifact")})
        held["runs"] = sorted(run.id for run in reports.runs(self.folder / "out"))
        return held


def compiled(folder: Path) -> Path:
    """The library that stops; tests are skipped where there is no compiler or no Linux."""
    if sys.platform != "linux" or (compiler := shutil.which("cc")) is None:
        pytest.skip("needs Linux and a C compiler")
    library = folder / "powercut.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def ended(call: list[str], environment: dict[str, str], folder: Path, seconds: float) -> subprocess.CompletedProcess:
    """Run a process to its end, and after it end all that it started."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(call, env=environment, cwd=folder, start_new_session=True, **pipes) as process:
        try:
            out, errors = process.communicate(timeout=seconds)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
    return subprocess.CompletedProcess(call, process.returncode, out, errors)


def imaged(folder: Path, image: Path) -> None:
    """All that is there when a process begins is on the disk."""
    shutil.rmtree(image, ignore_errors=True)
    image.mkdir()
    for path in (folder, *folder.rglob("*")):
        to = image / str(path.stat().st_ino)
        if path.is_dir():
            to.write_text("".join(f"{child.stat().st_ino} {child.name}\n" for child in path.iterdir()))
        else:
            shutil.copyfile(path, to)


def replaced(folder: Path, image: Path) -> None:
    """Make of a folder what the disk holds of it: names and bytes that were never forced there are gone."""
    after, folders = (
        folder.with_name(f"{folder.name}.after"),
        {p.stat().st_ino for p in folder.rglob("*") if p.is_dir()},
    )

    def lay(number: int, to: Path) -> None:
        held = image / str(number)
        if number in folders:
            to.mkdir(mode=0o700, exist_ok=True)
            for line in held.read_text().splitlines() if held.exists() else ():
                child, name = line.split(" ", 1)
                lay(int(child), to / name)
        else:
            to.write_bytes(held.read_bytes() if held.exists() else b"")

    folders.add(folder.stat().st_ino)
    lay(folder.stat().st_ino, after)
    shutil.rmtree(folder)
    after.rename(folder)


def elsewhere(home: Path, acknowledged: list[str]) -> list[str]:
    """What does not hold of a home that was restored: it is there whole or not at all."""
    if not home.exists():
        return [f"{home.name} is gone, and was acknowledged"] if acknowledged else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(home))
        found = [*audit.verify(), *unsound(home)]
        return found + ([] if audit.entries(kind="work") else [f"{home.name} holds no work"])


def unsound(home: Path) -> Iterator[str]:
    for path in home.glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            said = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if said != "ok":
            yield f"{path.name}: {said}"


def torn(path: Path) -> bool:
    return not path.read_text(encoding="utf-8").rstrip().endswith("</html>")


def environment(world: Path, job: str, replay: Replay) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MLTRAINER_") and not k.endswith("_API_KEY")}
    kept |= {"MLTRAINER_HOME": str(world / "home"), "MLTRAINER_WORLDS": "0", "POLYGON_API_KEY": ""}
    if job == "alternative":
        kept["MLTRAINER_ALTERNATIVE"] = "elnino"
    if job in ("fetch", "watch"):  # from the provider on this machine
        kept |= {"MLTRAINER_MODE": "replay", "POLYGON_API_KEY": POLYGON_KEY, "FRED_API_KEY": FRED_KEY}
        kept |= dict.fromkeys(("MLTRAINER_POLYGON_URL", "MLTRAINER_FRED_URL"), replay.url)
        kept["MLTRAINER_POLYGON_PER_MINUTE"] = "6000"
    return kept


@contextmanager
def inside(world: World) -> Iterator[None]:
    """Look at a world from this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in world.environment.items():
            if name.startswith("MLTRAINER_") or name.endswith("_API_KEY"):
                patch.setenv(name, value)
        yield


def stopped(job: str, folder: Path, library: Path, replay: Replay, *, stops: int, chance: random.Random,
            how: tuple[str, ...] = HOW, again: int = 4) -> Iterator[tuple[str, list[str]]]:  # fmt: skip
    """Stop a job so many times, up to `again` times in one folder before it may end; each stop and what it broke."""
    reference = World(folder / f"{job}-whole", library, environment(folder / f"{job}-whole", job, replay))
    whole = reference.run(job)
    if whole.code:
        raise AssertionError(f"{job} does not run: {whole.acknowledged} {whole.errors}")
    with inside(reference):
        expected = reference.contents()
    done, number = 0, 0
    while done < stops:
        world = World(folder / f"{job}-{number}", library, environment(folder / f"{job}-{number}", job, replay))
        number += 1
        left = whole.calls
        for _ in range(again):
            way, at = chance.choice(how), chance.randint(1, max(left, 20))
            run = world.run(job, at, way)
            if not run.code or done == stops:  # it came to its end before
                break
            done, left = done + 1, left - at
            with inside(world):
                broken = world.findings() if world.home.exists() else lost(world)
            ended_well = run.code in (0, -9) or (way == "full" and run.code == 2)
            broken += [] if ended_well else [f"exit {run.code}: {(run.errors or '?').strip().splitlines()[-1]}"]
            yield f"{job}: {way} at call {at} of {whole.calls}, exit {run.code}", broken
        last = world.run(job)  # what was stopped is asked for again
        with inside(world):
            broken = world.findings()
            if (held := world.contents()) != expected and job != "backup":
                broken.append(f"holds {json.dumps(held)[:600]} and not {json.dumps(expected)[:600]}")
        broken += [f"exit {last.code}: {last.acknowledged[-1:]} {last.errors[-500:]}"] if last.code else []
        yield f"{job}: run again to its end", broken


def lost(world: World) -> list[str]:
    return [f"all is gone, and {words} was acknowledged" for _, words in world.acknowledged]
