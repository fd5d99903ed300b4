"""Pages that are looked at for longer: they read again, say when, and let whoever may acknowledge an alert."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import nbformat
import pytest
from playwright.sync_api import Browser, Page, expect
from test_accessible import grave
from visitor import Served, serving, told

from mltrainer.paths import notebooks

pytestmark = [pytest.mark.browser, pytest.mark.slow]
expect.set_options(timeout=30_000)  # a kernel on a busy machine
SEEN = "I have seen it"
FILL = """from mltrainer.server import users
from mltrainer.trading import alerts
for ticker in ("IBM", "MSFT"):
    alerts.check(ticker, as_of="2008-09-15", send=False)  # days on which their markets were turbulent
print(*(users.add(f"my-{role}", role) for role in ("viewer", "auditor", "researcher", "admin")))"""
CHECK = """import sys
from mltrainer.trading import alerts
for day in ("2008-09-15", "2008-10-10"):
    alerts.check(sys.argv[1], as_of=day, send=False)"""
ACTORS = """from mltrainer.trust import audit
print(*(e.actor for e in audit.entries(kind="alert event") if e.payload["event"] == "acknowledged"))"""


@pytest.fixture(scope="module")
def living(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, dict[str, str], dict[str, str]]]:
    """A server whose pages read again every two seconds, its users' tokens, and the environment of its home."""
    folder = tmp_path_factory.mktemp("living")
    (folder / "dashboards").mkdir(parents=True)
    for name, page in (("alerts", "AlertsPage"), ("analytics", "AnalyticsPage")):
        notebook = nbformat.read(notebooks() / "dashboards" / f"{name}.ipynb", 4)
        notebook.cells[1].source += f"\n{page}.EVERY = 2"
        nbformat.write(notebook, folder / "dashboards" / f"{name}.ipynb")
    environment = {**os.environ, "MLTRAINER_HOME": str(folder / "home"), "MLTRAINER_MODE": "sample"}
    tokens = ran(FILL, environment).split()
    with serving(folder, environment) as running:
        yield running, dict(zip(("viewer", "auditor", "researcher", "admin"), tokens, strict=True)), environment


def ran(code: str, environment: dict[str, str], *given: str) -> str:
    call = [sys.executable, "-c", code, *given]
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout


@contextmanager
def looking(browser: Browser, served: Served, token: str, width: int = 1280, height: int = 800) -> Iterator[Page]:
    """Somebody's page, which complains of nothing and asks no other host."""
    context = browser.new_context(viewport={"width": width, "height": height})
    context.set_default_timeout(90_000)
    page, wrong = context.new_page(), []
    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    context.on("request", lambda r: None if r.url.startswith((served.base, "data:", "blob:")) else wrong.append(r.url))
    page.goto(f"{served.base}/login?token={token}")
    page.wrong = wrong
    yield page
    page.goto("about:blank")
    page.wait_for_timeout(300)
    context.close()
    assert wrong == []


