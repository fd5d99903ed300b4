"""How fast do minute bars come in beside the official client, and how much memory does a page cost?

Half a million bars in ten pages over HTTP, from a replay server in a process of its own. Ours end checked, kept with
their hash and admitted by the gate. The client's end in pd.DataFrame(rows), as one writes it; beside it stands what its
rows cost alone. Ratios are theirs over ours in CPU seconds, the median of alternating repetitions, and nothing is kept
from one to the next. Memory is what ten pages take more than one, per page. Last, the same page read again: kept, with
its hash shown again, beside asked for anew; in seconds of the clock.

Run with `python tests/benchmarks/bench_data.py`.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import pandas as pd
from massive import RESTClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from replay.server import POLYGON_KEY, Replay

from mltrainer.data import market
from mltrainer.data.providers import client

ROWS, PAGES, MINUTE, START = 50_000, 10, 60_000, 1262356200000
STEM, FIRST = "/v2/aggs/ticker/AAPL/range/1/minute", "2010-01-01"
GOAL = 3.0
SPAWN = get_context("spawn")


def page(k: int, pages: int, url: str) -> dict[str, object]:
    """Page k of `pages`, as it stands on the wire."""
    bars = [
        {"v": 4930 + n % 977, "vw": 200.1035 + n % 13 / 8, "o": 200.29, "c": 200.02 + n % 7 / 100, "h": 202.99,
         "l": 199.94, "t": START + n * MINUTE, "n": 129 + n % 11}
        for n in range(k * ROWS, (k + 1) * ROWS)
    ]  # fmt: skip
    more = {"next_url": f"{url}{path(k + 1, pages)}?cursor=bGltaXQ9NTAwMDA"} if k + 1 < pages else {}
    head = {"ticker": "AAPL", "adjusted": True, "status": "OK", "queryCount": ROWS, "resultsCount": ROWS, "count": ROWS}
    return head | {"results": bars} | more


def path(k: int, pages: int) -> str:
    """Where page k of a backfill of so many pages is asked for; the day on which it ends tells them apart."""
    return f"{STEM}/{START + k * ROWS * MINUTE if k else FIRST}/{last(pages)}"


def last(pages: int) -> str:
    return f"2015-{12 - pages // 28:02d}-{1 + pages % 28:02d}"


def served(pipe: Connection) -> None:
    """Answer until the other end is closed."""
    with Replay() as server:
        for pages in (1, PAGES):
            server.canned.update({path(k, pages): page(k, pages, server.url) for k in range(pages)})
        pipe.send(server.url)
        pipe.poll(None)


def ours(pages: int) -> int:
    """Rows admitted of a backfill, with nothing kept from before."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["MLTRAINER_HOME"] = home
        return len(market.bars("AAPL", start=FIRST, end=last(pages), timespan="minute").frame)


def official(pages: int) -> list[object]:
    """The same backfill by the official client, unchecked and not kept."""
    asked = RESTClient(POLYGON_KEY, base=os.environ["MLTRAINER_POLYGON_URL"])
    return list(asked.list_aggs("AAPL", 1, "minute", FIRST, last(pages), adjusted=True, sort="asc", limit=ROWS))


def rows(pages: int) -> int:
    return len(official(pages))


def frame(pages: int) -> int:
    return len(pd.DataFrame(official(pages)))


def seconds(ingest: Callable[[int], int], pages: int) -> float:
    """CPU seconds of one backfill."""
    start = time.process_time()
    assert ingest(pages) == pages * ROWS
    return time.process_time() - start


def peak(ingest: Callable[[int], int], pages: int) -> float:
    """Largest resident memory (MB) of a process that does one backfill."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(_peak, ingest, pages).result()


def _peak(ingest: Callable[[int], int], pages: int) -> float:
    ingest(pages)
    status = Path("/proc/self/status").read_text()  # ru_maxrss would hold that of the parent
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def kept_beside_anew(repeats: int = 5) -> tuple[float, float]:
    """Seconds for one page of 50,000 bars: kept from before, and asked for anew."""

    def clocked(keep: timedelta, *, cached: bool) -> float:
        start = time.perf_counter()
        assert client.get("polygon", path(0, 1), keep=keep).cached is cached
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as home:
        os.environ["MLTRAINER_HOME"] = home
        clocked(timedelta(0), cached=False)
        turns = [(clocked(timedelta(1), cached=True), clocked(timedelta(0), cached=False)) for _ in range(repeats)]
    kept, anew = (median(column) for column in zip(*turns, strict=True))
    return kept, anew


def measure(*, repeats: int = 3) -> tuple[dict[str, float], dict[str, float], tuple[float, float]]:
    """Rows per CPU second and megabytes per page of each, and seconds of a page kept and anew."""
    near, far = SPAWN.Pipe()
    server = SPAWN.Process(target=served, args=(far,), daemon=True)
    server.start()
    os.environ |= {"MLTRAINER_MODE": "replay", "MLTRAINER_POLYGON_URL": near.recv(), "POLYGON_API_KEY": POLYGON_KEY}
    os.environ["MLTRAINER_POLYGON_PER_MINUTE"] = "6000"
    try:
        turns = [(f.__name__, seconds(f, PAGES)) for _ in range(repeats) for f in (ours, rows, frame) if f(1)]
        per_page = {f.__name__: (peak(f, PAGES) - peak(f, 1)) / (PAGES - 1) for f in (ours, rows, frame)}
        page_seconds = kept_beside_anew()
    finally:
        server.terminate()
        server.join()
    rates = {name: PAGES * ROWS / median(s for other, s in turns if other == name) for name in per_page}
    return rates, per_page, page_seconds


def main() -> None:
    """Print the ratios, the rates and the memory."""
    rate, memory, (kept, anew) = measure()
    for name, what in (("frame", "the official client and pd.DataFrame of its rows"), ("rows", "its rows alone")):
        times, beside = rate["ours"] / rate[name], f"{rate['ours']:,.0f} beside {rate[name]:,.0f}"
        print(f"ingest: {times:.1f} x the rows/s of {what} (goal {GOAL:.0f} x): {beside}")  # noqa: T201
    print("memory: " + ", ".join(f"{name} {mb:.0f} MB a page" for name, mb in memory.items()))  # noqa: T201
    print(f"read again: {anew / kept:.1f} x faster than asked for anew ({1e3 * kept:.0f} beside {1e3 * anew:.0f} ms)")  # noqa: T201


if __name__ == "__main__":
    main()
