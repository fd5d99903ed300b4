"""A network that somebody else has trained, from a folder on this machine: asked as it is, behind a linear head.

What it has read of the past, its forecasts of that past may repeat: so a folder says until when it knows, and what is
judged of sessions up to then is contaminated, shown so and never ranked. Nothing is ever downloaded.
"""

from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput, Tampered
from mltrainer.models.base import Method
from mltrainer.models.forecasters import Array
from mltrainer.models.networks import ASKED, LazyLstm, keras_on_jax

FAMILY = "foundation"
PENALTY = 100.0  # of the head, in rows
FOUNDATION = Method(
    "foundation",
    "A network trained elsewhere",
    r"\hat y = w^\top g(x_{t-k+1:t}) + w_0",
    "what a network learned of other series says something about this one",
    "what its authors know of it; here its weights stay as they are, and a linear head is fitted",
    "O(n) passes through the network",
    "its manifest says which; Bommasani et al. (2021) for the name",
)


def load_keras(path: Path) -> Any:
    """A model of keras as a function of windows (n, window, p); lambdas and code in the file are refused by keras."""
    model = keras_on_jax().saving.load_model(path, compile=False, safe_mode=True)
    return lambda X: np.asarray(model.predict_on_batch(X))


LIBRARIES = {"keras": load_keras}


@dataclass(frozen=True)
class LazyFoundation(LazyLstm):
    """The network in `folder`; the folder is where it lies and no part of what it is, which `params` say."""

    path: str = "keras.saving.load_model"
    folder: str = field(default="", compare=False)

    def build(self) -> Any:
        """Configure the forecaster; the weights are opened when it is fitted."""
        return FoundationForecaster(folder=self.folder, **self.params)


class FoundationForecaster(RegressorMixin, BaseEstimator):
    r"""Frozen outputs g(x) (n, k) of a network, then ridge regression on them.

    A row of X is a window of `window` sessions, p columns each, the oldest first; every column of a window is given to
    the network with its own mean 0 and deviation 1, as float32 (n, window, p).

    Parameters
    ----------
    folder : where the weights lie.
    library, weights, sha256, window, licence, training_cutoff : as the manifest says.
    """

    engine = "keras.saving.load_model"

    def __init__(
        self,
        folder: str = "",
        library: str = "keras",
        weights: str = "",
        sha256: str = "",
        window: int = 32,
        licence: str = "",
        training_cutoff: str = "",
    ) -> None:
        self.folder = folder
        self.library = library
        self.weights = weights
        self.sha256 = sha256
        self.window = window
        self.licence = licence
        self.training_cutoff = training_cutoff

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the head on X (n, window p), oldest row first, and y (n,)."""
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        self.n_features_in_ = X.shape[1]
        self.head_ = make_pipeline(StandardScaler(), Ridge(PENALTY)).fit(self._outputs(X), y)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Forecast y (m,) at windows X (m, window p); each row on its own."""
        check_is_fitted(self)
        X = np.asarray(X, dtype=float)
        return np.asarray(self.head_.predict(self._outputs(X)), dtype=float)

    def _outputs(self, X: Array) -> Array:
        if X.ndim != 2 or X.shape[1] % self.window or X.shape[1] != self.n_features_in_:
            raise BadInput(f"X of shape {X.shape} holds no windows of {self.window} sessions as they were learned from")
        W = X.reshape(len(X), self.window, -1)
        W = (W - W.mean(axis=1, keepdims=True)) / np.maximum(W.std(axis=1, keepdims=True), 1e-12)
        padded = np.concatenate([W, np.zeros((-len(W) % ASKED, *W.shape[1:]))]).astype("float32")
        network = opened(self.library, self.folder, self.weights, self.sha256)
        said = np.concatenate([network(part) for part in padded.reshape(-1, ASKED, *W.shape[1:])])
        return said[: len(X)].reshape(len(X), -1).astype(float)


@cache
def opened(library: str, folder: str, weights: str, digest: str) -> Any:
    """The network of a folder, opened once in this process, if its bytes are those that the manifest names."""
    path = Path(folder) / weights
    if why := flaw(path, digest):
        raise Tampered(f"the weights {weights!r} {why}; get them again from who gave them to you")
    return LIBRARIES[library](path)


def flaw(path: Path, digest: str) -> str:
    """Why a file is not the weights that a manifest names by their sha256; empty where it is."""
    try:
        held = sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except ValueError:
        return "cannot be read (no file has such a name)"
    return "" if held == digest else f"are not those of the manifest (sha256 {held[:12]}, it says {digest[:12]})"
