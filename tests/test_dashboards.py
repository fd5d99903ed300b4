import threading
from collections.abc import Mapping
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
import pytest
from websockets.sync.server import serve

from mltrainer import views
from mltrainer.dashboards import address, analytics, answers, incidents, models
from mltrainer.dashboards.alerts import AlertsPage
from mltrainer.dashboards.page import Basis, Page
from mltrainer.dashboards.recommendations import RecommendationsPage
from mltrainer.data import market
from mltrainer.errors import Unavailable
from mltrainer.trading.alerts import KINDS, Alert
from mltrainer.trading.recommendations.outcomes import judged

HOSTILE = '<script>alert("x")</script>'


def test_a_callback_that_breaks_shows_a_number_and_logs_the_rest(home: Path):
    incidents._log.cache_clear()

    @incidents.guarded
    def broken() -> None:
        raise RuntimeError("a secret of the machine")

    shown = broken()
    assert isinstance(shown, widgets.HTML)
    assert "secret" not in shown.value
    number = shown.value.split("(")[1].split(")")[0]
    log = (home / "logs" / "incidents.log").read_text()
    assert number in log
    assert "a secret of the machine" in log


def test_without_a_run_the_page_says_what_to_do(tmp_path: Path):
    page = models.ModelsPage.show(tmp_path / "nothing")
    assert isinstance(page, widgets.HTML)
    assert "make report" in page.value


@pytest.mark.parametrize("column", ["name", "ticker", "status", "reason"])
def test_every_text_of_a_row_is_escaped(column: str):
    row = pd.Series({"name": "m", "ticker": "t", "status": "failed", "reason": "r"} | {column: HOSTILE})
    assert "<script" not in models._unfinished(row)
    assert "&lt;script" in models._unfinished(row)


def row(**figures: float | str) -> pd.Series:
    known = dict.fromkeys(("r2_oos", "ic", "ic_t", "max_drawdown", "breakeven_bps", "sharpe_low", "sharpe_high"), 0.1)
    known |= dict.fromkeys(("timing_sharpe", "timing_luck", "p_knows", "p_pays"), 0.2)
    base = {"name": "Ridge", "ticker": "MSFT", "status": "ok", "verdict": "no evidence of skill"}
    return pd.Series(base | known | {"sharpe": 0.8, "deflated_sharpe": 0.5} | figures)


def board(*rows: pd.Series) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def test_more_than_holding_the_share_is_not_called_skill():
    sentence = models._finding(row(sharpe=0.8), board(row()), held=0.3)
    assert "earned more for its risk on MSFT than holding it, yet that is no evidence of skill" in sentence
    assert "yet" not in models._finding(row(sharpe=0.2), board(row()), held=0.3)
    assert "yet" not in models._finding(row(verdict="evidence of skill"), board(row()), held=0.3)


def test_the_rank_counts_the_models_of_the_same_ticker_that_ran():
    rows = board(row(deflated_sharpe=0.9), row(), row(deflated_sharpe=0.1), row(status="failed", deflated_sharpe=0.95))
    sentence = models._finding(row(), rows, held=0.3)
    assert '<span class="value">2</span>' in sentence.partition("<summary>Rank</summary>")[2]
    assert "of 3 models on this ticker" in sentence


def test_an_undefined_figure_says_why():
    sentence = models._finding(row(breakeven_bps=float("nan")), board(row()), held=0.3)
    assert "it never trades" in sentence
    assert "nan" not in sentence


