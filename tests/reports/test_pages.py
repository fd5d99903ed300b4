"""A page opens offline, asks nobody for anything, and shows text as text."""

import itertools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import Made
from plotly.offline import get_plotlyjs

from mltrainer import metrics, reports, views
from mltrainer.errors import BadInput
from mltrainer.evaluation.leaderboard import COLUMNS
from mltrainer.models import catalog
from mltrainer.reports import pages
from mltrainer.trust.provenance import SOURCES

HOSTILE = ["<script>hit()</script>", '"><img src=x onerror=hit()>', "'><svg onload=hit()>", "</style><b>", "&lt;i&gt;"]
ADDRESSES = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "xlink:href", "ping"}


class Reader(HTMLParser):
    """What a browser would load or run: addresses, elements, handlers."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.policy = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        self.tags.append(tag)
        self.inside = tag
        self.handlers += [name for name in known if name.startswith("on")]
        self.addresses += [str(v) for k, v in known.items() if k in ADDRESSES]
        if str(known.get("http-equiv")).lower() == "content-security-policy":
            self.policy = str(known["content"])

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.words.append(data)


@pytest.fixture(scope="module", params=["index.html", "neighbors.html"])
def page(request: pytest.FixtureRequest, made: Made) -> str:
    return (made.folder / request.param).read_text(encoding="utf-8")


def test_a_page_loads_nothing(page: str):
    read = Reader(page)
    assert [a for a in read.addresses if re.match(r"\w+:|//", a)] == []
    assert {"link", "iframe", "object", "embed", "base", "form"}.isdisjoint(read.tags)
    assert read.handlers == []
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", page.split("<script>")[0])


def test_a_page_forbids_itself_to_load_anything(page: str):
    policy = dict(part.strip().partition(" ")[::2] for part in Reader(page).policy.split(";"))
    assert policy["default-src"] == "'none'"
    assert "http" not in str(policy)
    # what draws the figures lies beside the page
    assert policy.pop("script-src").split() == ["'unsafe-inline'", "'self'"]
    assert not any("*" in sources or "'self'" in sources for sources in policy.values())


def test_every_link_of_a_page_leads_into_the_run(page: str, made: Made):
    ids = {
        name: set(re.findall(r'id="([^"]+)"', (made.folder / name).read_text()))
        for name in made.run.manifest["outputs"]
    }
    for address in Reader(page).addresses:
        file, _, anchor = address.partition("#")
        assert not file or (made.folder / file).is_file(), address
        if anchor:
            assert anchor in ids[file or "neighbors.html"], address


def test_every_page_carries_mode_day_sources_terms_and_audit_head(page: str, made: Made):
    said = " ".join(" ".join(Reader(page).words).split())
    assert "SAMPLE real historical data to 2009-12-31, not Polygon/FRED, not for trading" in said
    assert SOURCES["sample"].terms in said
    assert "bokeh_sampledata/_data/stocks.csv.gz" in said
    assert made.folder.name in said
    assert re.search(r"\b\d+:[0-9a-f]{64}\b", said)


def test_the_index_answers_its_question_first(made: Made):
    words = [w.strip() for w in Reader((made.folder / "index.html").read_text()).words if w.strip()]
    assert "Can any of 5 models forecast MSFT five sessions ahead?" in words[:6]
    assert any(w.startswith("No model shows evidence of skill") for w in words[:8])
    (together,) = (w for w in words if w.startswith("All models together: "))
    for test in ("Superior predictive ability (SPA): p = ", "confidence set holds ", "backtest overfitting (PBO): "):
        assert test in together


def test_a_family_page_holds_its_figures_and_the_card_of_every_model(made: Made):
    page = (made.folder / "neighbors.html").read_text()
    assert page.count('class="plotly-graph-div"') == 3
    for spec in catalog.specs("neighbors"):
        assert f'<details id="{spec.name}"><summary>{spec.name}</summary>' in page
    assert page.count("<math ") >= 5
    assert "from mltrainer.reports.family import" not in page  # no code on a page


# --- text is text ---------------------------------------------------------------------------------------------


def hostile_rows(text: str) -> pd.DataFrame:
    ran = dict.fromkeys(COLUMNS, 0.5) | dict.fromkeys(("name", "family", "task", "ticker", "verdict", "key"), text)
    rows = [ran | {"status": "ok", "reason": ""}, ran | {"status": "failed", "reason": text, "family": "other"}]
    return pd.DataFrame(rows, columns=COLUMNS)


def assert_text(html: str, text: str, wanted: set[str]) -> None:
    read = Reader(html)
    assert set(read.tags) <= wanted
    assert read.handlers == []
    assert text in " ".join(read.words) or any(text == a for a in read.addresses)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_and_not_run(text: str):
    table = {"div", "table", "thead", "tbody", "tr", "th", "td", "span", "a", "caption"}
    assert_text(views.board(hostile_rows(text)), text, table)
    assert_text(views.board(hostile_rows(text), links={text: f"x#{text}"}), text, table)
    assert Reader(views.board(hostile_rows(text), links={text: f"x#{text}"})).addresses == [f"x#{text}"] * 2
    assert_text(views.table([[text, 1.0]], [text, "n"], caption=text), text, table)
    assert_text(views.figures([(text, text, text)]), text, table)
    assert_text(views.banner("sample", text), text, {"div", "b", "span"})
    assert "unknown mode" in views.banner(text, "today")
    assert Reader(views.banner(text, "today")).handlers == []
    assert_text(views.pill(text), text, table)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_of_a_model_are_text_on_its_card(text: str):
    spec = catalog.spec("RidgeRegression")
    method = spec.method.__class__(**{**spec.method.__dict__, "name": text, "assumes": text, "reference": text})
    odd = spec.__class__(**{**spec.__dict__, "name": text, "reading": text, "warns": text, "method": method})
    plain = set(Reader(views.card(spec.card)).tags)
    assert_text(views.card(odd.card), text, plain | {"dt", "dd"})


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_of_a_figure_cannot_end_its_script(text: str):
    rows = hostile_rows("evidence of skill").assign(name=text, timing_sharpe=0.5, timing_luck=1.5)
    html = pages.figure_html(views.sharpes(rows, LUCK, corner=text))
    assert html.count("<script") == html.count("</script>")
    assert {"svg", "img", "b"}.isdisjoint(Reader(html).tags)
    assert Reader(html).handlers == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_of_an_index_are_text(text: str, made: Made):
    blank = "banner power worlds figures picture board refused data versions proof panel lacks lacking made validation"
    fields = dict.fromkeys(blank.split(), "")
    numbers = dict.fromkeys(("horizon", "folds", "gap", "cost", "trials", "effective", "poor", "size"), 5)
    families = [{"key": text, "title": text, "said": text, "link": text}]
    own = {
        "revision": text,
        "earlier": "",
        "title": text,
        "run": text,
        "head": text,
        "sentence": text,
        "far": text,
        "failures": {text: text},
        "tests": [text],
    }
    plain = set(Reader((made.folder / "index.html").read_text()).tags)
    read = Reader(pages.page("index", **(fields | numbers | own), families=families))
    assert set(read.tags) <= plain | {"b"}
    assert read.handlers == []
    assert " ".join(read.words).count(text) >= 7


def test_a_figure_leaves_its_title_to_the_page():
    figure = views.drawings.figure([go.Scatter(x=[1, 2], y=[1, 2], name="a")], title="One & two", y="unit")
    finding, drawing = views.drawing(figure)
    assert finding == "One & two"
    assert "text" not in drawing["layout"].get("title", {})
    assert "One" not in json.dumps(drawing)
    assert "<figcaption>One &amp; two</figcaption>" in pages.figure_html(figure)
    assert "cdn" not in pages.figure_html(figure).lower()


def test_a_page_travels_alone_when_asked(made: Made, tmp_path: Path):
    written = reports.export(made.run, tmp_path / "whole")
    assert {p.name for p in written} == {"index.html", "neighbors.html"}
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert get_plotlyjs() in text
        assert "data-file" not in text.replace(get_plotlyjs(), "").split('id="plotly"')[1].split(">")[0]
    with pytest.raises(BadInput, match="is the run itself"):
        reports.export(made.run, made.folder)


LUCK = {"threshold": 1.5, "best": 2.5}


def several(count: int) -> pd.DataFrame:
    low = pd.Series(range(count)) / 50 - 1.0
    rows = pd.DataFrame(dict.fromkeys(COLUMNS, 0.0), index=range(count))
    known = {"status": "ok", "ticker": "T", "verdict": "no evidence of skill", "name": [f"m{i}" for i in range(count)]}
    return rows.assign(**known, timing_sharpe=low + 0.6, timing_luck=1.5)


def test_the_picture_of_all_models_has_a_form_for_a_phone():
    _, drawing = views.drawing(views.sharpes(several(123), LUCK, corner="T"))
    phone = drawing["phone"]
    shown = [n for trace in phone["data"] for n in trace.get("text", [])]
    assert shown == [f"m{i}" for i in range(111, 123)]  # the best twelve
    said = [a["text"] for a in phone["layout"]["annotations"]]
    assert {*shown, "luck 1.50", "holding", "the best 12 of 123; T"} <= set(said)
    low, high = phone["layout"]["xaxis"]["range"]
    assert low < 0 < 1.5 < high
    assert phone["layout"]["height"] < 844  # one screen
    names = [n for trace in drawing["data"] for n in trace.get("text", [])]
    assert len(names) == 123


@pytest.mark.parametrize("count", [1, 5, 40, 123])
def test_a_scale_is_never_a_screen_away_from_a_mark(count: int):
    _, drawing = views.drawing(views.sharpes(several(count), LUCK))
    for form in (drawing, drawing["phone"]):
        assert form["layout"]["xaxis2"]["side"] == "top"
    rows = sorted({a["y"] for a in drawing["layout"]["annotations"] if a.get("yref") != "paper"} | {-0.5, count - 0.5})
    assert max(b - a for a, b in itertools.pairwise(rows)) <= 1.5 * views.SCREEN


@pytest.mark.parametrize("growth", [1.2, 1.46, 3.0, 40.0, 0.85])
def test_a_curve_of_wealth_crosses_more_than_one_mark_of_its_scale(growth: float):
    days = pd.bdate_range("2020-01-01", periods=500)
    net = pd.DataFrame({"net": growth ** (1 / 500) - 1, "benchmark": 0.0}, index=days)
    figure = views.equity(SimpleNamespace(model="m", ticker="T", forecasts=net))
    low, high = sorted((1.0, growth))
    assert sum(low / 1.02 <= mark <= high * 1.02 for mark in figure.layout.yaxis.tickvals) >= 2


def test_a_picture_without_a_single_model_is_empty_and_says_so():
    _, drawing = views.drawing(views.sharpes(several(0), LUCK))
    assert drawing["layout"]["xaxis"]["range"] == [-1, 1]


def test_a_row_of_a_name_and_numbers_sets_the_name_above_them_on_a_phone():
    assert '<table class="named" style="--n:2">' in views.table([["m", 1.0, 2.0]], ["Model", "calm", "stormy"])
    assert "named" not in views.table([["m", *range(10)]], list("abcdefghijk"))
    heads = ["Test block", "Sessions", "IC", "Loss saved", "Coverage", "Hit rate", "Timing Sharpe", "Sharpe"]
    assert 'style="--n:4"' in views.table([["2007", *range(7)]], heads)  # two lines: eight letters take a quarter each
    assert '<table class="stack">' in views.table([["m", "n", 2.0]], ["Model", "calm", "stormy"])


def test_plotly_offers_no_upload():
    before = dict(views.CONFIG)
    html = pages.figure_html(views.drawings.figure([go.Scatter(y=[1])], title="t", y="unit"))
    assert '"showSendToCloud":false' in html
    assert "https://" not in html
    assert before == views.CONFIG


# --- numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.012345, "0.0123"),
        (-0.012345, "−0.0123"),
        (999.4, "999"),
        (999.6, "1,000"),
        (1234567, "1,230,000"),
        (1.239e-7, "1.24e−07"),
        (-1.5e-9, "−1.5e−09"),
        (math.inf, "–"),
        (math.nan, "–"),
    ],
)
def test_a_number_has_three_significant_digits(value: float, text: str):
    assert views.number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.5268, "52.7"), (-2.0678, "−207"), (0.0, "0"), (math.nan, "–")])
def test_a_percentage_has_no_sign(value: float, text: str):
    assert views.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.005, "1.00"), (-1.239, "−1.24"), (-0.001, "0.00"), (12.0, "12.00"), (-math.inf, "–")]
)
def test_fixed_digits_line_up(value: float, text: str):
    assert views.fixed(2)(value) == text


@given(st.floats())
def test_every_float_can_be_written(value: float):
    for write in (views.number, views.percent, views.fixed(2), views.fixed(0)):
        text = write(value)
        assert text
        assert "-" not in text
        assert (text == views.DASH) == (not math.isfinite(value)) or write is views.percent
    if abs(value) < 1e308:
        back = float(views.number(value).replace(",", "").replace(views.MINUS, "-"))
        assert back == pytest.approx(value, rel=0.00500001)


# --- rows -----------------------------------------------------------------------------------------------------


def cells(html: str) -> list[str]:
    return re.findall(r"<td[^>]*>", html)


def test_an_undefined_figure_says_why_on_hover(made: Made):
    rows = made.run.rows.assign(ic=float("nan"), breakeven_bps=float("inf"))
    html = views.board(rows)
    assert metrics.UNDEFINED["ic"] in html
    for cell in cells(html):
        if 'data-label="IC"' in cell or 'data-label="Break-even, bps"' in cell:
            assert 'title="' in cell
            assert "data-value" not in cell


@pytest.mark.parametrize("column", [c for c in views.BOARD if c in metrics.UNDEFINED])
def test_every_column_that_can_be_undefined_says_so_in_its_own_words(column: str, made: Made):
    html = views.board(made.run.rows.assign(**{column: float("nan")}))
    assert html.count(f'title="{metrics.UNDEFINED[column]}">–</td>') == 5


def test_a_row_that_did_not_run_shows_its_reason_instead_of_numbers(made: Made):
    rows = made.run.rows.astype({"reason": object})
    rows.loc[0, ["status", "verdict", "reason"]] = ["timeout", "timeout", "over its time budget"]
    first, second = views.board(rows).split("<tr ")[1:3]
    assert "over its time budget" in first
    assert "data-value" not in first
    assert "data-value" in second
    heads = views.board(rows).count('scope="col"')
    assert first.count("<td") - 1 + int(re.search(r'colspan="(\d+)"', first)[1]) == heads


def test_a_board_says_how_wide_the_forecasts_are_and_what_their_size_is_worth(made: Made):
    html = views.board(made.run.rows)
    for title, column in {"Spread ratio": "spread_ratio", "Slope": "mz_slope"}.items():
        for value in made.run.rows[column]:
            assert f'data-label="{title}" data-value="{value}"' in html


def test_a_number_of_a_board_can_be_sorted_by_its_exact_value(made: Made):
    html = views.board(made.run.rows)
    for value in made.run.rows["sharpe"]:
        assert f'data-value="{value}"' in html


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("evidence of skill", "evidence"),
        ("no evidence of skill", "none"),
        ("no evidence of skill beyond holding the share", "none"),
        ("suspected leakage: too good to be true, check before believing", "warning"),
        ("timeout", "warning"),
        ("failed", "refused"),
        ("refused", "refused"),
    ],
)
def test_the_color_of_a_pill_says_what_its_word_says(said: str, kind: str):
    assert views.pill(said) == f'<span class="pill {kind}">{said}</span>'


def test_a_notebook_page_hides_the_injected_parameters(made: Made, tmp_path: Path):
    html = pages.notebook_html(made.folder / "neighbors.ipynb", title="Nearest neighbors")
    assert "<title>Nearest neighbors · mlTrainer</title>" in html
    assert "# Parameters" not in html
