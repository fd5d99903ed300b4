"""A report opened from the disk in a real browser: it draws, sorts and filters, and asks nobody for anything."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from visitor import Served

from mltrainer import reports

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 800), (390, 844)
DRAWN = "[...document.querySelectorAll('.plotly-graph-div')].every(e => e.querySelector('.main-svg .trace path'))"


class Reader:
    """A page of the report, and what it did that it should not."""

    def __init__(self, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.strayed: list[str] = []
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: self.problems.append(said.text) if said.type in ("error", "warning") else None)
        page.context.route("**/*", self.keep_inside)

    def keep_inside(self, route: Route) -> None:
        if route.request.url.startswith((self.folder.as_uri(), "data:", "blob:")):
            route.continue_()
        else:
            self.strayed.append(route.request.url)
            route.abort()

    def open(self, name: str, size: tuple[int, int] = DESKTOP) -> Page:
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.goto(f"{self.folder.as_uri()}/{name}")
        deadline = time.monotonic() + 60
        while not self.page.evaluate(DRAWN):  # the page's policy forbids what playwright would wait by
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return self.page


@pytest.fixture
def reader(browser: Browser, served: Served) -> Iterator[Reader]:
    folder = next(served.folder.glob("reports/*-5d-*"))
    context = browser.new_context()
    found = Reader(context.new_page(), folder)
    yield found
    context.close()
    assert found.strayed == []
    assert found.problems == []


@pytest.mark.slow
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["index.html", "neighbors.html"])
def test_a_page_fits_and_draws_every_figure(reader: Reader, name: str, size: tuple[int, int]):
    page = reader.open(name, size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    figures = page.locator(".plotly-graph-div")
    assert figures.count() == {"index.html": 1, "neighbors.html": 5}[name]  # two tickers: two of each curve
    drawn = figures.evaluate_all(
        "all => all.map(e => ({ height: e._fullLayout.height, width: e.getBoundingClientRect().width }))"
    )
    for figure in drawn:
        assert figure["height"] > 100
        assert 0 < figure["width"] <= size[0]
    assert all(text.strip() for text in page.locator("figcaption").all_inner_texts())


def test_on_a_phone_what_is_touched_fits_a_finger(reader: Reader):
    for name in ("index.html", "neighbors.html"):
        page = reader.open(name, PHONE)
        heights = page.locator("input:visible, select:visible, summary:visible, button:visible").evaluate_all(
            "all => all.map(e => e.getBoundingClientRect().height)"
        )
        assert heights
        assert min(heights) >= 44


def test_a_family_with_a_long_title_does_not_widen_a_phone(reader: Reader):
    page = reader.open("index.html", PHONE)
    page.evaluate("document.querySelector('#family').add(new Option('Bayes, components, kernels and regimes'))")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


def test_the_first_screen_answers_the_question(reader: Reader):
    for size in (DESKTOP, PHONE):
        page = reader.open("index.html", size)
        for what in (".banner", "h1", ".lede"):
            box = page.locator(what).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= size[1], what


def column(page: Page, label: str) -> list[float]:
    cells = page.locator(f'table.board tbody tr:not([hidden]) td[data-label="{label}"]')
    return [float(v) for v in cells.evaluate_all("all => all.map(e => e.dataset.value)")]


def test_a_header_sorts_by_exact_value_one_way_and_then_the_other(reader: Reader):
    page = reader.open("index.html")
    button = page.get_by_role("button", name="Sharpe", exact=True)
    button.click()
    once = column(page, "Sharpe")
    assert len(once) == 10
    assert once == sorted(once, reverse=True)
    assert page.locator('th[aria-sort="descending"]').inner_text() == "Sharpe"
    button.click()
    assert column(page, "Sharpe") == sorted(once)
    expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Model", exact=True).click()
    names = page.locator("table.board tbody tr td:first-child").all_inner_texts()
    assert names in (sorted(names), sorted(names, reverse=True))


def test_the_leaderboard_can_be_filtered_by_text_and_by_family(reader: Reader):
    page = reader.open("index.html")
    rows = page.locator("table.board tbody tr:not([hidden])")
    expect(page.get_by_role("status")).to_have_text("10 of 10")
    page.get_by_placeholder("model or verdict").fill("10_DISTANCE")
    expect(rows).to_have_count(2)
    expect(page.get_by_role("status")).to_have_text("2 of 10")
    page.get_by_placeholder("model or verdict").fill("nothing of the kind")
    expect(rows).to_have_count(0)
    page.get_by_placeholder("model or verdict").fill("")
    expect(rows).to_have_count(10)
    # a report of one family: let its first three rows be of another
    page.evaluate("[...document.querySelectorAll('table.board tbody tr')].slice(0, 3).map(r => r.dataset.family = 'x')")
    page.locator("select#family").select_option("neighbors")
    expect(rows).to_have_count(7)
    page.locator("select#family").select_option("")
    expect(rows).to_have_count(10)


def test_a_model_of_the_index_leads_to_its_open_card(reader: Reader):
    page = reader.open("index.html")
    page.locator("table.board").get_by_role("link", name="KNeighborsRegressor_7").first.click()
    page.wait_for_url("**/neighbors.html#KNeighborsRegressor_7")
    card = page.locator("details#KNeighborsRegressor_7")
    expect(card).to_have_attribute("open", "")
    expect(card.locator("article.card h3")).to_have_text("KNeighborsRegressor_7")
    expect(card.locator("math").first).to_be_visible()
    expect(page.locator("details[open]")).to_have_count(1)
    page.get_by_role("link", name="All families of this run").click()
    page.wait_for_url("**/index.html")


def test_a_name_of_the_family_page_opens_its_card_in_place(reader: Reader):
    page = reader.open("neighbors.html")
    expect(page.locator("details#KNeighborsRegressor_3")).not_to_have_attribute("open", "")
    page.locator("table.board").get_by_role("link", name="KNeighborsRegressor_3").first.click()
    expect(page.locator("details#KNeighborsRegressor_3")).to_have_attribute("open", "")


def test_an_undefined_number_says_why_when_pointed_at(reader: Reader):
    page = reader.open("index.html")
    blank = page.locator('table.board td:text-is("–")')
    for cell in blank.all():
        assert cell.get_attribute("title")


def test_the_page_itself_cannot_reach_out(reader: Reader):
    """The policy in the page, not the test's route, stops what a script might try."""
    page = reader.open("index.html")
    said = page.evaluate(
        """async () => {
           const heard = element => new Promise(done => { element.onerror = element.onload = done; });
           const add = (tag, src) => { const e = document.createElement(tag);
             e.src = src; document.body.append(e); return heard(e); };
           await add('img', 'https://evil.example/x.png');
           await add('script', 'https://evil.example/x.js');
           try { await fetch('https://evil.example/x'); return ['fetch']; } catch { return []; } }"""
    )
    assert said == []
    assert reader.problems != []  # the browser names what it refused
    assert all("Content Security Policy" in p for p in reader.problems), reader.problems
    reader.problems.clear()


