"""Rewrite the future and no forecast of the past moves by one bit, for every family and every model that filters.

Features, labels and scale are held to the same in tests/features, intervals in tests/evaluation/test_walkforward.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

from mltrainer.evaluation import judging, study
from mltrainer.evaluation.judging import evaluate
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.splits import Split, WalkForward
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import Method, ModelSpec

H = 5
PROTOCOL = Protocol(
    split=WalkForward(5, rows_per_column=0)
)  # of 1,001 labelled rows: five test blocks of 166, from row 171
FIRST = 171 + 2 * 166  # of the third block: a label that reaches across the gap before it shows here and nowhere else
CUTS = (FIRST, FIRST + 57, 842)  # inside the third block and inside the fifth


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """MSFT 2005..2008, 1,007 sessions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLTRAINER_HOME", str(tmp_path_factory.mktemp("lookahead")))
        patch.setenv("MLTRAINER_MODE", "sample")
        yield study.matrix("MSFT", start="2005-01-03", end="2008-12-31", horizon=H)


def cheapest() -> list[str]:
    """One model of each family, and every one that goes on learning inside a test block."""
    ready = {f: [s for s in catalog.specs(f) if s.available] for f in catalog.FAMILIES}
    names = [min(specs, key=lambda s: s.cost).name for specs in ready.values() if specs]
    everyone = [s for specs in ready.values() for s in specs]
    return list(dict.fromkeys([*names, *(s.name for s in everyone if s.follows)]))


def rewritten(matrix: Matrix, cut: int, how: str) -> Matrix:
    """Another future: everything that is not known at the close of row `cut` is replaced.

    Known are features, scale and closes up to the row, entries up to the row, and labels whose exit, row
    t + 1 + H, is not after it.
    """
    rng = np.random.default_rng(cut)

    def change(values: np.ndarray, first: int) -> np.ndarray:
        out = values.copy()
        later = out[first:]
        if how == "multiplied":
            out[first:] = later * -3.0
        elif how == "shuffled":
            known = np.isfinite(later) if later.ndim == 1 else slice(None)
            later[known] = rng.permutation(later[known])
        else:
            out[first:] = np.where(np.isnan(later), np.nan, rng.normal(size=later.shape) * 5)
        return out

    def frame(part: pd.DataFrame, first: int) -> pd.DataFrame:
        return pd.DataFrame(change(part.to_numpy(), first), part.index, part.columns)

    y = pd.Series(change(matrix.y.to_numpy(), cut - H), matrix.y.index, name="y")
    scale = matrix.scale.copy()
    scale.iloc[cut + 1 :] = rng.uniform(0.001, 0.2, len(scale) - cut - 1)
    prices = frame(matrix.prices, cut + 1).abs()
    return dataclasses.replace(matrix, X=frame(matrix.X, cut + 1), y=y, scale=scale, prices=prices)


def moved(spec: ModelSpec, real: Matrix, cut: int, how: str) -> list[str]:
    """Columns of the evaluation in which a row up to the cut changed."""
    before, after = (evaluate(spec, m, PROTOCOL) for m in (real, rewritten(real, cut, how)))
    for e in (before, after):
        assert e.ok or e.status == "diagnostic", e.reason
    day = real.X.index[cut]
    past, again = before.forecasts.loc[:day], after.forecasts.loc[:day]
    assert len(past) > 100
    said = ["forecast", "expanding_mean", "lower", "upper", "scale", "close", "fold"]
    said += ["quantile"] if "quantile" in past else []
    changed = [c for c in said if not past[c].equals(again[c])]
    # the return of row t is known at the entry of t + 1, the label of row t at the close of t + 1 + H
    # and the position of a session is decided on the evening before
    for column, rows in {"net": -1, "gross": -1, "y": -1 - H, "position": 1}.items():
        one, other = (e.forecasts[column].iloc[: len(past) + rows] for e in (before, after))
        changed += [column] * (not one.equals(other))
    assert not before.forecasts.loc[day:, "forecast"].equals(after.forecasts.loc[day:, "forecast"])
    return changed


@pytest.mark.parametrize("name", cheapest())
def test_no_forecast_of_a_family_moves_when_the_future_is_rewritten(real, name):
    assert moved(catalog.spec(name), real, CUTS[1], "multiplied") == []


@pytest.mark.parametrize("how", ["multiplied", "shuffled", "noise"])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", ["RidgeRegression", "RecursiveLS"])
def test_no_forecast_moves_however_the_future_is_rewritten(real, name, cut, how):
    assert moved(catalog.spec(name), real, cut, how) == []


class Peeks(RegressorMixin, BaseEstimator):
    """Forecasts the label of `lead` rows later; 0 is the row itself."""

    def __init__(self, lead=0):
        self.lead = lead

    def fit(self, X, y):
        return self

    def filter(self, X, y, lag):
        return np.append(y[self.lead :], np.zeros(self.lead)) if self.lead >= 0 else np.roll(y, -self.lead)


class Smooths(RegressorMixin, BaseEstimator):
    """Standardizes the block it forecasts by the block's own mean: a scaler outside the fold."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X[:, 0] - X[:, 0].mean()


@pytest.mark.parametrize("estimator", [Peeks(0), Peeks(1), Peeks(-H), Smooths()])
def test_the_check_itself_finds_a_model_that_looks_ahead(real, estimator):
    method = Method("toy", "toy", "x", "x", "x", "x", "x")
    follows = "labels" if isinstance(estimator, Peeks) else ""
    spec = ModelSpec("Toy", method, estimator, 0.1, "toys", follows=follows)
    assert "forecast" in moved(spec, real, CUTS[1], "multiplied")


def test_the_check_itself_finds_labels_that_reach_into_the_block_at_its_first_row(real, monkeypatch):
    monkeypatch.setattr(Split, "purge", lambda self, horizon: 0)
    monkeypatch.setattr(Split, "embargo", lambda self, n, horizon: 0)
    assert "forecast" in moved(catalog.spec("RidgeRegression"), real, FIRST, "noise")


def test_the_check_itself_finds_a_position_decided_by_its_own_session(real, monkeypatch):
    true = judging.trade
    own = {"position": lambda out: np.tanh(out["forecast"] / out["scale"])}
    monkeypatch.setattr(judging, "trade", lambda *given: true(*given).assign(**own))
    assert "position" in moved(catalog.spec("RidgeRegression"), real, CUTS[1], "noise")


def test_a_model_that_uses_a_label_on_the_day_it_matures_is_innocent(real):
    method = Method("toy", "toy", "x", "x", "x", "x", "x")
    spec = ModelSpec("Toy", method, Peeks(-H - 1), 0.1, "toys", follows="labels")
    assert moved(spec, real, CUTS[1], "multiplied") == []
