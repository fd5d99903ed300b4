import threading
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
import pytest
from websockets.sync.server import serve

from mltrainer.dashboards import address, incidents, models

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
    assert '<span class="name">Rank</span><span class="value">2</span>' in sentence
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
