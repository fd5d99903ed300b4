"""What a stakeholder's door lets through, seen from outside: with plain HTTP and with a real browser."""

import http.client
import json
import os
import time
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, expect
from visitor import CANARY, HOSTILE, TOKEN, Served, Visit, serving

pytestmark = pytest.mark.browser

ELSEWHERE = [
    ("GET", "/lab"),
    ("GET", "/tree"),
    ("GET", "/voila/tree"),
    ("GET", "/voila/files/models.ipynb"),
    ("GET", "/voila/render/absent.ipynb"),
    ("GET", "/voila/render/..%2F..%2Fetc%2Fpasswd"),
    ("GET", "/voila/templates/lab/static/..%2F..%2Findex.html.j2"),
    ("GET", "/voila/api/contents"),
    ("GET", "/files/models.ipynb"),
    ("GET", "/nbconvert/html/models.ipynb"),
    ("GET", "/api/contents"),
    ("GET", "/api/kernels"),
    ("POST", "/api/kernels"),
    ("GET", "/api/sessions"),
    ("GET", "/api/terminals"),
    ("POST", "/api/terminals"),
    ("GET", "/api/kernelspecs"),
    ("POST", "/api/shutdown"),
    ("GET", "/metrics"),
]
PAGE_PARTS = ["/", "/voila/render/models.ipynb", "/voila/static/voila.js", "/voila/templates/lab/static/index.css",
              "/voila/labextensions/@jupyter-widgets/jupyterlab-manager/package.json", "/api/health"]  # fmt: skip


def ask(
    served: Served, path: str, method: str = "GET", *, token: str = "", body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    """Status and text of one request; redirects are not followed."""
    connection = http.client.HTTPConnection(urlsplit(served.base).netloc, timeout=30)
    if token:
        headers["Authorization"] = f"token {token}"
    try:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


# --- without a browser ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGE_PARTS + [path for method, path in ELSEWHERE if method == "GET"])
def test_a_stranger_gets_nothing_but_the_way_to_the_sign_in_page(served: Served, path: str):
    status, text = ask(served, path)
    assert status in (302, 403, 404)
    assert "jupyter" not in text.lower()


@pytest.mark.parametrize("path", PAGE_PARTS[2:])
def test_with_the_token_the_parts_of_a_page_are_there(served: Served, path: str):
    assert ask(served, path, token=TOKEN)[0] == 200


@pytest.mark.parametrize(("method", "path"), ELSEWHERE)
def test_with_the_token_there_is_still_nothing_but_dashboards(served: Served, method: str, path: str):
    assert ask(served, path, method, token=TOKEN)[0] in (403, 404, 405)


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN.upper()])
def test_a_wrong_token_opens_nothing(served: Served, wrong: str):
    status, text = ask(served, "/api/health", token=wrong)
    assert status == 403
    assert json.loads(text)["error"]["status"] == 403


def test_health_names_mode_version_and_role(served: Served):
    status, text = ask(served, "/api/health", token=TOKEN)
    assert status == 200
    assert json.loads(text).keys() == {"status", "mode", "version", "role", "may"}
    assert {"status": "ok", "mode": "sample", "role": "viewer"}.items() <= json.loads(text).items()


@pytest.mark.parametrize(
    "path",
    ["/voila/templates/lab/static/%00", "/voila/static/%00", "/voila/labextensions/%00", "/voila/themes/%00/x.css",
     "/%00", "/voila/render/%00.ipynb", "/login?next=/x%0d%0aA:b", "/login?next=/%00", f"/login?next=%0a&token={TOKEN}",
     "/voila/render/models.ipynb?token=x&a=%ff", "/voila/static/%ff", "/?token=%ff"],
)  # fmt: skip
def test_no_address_breaks_the_server(served: Served, path: str):
    for method in ("GET", "POST"):
        assert ask(served, path, method, token=TOKEN)[0] < 500


