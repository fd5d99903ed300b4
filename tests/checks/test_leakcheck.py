"""The look-ahead check finds what it is for: planted leaks are all found, and nothing of ours leaks."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

import mltrainer as mt
from mltrainer.checks import leakcheck as room
from mltrainer.cli import app
from mltrainer.evaluation import study
from mltrainer.evaluation.judging import evaluate
from mltrainer.models import catalog


def z(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].pct_change()


def monthly(frame: pd.DataFrame) -> pd.Series:
    """The mean of the whole month, said on each of its days."""
    return frame["close"].groupby(frame.index.to_period("M")).transform("mean")


# Twelve ways by which the future gets into a feature, as they are met in the field.
PLANTED = {
    "tomorrow's return": lambda f: z(f).shift(-1),
    "centered window": lambda f: f["close"].rolling(5, center=True).mean(),
    "global scaler": lambda f: pd.Series(StandardScaler().fit_transform(z(f).fillna(0).to_frame()).ravel(), f.index),
    "global rank": lambda f: f["close"].rank(pct=True),
    "backfill": lambda f: f["close"].where(f.index.dayofweek == 4).bfill(),
    "interpolation": lambda f: f["close"].where(f.index.dayofweek == 4).interpolate(limit_direction="both"),
    "whole-history quantile": lambda f: (f["close"] > f["close"].quantile(0.9)).astype(float),
    "period mean before its end": monthly,
    "reversed cumulative sum": lambda f: z(f).fillna(0)[::-1].cumsum()[::-1],
    "smoother": lambda f: f["close"].ewm(span=5).mean()[::-1].ewm(span=5).mean()[::-1],
    "Fourier filter": lambda f: pd.Series(np.fft.irfft(np.fft.rfft(f["close"])[:40], len(f)), f.index),
    "normalized by the last price": lambda f: f["close"] / f["close"].iloc[-1],
    "drawdown to the coming low": lambda f: f["close"][::-1].rolling(21).min()[::-1] / f["close"] - 1,
    "principal component of all rows": lambda f: pd.Series(
        np.linalg.svd((f - f.mean()).to_numpy(), full_matrices=False)[0][:, 0], f.index
    ),
    "days to the month's last session": lambda f: pd.Series(
        f.index.to_series().groupby(f.index.to_period("M")).transform("max").sub(f.index.to_series()).dt.days, f.index
    ).astype(float),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_leak_is_found_and_named_with_its_column_and_first_day(kind: str) -> None:
    found = mt.leakcheck(lambda f: PLANTED[kind](f).rename("planted").to_frame())
    assert not found.holds
    leak = found.leaks[0]
    assert leak.name == "planted"
    assert pd.Timestamp(leak.first) <= pd.Timestamp(leak.cut), "the day that moved lies before the rewritten ones"
    assert "planted" in str(leak)
    assert leak.first in str(leak)


def test_an_honest_feature_passes() -> None:
    assert mt.leakcheck(lambda f: f["close"].rolling(21).mean().shift(1)).holds


def test_only_the_leaking_column_is_named() -> None:
    found = mt.leakcheck(lambda f: pd.DataFrame({"fine": z(f), "leaks": z(f).shift(-1)}))
    assert [leak.name for leak in found.leaks] == ["leaks"]


def test_features_context_labels_regimes_and_splits_of_the_product_hold() -> None:
    found = mt.leakcheck(models=())
    assert found.holds, found
    assert found.checked["feature"] > 50
    assert found.checked["context"] >= 9


def test_a_forecast_that_peeks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose `filter` uses labels that have not matured; run in this process, where it can be planted."""

    class Peeking(type(catalog.spec("RidgeRegression").build())):
        def filter(self, X: np.ndarray, y: np.ndarray, lag: int) -> np.ndarray:
            return y

    ridge = catalog.spec("RidgeRegression")
    peeking = dataclasses.replace(ridge, name="Peeking", estimator=Peeking(ridge.build().steps), follows="labels")
    monkeypatch.setattr(study, "select", lambda models: [ridge, peeking])
    monkeypatch.setattr(room, "Pool", InProcess)
    found = mt.leakcheck(models=["both"], progress=False)
    assert [leak.name for leak in found.leaks] == ["Peeking (forecast)"]


class InProcess:
    """The pool's interface without processes: a planted class cannot be sent to one."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def map(self, tasks: list) -> list:
        return [(t, evaluate(t.spec, t.matrix, t.protocol, t.key)) for t in tasks]


def test_the_command_names_the_leak_and_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "planted_leak_module.py").write_text("def peek(f):\n    return f['close'].shift(-1)\n")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["leakcheck", "--function", "planted_leak_module:peek", "--json"], standalone_mode=False
    )
    assert done.return_value == 1
    assert json.loads(done.stdout)["findings"][0]["name"] == "close"


@pytest.mark.parametrize("path", ["nothing", "os:path:join", "no_such_module:f", "os:sep", "../x:f", "os:nothing"])
def test_a_wrong_function_path_is_one_clear_line(path: str) -> None:
    with pytest.raises(mt.errors.BadInput) as error:
        room.imported(path)
    assert "\n" not in str(error.value)
