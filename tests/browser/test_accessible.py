"""Who sees little, hears the page or has no mouse reads the same: axe-core finds nothing serious, Tab reaches all."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from visitor import KEPT, TOKEN, Served, Visit

pytestmark = [pytest.mark.browser, pytest.mark.slow]
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
FORMS = [(w, h, scheme) for w, h in ((1280, 800), (390, 844)) for scheme in ("light", "dark")]
GRAVE = ("serious", "critical")
FOCUSABLE = "a[href], button, select, input, textarea, summary, [tabindex='0'], audio[controls], video[controls]"
# Controls that are seen and can be used; those that the modebar of a drawing shows by hovering are for the mouse.
CONTROLS = (
    f"""[...document.querySelectorAll("{FOCUSABLE}")].filter(e => e.checkVisibility({{visibilityProperty: true}})"""
    """ && !e.disabled && e.type !== 'hidden' && !e.closest('.modebar') && e.getClientRects().length)"""
)
POINTED = (
    """[...document.querySelectorAll('body *')].filter(e => !e.closest('svg, .modebar, .js-plotly-plot')"""
    f""" && getComputedStyle(e).cursor === 'pointer' && e.checkVisibility() && !e.closest("{FOCUSABLE}, label"))"""
    """.map(e => e.outerHTML.slice(0, 120))"""
)


def grave(page: Page) -> list[Any]:
    """What axe-core finds of serious or critical impact: rule, impact, and the first places."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
    return [
        (v["id"], v["impact"], [(n["target"], n["any"][0]["message"] if n["any"] else "") for n in v["nodes"][:3]])
        for v in found
        if v["impact"] in GRAVE
    ]


def by_tab(page: Page) -> list[str]:
    """Controls that the Tab key does not reach, or where nobody sees that it did."""
    count = page.evaluate(f"{CONTROLS}.map((e, n) => e.dataset.control = n).length")
    page.evaluate("document.activeElement?.blur(); scrollTo(0, 0)")
    seen, dark = set(), []
    for _ in range(count + 40):
        page.keyboard.press("Tab")
        now = page.evaluate(
            "(e => e && e.dataset.control !== undefined ? [e.dataset.control, e.outerHTML.slice(0, 120),"
            " getComputedStyle(e).outlineStyle !== 'none' || getComputedStyle(e).boxShadow !== 'none'] : null)"
            "(document.activeElement)"
        )
        if now:
            seen.add(int(now[0]))
            dark += [] if now[2] else [f"no outline: {now[1]}"]
        if len(seen) == count:
            break
    lost = [page.evaluate(f"document.querySelector('[data-control=\"{n}\"]')?.outerHTML.slice(0, 160) ?? 'gone'")
            for n in range(count) if n not in seen]  # fmt: skip
    return lost + dark


def checked(page: Page) -> list[Any]:
    """All that is wrong with a page in each form."""
    wrong: list[Any] = []
    for width, height, scheme in FORMS:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        wrong += [(width, scheme, *found) for found in grave(page)]
    wrong += [("not by keyboard", html) for html in by_tab(page)]
    return wrong + [("only by mouse", html) for html in page.evaluate(POINTED)]


def told(wrong: list[Any]) -> str:
    return "\n".join(map(json.dumps, wrong))


@pytest.mark.parametrize("page", KEPT)
def test_a_kept_answer_is_accessible(visit: Visit, page: str):
    shown = visit.read(page)
    shown.wait_for_timeout(1000)
    assert (wrong := checked(shown)) == [], told(wrong)


@pytest.mark.parametrize("page", KEPT)
def test_a_page_with_its_kernel_is_accessible(visit: Visit, page: str):
    shown = visit.open(page)
    shown.wait_for_selector(".lede")
    shown.wait_for_timeout(3000)
    assert (wrong := checked(shown)) == [], told(wrong)


def test_the_chat_is_accessible(chatting: Served, browser: Browser):
    context = browser.new_context()
    page, problems = context.new_page(), []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.goto(f"{chatting.base}/voila/render/chat.ipynb?token={TOKEN}", wait_until="commit")
    page.locator(".chat-form textarea").wait_for(timeout=90_000)
    page.locator(".chat-chips button").first.focus()
    page.keyboard.press("Enter")
    page.locator(".chat-bot .said").first.wait_for(timeout=90_000)
    wrong = checked(page)
    page.goto("about:blank")
    context.close()
    assert wrong == [], told(wrong)
    assert problems == []


@pytest.mark.parametrize("place", ["/login", "/", "/nothing"])
def test_signing_in_the_list_and_what_is_not_there_are_accessible(served: Served, browser: Browser, place: str):
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{served.base}/login?token={TOKEN}" if place != "/login" else f"{served.base}/login")
    if place != "/login":
        page.goto(served.base + place)
    wrong = checked(page)
    context.close()
    assert wrong == [], told(wrong)


@pytest.fixture
def reading(browser: Browser, served: Served) -> Iterator[tuple[Page, Path]]:
    context = browser.new_context()
    page, problems = context.new_page(), []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("request", lambda r: problems.append(r.url) if r.url.startswith("http") else None)
    yield page, next(served.folder.glob("reports/*-5d-*"))
    context.close()
    assert problems == []


@pytest.mark.parametrize("name", ["index.html", "neighbors.html"])
def test_a_report_is_accessible(reading: tuple[Page, Path], name: str):
    page, folder = reading
    page.goto(f"{folder.as_uri()}/{name}")
    page.wait_for_timeout(1500)
    assert (wrong := checked(page)) == [], told(wrong)


OTHERS = """import sys
from pathlib import Path
import mltrainer as mt
from mltrainer.reports import brief, map, walkthrough
out = Path(sys.argv[1])
span = {"start": "2004-01-02", "end": "2008-12-31"}
map.write(out / "map.html", mt.map("MSFT", targets=["return"], horizons=[5], models=["RidgeRegression"], **span))
walkthrough.write(out / "walk.html", ["MSFT", "AAPL"], "2007-01-01", "2009-12-31")
brief.write(out, "MSFT,IBM", as_of="2008-12-31", commit=False)"""


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map, a walk and a brief."""
    folder = tmp_path_factory.mktemp("others")
    env = os.environ | {"MLTRAINER_HOME": str(folder / "home"), "MLTRAINER_MODE": "sample"}
    subprocess.run([sys.executable, "-c", OTHERS, str(folder)], env=env, check=True)
    return folder


@pytest.mark.parametrize("name", ["map.html", "walk.html", "brief-*.html"])
def test_a_map_a_walk_and_a_brief_are_accessible(reading: tuple[Page, Path], others: Path, name: str):
    page, _ = reading
    page.goto(next(others.glob(name)).as_uri())
    page.wait_for_timeout(1500)
    assert (wrong := checked(page)) == [], told(wrong)