def test_an_address_that_would_forge_a_header_leads_home(served: Served):
    connection = http.client.HTTPConnection(urlsplit(served.base).netloc, timeout=30)
    connection.request("GET", "/login?next=/x%0d%0aA:b", headers={"Authorization": f"token {TOKEN}"})
    answer = connection.getresponse()
    connection.close()
    assert (answer.status, answer.getheader("Location"), answer.getheader("A")) == (302, "/", None)


def test_an_api_error_is_one_envelope_of_json(served: Served):
    status, text = ask(served, "/api/nothing", token=TOKEN)
    assert (status, json.loads(text)["error"]["status"]) == (404, 404)


def test_a_page_error_is_plain_and_says_the_way_back(served: Served):
    status, text = ask(served, "/nothing", token=TOKEN)
    assert status == 404
    assert "There is nothing at this address." in text
    assert "<script" not in text


def test_another_host_name_is_refused(served: Served):
    assert ask(served, "/api/health", token=TOKEN, Host="evil.example")[0] == 403


def test_a_body_beyond_any_need_is_refused(served: Served):
    try:
        status, _ = ask(served, "/login", "POST", body=b"x" * 1_000_000)
    except ConnectionError:
        return  # tornado closes the connection on it
    assert status in (400, 413)


def test_a_page_may_load_from_and_send_to_nowhere_else(served: Served):
    connection = http.client.HTTPConnection(urlsplit(served.base).netloc, timeout=30)
    connection.request("GET", "/login")
    policy = connection.getresponse().getheader("Content-Security-Policy") or ""
    connection.close()
    assert "default-src 'self'" in policy
    assert "http" not in policy


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
def test_no_process_of_the_server_has_a_provider_key_or_shows_the_token(served: Served):
    pids = {int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()}
    parents = {}
    for pid in pids:
        try:
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    family = [p for p in parents if served.process.pid in (p, parents[p])]
    assert len(family) > 1  # the server and its kernels
    for pid in family:
        assert CANARY not in Path(f"/proc/{pid}/environ").read_text()
        assert TOKEN not in Path(f"/proc/{pid}/environ").read_text()
        assert TOKEN not in Path(f"/proc/{pid}/cmdline").read_text()


def test_the_log_does_not_hold_the_token(served: Served):
    ask(served, f"/nothing?token={TOKEN}")
    assert "GET /nothing" in (served.folder / "log").read_text()
    assert TOKEN not in (served.folder / "log").read_text()


# --- with one -------------------------------------------------------------------------------------------------


def test_a_visitor_signs_in_with_the_token_alone(visit: Visit):
    page = visit.page
    page.context.clear_cookies()
    page.goto(visit.served("models"))
    assert "/login" in page.url
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/voila/render/models.ipynb**", wait_until="commit")


def test_the_token_leaves_the_address_at_once(visit: Visit):
    visit.open("probe", f"token={TOKEN}&a=b")
    assert "token" not in visit.page.url
    assert "a=b" in visit.page.url


def test_the_models_page_shows_another_model_when_one_is_chosen(visit: Visit):
    page = visit.open()
    visit.drawn()
    assert "There was an error" not in page.inner_text("body")
    assert "Something went wrong" not in page.inner_text("body")
    models = page.get_by_label("Model")
    first = models.input_value()
    other = next(o for o in models.locator("option").all_inner_texts() if o != first)
    models.select_option(label=other)
    visit.drawn(other)
    expect(page.locator(".lede")).to_contain_text(other)
    page.get_by_text(f"What {other} is").click()
    expect(page.locator("article.card h3")).to_have_text(other)
    page.wait_for_function("name => location.search.includes('model=' + name)", arg=other)


def test_an_address_brings_the_same_view_back(visit: Visit):
    query = urlencode({"model": "KNeighborsRegressor_10", "ticker": "IBM"})
    page = visit.open(query=query)
    visit.drawn("KNeighborsRegressor_10")
    expect(page.get_by_label("Ticker")).to_have_value("IBM")


def test_what_is_not_on_offer_in_an_address_is_ignored(visit: Visit):
    page = visit.open(query=f"model={quote(HOSTILE)}&run=../../etc&ticker=%00")
    visit.drawn()
    assert HOSTILE not in page.content()


