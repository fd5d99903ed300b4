"""A network that somebody else has trained, from a folder on this machine: asked as it is, behind a linear head.

What it has read of the past, its forecasts of that past may repeat: so a folder says until when it knows, and what is
judged of sessions up to then is contaminated, shown so and never ranked. Nothing is ever downloaded.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from mltrainer.errors import BadInput
from mltrainer.models import catalog
from mltrainer.models.base import Method, ModelSpec
from mltrainer.models.forecasters import Array
from mltrainer.models.networks import ASKED, LazyLstm, keras_on_jax
from mltrainer.trust import gate

MANIFEST = "manifest.json"
ASKS: dict[str, type] = {
    "name": str, "library": str, "weights": str, "sha256": str, "licence": str, "training_cutoff": str, "window": int,
}  # fmt: skip
"""What a manifest must say; `columns`, a list of features, and `reference` it may say."""
PREFIX = "weights:"  # of a folder where a name of the catalog could stand
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
    checked(path, digest)
    return LIBRARIES[library](path)


def checked(path: Path, digest: str) -> None:
    """Refuse weights whose bytes are not those that the manifest names."""
    try:
        held = sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
        gate.refuse(f"the weights {path.name!r}", why, "name a file of the folder", kind="mistake")
    if held != digest:
        why = f"are not those of the manifest (sha256 {held[:12]}, it says {digest[:12]})"
        gate.refuse(f"the weights {path.name!r}", why, "get them again from who gave them to you")


def foundation(folder: str | Path) -> ModelSpec:
    """Make a row for `evaluate` of a network that lies in a folder, with its licence and what it may already know.

    Parameters
    ----------
    folder : holds the weights and `manifest.json` with name, library ("keras"), weights (a file of the folder), sha256
        of it, licence, training_cutoff (YYYY-MM-DD, the last day of anything it was trained on), window (sessions that
        it reads) and, if it reads other features than return_1, columns. Nothing is downloaded.

    Returns
    -------
    ModelSpec
        Judged of sessions after the cutoff alone; where fewer than 63 are, the result is "contaminated" and not ranked.

    Raises
    ------
    Refused
        A folder without a manifest, licence, cutoff or the weights that it names.
    """
    place = Path(folder).expanduser().absolute()
    said = _manifest(place)
    checked(place / said["weights"], said["sha256"])
    columns = tuple(said.get("columns", ["return_1"]))
    names = ("library", "weights", "sha256", "window", "licence", "training_cutoff")
    cutoff, licence = said["training_cutoff"], said["licence"]
    reading = f"Trained elsewhere until {cutoff}; licence: {licence[:80]}. {said.get('reference', '')!s:.120}".strip()
    return ModelSpec(
        said["name"], FOUNDATION, LazyFoundation(params={n: said[n] for n in names}, folder=str(place)), 5.0, FAMILY,
        reading=reading, extra="deep", columns=columns, lags=said["window"], origin="own", cutoff=cutoff,
    )  # fmt: skip


def _manifest(place: Path) -> Mapping[str, Any]:
    try:
        said = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except OSError:
        _refuse(place, f"has no {MANIFEST}", f"write one with {', '.join(ASKS)}")
    except ValueError:
        _refuse(place, f"has a {MANIFEST} that is no JSON", "mend it")
    said = said if isinstance(said, dict) else {}
    lacking = [name for name, kind in ASKS.items() if type(said.get(name)) is not kind or not said[name]]
    if lacking:
        _refuse(place, f"says no {' and no '.join(lacking)}", f"write it into its {MANIFEST}")
    try:
        known = date.fromisoformat(said["training_cutoff"])
    except ValueError:
        _refuse(place, f"has the training_cutoff {said['training_cutoff'][:20]!r}", "write a day, YYYY-MM-DD")
    if said["library"] not in LIBRARIES:
        _refuse(place, f"is of the library {said['library'][:20]!r}", f"the adapter opens {', '.join(LIBRARIES)}")
    if Path(said["weights"]).name != said["weights"]:
        _refuse(place, f"names the weights {said['weights'][:40]!r}", "name a file of the folder itself")
    if said["name"] in {row.name for row in catalog.every()}:
        _refuse(place, f"is called {said['name']}, which is a model of the catalog", "give it another name")
    columns = said.get("columns", ["return_1"])
    if not isinstance(columns, list) or not columns or not all(isinstance(c, str) for c in columns):
        _refuse(place, "has columns that are no list of features", 'write a list such as ["return_1"]')
    if not 1 < said["window"] <= 512:
        _refuse(place, f"has a window of {said['window']} sessions", "write 2 to 512")
    return said | {"training_cutoff": known.isoformat()}


def _refuse(place: Path, why: str, remedy: str) -> NoReturn:
    gate.refuse(f"the folder {place.name!r} of weights", why, remedy, kind="mistake")
