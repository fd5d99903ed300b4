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
from mltrainer.checks import columns
from mltrainer.checks import leakcheck as room
from mltrainer.cli import app
from mltrainer.evaluation import study, trials
from mltrainer.models import catalog


def z(frame: pd.DataFrame) -> pd.Series:
    return frame["close"].pct_change()


def monthly(frame: pd.DataFrame) -> pd.Series:
    """The mean of the whole month, said on each of its days."""
    return frame["close"].groupby(frame.index.to_period("M")).transform("mean")


# Ways by which the future gets into a feature, as they are met in the field.
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
    # only at few rows, or only at some cuts
    "a warm-up filled from behind": lambda f: f["close"].rolling(20).mean().bfill(),
    "a warm-up filled by the mean of all": lambda f: z(f).rolling(5).mean().fillna(z(f).mean()),
    "means of pairs of rows": lambda f: blocks(f, 2),
    "means of weeks of rows": lambda f: blocks(f, 5),
    "means of blocks that divide the history": lambda f: blocks(f, 109),
    "rare gaps filled from behind": lambda f: f["close"].where(z(f).abs() < 0.07).bfill(),
    "tomorrow on the wildest days": lambda f: z(f).where(f["volume"] < f["volume"].nlargest(5).min(), z(f).shift(-1)),
    "tomorrow on three days of a crash": lambda f: z(f).where(~(z(f) < -0.11), z(f).shift(-1)),
    "tomorrow on leap days, else nothing": lambda f: (
        z(f).shift(-1).where((f.index.month == 2) & (f.index.day == 29), 0.0)
    ),
    "tomorrow on the last session of a quarter": lambda f: z(f).where(~last_of(f, "Q"), z(f).shift(-1)),
    "tomorrow before a long weekend": lambda f: z(f).where(~(days_to_next(f) >= 4), z(f).shift(-1)),
    "the first session of a year knows its last": lambda f: f["close"].where(
        ~last_of(f, "Y").shift(fill_value=True), f["close"].groupby(f.index.year).transform("last")
    ),
    "clipped to the outermost of all": lambda f: z(f).clip(z(f).quantile(0.001), z(f).quantile(0.999)),
    "the last rows only": lambda f: z(f).where(np.arange(len(f)) < len(f) - 3, z(f).iloc[-1]),
    "the highest close of all, marked": lambda f: (f["close"] == f["close"].max()).astype(float),
    "the ten largest volumes of all, marked": lambda f: f["volume"].isin(f["volume"].nlargest(10)).astype(float),
    "a crash within a month": lambda f: (f["low"][::-1].rolling(21).min()[::-1] < 0.8 * f["close"]).astype(float),
    # of other types
    "text": lambda f: pd.Series(np.where(z(f).shift(-1) > 0, "up", "down"), f.index),
    "text with gaps": lambda f: pd.Series(np.where(z(f).shift(-1) > 0, "up", None), f.index),
    "categories": lambda f: pd.qcut(f["volume"], 4, labels=list("abcd")),
    "ordered categories": lambda f: pd.cut(f["close"], 5),
    "truth values": lambda f: f["close"].shift(-1) > f["close"],
    "nullable integers": lambda f: (f["close"].shift(-1) > f["close"]).astype("Int64"),
    "dates": lambda f: pd.Series(f.index, f.index).shift(-1),
    "spans of time": lambda f: pd.Series(f.index, f.index).diff().shift(-1),
    "complex numbers": lambda f: pd.Series(np.fft.fft(f["close"]), f.index),
    "what is missing": lambda f: z(f).where(z(f).shift(-1) > 0),
    # of the calendar and of what is there
    "days to the next session": lambda f: days_to_next(f),
    "sessions left in the year": lambda f: f["close"].groupby(f.index.year).cumcount(ascending=False).astype(float),
    "the share of history that is over": lambda f: pd.Series(np.arange(len(f)) / len(f), f.index),
    "days to the end of the file": lambda f: pd.Series((f.index[-1] - f.index).days, f.index),
    "the number of rows": lambda f: pd.Series(float(len(f)), f.index),
    "a switch by the last date": lambda f: z(f) * (1 if f.index[-1].year > 2012 else 2),
    "by the future of one column only": lambda f: f["open"].shift(-2) / f["open"],
    "far ahead": lambda f: z(f).shift(-1500),
    "a regression on all rows": lambda f: (
        f["close"] - np.polyval(np.polyfit(range(len(f)), f["close"], 1), range(len(f)))
    ),
    "in place": lambda f: f.assign(close=f["close"].shift(-1))["close"],
    "weekly bars from behind": lambda f: f["close"].resample("W").last().reindex(f.index, method="bfill"),
    "month ends at their beginning": lambda f: f["close"].resample("MS").last().reindex(f.index, method="ffill"),
}


