"""A runbook really does what it says, in a home of its own; a step that does not hold ends a drill."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import mltrainer as mt
from mltrainer import cli
from mltrainer.errors import BadInput, UnknownName
from mltrainer.evaluation import governance
from mltrainer.operations import drills, lifecycle
from mltrainer.paths import notebooks
from mltrainer.settings import settings
from mltrainer.trust import audit


@contextmanager
def put_back() -> Iterator[None]:
    """Whatever is done inside to the variables and the working directory of this process ends here."""
    variables, folder = dict(os.environ), Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[None]:
    """A user's folder with settings of all kinds, which a drill may take apart."""
    with put_back():
        os.chdir(tmp_path)
        Path(".env").write_text(f"MLTRAINER_DATABASE_URL=sqlite:///{tmp_path}/theirs.sqlite\n")
        Path(".env").chmod(0o600)
        os.environ |= {"MLTRAINER_HOME": str(tmp_path / "theirs"), "MLTRAINER_MODE": "sample"}
        os.environ |= dict.fromkeys(("POLYGON_API_KEY", "MLTRAINER_POLYGON_URL"), "http://127.0.0.1:1")
        yield


def test_no_drill_of_this_room_reaches_the_tests_after_it(monkeypatch: pytest.MonkeyPatch):
    """A drill moves its process elsewhere; what is not put back would be the home of every later test."""
    monkeypatch.setenv("MLTRAINER_HORIZON", "5")
    variables, folder = dict(os.environ), Path.cwd()
    with put_back():
        drills.Drill()
        os.environ["MLTRAINER_WIRE_SECONDS"] = "2"
        assert "MLTRAINER_HORIZON" not in os.environ
        assert Path.cwd() != folder
    assert dict(os.environ) == variables
    assert Path.cwd() == folder


def test_every_runbook_has_its_notebook_and_no_other_is_there():
    assert {p.stem for p in (notebooks() / "runbooks").glob("*.ipynb")} == set(drills.RUNBOOKS)


@pytest.mark.usefixtures("apart")
def test_a_drill_touches_nothing_of_the_users(tmp_path: Path):
    drills.Drill()
    audit.append("drill")
    assert tmp_path not in settings().home.parents
    assert settings().database_url is None
    assert settings().polygon_api_key is None
    assert {p.name for p in tmp_path.iterdir()} == {".env"}


@pytest.mark.usefixtures("apart")
def test_a_step_that_does_not_hold_ends_a_drill_and_is_only_noted_in_earnest():
    drill = drills.Drill()
    with pytest.raises(drills.Failed, match="two is three: found 2"):
        drill.check("two is three", holds=False, found="found 2")
    with pytest.raises(drills.Failed, match="was not refused"):
        drill.refused("bars", mt.bars, "MSFT")
    drill.refused("bars", mt.bars, "NOBODY")
    earnest = drills.Drill(real=True)
    earnest.check("two is <three>", holds=False)
    assert "1 of 1 steps need somebody: two is &lt;three&gt;" in earnest.report().data


@pytest.mark.usefixtures("apart")
def test_a_silent_provider_is_said_to_be_silent_and_what_was_kept_stays():
    drills.Drill()
    provider = drills.Provider(mt.bars("MSFT").frame)
    os.environ["MLTRAINER_WIRE_SECONDS"] = "2"
    try:
        before = mt.bars("MSFT", start="2009-01-02", end="2009-03-31")
        provider.silent = True
        assert mt.bars("MSFT", start="2009-01-02", end="2009-03-31").fingerprint() == before.fingerprint()
        with pytest.raises(mt.errors.MltrainerError, match="503"):
            mt.bars("IBM", start="2009-01-02", end="2009-03-31")
    finally:
        provider.close()


def test_the_first_approved_challenger_of_the_same_question_stands_in(home: Path):
    same = {"start": "2005-01-03", "end": "2006-12-29"}
    of = {h: mt.matrix("MSFT", horizon=h, **same) for h in (1, 5)}
    failed, other, first, second = (
        mt.model(name).train(of[h]).save()
        for name, h in (
            ("RidgeRegression", 5),
            ("RidgeRegression", 1),
            ("LassoRegression", 5),
            ("KNeighborsRegressor_5", 5),
        )
    )
    for artifact, state in ((failed, "champion"), (other, "challenger"), (first, "challenger"), (second, "challenger")):
        governance.move(artifact, "validated", "test")
        governance.move(artifact, state, "test")
    assert lifecycle.fallback(failed, "a damaged file").artifact == first
    assert governance.standing(failed).state == "retired"
    assert governance.standing(other).state == "challenger"
    assert lifecycle.fallback(first, "as well").artifact == second
    assert lifecycle.fallback(second, "and this").state == "retired"  # of horizon 1 nobody stands in for 5


def test_an_unknown_runbook_or_parameter_is_one_line(home: Path, tmp_path: Path):
    with pytest.raises(BadInput, match="there is no runbook 'fire'; there are daily-data-check"):
        drills.run("fire", tmp_path, {})
    with pytest.raises((BadInput, UnknownName), match="has no parameter 'color'"):
        drills.run("key-rotation", tmp_path, {"color": "red"})


@pytest.mark.parametrize("word", ["real=1", "reason", "="])
def test_a_parameter_that_is_none_is_one_line(word: str, monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setattr("sys.argv", ["mltrainer", "runbook", "daily-data-check", "--set", word])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capfd.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert "parameter" in said


def test_a_model_is_named_or_nothing_is_done(home: Path):
    with pytest.raises(BadInput, match="no address of a kept model"):
        lifecycle.fallback("", "a reason")
