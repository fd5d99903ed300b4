"""How soon /api/health answers while two trainings run, and while nothing does.

    .venv/bin/python tests/benchmarks/bench_health.py HOME

HOME is a state folder; the trainings are real ones, of the sample. Prints milliseconds: median, 95th percentile, most,
and the load of the machine; the least of them is what the benchmark's own client takes on a quiet one.
"""

import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

SECONDS, EVERY = 30.0, 0.05
MODEL = "GradientBoosting_lr_0.01"
TOKEN = "a-token-of-the-benchmark"
ADD = (
    "from mltrainer.server import users; have = {u.name for u in users.users()}; "
    "print(users.rotate('bench') if 'bench' in have else users.add('bench', 'researcher'))"
)


class Caller:
    """A researcher with a connection that stays."""

    def __init__(self, base: str, token: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=60)
        self.head = {"Authorization": f"token {token}", "Content-Type": "application/json"}

    def __call__(self, method: str, path: str, body: object = None) -> dict:
        self.connection.request(method, path, body=None if body is None else json.dumps(body), headers=self.head)
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status in (200, 202), said
        return said


def running(ask: Caller) -> int:
    return sum(job["state"] == "running" for job in ask("GET", "/api/models/train?limit=20")["items"])


def waited(ask: Caller, *, trainings: int) -> list[float]:
    """Seconds that each answer took, only those while so many trainings ran."""
    found: list[float] = []
    other = Caller(f"http://{ask.connection.host}:{ask.connection.port}", ask.head["Authorization"].split()[1])
    until, submitted = time.monotonic() + 4 * SECONDS, 0
    while len(found) * EVERY < SECONDS and time.monotonic() < until:
        if trainings and (busy := running(other)) < trainings:
            queued = ask("GET", "/api/models/train?state=queued")["total"]
            for _ in range(trainings - busy - queued):
                day = f"{2010 + submitted % 3}-06-{1 + submitted % 28:02}"
                submitted += 1
                ask("POST", "/api/models/train", {"model": MODEL, "ticker": "MSFT", "end": day})
            time.sleep(0.2)
            continue
        for _ in range(10):
            begin = time.perf_counter()
            ask("GET", "/api/health")
            found.append(time.perf_counter() - begin)
            time.sleep(EVERY)
    return found


def main(home: str) -> None:
    env = {**os.environ, "MLTRAINER_HOME": home, "MLTRAINER_MODE": "sample"}
    token = subprocess.run([sys.executable, "-c", ADD], env=env, capture_output=True, text=True, check=True).stdout
    call = f"from mltrainer.server import serve; serve(0, token={TOKEN!r}, out={str(Path(home, 'reports'))!r})"
    process = subprocess.Popen([sys.executable, "-c", call], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    base = re.match(r"(http://[^/]+)/", process.stdout.readline())[1]
    ask = Caller(base, token.strip())
    time.sleep(30)  # kernels are heated
    for trainings in (0, 2):
        times = sorted(waited(ask, trainings=trainings))
        p95 = times[int(0.95 * len(times))]
        said = [round(1000 * t, 1) for t in (statistics.median(times), p95, times[-1])]
        print(f"{trainings} trainings: {said} ms of {len(times)}, load {os.getloadavg()[0]:.1f}", flush=True)  # noqa: T201
    process.terminate()
    process.wait(30)


if __name__ == "__main__":
    main(sys.argv[1])