def test_text_from_a_run_is_shown_and_never_run(visit: Visit):
    page = visit.open(query=urlencode({"run": f"hostile{HOSTILE}"}))
    expect(page.locator(".lede")).to_contain_text(f"{HOSTILE} has no result")
    expect(page.locator(".banner")).to_contain_text(HOSTILE)
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src=x]").count() == 0


def test_on_a_phone_nothing_is_wider_than_the_screen_and_controls_fit_a_finger(visit: Visit):
    visit.page.set_viewport_size({"width": 390, "height": 844})
    page = visit.open()
    visit.drawn()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    heights = page.locator("select, summary, nav a, nav button").evaluate_all("all => all.map(e => e.offsetHeight)")
    assert min(heights) >= 44


def test_the_theme_is_the_readers(visit: Visit):
    visit.page.emulate_media(color_scheme="dark")
    page = visit.open("probe")
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(16, 20, 24)"
    page.get_by_role("button", name="Light or dark").click()
    assert page.evaluate(ground) == "rgb(255, 255, 255)"


def test_a_kernel_has_no_provider_key(visit: Visit):
    page = visit.open("probe")
    expect(page.locator(".probe")).to_have_text("Keys:")


OTHER = """from ipywidgets import IntSlider
IntSlider(3, description="Level")"""


@pytest.mark.slow
def test_a_page_with_widgets_of_another_kind_is_left_to_jupyterlabs_scripts(browser: Browser, tmp_path: Path):
    (tmp_path / "dashboards").mkdir()
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(OTHER)])
    notebook.metadata["kernelspec"] = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "dashboards" / "other.ipynb")
    environment = {**os.environ, "MLTRAINER_HOME": str(tmp_path / "home"), "MLTRAINER_MODE": "sample"}
    with serving(tmp_path, environment) as running:
        context = browser.new_context()
        page, errors = context.new_page(), []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{running.base}/voila/render/other.ipynb?token={TOKEN}", wait_until="commit")
        expect(page.locator(".widget-slider .widget-readout")).to_have_text("3", timeout=90_000)
        assert errors == []
        page.goto("about:blank")
        context.close()


def until_gone(served: Served, kernel: str) -> None:
    deadline = time.monotonic() + 20
    while ask(served, f"/api/kernels/{kernel}", token=TOKEN)[0] != 404:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_the_kernel_goes_when_the_page_is_left(visit: Visit):
    page, kernel = visit.open("probe"), visit.kernel
    assert ask(visit.served, f"/api/kernels/{kernel}", token=TOKEN)[0] == 200
    page.goto("about:blank")
    until_gone(visit.served, kernel)


def test_a_page_whose_kernel_was_ended_comes_back_when_it_is_looked_at(visit: Visit):
    page, kernel = visit.open("probe"), visit.kernel
    page.evaluate("id => navigator.sendBeacon('/voila/api/shutdown/' + id)", kernel)
    until_gone(visit.served, kernel)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    page.wait_for_function(
        "id => !document.getElementById('jupyter-config-data')?.textContent.includes(id)", arg=kernel
    )
    page.wait_for_selector("#rendered_cells", state="visible")
    assert visit.kernel != kernel


def test_a_viewer_cannot_end_a_kernel_by_hand(visit: Visit):
    page, kernel = visit.open("probe"), visit.kernel
    assert ask(visit.served, f"/api/kernels/{kernel}", "DELETE", token=TOKEN)[0] == 405
    assert ask(visit.served, f"/api/kernels/{kernel}/restart", "POST", token=TOKEN)[0] == 404
    foreign = page.context.cookies()
    cookie = "; ".join(f"{c['name']}={c['value']}" for c in foreign)
    evil = {"Cookie": cookie, "Origin": "http://evil.example"}
    assert ask(visit.served, f"/voila/api/shutdown/{kernel}", "POST", body=b"", **evil)[0] in (403, 404)
    assert ask(visit.served, f"/api/kernels/{kernel}", token=TOKEN)[0] == 200
