"""The command line: a user's mistake is one line and exit 2, `--json` is one document, Ctrl-C is one line."""

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from mltrainer import cli, store
from mltrainer.cli import terminal
from mltrainer.evaluation import trials
from mltrainer.models import catalog
from mltrainer.trust import audit

MLTRAINER = Path(sys.executable).with_name("mltrainer")
SPAN = ["--start", "2005-01-03", "--end", "2009-12-31"]
TOP = typer.main.get_command(cli.app)
COMMANDS = [[name] for name, c in TOP.commands.items() if not hasattr(c, "commands")]  # type: ignore[attr-defined]
GROUPS = ("fetch", "audit", "cache", "alerts", "portfolio", "user", "governance", "store")
COMMANDS += [[g, name] for g in GROUPS for name in TOP.commands[g].commands]  # type: ignore[attr-defined]


@dataclass
class Said:
    """What a command answered."""

    code: object
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in this process, in an empty folder."""
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["mltrainer", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(ended.value.code, *capfd.readouterr())

    return call


def assert_one_line(said: Said, code: int = 2) -> None:
    assert said.code == code, said
    assert said.out == ""
    assert said.err.startswith("mltrainer: ")
    assert said.err.count("\n") == 1, said.err
    assert len(said.err) < 600


# --- mistakes -------------------------------------------------------------------------------------------------

REPORT = ["report", "--family", "neighbors"]
MISTAKES = {
    "a ticker": ([*REPORT, "--ticker", "MSTF"], "no ticker in mode sample is called 'MSTF'; close: MSFT"),
    "no ticker": ([*REPORT, "--ticker", ""], "no ticker in mode sample is called ''"),
    "a file as ticker": ([*REPORT, "--ticker", "prices.csv"], "carries no provenance"),
    "a family": (["report", "--family", "neighbours"], "no family is called 'neighbours'; close: neighbors"),
    "start after end": ([*REPORT, "--start", "2010-01-04", "--end", "2009-01-05"], "is after end 2009-01-05; swap"),
    "a month": ([*REPORT, "--start", "2010-13-01"], "--start '2010-13-01' is not in the calendar"),
    "a day": ([*REPORT, "--end", "2010-02-30"], "--end '2010-02-30' is not in the calendar"),
    "no day": ([*REPORT, "--start", "yesterday"], "--start 'yesterday' is not a day; write it as YYYY-MM-DD"),
    "a time": ([*REPORT, "--start", "2010-01-04T00:00"], "is not a day"),
    "Arabic digits": ([*REPORT, "--start", "٢٠١٠-٠١-٠٤"], "start"),
    "a horizon of 0": ([*REPORT, "--horizon", "0"], "--horizon 0 is not a whole number of sessions from 1 to 63"),
    "a horizon of -1": ([*REPORT, "--horizon", "-1"], "--horizon -1 is not"),
    "a horizon of 64": ([*REPORT, "--horizon", "64"], "--horizon 64 is not"),
    "a horizon of abc": ([*REPORT, "--horizon", "abc"], "'--horizon'"),
    "a horizon of 5.5": ([*REPORT, "--horizon", "5.5"], "'--horizon'"),
    "no jobs": ([*REPORT, *SPAN, "--jobs", "0"], "--jobs 0 is not a number of worker processes; use 1 or more"),
    "no jobs to attest": (["attest", "--jobs", "-1"], "--jobs -1 is not a number of worker processes; use 1 or more"),
    "no jobs to leakcheck": (["leakcheck", "--jobs", "0"], "--jobs 0 is not a number of worker processes"),
    "no jobs to calibrate": (["calibrate", "--jobs", "0"], "--jobs 0 is not a number of worker processes"),
    "few sessions": (
        [*REPORT, "--start", "2010-01-04", "--end", "2010-03-01"],
        "of which 39 remain after the features' warm-up and from 2010-01-04 on",
    ),
    "no session": ([*REPORT, "--start", "2031-01-01"], "MSFT has no row from 2031-01-01"),
    "a search": (["tune", "RidgeRegression", "--method", "anneal"], "no search method is called 'anneal'"),
    "a portfolio method": (["optimize", "--method", "hrp"], "no portfolio method is called 'hrp'"),
    "a weight above 1": (
        ["optimize", "--position", "2"],
        "--position 2 is no fraction of the wealth",
    ),
    "a sector of NaN": (["optimize", "--sector-cap", "nan"], "--sector-cap nan is no fraction of the wealth"),
    "a day of a regime": (["regime", "--as-of", "soon"], "--as-of 'soon' is not a day; write it as YYYY-MM-DD"),
    "a target of NaN": (["portfolio", "what-if", "MSFT=nan"], "target weights must be from 0 to 1"),
    "a deposit to come": (["portfolio", "add", "deposit", "2999-01-04", "--cash", "1"], "has not happened yet"),
    "a view": (["optimize", "--method", "black-litterman", "--view", "MSFT"], "'MSFT' is no name and number"),
    "tickers of two kinds": (["optimize", "--ticker", "IBM", "--universe", "dow"], "not both"),
    "a model that has nothing to tune": (["tune", "Theta"], "Theta has nothing to tune: its parameters are estimated"),
    "a model": (["evaluate", "RidgeRegresion"], "no model is called 'RidgeRegresion'; close: RidgeRegression"),
    "a series": (["fetch", "macro", "GPD"], "no macro series in mode sample is called 'GPD'"),
    "bars": (["fetch", "bars", "XYZZY"], "no ticker in mode sample is called 'XYZZY'"),
    "no bars": (["fetch", "bars"], "no ticker was given"),
    "quality": (["quality", "XYZZY"], "no ticker in mode sample is called 'XYZZY'"),
    "quality of a series": (["quality", "GPD", "--macro"], "no macro series in mode sample is called 'GPD'"),
    "quality of nothing": (["quality"], "give a name or --universe"),
    "quality of ranks": (["quality", "--universe", "dow", "--target", "rank"], "the same ranks in every session"),
    "a universe of series": (["quality", "--universe", "dow", "--macro"], "leave --macro and --against out"),
    "another source": (["quality", "MSFT", "--against", "XYZZY"], "no ticker in mode sample is called 'XYZZY'"),
    "two others": (["quality", "MSFT", "--against", "IBM", "--against-macro", "unemp"], "not both"),
    "a day of judgment": (["quality", "MSFT", "--asof", "soon"], "--asof 'soon' is not a day"),
    "a family to list": (["models", "--family", "forest"], "no family is called 'forest'"),
    "a head": (["audit", "verify", "--against", "5"], "'5' is no audit head; it reads size:hash"),
    "a limit": (["audit", "show", "--limit", "0"], "'--limit'"),
    "a run": (["verify", "MSFT-5d-00000000"], "is no run folder and no run id below "),
    "a command": (["raport"], "raport"),
    "an option": (["models", "--jsn"], "--jsn"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_that_names_it_and_nothing_is_written(run: Run, what: str):
    arguments, said = MISTAKES[what]
    answer = run(*arguments)
    assert_one_line(answer)
    assert said in answer.err
    assert [p for p in Path.cwd().rglob("*") if p.is_file()] == []


HOSTILE = [
    *("../../x", "a'b\"c", "x\ny\r\nz", "<script>hit()</script>", "a" * 10_000, "{0.__class__}", "/etc/passwd"),
    *("%00", "; touch ran", "\x1b[2J", "ＭＳＦＴ", "x.csv\n"),
]
PLACES = [
    [*REPORT, "--ticker"],
    ["report", "--family"],
    [*REPORT, "--start"],
    [*REPORT, "--horizon"],
    ["models", "--family"],
    ["evaluate"],
    ["evaluate", "KNeighborsRegressor_5", "--ticker"],
    ["fetch", "bars"],
    ["fetch", "macro"],
    ["quality"],
    ["quality", "--macro"],
    ["quality", "MSFT", "--asof"],
    ["optimize", "--method"],
    ["optimize", "--ticker"],
    ["optimize", "--view"],
    ["audit", "verify", "--against"],
    ["verify"],
    [],
]


@pytest.mark.parametrize("place", PLACES, ids=" ".join)
def test_a_hostile_name_is_one_bounded_line_wherever_it_is_given(run: Run, place: list[str]):
    for name in HOSTILE:
        answer = run(*place, name)
        assert_one_line(answer)
        assert "\x1b" not in answer.err
    assert list(Path.cwd().iterdir()) == []


def test_bytes_that_are_no_text_are_one_line(tmp_path: Path):
    """A shell passes any bytes but NUL; the operating system refuses that one before we start."""
    call = [os.fsencode(MLTRAINER), b"evaluate", b"KNeighborsRegressor_5", b"--ticker", b"\xff\xfe.csv"]
    environment = {**os.environ, "MLTRAINER_HOME": str(tmp_path / "h")}
    answer = subprocess.run(call, env=environment, capture_output=True, text=True)
    assert_one_line(Said(answer.returncode, answer.stdout, answer.stderr))
    with pytest.raises(ValueError, match="null byte"):
        subprocess.run([str(MLTRAINER), "models", "--family", "\0"])


@pytest.mark.parametrize("out", ["file/x", "file"])
def test_a_folder_that_cannot_be_is_said_before_any_work(run: Run, out: str):
    Path("file").write_text("kept")
    answer = run(*REPORT, *SPAN, "--out", out)
    assert_one_line(answer)
    assert f"{Path.cwd() / out} cannot be written" in answer.err
    assert "--out" in answer.err
    assert Path("file").read_text() == "kept"
    assert not (store.settings().home / "blobs").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_line(run: Run):
    Path("locked").mkdir(mode=0o500)
    assert_one_line(run(*REPORT, *SPAN, "--out", "locked/x"))


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("command", [["models"], ["audit", "head"], [*REPORT, *SPAN], ["leaderboard"]], ids=" ".join)
def test_a_home_below_a_file_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]):
    Path("file").write_text("kept")
    monkeypatch.setenv("MLTRAINER_HOME", str(Path.cwd() / "file" / "home"))
    answer = run(*command)
    if command == ["models"]:
        assert answer.code == 0  # the catalog needs no state
        return
    assert_one_line(answer)
    assert str(Path.cwd() / "file" / "home") in answer.err
    assert "MLTRAINER_HOME" in answer.err


@pytest.mark.parametrize("command", [[*REPORT], ["fetch", "bars", "MSFT"], ["doctor"]], ids=" ".join)
def test_a_mode_that_is_none_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]):
    monkeypatch.setenv("MLTRAINER_MODE", "nonsense")
    answer = run(*command)
    assert_one_line(answer)
    assert "setting MLTRAINER_MODE: input should be 'auto', 'live', 'sample' or 'replay'" in answer.err


@pytest.mark.parametrize("command", [REPORT, ["fetch", "bars", "MSFT"], ["quality", "MSFT"]], ids=" ".join)
def test_a_key_never_falls_back_to_the_sample(run: Run, monkeypatch: pytest.MonkeyPatch, command: list[str]):
    """With a key and nothing that answers, every command ends; tests do not leave this machine."""
    monkeypatch.setenv("POLYGON_API_KEY", "canary-5c1e")
    monkeypatch.setenv("MLTRAINER_WIRE_SECONDS", "1")
    answer = run(*command)
    assert_one_line(answer)
    assert "Polygon failed at /v2/aggs/ticker/MSFT" in answer.err
    assert "nothing stands in for it" in answer.err
    assert "canary" not in answer.err


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("body", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000], ids=len)
@pytest.mark.parametrize("command", [["audit", "verify"], [*REPORT, *SPAN], ["leaderboard"]], ids=" ".join)
def test_a_damaged_database_is_one_line_and_is_not_replaced(run: Run, home: Path, command: list[str], body: bytes):
    home.mkdir()
    (home / "mltrainer.sqlite").write_bytes(body)
    answer = run(*command)
    assert_one_line(answer, code=1)  # what was stored no longer holds: the exit code of verify
    assert "it is damaged or no database; restore a backup" in answer.err
    assert (home / "mltrainer.sqlite").read_bytes() == body


# --- documents ------------------------------------------------------------------------------------------------


def document(answer: Said, code: int = 0) -> object:
    assert answer.code == code, answer.err
    return json.loads(answer.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_models_as_json_lists_the_whole_catalog(run: Run):
    rows = document(run("models", "--json"))
    assert isinstance(rows, list)
    assert [r["name"] for r in rows] == [s.name for s in catalog.specs()]
    assert len({r["name"] for r in rows}) == len(rows) >= 63
    for row in rows:
        assert {"name", "family", "task", "available", "why_unavailable", "method"} <= row.keys()
        assert row["available"] or row["why_unavailable"]
    assert [r["name"] for r in document(run("models", "--family", "neighbors", "--json"))] == [  # type: ignore[attr-defined]
        s.name for s in catalog.specs("neighbors")
    ]


SAMPLE = "Mode sample: real historical data, not Polygon/FRED, not for trading.\n"


def test_a_question_as_json_and_in_words(run: Run):
    said = document(run("ask", "price of MSFT in 2010", "--json"))
    assert said["ok"]  # type: ignore[index]
    assert {"value", "unit", "as_of", "source"} <= said["claims"][0].keys()  # type: ignore[index]
    assert "The adjusted close of MSFT was $" in run("ask", "price of MSFT in 2010").out
    assert run("ask", "what regime is TSLA in?").code == 1
    assert_one_line(run("ask", ""))
    assert_one_line(run("mcp", "--role", "root"))


def test_evaluate_and_leaderboard_as_json_are_one_document_each(run: Run):
    done = document(run("evaluate", "KNeighborsRegressor_5", "KNeighborsRegressor_3", *SPAN, "--json"))
    assert isinstance(done, dict)
    assert done.keys() == {"mode", "sentence", "luck", "rows"}
    assert done["mode"] == "sample"
    assert {r["name"] for r in done["rows"]} == {"KNeighborsRegressor_5", "KNeighborsRegressor_3"}
    ranked = document(run("leaderboard", "--json"))
    assert isinstance(ranked, dict)
    assert {r["key"] for r in ranked["rows"]} == {r["key"] for r in done["rows"]}
    text = run("leaderboard")
    assert text.code == 0
    assert ranked["sentence"] in text.out


def test_a_test_is_declared_before_it_is_run_and_not_after(run: Run):
    call = ["preregister", "KNeighborsRegressor_5", *SPAN, "--project", "sure"]
    said = document(run(*call, "--json"))
    assert (said["model"], said["seen"], said["project"]) == ("KNeighborsRegressor_5", 0, "sure")
    done = document(run("evaluate", "KNeighborsRegressor_5", *SPAN, "--project", "sure", "--json"))
    (row,) = done["rows"]
    assert row["key"] == said["key"]
    assert "; preregistered single test, p = " in row["verdict"]
    again = run(*call)
    assert again.out.startswith("Registration(KNeighborsRegressor_5 on MSFT: return, 5 sessions ahead; declared before")
    document(run("evaluate", "KNeighborsRegressor_3", *SPAN, "--json"))
    assert_one_line(late := run("preregister", "KNeighborsRegressor_3", *SPAN))
    assert "KNeighborsRegressor_3 on MSFT has a result already" in late.err
    shown = document(run("leaderboard", "--project", "sure", "--json"))
    assert [r["name"] for r in shown["rows"]] == ["KNeighborsRegressor_5"]
    assert shown["luck"]["trials"] == 2


def test_a_feature_of_ones_own_is_given_by_module_and_name(run: Run):
    Path("mine.py").write_text("def half(bars):\n    return bars['close'].pct_change(126)\n\n\n"
                               "def leaks(bars):\n    return bars['close'].pct_change().shift(-1)\n")  # fmt: skip
    call = ["evaluate", "KNeighborsRegressor_5", *SPAN, "--feature"]
    (row,) = document(run(*call, "mine:half", "--json"))["rows"]
    assert row["settings"].startswith("own feature half, code ")
    assert_one_line(said := run(*call, "mine:leaks"))
    assert "own feature leaks looks ahead: its value of 2004-07-02 moves when sessions after 2004-07-02" in said.err
    assert_one_line(run(*call, "mine:nothing"))


def test_a_feature_is_given_as_an_expression(run: Run):
    call = ["evaluate", "KNeighborsRegressor_5", *SPAN, "--feature"]
    (row,) = document(run(*call, "Mean($volume,5) / adv20", "--json"))["rows"]
    assert row["settings"].endswith(" = ts_mean(volume, 5) / adv20")
    assert_one_line(said := run(*call, "delay(close, -1)"))
    assert "would look ahead" in said.err


def test_the_map_as_json_and_in_words(run: Run):
    call = ["map", "--model", "RidgeRegression", "--target", "volatility", "--horizon", "5", *SPAN]
    done = document(run(*call, "--json"))
    (cell,) = done["rows"]
    assert (cell["target"], cell["baseline"], cell["status"]) == ("volatility", "EWMA", "ok")
    said = run(*call)
    assert said.out.endswith(f"{done['sentence']}\n{SAMPLE}")
    assert "volatility  5        EWMA" in said.out


def test_optimize_as_json_and_in_words(run: Run):
    call = ["optimize", "--ticker", "AAPL", "--ticker", "MSFT", "--as-of", "2010-01-04"]
    done = document(run(*call, "--method", "black-litterman", "--view", "MSFT/AAPL=0.001", "--json"))
    said = [done[key] for key in ("method", "mode", "as_of", "status")]
    assert said == ["black-litterman", "sample", "2010-01-04", "optimal"]
    assert sum(r["weight"] for r in done["rows"]) + done["cash"] == pytest.approx(1)
    assert done["rows"][0]["name"] == "MSFT"
    assert done["provenance"]["source"] == "sample"
    said = run(*call)
    assert said.out.endswith(SAMPLE)
    assert "Allocation(risk-parity as of 2010-01-04, sample: 2 of 2 names" in said.out
    capped = document(run(*call, "--sector-cap", "0.2", "--json"), code=1)  # both are of one sector
    assert capped["status"].startswith("fallback: minimum-variance")


def test_a_walk_of_optimizers_says_what_cannot_be_told_from_one_over_n(run: Run):
    call = ["optimize", "--walk", "--ticker", "AAPL", "--ticker", "MSFT", "--ticker", "GE", "--sessions", "252"]
    call += ["--start", "2016-01-04", "--as-of", "2017-12-29", "--every", "126", "--target", "0.1"]
    done = document(run(*call, "--json"))
    rows = {r["method"]: r for r in done["rows"]}
    assert (done["mode"], done["level"], done["start"], done["end"]) == ("sample", 0.9, "2016-01-05", "2017-12-29")
    assert {"equal-weight", "buy-and-hold", "equal-weight at 10%", "risk-parity", "kelly"} <= set(rows)
    assert done["indistinguishable_from_equal_weight"] == rows["equal-weight"]["best"]
    assert ("Indistinguishable from 1/N" in done["sentence"]) == rows["equal-weight"]["best"]
    said = run(*call)
    assert said.out.endswith(f"{done['sentence']}\n{SAMPLE}")


def test_a_factor_as_json_and_in_words(run: Run):
    names = [x for t in ("AAPL", "AMD", "BAC", "BBY", "CVX", "GE") for x in ("--ticker", t)]
    call = ["factor", "return_5", *names, "--start", "2016-01-04", "--end", "2018-12-31", "--quantiles", "3"]
    done = document(run(*call, "--json"))
    assert done["summary"]["factor"] == "return_5"
    assert [row["horizon"] for row in done["decay"]] == [1, 2, 3, 5, 10, 21]
    assert [row["quantile"] for row in done["by_quantile"]] == ["1", "2", "3", "spread"]
    assert {row["ticker"] for row in done["names"]} == {"AAPL", "AMD", "BAC", "BBY", "CVX", "GE"}
    assert done["pays"][0]["capacity"] is None
    said = run(*call)
    assert said.out.startswith(f"{done['sentence']}\n\nhorizon  mean")
    assert said.out.endswith(f"Capacity is not known: {done['summary']['capacity_unknown']}.\n{SAMPLE}")


def test_tune_as_json_and_in_words(run: Run):
    call = ["tune", "KNeighborsRegressor_5", "--trials", "2", *SPAN]
    done = document(run(*call, "--json"))
    assert (done["model"], done["mode"]) == ("KNeighborsRegressor_5", "sample")
    assert [row["status"] for row in done["candidates"]] == ["ok", "ok", "ok"]
    assert done["luck"]["cost"] >= 4
    said = run(*call)
    assert said.code == 0
    assert said.out.endswith(f"{done['sentence']}\n{SAMPLE}")
    assert "n_neighbors" in said.out


def test_an_empty_ledger_is_an_empty_leaderboard(run: Run):
    empty = document(run("leaderboard", "--json"))
    assert isinstance(empty, dict)
    assert empty["rows"] == []
    assert run("leaderboard").out.endswith(f"No model ran to the end, so nothing can be said.\n{SAMPLE}")


def test_data_as_json_comes_with_its_provenance(run: Run):
    bars = document(run("fetch", "bars", "MSFT", "IBM", "--start", "2010-01-04", "--end", "2010-01-08", "--json"))
    assert isinstance(bars, list)
    assert [b["name"] for b in bars] == ["MSFT", "IBM"]
    assert [r["session"][:10] for r in bars[0]["rows"]] == [f"2010-01-0{d}" for d in (4, 5, 6, 7, 8)]
    assert bars[0]["provenance"]["source"] == "sample"
    macro = document(run("fetch", "macro", "unemp", "--start", "2008-01-01", "--json"))
    assert isinstance(macro, list)
    assert macro[0]["rows"][0].keys() == {"period", "value", "available"}
    assert run("fetch", "bars", "MSFT").out.count("\n") > 5


def test_one_bad_ticker_does_not_swallow_the_others(run: Run):
    said = run("fetch", "bars", "MSFT", "XYZZY", "IBM")
    assert said.code == 1
    assert [line.split()[1] for line in said.out.splitlines() if line.startswith("<Dataset")] == ["MSFT", "IBM"]
    assert said.err.startswith("mltrainer: no ticker in mode sample is called 'XYZZY'")
    assert said.err.count("\n") == 1
    said = run("fetch", "macro", "nope", "unemp", "--json")
    assert said.code == 1
    assert [sorted(row) for row in json.loads(said.out)] == [
        ["findings", "name", "provenance", "rows"],
        ["error", "name"],
    ]
    said = run("fetch", "bars", "XYZZY", "ZYXXY")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 2)


def test_the_quality_of_a_universe_is_a_line_for_each_name_and_who_is_not_there_fails_it(run: Run, tmp_path: Path):
    (tmp_path / "mine.txt").write_text("MSFT\nXYZZY\nAAPL\n")
    answer = run("quality", "--universe", str(tmp_path / "mine.txt"), "--end", "2005-12-30")
    assert answer.code == 1
    head, *rows = answer.out.splitlines()
    assert head.split() == ["ticker", "sessions", "complete", "error", "warning", "info", "the", "gravest"]
    assert [row.split()[0] for row in rows] == ["MSFT", "XYZZY", "AAPL"]
    assert "not there: no ticker in mode sample is called 'XYZZY'" in rows[1]
    (tmp_path / "mine.txt").write_text("MSFT\nAAPL\n")
    told = run("quality", "--universe", str(tmp_path / "mine.txt"), "--end", "2005-12-30", "--json")
    assert told.code == 0
    assert [said["name"] for said in json.loads(told.out)] == ["MSFT", "AAPL"]


def test_a_model_of_a_panel_is_trained_as_it_is_judged(run: Run):
    panel = ["--ticker", "MSFT", "--ticker", "AAPL", "--ticker", "IBM", "--start", "2006-01-03", "--end", "2008-12-31"]
    answer = run(
        "train", "RidgeRegression", *panel, "--panel", "hierarchical", "--ranked", "--interval", "0.8", "--json"
    )
    said = json.loads(answer.out)
    assert said["panel"] == "one model of 3 tickers with name effects, features ranked"
    assert said["protocol"] == {"panel": "hierarchical", "ranked": True, "interval": 0.8}
    assert sorted(said["effects"]) == ["AAPL", "IBM", "MSFT"]
    assert "--ranked is of several tickers, and MSFT is one" in run("train", "RidgeRegression", "--ranked").err


def test_quality_as_json_and_in_words(run: Run):
    found = document(run("quality", "MSFT", "--json"))
    assert isinstance(found, dict)
    assert (found["name"], found["completeness"], found["ok"]) == ("MSFT", 1.0, True)
    said = run("quality", "MSFT").out.splitlines()
    assert said[0] == "MSFT: 3,270 sessions, 100.00% of the exchange calendar"
    assert said[1].split()[:3] == ["severity", "rule", "rows"]
    assert {f["severity"] for f in found["findings"]} == {"info"}
    assert found["findings"][0].keys() == {"rule", "severity", "rows", "message", "remedy", "when"}
    assert run("quality", "VIXCLS", "--macro").out == "VIXCLS: 1,259 rows, 100.00% of its periods\nno finding\n"


def test_quality_exits_1_where_a_rule_finds_an_error_and_names_what_to_do(run: Run):
    answer = run("quality", "MSFT", "--against", "IBM", *SPAN, "--asof", "2010-01-04")
    assert answer.code == 1
    (error,) = [line for line in answer.out.splitlines() if line.startswith("error")]
    assert "differ from IBM by more than 1% of return" in error
    assert error.endswith("find out which one is right")
    found = document(run("quality", "MSFT", "--against", "IBM", *SPAN, "--json"), code=1)
    assert isinstance(found, dict)
    assert found["ok"] is False


def test_the_trail_as_json_and_in_words(run: Run):
    head = audit.append("test", note="x" * 200)
    entries = document(run("audit", "show", "--json"))
    assert isinstance(entries, list)
    assert entries[0]["payload"] == {"note": "x" * 200}
    assert document(run("audit", "head", "--json")) == {"size": 1, "hash": head.hash}
    assert run("audit", "head").out == f"{head}\n"
    assert document(run("audit", "verify", "--json", "--against", str(head))) == {"holds": True, "findings": []}
    assert run("audit", "verify").out == "1 entries hold\n"
    cut = document(run("audit", "verify", "--json", "--against", f"2:{'0' * 64}"), code=1)
    assert isinstance(cut, dict)
    assert "cut short" in cut["findings"][0]
    assert max(map(len, run("audit", "show").out.splitlines())) < 200


def test_the_trail_is_shown_by_kind(run: Run):
    audit.append("work", n=1)
    audit.append("violation", what="a frame")
    kinds = [entry["kind"] for entry in document(run("audit", "show", "--kind", "violation", "--json"))]
    assert kinds == ["violation"]


def test_audit_verify_names_a_result_that_is_lost_until_it_is_made_again(run: Run, home: Path):
    evaluate = ["evaluate", "RidgeRegression", "LassoRegression", *SPAN]
    board = run(*evaluate).out
    assert run("audit", "verify").code == 0
    (blob,) = (home / "blobs").glob(f"*/{trials.ledger().set_index('model')['blob']['RidgeRegression']}")
    blob.write_bytes(b"damaged")
    answer = run("audit", "verify")
    assert answer.code == 1
    assert answer.out.splitlines() == [line for line in answer.out.splitlines() if "RidgeRegression on MSFT" in line]
    assert "result damaged; evaluate it again" in answer.out
    assert "LassoRegression" in run("leaderboard").out
    assert run(*evaluate).out == board
    assert run("audit", "verify").code == 0


@pytest.mark.usefixtures("database")
def test_a_database_that_is_gone_is_one_line_and_exit_1(run: Run, home: Path):
    run("evaluate", "RidgeRegression", *SPAN)
    (home / "mltrainer.sqlite").unlink()
    for command in (["audit", "verify"], ["leaderboard"], ["evaluate", "RidgeRegression"]):
        answer = run(*command)
        assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
        assert "restore it from a backup" in answer.err


def test_doctor_says_what_there_is_and_no_key(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FRED_API_KEY", "canary-77aa")
    answer = run("doctor", "--json")
    rows = document(answer)
    assert isinstance(rows, dict)
    assert (rows["mode"], rows["Polygon key"], rows["FRED key"]) == ("sample", "absent", "present")
    assert rows["models"] == f"{sum(s.available for s in catalog.specs())} of {len(catalog.specs())} available"
    assert rows["Polygon"] == rows["FRED"] == "not asked in mode sample"
    assert (rows["kept answers"], rows["newest data"]) == ("none", "nothing was fetched")
    assert re.fullmatch(r"[\d.]+ GB", str(rows["free disk"]))
    assert "canary" not in answer.out


def test_doctor_names_a_problem_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch):
    Path("file").write_text("")
    monkeypatch.setenv("MLTRAINER_HOME", "file/home")
    rows = document(run("doctor", "--json"), code=1)
    assert isinstance(rows, dict)
    assert rows["state"].startswith("PROBLEM: ")
    assert rows["mode"] == "sample"


def test_an_error_is_a_document_where_a_program_listens_and_a_line_for_people(run: Run):
    answer = run("report", "--start", "yesterday", "--json")
    assert answer.code == 2
    assert json.loads(answer.out) == {
        "error": "--start 'yesterday' is not a day; write it as YYYY-MM-DD",
        "kind": "BadInput",
    }
    assert answer.err == "mltrainer: --start 'yesterday' is not a day; write it as YYYY-MM-DD\n"


def test_users_are_let_in_listed_and_let_in_no_more(run: Run):
    added = document(run("user", "add", "ann", "--role", "auditor", "--json"))
    rotated = run("user", "rotate", "ann").out.strip()
    assert len(rotated) >= 43  # 256 bits in base 64
    assert rotated != added["token"]  # type: ignore[index, call-overload]
    (listed,) = document(run("user", "list", "--json"))
    assert (listed["name"], listed["role"]) == ("ann", "auditor")  # type: ignore[index, call-overload]
    shown = run("user", "list").out + run("audit", "show").out
    assert rotated not in shown
    assert_one_line(run("user", "add", "bob", "--role", "boss"))
    assert document(run("user", "remove", "ann", "--json")) == {"removed": "ann"}
    assert document(run("user", "list", "--json")) == []
    assert "nobody but" in run("user", "list").out


def test_the_protocol_can_be_told_on_the_command_line(run: Run):
    """The same as Protocol(cost_bps=0, split=WalkForward(folds=3)) in Python: the same key."""
    done = document(run("evaluate", "KNeighborsRegressor_5", *SPAN, "--cost-bps", "0", "--folds", "3", "--json"))
    held = trials.load(done["rows"][0]["key"])  # type: ignore[index]
    assert held is not None
    assert held.forecasts["fold"].nunique() == 3
    assert (held.forecasts["gross"] == held.forecasts["net"]).all()
    refused = run("evaluate", "KNeighborsRegressor_5", *SPAN, "--cost-bps", "-1")
    assert "--cost-bps -1.0 would make figures that mean nothing" in refused.err


def test_the_version_tickers_and_runs_are_told(run: Run):
    from importlib.metadata import version

    assert run("--version").out == f"mltrainer {version('mltrainer')}\n"
    assert "MSFT" in run("tickers").out.split()
    assert "MSFT" in document(run("tickers", "--json"))  # type: ignore[operator]
    assert document(run("runs", "--json")) == []
    assert "mltrainer report makes one" in run("runs").out


def test_every_option_json_is_tested_here():
    """A command that learns --json has to be added to this file."""
    having = {" ".join(path) for path in COMMANDS if any("--json" in p.opts for p in command_of(path).params)}
    assert having <= {
        "verify", "models", "evaluate", "map", "tune", "leaderboard", "fetch bars", "fetch macro", "quality",
        "universes", "tickers", "runs", "report", "preregister",
        "optimize", "factor", "recommend", "brief", "ask",
        "audit show", "audit head", "audit verify", "doctor",
        "user add", "user list", "user rotate", "user remove",
        *TESTED_ELSEWHERE,
    }  # fmt: skip


TESTED_ELSEWHERE = {
    "calibrate",
    "leakcheck",
    "optimize",
    "attest",
    "train",
    "predict",
    "fetch actions",
    "cache show",
    "cache prune",
    "regime",
    "forecast",
    "forecasts",
    "monitor",
    "alerts check",
    "alerts list",
    "alerts ack",
    "alerts replay",
    "portfolio show",
    "portfolio entries",
    "portfolio what-if",
    "backup",
    "restore",
    "prune",
    "scrub",
    "audit export",
    "governance list",
    "governance validate",
    "governance approve",
    "explain",
    "diff",
    "trace",
    "revoke",
    "audit checkpoint",
    "runbook",
    "health",
    "governance fallback",
    "store move",
    "store key",
    "store encrypt",
}


def command_of(path: list[str]):
    found = TOP
    for name in path:
        found = found.commands[name]  # type: ignore[attr-defined]
    return found


# --- help, interruption, terminals ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [[], *COMMANDS], ids=lambda path: " ".join(path) or "mltrainer")
def test_every_command_and_every_option_has_a_help_text(run: Run, path: list[str]):
    answer = run(*path, "--help")
    assert answer.code == 0
    assert answer.err == ""
    assert "Usage: mltrainer" in answer.out
    command = command_of(path)
    assert len((command.help or "").split()) > 2
    for parameter in command.params:
        assert parameter.param_type_name == "argument" or parameter.help, parameter.name


def test_the_commands_of_this_release_are_there():
    """design.md, section 7, as far as built."""
    built = "report verify models leaderboard quality evaluate doctor lab serve".split()
    assert set(built) <= {path[0] for path in COMMANDS if len(path) == 1}
    assert {("fetch", "bars"), ("fetch", "macro"), ("audit", "show"), ("audit", "head"), ("audit", "verify")} <= {
        tuple(path) for path in COMMANDS
    }


def test_without_a_command_the_help_is_shown(run: Run):
    answer = run()
    assert "Usage: mltrainer" in answer.out + answer.err
    assert "Traceback" not in answer.err


def test_ctrl_c_while_fitting_is_one_line_and_130(run: Run, monkeypatch: pytest.MonkeyPatch):
    from mltrainer.evaluation import tasks

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks, "evaluate", stopped)
    answer = run(*REPORT, *SPAN, "--jobs", "1")
    assert answer.code == 130
    lines = [line for line in answer.err.replace("\r", "\n").splitlines() if line.strip() and "fit/s]" not in line]
    assert lines == ["mltrainer: stopped; finished work is kept, and the same command goes on from here"]


def test_a_reader_that_leaves_is_no_error(home: Path):
    call = f"{MLTRAINER} models --json | head -c 10; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "MLTRAINER_HOME": str(home)}
    answer = subprocess.run(["bash", "-c", call], env=environment, capture_output=True, text=True)
    assert answer.stderr == ""
    assert answer.returncode in (0, 141)


def test_a_terminal_without_a_minus_sign_shows_something_else_and_does_not_fail(home: Path):
    evaluate = ["evaluate", "KNeighborsRegressor_5", *SPAN]
    environment = {**os.environ, "MLTRAINER_HOME": str(home), "PYTHONIOENCODING": "cp1252"}
    answer = subprocess.run([str(MLTRAINER), *evaluate], env=environment, capture_output=True)
    assert answer.returncode == 0, answer.stderr
    assert b"\\u2212" in answer.stdout  # a minus sign: R2 out of sample of a nearest neighbor is negative


def test_a_long_message_keeps_its_beginning_and_its_end(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        terminal.fail("begin " + "x" * 10_000 + " end")
    said = capsys.readouterr().err
    assert said.startswith("mltrainer: begin")
    assert said.endswith(" end\n")
    assert len(said) < 600


def test_numbers_that_json_does_not_have_become_null():
    text = terminal.document({"a": [float("nan"), float("inf"), 1.5], "b": ("x", None, True)})
    assert json.loads(text) == {"a": [None, None, 1.5], "b": ["x", None, True]}


def test_output_streams_that_cannot_be_set_are_left_alone(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    run("audit", "head")
    assert sys.stdout.getvalue().startswith("0:")  # type: ignore[attr-defined]


# --- universes ------------------------------------------------------------------------------------------------


def test_universes_are_listed(run: Run):
    rows = document(run("universes", "--json"))
    assert [(r["name"], len(r["tickers"])) for r in rows] == [("sample20", 20), ("dow", 30)]  # type: ignore[attr-defined]
    assert "2024-11-08" in run("universes").out


@pytest.mark.parametrize("command", [["evaluate", "RidgeRegression"], ["calibrate"], ["fetch", "bars", "MSFT"]])
def test_a_universe_and_a_ticker_are_one_too_many(run: Run, command: list[str]):
    ticker = [] if command[0] == "fetch" else ["--ticker", "MSFT"]
    said = run(*command, *ticker, "--universe", "dow")
    assert_one_line(said)
    assert "not both" in said.err


def test_what_a_universe_lacks_is_named_on_the_terminal(run: Run):
    Path("mine.txt").write_text("MSFT\nNOPE\nIBM\n")
    done = run("evaluate", "KNeighborsRegressor_5", "--universe", "mine.txt", *SPAN, "--json")
    assert {r["ticker"] for r in json.loads(done.out)["rows"]} == {"MSFT", "IBM"}
    assert done.err.startswith("mltrainer: 1 of 3 names of mine.txt are left out: NOPE")
    assert_one_line(run("fetch", "bars"))


# --- from forecasts to decisions ------------------------------------------------------------------------------


def test_regime_says_what_python_says(run: Run):
    import mltrainer as mt

    call = ["regime", "--ticker", "MSFT", "--start", "2004-01-02", "--as-of", "2008-10-15"]
    said, found = document(run(*call, "--json")), mt.regimes("MSFT", start="2004-01-02", as_of="2008-10-15")
    assert said["score"] == found.now["score"]  # type: ignore[call-overload]
    assert said["sentence"] == found.sentence()  # type: ignore[call-overload]
    words = run(*call)
    assert found.sentence() in words.out
    assert "Mode sample" in words.out
    assert_one_line(run("regime", "--as-of", "soon"))


def test_alerts_are_checked_listed_acknowledged_and_replayed(run: Run):
    call = ["alerts", "check", "--position", "MSFT@2008-09-02", "--as-of", "2008-10-15"]
    said = document(run(*call, "--json"))
    (alert,) = said["new"]  # type: ignore[call-overload]
    assert (alert["kind"], alert["session"], alert["state"]) == ("stop_loss", "2008-09-05", "new")
    again = run(*call)
    assert "0 new alerts of 1 subjects as of 2008-10-15" in again.out
    assert [a["id"] for a in document(run("alerts", "--json"))] == [alert["id"]]  # type: ignore[attr-defined]
    assert alert["message"] in run("alerts").out
    assert document(run("alerts", "ack", alert["id"][:8], "--json"))[0]["state"] == "acknowledged"  # type: ignore[call-overload]
    assert document(run("alerts", "list", "--state", "new", "--json")) == []
    assert run("alerts", "list", "--state", "acknowledged").out.count(alert["id"]) == 1
    found = document(run("alerts", "replay", "--kind", "stop_loss", "--start", "2008-01-01", "--json"))
    assert {a["kind"] for a in found["alerts"]} == {"stop_loss"}  # type: ignore[call-overload]
    assert found["rates"][0]["judged"] > 0  # type: ignore[call-overload]
    assert "false alarms" in run("alerts", "replay", "--kind", "stop_loss", "--start", "2012-01-03").out
    withheld = run("alerts", "check", "--position", "XYZZY@2008-09-02")
    assert withheld.code == 1
    assert "withheld XYZZY@2008-09-02: no ticker in mode sample is called 'XYZZY'" in withheld.out


def test_a_forecast_is_committed_and_listed_with_its_outcome(run: Run):
    call = ["forecast", "MSFT", "--target", "volatility", "--as-of", "2010-03-10"]
    (made,) = document(run(*call, "--json"))  # type: ignore[misc]
    assert (made["known_on"], made["evidence"], made["models"]) == ("2010-03-17", "historical", {"HAR": 1.0})
    words = run(*call)
    assert words.out.startswith(f"{made['id']}  Forecast(MSFT, volatility over 5 sessions from 2010-03-10")
    assert made["falsifier"]["says"] in words.out
    listed = document(run("forecasts", "--json"))
    assert [f["id"] for f in listed["forecasts"]] == [made["id"]]  # type: ignore[call-overload]
    assert listed["forecasts"][0]["status"] == "known"  # type: ignore[call-overload]
    assert listed["record"][0]["evidence"] == "historical"  # type: ignore[call-overload]
    assert "No forward evidence yet" in run("forecasts", "--ticker", "MSFT").out
    assert_one_line(run("forecast", "--target", "rank"))


def test_monitor_as_json_and_in_words(run: Run):
    call = ["monitor", "--since", "2010-01-04"]
    said = document(run(*call, "--json"))
    (row,) = said["rows"]  # type: ignore[call-overload]
    assert (row["model"], row["rival"], row["target"], row["state"]) == ("HAR", "mean", "volatility", "healthy")
    assert said["inputs"]["MSFT"][0]["feature"] == row["drifted"]  # type: ignore[call-overload]
    words = run(*call).out
    assert "it does what it did" in words
    assert said["sentence"] in words  # type: ignore[call-overload]
    assert_one_line(run("monitor", "--since", "2013-02-01"))


ALERT_MISTAKES = {
    "a position": (["check", "--position", "MSFT"], "'MSFT' is no position; write TICKER@YYYY-MM-DD"),
    "a day of entry": (["check", "--position", "MSFT@soon"], "entered 'soon' is not a day"),
    "a kind": (["replay", "--kind", "stop"], "no kind of alert is called 'stop'; close: stop_loss"),
    "a state": (["list", "--state", "old"], "no state of an alert is called 'old'"),
    "an alert": (["ack", "zz"], "'zz' is no alert"),
}


@pytest.mark.parametrize("what", ALERT_MISTAKES)
def test_a_mistake_about_alerts_is_one_line(run: Run, what: str):
    arguments, said = ALERT_MISTAKES[what]
    answer = run("alerts", *arguments)
    assert_one_line(answer)
    assert said in answer.err


def test_a_portfolio_is_entered_valued_corrected_and_taken_out_and_in(run: Run):
    assert_one_line(run("portfolio"))  # nothing is entered yet
    assert "10,000.00 dollars in cash" in run("portfolio", "add", "deposit", "2010-01-04", "--cash", "10000").out
    bought = ["portfolio", "add", "buy", "2010-01-05", "--ticker", "MSFT", "--quantity", "100", "--price"]
    assert "1 positions" in run(*bought, "52").out
    assert "0 positions" in run("portfolio", "correct", "2", "--reason", "25, not 52").out
    run(*bought, "25")
    assert [e["void"] for e in document(run("portfolio", "entries", "--json"))] == [False, True, False, False]  # type: ignore[attr-defined]
    assert "note 25, not 52" in run("portfolio", "entries").out
    shown = document(run("portfolio", "show", "--as-of", "2010-06-30", "--benchmark", "IBM", "--json"))
    assert shown["positions"][0]["quantity"] == 100.0  # type: ignore[call-overload]
    assert shown == document(run("portfolio", "--as-of", "2010-06-30", "--json")) | {"benchmark": shown["benchmark"]}  # type: ignore[operator, call-overload]
    assert "% a year by money" in run("portfolio", "--as-of", "2010-06-30").out
    Path("all.csv").write_text(run("portfolio", "export").out)
    assert "2 new entries; other" in run("portfolio", "import", "all.csv", "--account", "other").out
    (row,) = document(run("portfolio", "what-if", "MSFT=0.5", "--as-of", "2010-06-30", "--json"))  # type: ignore[misc]
    assert row["target"] == 0.5
    for mistake in (
        ["add", "bye", "2010-01-05"],
        ["import", "none.csv"],
        ["what-if", "MSFT"],
        ["correct", "9", "--reason", "x"],
    ):
        assert_one_line(run("portfolio", *mistake))


def test_recommendations_as_json_in_words_and_how_they_ended(run: Run):
    call = ["recommend", "MSFT", "IBM", "--as-of", "2008-10-15"]
    found = document(run(*call, "--json"))
    assert [r["action"] for r in found["rows"]] == ["hold", "hold"]  # type: ignore[index,call-overload]
    assert found["rows"][0]["score"] is None  # type: ignore[call-overload,index]
    assert len(found["new"]) == 2  # type: ignore[arg-type,call-overload]
    said = run(*call).out
    assert "no model knows where any of 2 names will go" in said
    assert "Mode sample" in said
    assert "2 recommendations on 1 day, 2 of them over" in run("recommend", "--history").out
    ended = document(run("recommend", "--history", "--json"))
    assert {r["state"] for r in ended["rows"]} == {"over"}  # type: ignore[call-overload]
    walked = run("recommend", "MSFT", "IBM", "--since", "2008-10-01", "--as-of", "2008-11-15", "--horizon", "21").out
    assert "stop not touched" in walked
    refused = run("recommend", "MSFT", "XYZZY", "--as-of", "2008-10-15")
    assert refused.code == 1
    assert "refused XYZZY: no ticker in mode sample" in refused.out


@pytest.mark.slow
def test_the_brief_is_one_page_that_opens_by_itself(run: Run, tmp_path: Path):
    call = ["brief", "--ticker", "MSFT", "--ticker", "IBM", "--as-of", "2008-10-15", "--out", str(tmp_path)]
    page = Path(document(run(*call, "--json"))["page"])  # type: ignore[call-overload,arg-type,index]
    assert page == tmp_path / "brief-2008-10-15.html"
    text = page.read_text(encoding="utf-8")
    for words in ("How much of what is to be held after 2008-10-15?", "This page is historical", "No portfolio to show",
                  "No alert stands", "What is forecastable", "Audit head", "SAMPLE"):  # fmt: skip
        assert words in text
    assert 'data-file="plotly' not in text
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".html"] == [page.name]