def test_the_query_is_read_from_the_environment_of_a_cold_kernel(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QUERY_STRING", "model=Ridge&ticker=MSFT")
    assert address.query() == {"model": "Ridge", "ticker": "MSFT"}


def test_a_preheated_kernel_asks_its_own_server_and_no_proxy(monkeypatch: pytest.MonkeyPatch):
    with serve(lambda visitor: visitor.send('{"QUERY_STRING": "model=Ridge"}'), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("VOILA_PREHEAT", "True")
        monkeypatch.setenv("VOILA_APP_PORT", str(server.socket.getsockname()[1]))
        monkeypatch.setenv("VOILA_KERNEL_ID", "k")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
        assert address.query() == {"model": "Ridge"}


# --- what every page does -------------------------------------------------------------------------------------


class Answering(Page):
    """A page of two controls and one part."""

    NAME = "models"
    CONTROLS = ("Letter", "Number")

    def __init__(self, state: dict[str, str], basis: Basis = Basis()) -> None:
        self.body, self.filled = widgets.HTML(), 0
        super().__init__([self.body], state, basis)

    @classmethod
    def read(cls, state: Mapping[str, str], out: object, basis: Basis) -> widgets.Widget:
        return cls(dict(state), basis)

    def settle(self, state: Mapping[str, str]) -> None:
        letter = self.offer("Letter", [("A", "a"), ("B", "b")], state)
        self.offer("Number", [(n, n) for n in ("1", "2") if letter == "a" or n == "2"], state)

    def fill(self) -> None:
        self.filled += 1
        if self.state["number"] == "2" and self.state["letter"] == "a":
            raise RuntimeError("a secret of the machine")
        self.body.value = f"{self.state}"


def test_a_control_narrows_what_comes_after_it_and_keeps_what_is_on_offer(home: Path):
    page = Answering({"letter": "b", "number": "1", "nothing": HOSTILE})
    assert page.state == {"letter": "b", "number": "2"}
    page.controls["Letter"].value = "a"
    assert page.state == {"letter": "a", "number": "2"}


def test_a_page_that_breaks_shows_no_old_result(home: Path):
    incidents._log.cache_clear()
    page = Answering({"letter": "a"})
    assert page.body.value
    page.controls["Number"].value = "2"
    assert page.body.value == ""
    assert "Something went wrong" in page.notice.value
    assert "secret" not in page.notice.value
    page.controls["Number"].value = "1"
    assert page.notice.value == ""


def on(basis: str) -> Basis:
    return Basis(basis, lambda: basis)


def test_a_page_keeps_its_answers_and_shows_them_again_only_while_they_hold(home: Path):
    first = Answering({}, on("basis"))
    assert (first.filled, Answering({}, on("basis")).filled, Answering({}, on("another")).filled) == (1, 0, 1)
    assert answers.stored("models", "", "another") is not None
    assert answers.stored("models", "letter=a&number=1", "another") is not None


def test_an_address_that_was_not_honored_is_given_no_answer(home: Path):
    Answering({"letter": HOSTILE}, on("basis"))
    assert answers.stored("models", answers.canonical({"letter": HOSTILE}), "basis") is None


def test_a_page_that_breaks_keeps_nothing(home: Path):
    incidents._log.cache_clear()
    Answering({"number": "2"}, on("basis"))
    assert not (home / "answers").exists()


def test_what_one_visitor_chose_is_not_what_the_next_one_sees_first(home: Path):
    first = Answering({}, on("basis"))
    shown = answers.stored("models", "", "basis")
    first.controls["Letter"].value = "b"
    assert answers.stored("models", "letter=b&number=2", "basis") is not None
    assert answers.stored("models", "", "basis") == shown


def test_a_page_that_reads_again_shows_no_kept_answer(home: Path):
    page = Answering({}, on("basis"))
    page.choose()
    assert page.filled == 1
    page.choose(anew=True)
    assert page.filled == 2


def test_a_page_that_was_open_while_something_changed_neither_shows_nor_keeps_what_held_before(home: Path):
    now = ["basis"]
    page = Answering({}, Basis("basis", lambda: now[0]))
    now[0] = "another"
    page.choose()
    assert page.filled == 2
    page.controls["Letter"].value = "b"
    assert page.filled == 3
    for basis in ("basis", "another"):
        assert answers.stored("models", "letter=b&number=2", basis) is None


def test_an_answer_kept_for_one_address_is_kept_for_the_plain_one_that_shows_the_same(home: Path):
    Answering({"letter": "a", "number": "1"}, on("basis"))
    assert answers.stored("models", "", "basis") is None
    assert Answering({}, on("basis")).filled == 0
    assert answers.stored("models", "", "basis").parts == answers.stored("models", "letter=a&number=1", "basis").parts


class Reading(Answering):
    """A page that reads again."""

    EVERY = 60
    held, away = 1, False

    def load(self) -> None:
        if self.away:
            raise Unavailable("the provider is <away>")
        self.held += 1

    def fill(self) -> None:
        super().fill()
        self.body.value = str(self.held)


def test_a_page_that_reads_again_keeps_what_it_read_as_an_answer_of_now(home: Path):
    now = ["basis"]
    page = Reading({}, Basis("basis", lambda: now[0]))
    page.refresh()
    assert (page.body.value, page.filled) == ("1", 1)  # nothing has changed, so nothing is made anew
    assert "nothing has changed up to" in page.reading.value
    now[0] = "another"
    page.refresh()
    assert page.body.value == "2"
    assert answers.stored("models", "letter=a&number=1", "another").parts == ["2"]
    assert answers.stored("models", "letter=a&number=1", "another").every == 60


def test_what_cannot_be_read_again_stands_under_the_time_at_which_it_was_read(home: Path):
    now = ["basis"]
    page = Reading({}, Basis("basis", lambda: now[0]))
    page.began, now[0], page.away = "2001-02-03 04:05:06 UTC", "another", True
    page.refresh()
    assert page.body.value == "1"
    assert "Read 2001-02-03 04:05:06 UTC; reading again failed at" in page.reading.value
    assert "the provider is &lt;away&gt;" in page.notice.value
    page.away = False
    page.refresh()
    assert (page.body.value, page.notice.value) == ("2", "")
    assert "2001" not in page.reading.value


# --- pages over what is stored --------------------------------------------------------------------------------


def alert(**fields: object) -> Alert:
    known = {"id": "0123456789ab", "at": "2013-03-01T00:00:00+00:00", "kind": "stop_loss", "condition": "touched"}
    known |= {"severity": "critical", "subject": "MSFT", "session": "2013-03-01", "state": "new", "message": "low"}
    return Alert(**known | {"values": {"low": 27.0}, "content": ("c",), "mode": "sample", "version": 1} | fields)


def test_the_gravest_alert_that_stands_is_the_sentence_and_comes_first(home: Path):
    found = [alert(), alert(severity="info", message="calm"), alert(state="resolved", message="over")]
    page = AlertsPage(found, {})
    assert "2 alerts stand; the gravest, of 2013-03-01, says: low." in page.finding.value
    assert page.cards.value.index("low") < page.cards.value.index("calm")
    assert "over" not in page.cards.value
    page.controls["State"].value = "resolved"
    assert "over" in page.cards.value


def test_without_alerts_the_page_says_how_to_get_them(home: Path):
    assert "mltrainer alerts check" in AlertsPage([], {}).finding.value


@pytest.mark.parametrize("field", ["kind", "condition", "severity", "subject", "session", "message", "id"])
def test_every_text_of_an_alert_is_escaped(home: Path, field: str):
    page = AlertsPage([alert(**{field: HOSTILE})], {})
    assert not any("<script" in part.value for part in page.parts if isinstance(part, widgets.HTML))


def test_whoever_is_served_cannot_acknowledge_and_a_researcher_can(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert hasattr(AlertsPage([alert()], {}), "choice")
    monkeypatch.setenv("MLTRAINER_SERVE", "1")
    assert not hasattr(AlertsPage([alert()], {}), "choice")


def test_every_condition_stands_among_the_rules(home: Path):
    rules = AlertsPage([], {}).rules.value
    assert rules.count("<tr>") == len(KINDS) + 1


def test_without_recommendations_the_page_says_how_to_get_them(home: Path):
    assert "mltrainer recommend" in RecommendationsPage.show().value


def recommended(**fields: object) -> dict[str, object]:
    known = {"id": "i", "at": "t", "ticker": "MSFT", "as_of": "2013-02-25", "action": "hold", "size": 0.07, "model": ""}
    known |= {"reasoning": "r", "falsifier": "f", "expiry": "e", "source": "s", "entry": 27.0, "stop": 26.0}
    known |= {"target": 29.0, "volatility": 0.2, "volatility_low": 0.1, "volatility_high": 0.3, "horizon": 5}
    return known | fields


def recommendations(**fields: object) -> RecommendationsPage:
    bars = market.bars("MSFT", start="2013-02-01").frame
    rows = pd.DataFrame([recommended(), recommended(as_of="2013-02-15", size=0.05), recommended(**fields)])
    return RecommendationsPage(judged(rows, {"MSFT": bars, HOSTILE: bars}, "sample"), {})


def test_the_latest_day_is_shown_with_its_size_and_what_would_show_it_wrong(home: Path):
    page = recommendations(as_of="2013-02-26", size=0.09)
    assert "As of 2013-02-26, no model has shown" in page.finding.value
    assert "hold 9% of the wealth" in page.finding.value
    assert "What would show it wrong" in page.cards.value
    assert "no evidence of skill" in recommendations(as_of="2013-02-26", action="reduce").finding.value
    assert "no evidence" not in recommendations(as_of="2013-02-26", action="reduce", view="sell").finding.value
    assert "one unit became" in page.past.value
    page.controls["Day"].value = "2013-02-15"
    assert "hold 5% of the wealth" in page.finding.value


@pytest.mark.parametrize("field", ["ticker", "action", "model", "reasoning", "falsifier", "expiry", "source", "id"])
def test_every_text_of_a_recommendation_is_escaped(home: Path, field: str):
    page = recommendations(as_of="2013-02-26", **{field: HOSTILE})
    shown = [part.value for part in [*page.parts, page.foot] if isinstance(part, widgets.HTML)]
    assert not any("<script" in html for html in shown)
    assert any("&lt;script" in html for html in shown)


def test_a_part_that_breaks_leaves_the_others(home: Path):
    incidents._log.cache_clear()

    def broken() -> str:
        raise RuntimeError("a secret of the machine")

    assert "Something went wrong" in analytics._or_why("x", broken)
    assert "No run has asked it of MSFT yet" in analytics._known([], "MSFT")


def test_macro_is_what_was_known_on_the_last_session(home: Path):
    """Unemployment of 2009's third quarter, 9.6 %, is the last in statsmodels' copy, and was known by 2013."""
    shown = analytics._economy("MSFT")
    assert "The economy, as known on 2013-03-01" in shown
    assert "9.6" in shown.partition("unemp<")[2][:300]


def test_a_word_that_is_explained_opens_on_a_tap_and_another_does_not():
    shown = views.figures([("Rank", "1", HOSTILE), (HOSTILE, HOSTILE, "")], terms=True)
    assert shown.count("<details") == 1
    assert "<script" not in shown
