"""A model's life: named, trained on sealed data, asked for forecasts, judged, kept and opened again."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from mltrainer.data import market
from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.evaluation import artifacts, governance, projects, study, training, trials
from mltrainer.evaluation.conformal import Calibration, conformalize_each, overall
from mltrainer.evaluation.panels import in_words
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.results import Forecast
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog, spaces
from mltrainer.models.base import ModelSpec
from mltrainer.models.forecasters import checked, labelled
from mltrainer.trust import gate
from mltrainer.trust.provenance import Dataset


class Model(RegressorMixin, BaseEstimator):
    """A model of the catalog by name: scikit-learn's fit and predict, and train, which asks where data came from.

    Parameters
    ----------
    name : a name of the catalog.
    parameters : settings by the names of the estimator's parameters, as a search finds them; what is not named stays
        the catalog's.

    Attributes
    ----------
    estimator_ : the fitted estimator.
    state_ : after `train`, how forecasts become returns and what the model was trained on; None after `fit`.
    """

    def __init__(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.parameters = parameters

    @property
    def spec(self) -> ModelSpec:
        """The row of the catalog, with these settings."""
        row = catalog.spec(self.name)
        return spaces.candidate(row, self.parameters) if self.parameters else row

    def fit(self, X: ArrayLike, y: ArrayLike) -> "Model":
        """Fit on plain arrays: X (n, p), y (n,). Nothing fitted this way can be saved or enter a report."""
        X, y = labelled(self, X, y)
        self.estimator_ = self.spec.build().fit(X, y)
        self.state_: dict[str, Any] | None = None
        self.artifact_: str | None = None  # the address that it was opened from
        return self

    @overload
    def predict(self, X: Matrix) -> Forecast: ...
    @overload
    def predict(self, X: ArrayLike) -> np.ndarray: ...
    def predict(self, X: Any) -> Any:
        """Forecast: of arrays X (n, p) after `fit`, (n,) in units of y; of a sealed matrix after `train`, a `Forecast`.

        Parameters
        ----------
        X : an array, or a matrix of tickers, horizon and features that were trained on. Of a matrix, the sessions
            trained on are left out: what a model says of them is no forecast. Of a panel there is a row for each
            session and ticker.
        """
        check_is_fitted(self, "estimator_")
        if isinstance(self.estimator_, dict) and not isinstance(X, Matrix):
            raise BadInput(
                f"{self.name} has a model for each name; ask about a matrix, which says whose rows are whose"
            )
        if address := getattr(self, "artifact_", None):
            governance.allowed(address)
        if isinstance(X, Matrix):
            return self._forecast(X)
        X = checked(self, X)
        return np.asarray(self.estimator_.predict(X), dtype=float).reshape(len(X))

    def train(self, data: Matrix, protocol: Protocol | None = None) -> "ModelResult":
        """Fit on every labelled row of a sealed matrix and calibrate intervals and probabilities on rows not learned.

        Parameters
        ----------
        data : a matrix of one ticker, or a panel. Each name of a panel is calibrated on its own errors.
        protocol : as for `evaluate`. Its `panel`, `ranked`, `winsorize`, `interval` and the window of its split decide
            what is learned; how time is cut otherwise, what is traded and what that costs are of judging.

        Raises
        ------
        Refused
            Anything whose origin cannot be shown.
        BadInput
            What cannot be: ranks or name effects of one ticker, or of a model that reads its returns one by one.
        """
        origin = gate.verify(data, "training")
        if not isinstance(data, Matrix):
            raise BadInput(f"{data.name} is a {type(data).__name__} without labels; train on mt.matrix(...) of it")
        protocol = protocol or Protocol()
        training.can_learn(self.spec, data, protocol)
        with threadpool_limits(1):  # as in an evaluation, so that the same rows give the same model
            self.estimator_, learned = training.learned(self.spec, data, protocol)
            calibrations = conformalize_each(self.spec, data, protocol)
        self.n_features_in_, self.artifact_ = learned["columns"], None
        self.state_ = {
            "horizon": data.horizon,
            "target": data.target,
            "ticker": data.name,
            "tickers": data.tickers,
            "at_close": sorted(data.at_close),
            "mode": origin.mode,
            "from": data.since,
            "begins": _begins(data),
            "matrix": origin.content_sha256,
            "libraries": trials.libraries(self.spec),
            "calibration": _plain(asdict(overall(calibrations))),
            "calibrations": {t: _plain(asdict(c)) for t, c in calibrations.items()},
            "parameters": dict(self.parameters or {}),
            **learned,
        } | ({"protocol": protocol.learning} if protocol.learning else {})
        return self.result

    @property
    def result(self) -> "ModelResult":
        """What the training gave; also of a model that was loaded."""
        check_is_fitted(self, "estimator_")
        if self.state_ is None:
            raise BadInput(f"{self.name} was fitted on plain arrays; train it on mt.matrix(...) to have a result")
        return ModelResult.of(self, self.state_)

    def matrix_now(self) -> Matrix:
        """The matrix of what it was trained on with all sessions that there are by now, to be asked about."""
        state = self.state_ if self.result else None
        assert state is not None
        begins = state.get("begins", dict.fromkeys(_tickers(state), state["from"]))
        # the very bars on which the features were warmed up
        bars = [market.bars(ticker, start=begins[ticker]) for ticker in _tickers(state)]
        data: Any = bars[0] if len(bars) == 1 else bars
        return study.matrix(data, horizon=state["horizon"], target=state.get("target", "return"))

    def _forecast(self, data: Matrix) -> Forecast:
        origin = gate.verify(data, "prediction")
        state = self._asked(data)
        after = data.X.index[data.X.index.get_level_values("session") > pd.Timestamp(state["trained_to"])]
        if after.empty:
            raise NotEnoughHistory(f"{data.name} has no session after {state['trained_to']}, where the training ended")
        if short := _short(self.spec.lags, data, after):
            raise NotEnoughHistory(f"{self.name} reads {self.spec.lags} sessions at once, and {short}")
        said: dict[str, Any] = training.forecasts(self.spec, self.estimator_, state, data)
        scale = data.scale.loc[after]
        parts = [
            self._around(found, said["mean"].loc[rows], scale.loc[rows])
            for found, rows in ((self.result.of_name(t), _rows(data, after, t)) for t in data.tickers)
            if len(rows)
        ]
        around = pd.concat(parts).loc[after]
        known: dict[str, Any] = {"model": self.name, "ticker": data.name, "horizon": data.horizon, "mode": origin.mode}
        known |= {"target": data.target, "interval": self.result.calibration.interval}
        known |= {str(column): around[column] for column in around}
        return Forecast(**known, **said)

    def _asked(self, data: Matrix) -> dict[str, Any]:
        """What it was trained on, if that is like the matrix; else `BadInput`."""
        state = {"target": "return"} | (self.state_ or {})
        same = {"horizon": data.horizon, "target": data.target}
        unlike = self.state_ is None or any(state[what] != value for what, value in same.items())
        unlike = unlike or not set(data.tickers) <= set(_tickers(state))
        if unlike or set(_at_close(state)) & set(data.tickers) != set(data.at_close):
            one = len(data.tickers) == 1
            entered = f"entered at the {'close' if data.at_close else 'open'}"
            alike = f"of {data.target}, horizon {data.horizon}, on {data.name}{f', {entered}' if one else ''}"
            raise BadInput(f"{self.name} was not trained on a matrix {alike}; train it on one that is built alike")
        if state.get("protocol", {}).get("ranked") and (gone := sorted(set(_tickers(state)) - set(data.tickers))):
            ranks = f"{self.name} sees features as ranks among {len(_tickers(state))} names"
            raise BadInput(f"{ranks}, and this matrix lacks {', '.join(gone[:3])}; ask about all of them together")
        if lost := [name for name in state["features"] if name not in data.X]:
            why = data.unavailable.get(lost[0], "it is not in this matrix")
            raise BadInput(f"{self.name} was trained on {lost[0]} too ({why}); train it on features that last")
        return state

    def _around(self, found: Calibration, mean: "pd.Series[float]", scale: "pd.Series[float]") -> pd.DataFrame:
        """Bounds, and of a classifier the probability, of the forecasts of one name, by its own errors."""
        lower, upper = found.bounds(mean, scale)
        around = pd.DataFrame({"lower": lower, "upper": upper})
        if self.spec.task == "classifier":
            around["probability_up"] = found.probability(mean, scale)
        return around

    def evaluate(self, data: "str | Dataset | Matrix", **options: Any) -> Evaluation:
        """Judge the model out of sample; see `mltrainer.evaluate`."""
        result: Evaluation = study.evaluate(self.spec, data, **options)
        return result

    def save(self, project: str | None = None) -> str:
        """Keep the trained model and return its address, a sha256; only what was trained on sealed data is kept.

        `project` is what it is kept for, a label in the audit trail; default that of the settings.
        """
        check_is_fitted(self, "estimator_")
        if self.state_ is None:
            raise BadInput(f"{self.name} was fitted on plain arrays, whose origin is not known; train it before saving")
        return artifacts.save(self.name, self.estimator_, self.state_, projects.named(project))

    @classmethod
    def load(cls, artifact: str) -> "Model":
        """Open a kept model by its address; `Refused` if its bytes were changed or are not ours, and nothing is run."""
        name, estimator, state, changed = artifacts.load(artifact)
        model = cls(name, state.get("parameters") or None)
        model.estimator_, model.state_ = estimator, state
        model.n_features_in_, model.artifact_ = state["columns"], artifact
        if changed:
            warnings.warn(f"{name} was saved by other versions: {'; '.join(changed)}", stacklevel=2)
        return model


@dataclass(frozen=True)
class ModelResult:
    """What training gave; `predict`, `evaluate` and `save` are those of the trained `model`.

    Attributes
    ----------
    start, end : first and last session learned from; `rows` of them, with `features` columns.
    r2 : R2 on the rows learned from, in labels per volatility; how well it remembers, not how well it forecasts.
        NaN for series models.
    calibration : what its errors on rows not learned from say of its intervals and probabilities; of a panel the mean
        of `calibrations`, of each name by its own errors, weighted by their rows.
    matrix : sha256 of the data; `mode` is where that came from.
    libraries : versions of what computed it.
    panel : what a model of several tickers is of, and what it sees, in words; "" of one ticker.
    protocol : how it was trained where that is not the default, as `mt.Protocol.of` takes it.
    effects : of a hierarchical fit, what a forecast of each name is raised by, per unit of volatility.
    """

    name: str
    ticker: str
    horizon: int
    mode: str
    start: str
    end: str
    rows: int
    features: int
    r2: float
    calibration: Calibration
    matrix: str
    libraries: dict[str, str]
    calibrations: dict[str, Calibration]
    panel: str
    protocol: dict[str, Any]
    effects: dict[str, float]
    model: Model = field(repr=False, compare=False)

    @classmethod
    def of(cls, model: Model, state: dict[str, Any]) -> "ModelResult":
        """The record of a trained model."""
        same = {k: state[k] for k in ("ticker", "horizon", "mode", "rows", "matrix", "libraries")}
        return cls(
            name=model.name,
            start=state["trained_from"],
            end=state["trained_to"],
            features=state["columns"],
            r2=_number(state["r2"]),
            calibration=_calibration(state["calibration"]),
            calibrations={t: _calibration(c) for t, c in state.get("calibrations", {}).items()},
            panel=in_words(model.spec, _tickers(state), Protocol.of(**state.get("protocol", {}))),
            protocol=state.get("protocol", {}),
            effects=state.get("effects", {}),
            model=model,
            **same,
        )

    def of_name(self, ticker: str) -> Calibration:
        """The calibration that the forecasts of a name have: by the errors on its own rows."""
        return self.calibrations.get(ticker, self.calibration)

    def predict(self, data: Matrix) -> Forecast:
        """Forecast the sessions of a sealed matrix after the training."""
        return self.model.predict(data)

    def evaluate(self, data: "str | Dataset | Matrix", **options: Any) -> Evaluation:
        """Judge the model out of sample, by default fitted as it was trained; see `mltrainer.evaluate`."""
        own = {"protocol": Protocol.of(**self.protocol)} if self.protocol else {}
        return self.model.evaluate(data, **own | options)

    def save(self, project: str | None = None) -> str:
        """Keep the trained model and return its address, a sha256; `project` as for `Model.save`."""
        return self.model.save(project)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the model itself, for JSON."""
        said = {k: v for k, v in vars(self).items() if k != "model"} | {"calibration": asdict(self.calibration)}
        return said | {"calibrations": {t: asdict(c) for t, c in self.calibrations.items()}}