def test_a_page_prints_on_paper(reader: Reader):
    page = reader.open("neighbors.html")
    page.emulate_media(media="print")
    assert page.pdf().startswith(b"%PDF")


# --- light on a phone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["index.html", "neighbors.html"])
def test_text_and_tables_stand_within_a_second_at_a_quarter_of_the_speed(
    reader: Reader, name: str, size: tuple[int, int]
):
    page = reader.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    times = []
    for _ in range(3):  # the best of three: other tests run beside this one
        page.goto(f"{reader.folder.as_uri()}/{name}", wait_until="commit")
        while not (paint := page.evaluate(painted)):
            time.sleep(0.05)
        times.append(paint)
    assert min(times) < 800
    assert not page.evaluate("document.querySelector('head script')")


def test_a_figure_shows_its_phone_form_on_a_phone_and_changes_with_the_screen(reader: Reader):
    names = "[...document.querySelectorAll('.annotation text')].map(e => e.textContent)"
    beside = "document.querySelectorAll('.yaxislayer-above text').length"
    page = reader.open("index.html", PHONE)
    assert "KNeighborsRegressor_3 · MSFT" in page.evaluate(names)
    assert any(text.startswith("luck ") for text in page.evaluate(names))
    assert page.evaluate(beside) == 0
    boxes = page.locator(".annotation").evaluate_all("all => all.map(e => e.getBoundingClientRect())")
    assert all(box["left"] >= 0 and box["right"] <= PHONE[0] for box in boxes)
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    deadline = time.monotonic() + 20
    while page.evaluate(beside) != 10:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_regime_is_on_the_screen_of_a_phone(reader: Reader):
    page = reader.open("neighbors.html", PHONE)
    for word in ("low volatility", "high volatility", "bear", "sideways", "bull"):
        box = page.locator("table.named th", has_text=word).first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= PHONE[0]
    for box in page.locator("table.named td").evaluate_all("all => all.map(e => e.getBoundingClientRect())"):
        assert box["right"] <= PHONE[0]


def test_a_page_without_what_draws_it_says_where_that_lies(reader: Reader, tmp_path: Path):
    shutil.copy(reader.folder / "index.html", tmp_path)
    reader.folder = tmp_path
    reader.page.goto(f"{tmp_path.as_uri()}/index.html")
    expect(reader.page.locator(".plotly-graph-div")).to_contain_text("lies beside this page")
    reader.problems.clear()  # the browser names the file it did not find


def test_a_page_that_travels_alone_draws_its_figures(reader: Reader, tmp_path: Path):
    reports.export(reader.folder, tmp_path / "whole")
    shutil.move(tmp_path / "whole" / "index.html", tmp_path)
    reader.folder = tmp_path
    reader.open("index.html", PHONE)