def blocks(frame: pd.DataFrame, size: int) -> pd.Series:
    return frame["close"].groupby(np.arange(len(frame)) // size).transform("mean")


def last_of(frame: pd.DataFrame, period: str) -> pd.Series:
    of = frame.index.to_series().dt.to_period(period)
    return of != of.shift(-1, fill_value=of.iloc[-1])


def days_to_next(frame: pd.DataFrame) -> pd.Series:
    return frame.index.to_series().diff().shift(-1).dt.days


def in_place(frame: pd.DataFrame) -> pd.Series:
    frame["close"] /= frame["open"]
    return frame["close"]


HONEST = {
    "a mean": lambda f: f["close"].rolling(21).mean().shift(1),
    "an expanding rank": lambda f: f["close"].expanding().rank(pct=True),
    "an exponential mean": lambda f: f["close"].ewm(span=20).mean(),
    "filled from before": lambda f: f["close"].where(z(f).abs() < 0.02).ffill(),
    "a weekday, by the name of the index": lambda f: f.reset_index().set_index(f.index)["session"].dt.dayofweek,
    "a weekday as a category": lambda f: pd.Series(f.index.day_name(), f.index).astype("category"),
    "text": lambda f: pd.Series(np.where(z(f) > 0, "up", "down"), f.index),
    "text with gaps": lambda f: pd.Series(np.where(z(f) > 0, "up", None), f.index),
    "truth values": lambda f: f["close"] > f["close"].shift(1),
    "nullable integers": lambda f: (z(f) > 0).astype("Int64").where(z(f).notna()),
    "dates": lambda f: pd.Series(f.index, f.index).shift(1),
    "by time and not by rows": lambda f: f["close"].rolling("30D").mean(),
    "the turn of the month by the calendar": lambda f: pd.Series((f.index.day <= 3).astype(int), f.index),
    "a constant": lambda f: pd.Series(1.0, f.index),
}
SHAPES = {
    "an array": lambda f: f[["close", "volume"]].rolling(5).mean().to_numpy(),
    "two columns of one name": lambda f: pd.concat([f["close"], f["close"].shift(1)], axis=1),
    "a column named by the index": lambda f: f.index.to_series().dt.dayofweek,
    "in another order": lambda f: z(f)[::-1],
    "it changes what it is given": in_place,
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


@pytest.mark.slow
def test_honest_features_pass_whatever_their_type() -> None:
    found = mt.leakcheck(lambda f: pd.DataFrame({kind: feature(f) for kind, feature in HONEST.items()}))
    assert found.holds, found
    assert found.checked == {"feature": len(HONEST)}


@pytest.mark.parametrize("shape", SHAPES)
def test_honest_features_pass_in_whatever_shape(shape: str) -> None:
    found = mt.leakcheck(SHAPES[shape])
    assert found.holds, found


def test_dice_are_found() -> None:
    (leak,) = mt.leakcheck(lambda f: pd.Series(np.random.default_rng().normal(size=len(f)), f.index, name="dice")).leaks
    assert "left as they are" in str(leak)


def test_a_feature_that_needs_the_future_to_be_there_is_found() -> None:
    def needs(frame: pd.DataFrame) -> "pd.Series[float]":
        if frame.index[-1].year < 2013:
            raise ValueError("no data of 2013")
        return frame["close"]

    (leak,) = mt.leakcheck(needs).leaks
    assert "truncated (ValueError: no data of 2013)" in str(leak)


@pytest.mark.slow
def test_a_feature_that_reads_its_bars_elsewhere_is_found() -> None:
    real = mt.bars("MSFT").frame["close"]
    (leak,) = mt.leakcheck(lambda f: real.pct_change().shift(-1).reindex(f.index).rename("peek")).leaks
    assert (leak.kind, leak.name) == ("feature", "peek")
    assert "what it reads elsewhere is not checked" in str(leak)


REMEMBERS = """
LEARNED = {}

def remembers(frame):
    if not LEARNED:
        LEARNED["mean"], LEARNED["sd"] = frame["close"].mean(), frame["close"].std()
    return (frame["close"] - LEARNED["mean"]) / LEARNED["sd"]
"""


def test_a_feature_that_learned_from_all_rows_once_is_found_by_its_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "planted_memory_module.py").write_text(REMEMBERS)
    monkeypatch.chdir(tmp_path)
    (leak,) = mt.leakcheck("planted_memory_module:remembers").leaks
    assert leak.how == "replaced before it was asked for the first time"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda f: f["close"] / f["no_such_column"], "fails on the bars of MSFT as they are (KeyError"),
        (lambda f: f["close"].dropna().iloc[5:], "it must give one for each"),
        (lambda f: None, "it must give one for each"),
    ],
)
def test_a_function_that_fails_is_one_clear_line(function, words: str) -> None:
    with pytest.raises(mt.errors.BadInput) as error:
        mt.leakcheck(function)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_only_the_leaking_column_is_named() -> None:
    found = mt.leakcheck(lambda f: pd.DataFrame({"fine": z(f), "leaks": z(f).shift(-1)}))
    assert [leak.name for leak in found.leaks] == ["leaks"]


@pytest.mark.slow
def test_all_that_the_product_says_holds_and_a_check_is_no_trial() -> None:
    found = mt.leakcheck(models=["RidgeRegression", "ARIMA_1_0_0"], jobs=2, progress=False)
    assert found.holds, found
    assert list(found.checked) == [*room.PARTS, "forecast"]
    assert found.checked["feature"] > 50
    assert found.checked["matrix column"] > 75  # with index, macro series, y, scale and prices
    assert found.checked["record column"] >= 12
    assert found.checked["forecast"] == 2
    assert "search settings" in repr(found)
    assert trials.ledger().empty


def test_a_forecast_that_peeks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model whose `filter` uses labels that have not matured; run in this process, where it can be planted."""

    class Peeking(type(catalog.spec("RidgeRegression").build())):
        def filter(self, X: np.ndarray, y: np.ndarray, lag: int) -> np.ndarray:
            return y

    ridge = catalog.spec("RidgeRegression")
    peeking = dataclasses.replace(ridge, name="Peeking", estimator=Peeking(ridge.build().steps), follows="labels")
    monkeypatch.setattr(study, "select", lambda models: [ridge, peeking])
    monkeypatch.setattr(room, "PARTS", {})
    found = mt.leakcheck(models=["both"], jobs=1, progress=False)
    assert [(leak.kind, leak.name) for leak in found.leaks] == [("forecast", "Peeking")]
    assert "its forecast of 20" in str(found.leaks[0])


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
        columns.imported(path)
    assert "\n" not in str(error.value)
