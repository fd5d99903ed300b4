"""What is read without a kernel: the page as it was last shown, whole, in every form, and only while it is true."""

import json
import threading
import urllib.request
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import expect
from visitor import HOSTILE, KEPT, TOKEN, Served, Visit

pytestmark = pytest.mark.browser
FORMS = [(1280, 800, "light"), (390, 844, "dark")]


def kernels(served: Served) -> int:
    """Kernels of the server; those that wait for a visitor are among them."""
    children = psutil.Process(served.process.pid).children(recursive=True)
    alive = [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    return sum("ipykernel" in " ".join(c.cmdline()) for c in alive)


@pytest.mark.slow
@pytest.mark.parametrize("page", KEPT)
def test_a_page_is_read_whole_on_desk_and_phone_without_an_error(visit: Visit, page: str):
    visit.read(page)  # until it is kept, which takes a kernel
    visit.page.goto("about:blank")
    visit.page.wait_for_timeout(500)
    problems: list[str] = []
    visit.page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    for width, height, scheme in FORMS:
        visit.page.set_viewport_size({"width": width, "height": height})
        visit.page.emulate_media(color_scheme=scheme)
        shown = visit.read(page)
        expect(shown.locator(".lede").first).to_be_visible()
        expect(shown.locator(".banner.sample, h1 + .lede").first).to_be_visible()
        # of what the server sent: here they turn into drawings one by one
        charts = shown.evaluate("fetch(location).then(r => r.text()).then(t => t.split('data-figure=\"{').length - 1)")
        assert charts or page == "alerts"  # which draws nothing
        shown.wait_for_function("n => document.querySelectorAll('.js-plotly-plot').length === n", arg=charts)
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert "Something went wrong" not in shown.inner_text("body")
    assert problems == []


def test_reading_takes_no_kernel(visit: Visit):
    visit.read()
    before, failed = kernels(visit.served), []

    def reader() -> None:
        request = urllib.request.Request(visit.served(), headers={"Authorization": f"token {TOKEN}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            if answer.status != 200 or b'class="lede"' not in answer.read():
                failed.append(answer.status)

    readers = [threading.Thread(target=reader) for _ in range(20)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert failed == []
    assert kernels(visit.served) <= before


def test_a_choice_brings_a_kernel_that_answers_it_and_is_kept_for_the_next(visit: Visit):
    page = visit.read()
    models = page.get_by_label("Model", exact=True)
    first = models.input_value()
    other = [o for o in models.locator("option").all_inner_texts() if o != first][-1]  # nobody chose it before
    models.select_option(label=other)
    page.wait_for_function("name => document.querySelector('.lede')?.textContent.includes(name)", arg=other)
    expect(page.locator("body.answer")).to_have_count(0)
    page.wait_for_function("name => location.search.includes('model=' + name)", arg=other)
    page.goto(page.url)
    expect(page.locator("body.answer .lede")).to_contain_text(other)


def test_a_figures_name_opens_its_meaning_by_keyboard(visit: Visit):
    page = visit.read()
    page.get_by_text("Deflated Sharpe", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("more than luck", exact=False).first).to_be_visible()


def test_a_run_that_the_trail_does_not_tell_of_is_named_and_not_shown(visit: Visit):
    page = visit.read()
    assert "forged" not in page.get_by_label("Run").inner_text()
    page.get_by_text("of the runs not shown").click()
    expect(page.get_by_text("its leaderboard was changed")).to_be_visible()


def test_hostile_text_in_a_kept_answer_is_text(visit: Visit):
    visit.open(query=f"run=hostile{HOSTILE}".replace('"', "%22"))
    visit.page.wait_for_function("document.querySelector('.lede')?.textContent.includes('has no result')")
    page = visit.read(query=visit.page.evaluate("location.search.slice(1)"))
    expect(page.locator(".lede")).to_contain_text(f"{HOSTILE} has no result")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None


def test_an_edited_answer_is_not_shown(visit: Visit):
    page = visit.read()
    for file in (visit.served.folder / "home" / "answers").glob("*.json"):
        text = file.read_text().replace('<p class=\\"lede\\">', '<p class=\\"lede\\">CERTAIN GAIN ')
        file.write_text(text)
    page.goto(visit.served(), wait_until="domcontentloaded")
    page.wait_for_selector(".lede")
    assert "CERTAIN GAIN" not in page.content()


def test_whether_an_answer_still_holds_is_told_without_a_kernel(visit: Visit):
    page = visit.read()
    made = page.evaluate("document.body.dataset.made")
    ask = "made => fetch(location.pathname + '?fresh=' + encodeURIComponent(made)).then(r => r.status)"
    assert page.evaluate(ask, made) == 204
    assert page.evaluate(ask, "2001-01-01T00:00:00+00:00") == 205


@pytest.mark.slow
@pytest.mark.parametrize("page", KEPT)
def test_axe_finds_no_serious_violation(visit: Visit, page: str):
    package = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    script = next(Path(package.__file__).parent.rglob("axe.min.js"))
    shown = visit.read(page)
    shown.evaluate(script.read_text())
    found = shown.evaluate("axe.run().then(r => r.violations.map(v => [v.impact, v.id, v.nodes[0].html]))")
    assert [v for v in found if v[0] in ("serious", "critical")] == [], json.dumps(found, indent=1)
