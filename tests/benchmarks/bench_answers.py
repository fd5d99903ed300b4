"""How long until a reader sees a page's answer, beside stock Voilà on the same notebook, and what 20 readers cost.

    .venv/bin/python tests/benchmarks/bench_answers.py HOME RUNS

HOME is a state folder and RUNS its folder of report runs, as `MLTRAINER_HOME=HOME mltrainer report --out RUNS` makes
them. Each figure is the median of some loads until the sentence is visible, in milliseconds; Chromium is Debian's.
"""

import asyncio
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
from playwright.async_api import Browser, async_playwright

from mltrainer.paths import notebooks

TOKEN = "a-token-of-the-benchmark"
LOADS, READERS = 5, 20
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
FORMS = [(1280, 800, 1), (390, 844, 1), (1280, 800, 4), (390, 844, 4)]


def served(home: str, runs: str) -> tuple[subprocess.Popen, str]:
    call = f"from mltrainer.server import serve; serve(0, token={TOKEN!r}, out={runs!r})"
    environment = {**os.environ, "MLTRAINER_HOME": home, "MLTRAINER_MODE": "sample"}
    process = subprocess.Popen([sys.executable, "-c", call], env=environment, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    assert process.stdout is not None
    found = re.match(r"(http://[^/]+)/", process.stdout.readline())
    assert found
    return process, found[1]


def stock(home: str, runs: str) -> tuple[subprocess.Popen, str]:
    """Voilà as it comes, with the variables that tell our page where to read, and no more."""
    environment = {**os.environ, "MLTRAINER_HOME": home, "MLTRAINER_MODE": "sample", "MLTRAINER_OUT": runs}
    command = [str(Path(sys.executable).with_name("voila")), str(notebooks() / "dashboards" / "models.ipynb")]
    process = subprocess.Popen([*command, "--no-browser", "--port=8899"], env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until and not listening(8899):
        time.sleep(0.2)
    return process, "http://127.0.0.1:8899"


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def seconds(browser: Browser, address: str, form: tuple[int, int, int]) -> float:
    """From asking for an address to a visible sentence."""
    width, height, slow = form
    context = await browser.new_context(
        viewport={"width": width, "height": height}, extra_http_headers={"Authorization": f"token {TOKEN}"}
    )
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Emulation.setCPUThrottlingRate", {"rate": slow})
    start = time.perf_counter()
    await page.goto(address, wait_until="commit")
    await page.wait_for_selector(".lede", state="visible", timeout=90_000)
    spent = time.perf_counter() - start
    await page.goto("about:blank")
    await context.close()
    return spent


def kernels(process: subprocess.Popen) -> int:
    children = psutil.Process(process.pid).children(recursive=True)
    return sum("ipykernel" in " ".join(c.cmdline()) for c in children if c.status() != psutil.STATUS_ZOMBIE)


class Found(dict[str, object]):
    """Figures, each printed as it is found."""

    def __setitem__(self, name: str, figure: object) -> None:
        super().__setitem__(name, figure)
        print(f"{name}: {figure}", flush=True)  # noqa: T201


async def measure(home: str, runs: str) -> Found:
    found = Found()
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path="/usr/bin/chromium", args=ARGS)
        await (await browser.new_page()).goto("about:blank")
        cold = []
        for _ in range(3):
            process, base = served(home, runs)
            cold.append(await seconds(browser, f"{base}/voila/render/models.ipynb", FORMS[0]))
            process.terminate()
            process.wait(30)
        found["kept answer, server just started, ms"] = ms(cold)
        process, base = served(home, runs)
        time.sleep(20)  # kernels are heated
        for form in FORMS:
            times = [await seconds(browser, f"{base}/voila/render/models.ipynb", form) for _ in range(LOADS)]
            found[f"kept answer, {named(form)}, ms"] = ms(times)
        before = kernels(process)
        start = time.perf_counter()
        pages = ["models", "analytics", "alerts", "recommendations"] * (READERS // 4)
        times = await asyncio.gather(*(seconds(browser, f"{base}/voila/render/{p}.ipynb", FORMS[0]) for p in pages))
        found["20 readers at once, all shown within, ms"] = round(1000 * (time.perf_counter() - start))
        found["20 readers at once, median, ms"] = ms(times)
        found["kernels before and after"] = [before, kernels(process)]
        live = []
        for _ in range(3):
            live.append(await seconds(browser, f"{base}/voila/render/models.ipynb?live=1", FORMS[0]))
            time.sleep(10)
        found["heated kernel, 1280, ms"] = ms(live)
        process.terminate()
        process.wait(30)
        process, base = stock(home, runs)
        for form in FORMS:
            times = [await seconds(browser, base, form) for _ in range(2)]
            found[f"stock Voilà, {named(form)}, ms"] = ms(times)
        process.terminate()
        await browser.close()
    return found


def named(form: tuple[int, int, int]) -> str:
    return f"{form[0]}{' at a quarter of the speed' if form[2] > 1 else ''}"


def ms(times: list[float]) -> list[int]:
    """Median, least and most."""
    return [round(1000 * t) for t in (statistics.median(times), min(times), max(times))]


if __name__ == "__main__":
    asyncio.run(measure(*sys.argv[1:3]))
