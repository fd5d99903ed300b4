"""A model's life: named, trained on sealed data, asked for forecasts, judged, kept and opened again."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation import artifacts, study
from mltrainer.evaluation.walkforward import Evaluation, Protocol, configured, feature_bounds
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import ModelSpec
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset


class Model(RegressorMixin, BaseEstimator):
    """A model of the catalog by name: scikit-learn's fit and predict, and train, which asks where data came from.

    Parameters
    ----------
    name : a name of the catalog.

    Attributes
    ----------
    estimator_ : the fitted estimator.
    state_ : after `train`, how forecasts become returns and what the model was trained on; None after `fit`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def spec(self) -> ModelSpec:
        """The row of the catalog."""
        return catalog.spec(self.name)

    def fit(self, X: Any, y: Any) -> "Model":
        """Fit on plain arrays: X (n, p), y (n,). Nothing fitted this way can be saved or enter a report."""
        return self._fitted(self.spec.build(), np.asarray(X, dtype=float), np.asarray(y, dtype=float))

    def _fitted(self, estimator: Any, X: np.ndarray, y: np.ndarray) -> "Model":
        self.estimator_ = estimator.fit(X, y)
        self.n_features_in_ = np.shape(X)[1]
        self.state_: dict[str, Any] | None = None
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Point forecasts (n,): units of y after `fit` on arrays; after `train`, returns for each row of a matrix.

        Rows the model was trained on are included (NaN for series models): `forecast` leaves them out.
        """
        check_is_fitted(self)
        if isinstance(X, Matrix):
            return self._returns(X).to_numpy()
        return np.asarray(self.estimator_.predict(np.asarray(X, dtype=float)))

    def train(self, data: Matrix) -> "Model":
        """Fit on every labelled row of a sealed matrix; `Refused` for anything whose origin cannot be shown."""
        origin = gate.verify(data, "training")
        if not isinstance(data, Matrix):
            raise BadInput(f"{data.name} is a {type(data).__name__} without labels; train on mt.matrix(...) of it")
        if data.tickers != [data.name]:
            raise BadInput(
                f"{data.name} holds several tickers; a model is kept for one: evaluate panels, train on each"
            )
        y = data.y.dropna().iloc[-(self.spec.max_train_rows or 0) :]
        unit = 1.0 if self.spec.columns else data.scale.loc[y.index].to_numpy(float)
        z = y.to_numpy(float) / unit
        mean, deviation = (0.0, 1.0) if self.spec.columns else (float(z.mean()), float(z.std()))
        X = self._columns(data).loc[y.index].to_numpy(float)
        low, high = feature_bounds(X, 0.0 if self.spec.columns else Protocol().tail)
        self._fitted(configured(self.spec, data), np.clip(X, low, high), (z - mean) / deviation)
        self.state_ = {
            "mean": mean,
            "deviation": deviation,
            "low": low.tolist(),
            "high": high.tolist(),
            "horizon": data.horizon,
            "ticker": data.name,
            "features": list(map(str, data.X.columns)),
            "from": data.since,
            "trained_to": str(y.index[-1].date()),
            "rows": len(y),
            "matrix": origin.content_sha256,
        }
        return self

    def _columns(self, data: Matrix) -> pd.DataFrame:
        return data.X[list(self.spec.columns)] if self.spec.columns else data.X

    def forecast(self, data: Matrix) -> "pd.Series[float]":
        """Forecast the return of every session after the last one that was trained on; after `train`.

        Parameters
        ----------
        data : a sealed matrix of the same ticker, horizon and features.

        Returns
        -------
        (k,) simple returns over `horizon` sessions from the next entry, indexed by the session they are said on. The
        sessions trained on are left out: what a model says of them is no forecast.
        """
        check_is_fitted(self)
        said = self._returns(data)
        assert self.state_ is not None
        said = said[said.index > pd.Timestamp(self.state_["trained_to"])]
        if said.empty:
            ended = self.state_["trained_to"]
            raise NotEnoughHistory(f"{data.name} has no session after {ended}, where the training ended")
        return said

    def _returns(self, data: Matrix) -> "pd.Series[float]":
        gate.verify(data, "prediction")
        state, asked = self.state_, (data.horizon, list(data.X.columns), data.name)
        if state is None or (state["horizon"], state["features"], state["ticker"]) != asked:
            alike = f"of horizon {data.horizon} on {data.name} with these {data.X.shape[1]} features"
            raise BadInput(f"{self.name} was not trained on a matrix {alike}; train it on one that is built alike")
        X = self._columns(data).to_numpy(float)
        said = np.full(len(X), np.nan)
        after = np.asarray(data.X.index > pd.Timestamp(state["trained_to"]))
        if not self.spec.columns:
            z = self.estimator_.predict(np.clip(X, state["low"], state["high"]))
            z = np.asarray(z, dtype=float).reshape(len(X)) * state["deviation"] + state["mean"]
            said = z * data.scale.to_numpy(float)
        elif after.any():
            # labels have not matured yet; only the returns carry a series model forward
            said[after] = self.estimator_.filter(X[after], np.full(after.sum(), np.nan), lag=len(X) + 1)
        return pd.Series(said, index=data.X.index, name=self.name)

    def evaluate(self, data: "str | Dataset | Matrix", **options: Any) -> Evaluation:
        """Judge the model out of sample; see `mltrainer.evaluate`."""
        result: Evaluation = study.evaluate(self.name, data, **options)
        return result

    def save(self) -> str:
        """Keep the trained model and return its address, a sha256; only what was trained on sealed data is kept."""
        check_is_fitted(self)
        if self.state_ is None:
            raise BadInput(f"{self.name} was fitted on plain arrays, whose origin is not known; train it before saving")
        return artifacts.save(self.name, self.estimator_, self.state_)

    @classmethod
    def load(cls, artifact: str) -> "Model":
        """Open a kept model by its address; `Refused` if its bytes were changed or are not ours, and nothing is run."""
        name, estimator, state, changed = artifacts.load(artifact)
        model = cls(name)
        model.estimator_, model.state_ = estimator, state
        model.n_features_in_ = len(state["low"])
        if changed:
            warnings.warn(f"{name} was saved by other versions: {'; '.join(changed)}", stacklevel=2)
        return model


def model(name: str) -> Model:
    """Open a model of the catalog; `UnknownName` offers close names."""
    catalog.spec(name)
    return Model(name)