def _rows(data: Matrix, rows: pd.Index, ticker: str) -> pd.Index:
    return rows[rows.get_level_values("ticker") == ticker] if isinstance(rows, pd.MultiIndex) else rows


def _short(lags: int, data: Matrix, after: pd.Index) -> str:
    """Which ticker has fewer than `lags` sessions up to the first that is asked about, in words; "" where none has."""
    for ticker in data.tickers if lags > 1 else ():
        own, asked = _rows(data, data.X.index, ticker), _rows(data, after, ticker)
        if len(asked) and (held := int((own <= asked[0]).sum())) < lags:
            return f"this matrix has {held} of {ticker} up to the first asked about; build it from an earlier start"
    return ""


def _begins(data: Matrix) -> dict[str, str]:
    """First session of the bars of each ticker, on which its features were warmed up."""
    given = {d.name for d in data.sources if d.kind == "bars"} >= set(data.tickers)
    first = {h[0].name: str(h[0].frame.index[0].date()) for h in data.histories} if given else {}
    return {ticker: first.get(ticker, data.since) for ticker in data.tickers}


def _tickers(state: dict[str, Any]) -> list[str]:
    return list(state.get("tickers", [state.get("ticker")]))


def _at_close(state: dict[str, Any]) -> list[str]:
    """Tickers that are entered at the close; a model kept before there were panels says how many sessions later."""
    return list(state.get("at_close", _tickers(state) if state.get("entry_lag") else []))


def _calibration(figures: dict[str, Any]) -> Calibration:
    return Calibration(**{k: _number(v) for k, v in figures.items()})


def _plain(figures: dict[str, Any]) -> dict[str, Any]:
    # an artifact is strict JSON, which knows no NaN
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in figures.items()}


def _number(value: Any) -> Any:
    if value is None:
        return float("nan")
    return tuple(value) if isinstance(value, list) else value


def model(name: str, parameters: Mapping[str, Any] | None = None) -> Model:
    """Open a model of the catalog, with other settings if `parameters` names them; `UnknownName` offers close names."""
    opened = Model(name, parameters)
    _ = opened.spec  # an unknown name is said here, and not when it trains
    return opened