def opened(page: Page, served: Served, name: str, *, live: bool = True) -> None:
    page.goto(served(name, "live=1" if live else ""), wait_until="commit")
    page.wait_for_selector(".lede")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_who_may_not_acknowledge_sees_one_line_and_no_button(living, browser: Browser, role: str, width, height):
    served, tokens, _ = living
    with looking(browser, served, tokens[role], width, height) as page:
        opened(page, served, "alerts", live=width > 400)
        expect(page.locator("[data-without]")).to_be_visible()
        expect(page.locator("[data-without]")).to_have_count(1)
        expect(page.locator("article.card")).not_to_have_count(0)
        expect(page.get_by_role("button", name=SEEN)).to_have_count(0)
        assert grave(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("role", "width", "height", "live"), [("researcher", 1280, 800, False), ("admin", 390, 844, True)]
)
def test_who_may_acknowledges_by_a_button_in_their_own_name(
    living, browser: Browser, role: str, width: int, height: int, live: bool
):
    served, tokens, environment = living
    with looking(browser, served, tokens[role], width, height) as page:
        opened(page, served, "alerts", live=live)
        buttons = page.get_by_role("button", name=SEEN)
        buttons.first.wait_for()
        assert grave(page) == []
        assert buttons.first.bounding_box()["height"] >= 44
        before, card = buttons.count(), page.locator("article.card").filter(has=buttons).first
        alert, message = card.locator("[data-alert]").get_attribute("data-alert"), card.locator("b").inner_text()
        buttons.first.focus()
        page.keyboard.press("Enter")
        expect(page.locator("#toast")).to_contain_text("Acknowledged", timeout=90_000)
        expect(page.locator(f"[data-alert='{alert}']")).to_have_count(0)
        expect(buttons).to_have_count(before - 1)
        expect(page.locator("article.card").filter(has_text=message).first).to_contain_text("; acknowledged")
        assert grave(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert f"my-{role}" in ran(ACTORS, environment).split()


FEWEST = """window.fewest = Infinity; const count = () => {
  window.fewest = Math.min(window.fewest, document.querySelectorAll("article.card").length)};
  count(); new MutationObserver(count).observe(document.body, {childList: true, subtree: true})"""


def test_a_page_with_a_kernel_shows_a_new_alert_in_place_and_when_it_was_read(living, browser: Browser):
    served, tokens, environment = living
    with looking(browser, served, tokens["viewer"]) as page:
        opened(page, served, "alerts")
        kernel = json.loads(page.locator("#jupyter-config-data").inner_text())["kernelId"]
        line, cards = page.locator("[data-every]"), page.locator("article.card").filter(has_text="JNJ")
        expect(line).to_contain_text("nothing has changed up to")
        expect(cards).to_have_count(0)
        read = line.inner_text().partition(";")[0]
        page.evaluate(FEWEST)
        ran(CHECK, environment, "JNJ")
        expect(cards).not_to_have_count(0)
        assert page.evaluate("window.fewest") > 0  # the cards that stood never made way for nothing
        expect(line).not_to_contain_text(read)
        assert json.loads(page.locator("#jupyter-config-data").inner_text())["kernelId"] == kernel


def test_a_kept_answer_asks_whether_it_holds_and_gives_way_to_a_newer_one(living, browser: Browser):
    served, tokens, environment = living
    with looking(browser, served, tokens["viewer"]) as page:
        opened(page, served, "alerts")  # and is kept
        opened(page, served, "alerts", live=False)
        expect(page.locator("body.answer")).to_have_count(1)
        expect(page.locator("[data-every]")).to_contain_text("nothing has changed up to")
        count = page.locator(".figures .note").first
        before = count.inner_text()
        ran(CHECK, environment, "AAPL")
        expect(count).not_to_have_text(before, timeout=90_000)
        assert "ever raised" in count.inner_text()


def test_analytics_shows_a_run_that_was_made_meanwhile(living, served: Served, browser: Browser):
    runs = [p.parent for p in served.folder.glob("reports/*/manifest.json")]
    run = next(r for r in runs if r.name not in ("hostile", "forged"))
    served, tokens, environment = living
    with looking(browser, served, tokens["viewer"]) as page:
        opened(page, served, "analytics")
        expect(page.get_by_label("Run")).to_have_text("no run yet")
        (served.folder / "reports").mkdir()
        subprocess.run(["cp", "-r", str(run), str(served.folder / "reports" / run.name)], check=True)
        told(served.folder / "reports" / run.name, environment)
        expect(page.get_by_label("Run")).not_to_have_text("no run yet")
        expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible()
        page.get_by_role("button", name="Read again").click()
        expect(page.locator("[data-every]")).to_contain_text("nothing has changed up to")


@pytest.mark.parametrize("live", [True, False])
def test_without_the_server_the_numbers_keep_their_time_and_the_page_says_so(living, browser: Browser, live: bool):
    served, tokens, _ = living
    with looking(browser, served, tokens["viewer"]) as page:
        opened(page, served, "alerts", live=live)
        expect(page.locator("[data-every]")).to_contain_text("nothing has changed up to")
        read, lede = page.locator("[data-every]").inner_text(), page.locator(".lede").inner_text()
        page.context.set_offline(True)
        expect(page.locator("#toast")).to_contain_text("The server cannot be reached since")
        assert page.locator("[data-every]").inner_text().partition(";")[0] == read.partition(";")[0]
        assert page.locator(".lede").inner_text() == lede
        page.context.set_offline(False)
        expect(page.locator("#toast")).to_be_empty()
        page.wrong[:] = [w for w in page.wrong if "ERR_INTERNET_DISCONNECTED" not in w]
