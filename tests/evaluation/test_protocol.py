"""What a protocol cannot mean is refused, and what is not the honest one is a diagnostic, whatever it is called."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mltrainer as mt
from mltrainer.errors import BadInput
from mltrainer.evaluation import judgments, study
from mltrainer.evaluation.protocol import Protocol, flaw
from mltrainer.evaluation.splits import CombinatorialPurged, Fold, KFoldDiagnostic, Part, WalkForward

RIDGE = "RidgeRegression"


@pytest.mark.parametrize(
    "knobs",
    [
        *({"cost_bps": v} for v in (-20, -1e-9, float("nan"), float("inf"), 10_001, "5", None, True)),
        *({"interval": v} for v in (2, 1, 0, -0.5, float("nan"), "0.9", None)),
        *({"winsorize": v} for v in (0.6, 0.5, -0.01, float("nan"), "no", None)),
        *({"split": v} for v in (5, None, "WalkForward", WalkForward)),
    ],
    ids=str,
)
def test_a_protocol_that_cannot_be_meant_is_one_clear_line(knobs):
    with pytest.raises(BadInput) as error:
        Protocol(**knobs)
    (name,) = knobs
    assert name in str(error.value)
    assert "give" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(BadInput):
        dataclasses.replace(Protocol(), **knobs)


@pytest.mark.parametrize(
    "knobs",
    [{"cost_bps": 0}, {"cost_bps": np.float64(2.5)}, {"interval": 0.5}, {"winsorize": 0}, {"split": WalkForward(7)}],
)
def test_a_protocol_that_can_be_meant_is_taken(knobs):
    assert Protocol(**knobs) is not None


# --- folds ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 63), st.integers(1, 400), st.integers(0, 120))
def test_a_fold_is_honest_exactly_where_the_last_label_ends_before_the_block(horizon, trained, gap):
    fold = Fold(np.arange(trained), np.arange(trained + gap, trained + gap + 50))
    ends = trained - 1 + 1 + horizon
    assert (flaw(fold, horizon) == "") == (ends < trained + gap) == (gap >= horizon + 1)


@given(st.integers(1, 5), st.integers(1500, 4000), st.integers(2, 8))
def test_every_fold_of_ours_that_is_not_called_a_diagnostic_is_honest(horizon, n, folds):
    for split in (WalkForward(folds), WalkForward(folds, window=200), Part(folds, skip=1)):
        assert not any(flaw(fold, horizon) for fold in split.split(n, horizon))
    for split in (KFoldDiagnostic(), CombinatorialPurged()):
        assert any("trains on the future" in flaw(fold, horizon) for fold in split.split(n, horizon))


@dataclass(frozen=True)
class NoGap(WalkForward):
    def purge(self, horizon: int) -> int:
        return 0

    def embargo(self, n: int, horizon: int) -> int:
        return 0


@dataclass(frozen=True)
class OffByOne(NoGap):
    def purge(self, horizon: int) -> int:
        return horizon


@dataclass(frozen=True)
class EveryRow(WalkForward):
    def split(self, n: int, horizon: int, columns: int = 0):
        for fold in super().split(n, horizon, columns):
            yield Fold(np.arange(n), fold.test)


@dataclass(frozen=True)
class LaterRows(WalkForward):
    def split(self, n: int, horizon: int, columns: int = 0):
        for fold in super().split(n, horizon, columns):
            yield Fold(np.setdiff1d(np.arange(n), np.arange(fold.test[0] - 60, fold.test[-1] + 60)), fold.test)


@dataclass(frozen=True)
class OnlyTheLast(WalkForward):
    def split(self, n: int, horizon: int, columns: int = 0):
        folds = list(super().split(n, horizon, columns))
        yield from folds[:-1]
        yield Fold(np.arange(folds[-1].test[0]), folds[-1].test)


@dataclass(frozen=True)
class Renamed(KFoldDiagnostic):
    diagnostic = ""


DISHONEST = [NoGap(), OffByOne(), EveryRow(), LaterRows(), OnlyTheLast(), Renamed()]


@pytest.mark.parametrize("split", DISHONEST, ids=lambda s: type(s).__name__)
def test_a_split_that_lets_the_future_in_is_a_diagnostic_neither_ranked_nor_counted(msft, split):
    usual = study.evaluate(RIDGE, msft)
    luck = judgments.judgment().luck
    flattered = mt.evaluate(RIDGE, msft, protocol=Protocol(split=split))
    assert flattered.status == "diagnostic"
    assert flattered.reason.startswith("diagnostic: trains on")
    assert "flaw" not in flattered.meta
    assert judgments.judgment().luck == pytest.approx(luck, nan_ok=True)
    board = study.leaderboard([flattered, usual])
    assert list(board.rows["status"]) == ["ok", "diagnostic"]
    assert board.rows["verdict"].iloc[1] == "diagnostic"
    assert mt.evaluate(RIDGE, msft, protocol=Protocol(split=split)).reason == flattered.reason  # also when it is stored


@dataclass(frozen=True)
class Wide(WalkForward):
    """A gap twice as wide: another split, and an honest one."""

    def purge(self, horizon: int) -> int:
        return 2 * (horizon + 1)


def test_a_split_of_ones_own_that_is_honest_is_ranked(msft):
    assert mt.evaluate(RIDGE, msft, protocol=Protocol(split=Wide())).ok


def test_a_split_that_follows_time_no_longer_is_refused_to_a_model_that_does(msft):
    found = mt.evaluate("ARIMA_1_0_0", msft, protocol=Protocol(split=EveryRow()))
    assert found.status == "failed"
    assert "this split takes them apart" in found.reason


def test_a_split_under_the_name_of_ours_is_no_result_of_ours(msft):
    fake = dataclasses.make_dataclass("WalkForward", [], bases=(NoGap,), frozen=True)
    fake.__qualname__ = "WalkForward"
    assert repr(fake()) == repr(WalkForward())
    usual = study.evaluate(RIDGE, msft)
    flattered = study.evaluate(RIDGE, msft, protocol=Protocol(split=fake()))
    assert flattered.key != usual.key
    assert (usual.status, flattered.status) == ("ok", "diagnostic")


def test_rows_of_a_panel_are_looked_at_by_sessions(msft):
    panel = study.matrix(["MSFT", "AAPL"], start="2004-01-02", end="2008-12-31")
    assert {e.status for e in study.evaluate(RIDGE, panel)} == {"ok"}
    assert {e.status for e in study.evaluate(RIDGE, panel, protocol=Protocol(split=NoGap()))} == {"diagnostic"}
