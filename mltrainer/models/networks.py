"""Recurrent networks: keras on jax, imported when one is built; a process compiles a network once and uses it again."""

import os
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput, NotEnoughHistory
from mltrainer.models.base import Lazy
from mltrainer.models.forecasters import Array
from mltrainer.settings import settings

LEAST_VOLATILITY = 1e-4  # a run of stale closes must not divide by zero
ASKED = 256  # windows forecast at a time: one shape, one compilation


@dataclass(frozen=True)
class LazyLstm(Lazy):
    """Keras' LSTM inside `LstmForecaster`, which takes `params`; keras needs jax to compute."""

    path: str = "keras.layers.LSTM"

    @property
    def installed(self) -> bool:
        """Whether keras and jax can be imported, found out without importing them."""
        return find_spec("keras") is not None and find_spec("jax") is not None

    def build(self) -> Any:
        """Configure the forecaster; keras is imported when it is fitted."""
        return LstmForecaster(**self.params)


class LstmForecaster(RegressorMixin, BaseEstimator):
    r"""A long short-term memory over the last `window` rows, then one linear unit.

    Columns are standardized on the train rows and cut at +- `limit` sd. The target is y divided by column
    `scale_column`, the volatility known at the row (None for 1), and z-scored; forecasts are turned back into units
    of y. The mean squared error is minimized by Adam in `epochs` passes over shuffled windows.

    Parameters
    ----------
    units, window, epochs, batch, learning_rate, limit : as above.
    random_state : decides the initial weights and the order of the windows.
    """

    engine = "keras.layers.LSTM"

    def __init__(
        self,
        units: int = 16,
        window: int = 20,
        epochs: int = 10,
        batch: int = 64,
        learning_rate: float = 1e-3,
        limit: float = 3.0,
        scale_column: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.units = units
        self.window = window
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.limit = limit
        self.scale_column = scale_column
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train from fresh weights on X (n, p), oldest row first, and y (n,)."""
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        full = (len(X) - self.window + 1) // self.batch * self.batch  # equal batches compile once; the oldest go
        if full <= 0:
            raise NotEnoughHistory(f"{len(X)} rows are too few; give at least {self.window + self.batch - 1}")
        self.n_features_in_ = X.shape[1]
        self.center_, self.spread_ = X.mean(axis=0), np.maximum(X.std(axis=0), 1e-12)
        target = y / self._scale(X)
        self.mean_, self.deviation_ = float(target.mean()), max(float(target.std()), 1e-12)
        windows = self._windows(X)[-full:]
        target = ((target - self.mean_) / self.deviation_)[-full:].astype("float32")
        self.weights_ = learned(self._network(), windows, target, self.epochs, self.batch, self.random_state)
        self.history_ = X[len(X) - self.window + 1 :]
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast y at rows X (m, p) that follow the train rows, (m,); row i uses rows up to i."""
        check_is_fitted(self)
        X = np.asarray(X, dtype=float)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise BadInput(f"{self.n_features_in_} columns were learned from, this is of shape {X.shape}")
        windows = self._windows(np.vstack([self.history_, X]))
        z = answered(self._network(), self.weights_, windows)
        return (z * self.deviation_ + self.mean_) * self._scale(X)

    def filter(self, X: ArrayLike, y: ArrayLike, lag: int) -> Array:
        """The same as `predict`: windows reach back over the rows between train and test, weights stay."""
        return self.predict(X)

    def _scale(self, X: Array) -> Array:
        return np.ones(len(X)) if self.scale_column is None else np.maximum(X[:, self.scale_column], LEAST_VOLATILITY)

    def _windows(self, X: Array) -> Any:
        """The last `window` rows up to each row from number window - 1 on, (n - window + 1, window, p), float32."""
        Z = np.clip((X - self.center_) / self.spread_, -self.limit, self.limit).astype("float32")
        return np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(Z, self.window, axis=0).swapaxes(1, 2))

    def _network(self) -> "Network":
        shape = (self.window, self.n_features_in_)
        return network(shape, self.units, self.learning_rate, self.random_state)


@dataclass(frozen=True)
class Network:
    """A compiled keras model and the values it began with."""

    model: Any
    weights: list[Any]
    optimizer: list[Any]

    def reset(self) -> None:
        """Forget what was learned, keep what was compiled."""
        assign(self.model.weights, self.weights)
        assign(self.model.optimizer.variables, self.optimizer)


@cache
def network(shape: tuple[int, int], units: int, learning_rate: float, seed: int) -> Network:
    """LSTM(units) -> Dense(1), compiled once in this process for windows of `shape`."""
    keras = keras_on_jax()
    draw = keras.initializers
    lstm = keras.layers.LSTM(
        units, kernel_initializer=draw.GlorotUniform(seed), recurrent_initializer=draw.Orthogonal(seed=seed + 1)
    )
    dense = keras.layers.Dense(1, kernel_initializer=draw.GlorotUniform(seed + 2))
    model = keras.Sequential([keras.Input(shape), lstm, dense])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return Network(model, values(model.weights), values(model.optimizer.variables))


def values(variables: Any) -> list[Any]:
    """What variables of keras hold, as arrays."""
    return [np.array(v.value) for v in variables]


def assign(variables: Any, values: list[Any]) -> None:
    """Give variables of keras other values."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def learned(network: Network, windows: Any, target: Any, epochs: int, batch: int, seed: int) -> list[Any]:
    """Weights of a network after so many epochs over windows (n, window, p) in a drawn order, from its first ones."""
    rng = np.random.default_rng(seed)
    network.reset()
    for _ in range(epochs):
        order = rng.permutation(len(target))
        network.model.fit(windows[order], target[order], batch_size=batch, shuffle=False, verbose=0)
    return values(network.model.weights)


def answered(network: Network, weights: list[Any], windows: Any) -> Array:
    """What a network with these weights says of windows (n, window, p), (n,), in blocks of one shape."""
    padded = np.concatenate([windows, np.zeros((-len(windows) % ASKED, *windows.shape[1:]), "float32")])
    assign(network.model.weights, weights)
    blocks = padded.reshape(-1, ASKED, *windows.shape[1:])
    parts = [np.asarray(network.model.predict_on_batch(block)) for block in blocks]
    return np.concatenate(parts)[: len(windows), 0].astype(float) if parts else np.empty(0)


def keras_on_jax() -> Any:
    """Import keras on jax: one thread, no accelerator to look for, its settings file among our own state."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["KERAS_HOME"] = str(settings().home / "keras")
    os.environ["JAX_PLATFORMS"] = "cpu"
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    import keras

    return keras
