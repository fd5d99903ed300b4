"""Two hours of a server's life in some minutes: do memory and file handles stay flat?

    python tests/benchmarks/bench_soak.py [--rounds 120]

A round is what a minute brings: of twenty readers, each of whom stays on a page for five minutes, four open another;
one asks the interface, alerts are checked, the server is measured as Prometheus does; every fifteenth a training
begins. The watch of alerts is a process of its own that stays.
Prints resident memory and open files of both, and by how much they grow in 120 rounds, with a 95 % interval; the first
quarter, in which caches fill, does not count.
"""

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from scipy import stats

TOKEN = "a-token-of-the-benchmark"
OPENED, TRAINING = 4, 15  # pages in a round, and rounds between trainings
PAGES = ("models", "alerts", "recommendations", "analytics", "chat")
WATCH = """import sys
from mltrainer.trading.alerts import check
for day in sys.stdin:
    check(["MSFT", "IBM"], as_of=day.strip(), send=False)
    print("done", flush=True)"""
SERVE = "from mltrainer.server import serve; serve(0, token={token!r}, out={out!r})"
USER = "from mltrainer.server import users; print(users.add('soak', 'admin'))"


def asked(base: str, path: str, token: str, body: object = None) -> int:
    """Status of an answer; who got a page with a kernel leaves it, as a browser does that closes a page."""
    connection = http.client.HTTPConnection(base, timeout=900)  # a busy machine is no leak
    head = {"Authorization": f"token {token}", "Content-Type": "application/json", "Origin": f"http://{base}"}
    connection.request("GET" if body is None else "POST", path, body and json.dumps(body), head)
    answer = connection.getresponse()
    kernel = re.search(rb'"kernelId": ?"([^"]+)"', answer.read())
    if kernel:
        connection.request("POST", f"/voila/api/shutdown/{kernel[1].decode()}", b"", head)
        connection.getresponse().read()
    connection.close()
    return answer.status


def measured(process: psutil.Process) -> tuple[float, int]:
    return process.memory_info().rss / 2**20, process.num_fds()


def rounds(number: int, base: str, token: str, watch: "subprocess.Popen[str]") -> Iterator[dict[int, int]]:
    days = (str(d)[:10] for d in np.arange("2009-01-02", "2012-12-31", dtype="datetime64[D]") if np.is_busday(d))
    for n, day in zip(range(number), days, strict=False):
        seen: dict[int, int] = {}
        calls: list[tuple[str, object]] = [
            (f"/voila/render/{PAGES[(n * OPENED + i) % len(PAGES)]}.ipynb", None) for i in range(OPENED)
        ]
        calls += [("/api/regime", None), ("/api/alerts", None), ("/api/metrics", None)]
        if n % TRAINING == 0:
            calls.append(("/api/models/train", {"model": "RidgeRegression", "ticker": "MSFT", "end": day}))
        for path, body in calls:
            status = asked(base, path, token, body)
            seen[status] = seen.get(status, 0) + 1
        assert watch.stdin is not None and watch.stdout is not None  # noqa: PT018
        watch.stdin.write(f"{day}\n")
        watch.stdin.flush()
        assert watch.stdout.readline() == "done\n"
        yield seen


def growth(values: list[float], per: int = 120) -> str:
    """Growth in so many rounds by least squares, with a 95 % interval, less the first quarter."""
    kept = np.array(values[len(values) // 4 :], dtype=float)
    fit = stats.linregress(np.arange(len(kept)), kept)
    wide = stats.t.ppf(0.975, len(kept) - 2) * fit.stderr
    return f"{fit.slope * per:+.1f} ({(fit.slope - wide) * per:+.1f} to {(fit.slope + wide) * per:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=120)
    number = parser.parse_args().rounds
    home = tempfile.mkdtemp(prefix="soak-")
    env = {**os.environ, "MLTRAINER_HOME": home, "MLTRAINER_MODE": "sample"}
    token = subprocess.run([sys.executable, "-c", USER], env=env, capture_output=True, text=True, check=True).stdout
    call = SERVE.format(token=TOKEN, out=str(Path(home, "reports")))
    pipes = {"env": env, "stdout": subprocess.PIPE, "text": True}
    server = subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.DEVNULL, **pipes)
    watch = subprocess.Popen([sys.executable, "-W", "ignore", "-c", WATCH], stdin=subprocess.PIPE, **pipes)
    base = re.match(r"http://([^/]+)/", server.stdout.readline())[1]
    own = psutil.Process(server.pid)
    app = next((p for p in own.children(recursive=True) if "mltrainer.server.app" in p.cmdline()), own)
    series: dict[str, list[float]] = {f"{who} {what}": [] for who in ("server", "watch") for what in ("MB", "files")}
    begin, answers = time.monotonic(), dict[int, int]()
    for n, seen in enumerate(rounds(number, base, token.strip(), watch)):
        for status, count in seen.items():
            answers[status] = answers.get(status, 0) + count
        for who, process in (("server", app), ("watch", psutil.Process(watch.pid))):
            megabytes, files = measured(process)
            series[f"{who} MB"].append(megabytes)
            series[f"{who} files"].append(files)
        if n % 20 == 0:
            print(n, {name: round(values[-1]) for name, values in series.items()}, flush=True)  # noqa: T201
    print(f"{number} rounds in {time.monotonic() - begin:.0f} s; answers by status {answers}")  # noqa: T201
    for name, values in series.items():
        print(f"{name}: {values[0]:.0f} to {values[-1]:.0f}; in 120 rounds {growth(values)}")  # noqa: T201
    for process in (watch, server):
        process.terminate()


if __name__ == "__main__":
    main()
