"""Networks over windows of sessions: recurrent, convolutional, attentive and dense; keras on jax, imported on use.

A window is one row: so they learn from one share or from several at once, and carry nothing from row to row.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from math import prod, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput, NotEnoughHistory, UnknownName
from mltrainer.models.forecasters import Array
from mltrainer.models.networks import LazyLstm, Network, answered, keras_on_jax, learned, values

Shape = tuple[int, int]  # sessions of a window, columns
KERNEL = 3  # taps of a convolution
LAYERS = {"gru": "GRU", "tcn": "Conv1D", "patchtst": "MultiHeadAttention", "tide": "Dense"}  # that does the work


@dataclass(frozen=True)
class LazyNetwork(LazyLstm):
    """A network of `NETWORKS` inside `SequenceForecaster`, which takes `params`."""

    path: str = "keras.layers.Dense"

    def build(self) -> Any:
        """Configure the forecaster; keras is imported when it is fitted."""
        return SequenceForecaster(**self.params)


class SequenceForecaster(RegressorMixin, BaseEstimator):
    r"""A network of `NETWORKS` over windows, trained by Adam on the mean squared error.

    Columns are standardized by the newest row of each train window and cut at +- `limit` sd; y is z-scored and
    forecasts are turned back. `epochs` passes go over the windows in a drawn order, in batches of equal length.

    Parameters
    ----------
    network : a name of `NETWORKS`.
    units : width of its hidden layers; of "tcn" channels, of "patchtst" the dimension of a patch.
    depth : blocks one upon the other; of "gru" layers.
    window : sessions in a row of X, which has `window` times p columns, the oldest session first.
    random_state : decides the initial weights and the order of the windows.
    """

    def __init__(
        self,
        network: str = "gru",
        units: int = 16,
        depth: int = 1,
        window: int = 32,
        epochs: int = 10,
        batch: int = 64,
        learning_rate: float = 1e-3,
        limit: float = 3.0,
        random_state: int = 0,
    ) -> None:
        self.network = network
        self.units = units
        self.depth = depth
        self.window = window
        self.epochs = epochs
        self.batch = batch
        self.learning_rate = learning_rate
        self.limit = limit
        self.random_state = random_state

    @property
    def engine(self) -> str:
        """The layer of keras that the network is made of."""
        return f"keras.layers.{LAYERS[self.network]}"

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train from fresh weights on X (n, window p), oldest row first, and y (n,)."""
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        if self.network not in NETWORKS:
            raise UnknownName.of("network", self.network, NETWORKS)
        if X.ndim != 2 or X.shape[1] % self.window:
            raise BadInput(
                f"X of shape {X.shape} holds no windows of {self.window} sessions; give {self.window} p columns"
            )
        full = len(X) // self.batch * self.batch  # equal batches compile once; the oldest go
        if not full:
            raise NotEnoughHistory(f"{len(X)} rows are too few; give at least {self.batch}")
        self.n_features_in_, newest = X.shape[1], X[:, -(X.shape[1] // self.window) :]
        self.center_, self.spread_ = newest.mean(axis=0), np.maximum(newest.std(axis=0), 1e-12)
        self.mean_, self.deviation_ = float(y.mean()), max(float(y.std()), 1e-12)
        windows, target = self._windows(X)[-full:], ((y - self.mean_) / self.deviation_)[-full:].astype("float32")
        self.weights_ = learned(self._compiled(), windows, target, self.epochs, self.batch, self.random_state)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast y (m,) at windows X (m, window p); each row on its own."""
        check_is_fitted(self)
        X = np.asarray(X, dtype=float)
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise BadInput(f"{self.n_features_in_} columns were learned from, this is of shape {X.shape}")
        windows = self._windows(X)
        return answered(self._compiled(), self.weights_, windows) * self.deviation_ + self.mean_

    def _windows(self, X: Array) -> Any:
        """(n, window, p), standardized, float32."""
        Z = (X.reshape(len(X), self.window, -1) - self.center_) / self.spread_
        return np.clip(Z, -self.limit, self.limit).astype("float32")

    def _compiled(self) -> Network:
        shape = (self.window, self.n_features_in_ // self.window)
        return compiled(self.network, shape, self.units, self.depth, self.learning_rate, self.random_state)


@cache
def compiled(network: str, shape: Shape, units: int, depth: int, learning_rate: float, seed: int) -> Network:
    """A network for windows of `shape` and its first weights, compiled once in this process."""
    keras = keras_on_jax()
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Dense(1)(NETWORKS[network](keras, inputs, units, depth)))
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="mse")
    model.optimizer.build(model.trainable_variables)
    first, rng = values(model.weights), np.random.default_rng(seed)
    for place, variable in enumerate(model.weights):  # one stream of random numbers, where keras draws by its own state
        if variable.path.endswith("kernel"):
            first[place] = glorot(first[place].shape, rng)
    first[-2][:] = 0.0  # the last unit: what has learned nothing yet says the mean, and not noise
    return Network(model, first, values(model.optimizer.variables))


def glorot(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Uniform weights of variance 2 / (inputs + outputs) (Glorot and Bengio 2010), float32."""
    *taps, enter, leave = shape
    bound = sqrt(6.0 / (prod(taps) * (enter + leave)))
    return rng.uniform(-bound, bound, shape).astype("float32")


# --- the networks: a tensor (batch, window, p) -> a tensor (batch, k), to which one linear unit is added ---------


def gru(keras: Any, x: Any, units: int, depth: int) -> Any:
    """Gated recurrent units (Cho et al. 2014), the state after the last session."""
    for layer in range(depth):
        x = keras.layers.GRU(units, return_sequences=layer < depth - 1)(x)
    return x


def tcn(keras: Any, x: Any, units: int, depth: int) -> Any:
    """Residual blocks of two causal convolutions, dilated by 1, 2, 4 ... (Bai, Kolter and Koltun 2018), last session.

    Without their weight normalization and dropout.
    """
    layers = keras.layers
    conv = partial(layers.Conv1D, units, KERNEL, padding="causal", activation="relu")
    for dilation in dilations(depth):
        inner = conv(dilation_rate=dilation)(conv(dilation_rate=dilation)(x))
        skip = x if x.shape[-1] == units else layers.Conv1D(units, 1)(x)
        x = layers.ReLU()(layers.Add()([inner, skip]))
    return x[:, -1]


def dilations(depth: int) -> Iterator[int]:
    """How far apart the taps of each block are."""
    yield from (2**block for block in range(depth))


def receptive_field(depth: int, kernel: int = KERNEL) -> int:
    r"""Sessions that the last output of a TCN sees: :math:`1 + 2 (k - 1) \sum_b 2^b`.

    >>> receptive_field(3)
    29
    """
    return 1 + 2 * (kernel - 1) * sum(dilations(depth))


def patches(window: int, length: int = 8, stride: int = 4) -> list[list[int]]:
    """Numbers of the sessions in each patch; the last session is repeated `stride` times at the end (Nie et al. 2023).

    There are floor((window - length) / stride) + 2 of them.

    >>> len(patches(32)), patches(32)[-1]
    (8, [28, 29, 30, 31, 31, 31, 31, 31])
    """
    starts = range(0, window + stride - length + 1, stride)
    return [[min(start + i, window - 1) for i in range(length)] for start in starts]


def patchtst(keras: Any, x: Any, units: int, depth: int, heads: int = 2) -> Any:
    """A transformer over patches of each column on its own, with shared weights (Nie et al. 2023).

    Each column of a window is standardized by its own mean and deviation; that is not turned back, as the label is
    none of the columns. Layers are normalized where the authors normalize batches.
    """
    layers, ops, (_, window, p) = keras.layers, keras.ops, x.shape
    x = (x - ops.mean(x, axis=1, keepdims=True)) / (ops.std(x, axis=1, keepdims=True) + 1e-5)
    cut = np.array(patches(window))
    x = ops.reshape(ops.take(ops.transpose(x, (0, 2, 1)), cut, axis=2), (-1, *cut.shape))
    # its bias has a row for each patch: the learned position
    x = layers.EinsumDense("bnl,ld->bnd", (len(cut), units), bias_axes="nd")(x)
    for _ in range(depth):
        seen = layers.MultiHeadAttention(heads, units // heads)(x, x)
        x = layers.LayerNormalization()(layers.Add()([x, seen]))
        inner = layers.Dense(units)(layers.Dense(2 * units, activation="gelu")(x))
        x = layers.LayerNormalization()(layers.Add()([x, inner]))
    return ops.reshape(x, (-1, p * len(cut) * units))


def tide(keras: Any, x: Any, units: int, depth: int, narrow: int = 4) -> Any:
    """A dense encoder (Das et al. 2023): columns of each session narrowed, all sessions encoded, and a linear way past.

    Every block is two dense layers with a linear skip, normalized; dropout is left out.
    """
    layers = keras.layers

    def block(x: Any, out: int) -> Any:
        inner = layers.Dense(out)(layers.Dense(units, activation="relu")(x))
        return layers.LayerNormalization()(layers.Add()([inner, layers.Dense(out)(x)]))

    deep = layers.Flatten()(block(x, narrow))
    for _ in range(depth):
        deep = block(deep, units)
    return layers.Concatenate()([deep, layers.Flatten()(x)])


NETWORKS: dict[str, Callable[..., Any]] = {"gru": gru, "tcn": tcn, "patchtst": patchtst, "tide": tide}
