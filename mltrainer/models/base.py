"""What a model is here: a method somebody published, a configured estimator, and our reading of the name.

A family is a table of :class:`ModelSpec` rows. The configured, unfitted estimator is the parameter record: `build()`
hands out a fresh clone of it, `identity()` writes it down in words that are the same in every process.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mltrainer.errors import Unavailable

if TYPE_CHECKING:
    from mltrainer.models.card import ModelCard


@dataclass(frozen=True)
class Method:
    """A published method, said once for all entries that use it; `formula` is LaTeX without dollar signs."""

    key: str
    name: str
    formula: str
    assumes: str
    use: str
    complexity: str
    reference: str


@dataclass(frozen=True)
class Lazy:
    """An estimator of a library that is imported on use: `path` is 'module.Class', `params` its keyword arguments."""

    path: str
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def installed(self) -> bool:
        """Whether the library can be imported, found out without importing it."""
        return find_spec(self.path.partition(".")[0]) is not None

    def build(self) -> Any:
        """Import the library and configure its estimator."""
        module, _, name = self.path.rpartition(".")
        return getattr(importlib.import_module(module), name)(**self.params)


TAKES = {
    "horizon": "sessions of the label; of a panel the rows that many sessions have at most",
    "entry_lag": "sessions from the close of the row to the close of entry: 1 where the source has no open, else 0",
    "return_column": "number of the column that is the return of one session",
}
GIVES = {
    "deviation": "standard deviation of the label, by `predict_deviation`, or of a pipeline `predict(return_std=True)`",
    "quantile": "a quantile of the label, by `predict_quantile`",
}


@dataclass(frozen=True)
class ModelSpec:
    """One entry of the catalog.

    Attributes
    ----------
    estimator : configured and unfitted; `fit(X, y)` takes X (n, p) without NaN, unscaled, oldest row first, and y (n,)
        with mean 0 and sd 1; `predict(X)` gives (n,) forecasts of the mean in units of y.
    task : "regressor", "classifier", "quantile", "volatility", "online" or "series"; all end in `predict`.
    reading : what we made of the name where its literal reading misleads; shown on the card; may be empty.
    cost : CPU seconds of a five-fold walk-forward on one ticker (3,000 rows, 60 features), to start the longest first.
    warns : the warning that can come, why, and what is done about it; empty when none can.
    extra : the optional part of mltrainer that installs the library; None when it is always there.
    max_train_rows : how many rows the method can bear, see `policy`; None where any number will do.
    columns : the features it is given; None for all of them.
    follows : what carries it through the rows after the train rows, by `filter(X, y, lag)`: "returns" makes it a series
        model, given its columns as they are, in the order of time, with y in return units; "labels" one that learns
        on as labels mature; empty where `predict` needs the row alone, clipped, with y z-scored.
    takes : parameters of the estimator that only the matrix knows, of `TAKES`.
    gives : what the estimator says beside the mean, of `GIVES`.
    lags : rows that it is given at once: its own and those of the same share before it, the oldest first, so that X has
        `lags` times as many columns. Unlike a model that follows, it carries nothing and can learn from several shares.
    cutoff : last day, YYYY-MM-DD, of what it was trained on elsewhere; sessions up to it are contaminated and never
        ranked. Empty for what learns from the train rows alone.
    origin : "named" for the models that were ordered by name; "added" for what stands beside them, is not counted among
        them and runs only where its family or name is asked for; "own" for a researcher's.
    """

    name: str
    method: Method
    estimator: Any
    cost: float
    family: str
    task: str = "regressor"
    reading: str = ""
    warns: str = ""
    extra: str | None = None
    max_train_rows: int | None = None
    columns: tuple[str, ...] | None = None
    follows: Literal["", "returns", "labels"] = ""
    takes: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    lags: int = 1
    origin: Literal["named", "added", "own"] = "named"
    cutoff: str = ""

    @property
    def series(self) -> bool:
        """Whether it is a series model: it reads returns as they are, one session after the other."""
        return self.follows == "returns"

    @property
    def reads_returns(self) -> bool:
        """Whether it forecasts by the past returns themselves, so that it has nothing to say of another label."""
        return self.series or "return_column" in self.takes

    @property
    def in_order(self) -> bool:
        """Whether it makes sense only of one share's rows, each following the other: a state, sums over the next."""
        return bool(self.follows) or "return_column" in self.takes

    @property
    def decides(self) -> tuple[Any, ...]:
        """Everything of the row that decides a forecast, in words; what is only said of it (cost, reading) is not."""
        declared = (self.follows, sorted(self.takes), sorted(self.gives))
        windows = (f"lags {self.lags}",) if self.lags > 1 else ()  # addresses of other rows stay what they were
        knows = (f"until {self.cutoff}",) if self.cutoff else ()
        return (self.identity(), self.max_train_rows, self.columns, *declared, *windows, *knows)

    @property
    def available(self) -> bool:
        """Whether `build` will work on this machine."""
        return not isinstance(self.estimator, Lazy) or self.estimator.installed

    @property
    def why_unavailable(self) -> str:
        """What is missing and the command that installs it; empty when nothing is missing."""
        if self.available:
            return ""
        library = self.estimator.path.partition(".")[0]
        wanted = f"mltrainer[{self.extra}]" if self.extra else library
        return f"{library} is not installed, and nothing else runs under the name {self.name}: pip install '{wanted}'"

    @property
    def policy(self) -> str:
        """Which rows it learns from where there are more than it can bear; empty where it bears any number."""
        if self.max_train_rows is None:
            return ""
        return f"the latest {self.max_train_rows:,} rows (of a panel, whole sessions evenly spread)"

    @property
    def engine(self) -> str:
        """The library class that does the work, as 'sklearn.svm.SVR', found out without importing it."""
        return engine(self.estimator)

    def build(self) -> Any:
        """Give a fresh, unfitted estimator that shares nothing with the row of the table."""
        if not self.available:
            raise Unavailable(self.why_unavailable)
        return self.estimator.build() if isinstance(self.estimator, Lazy) else clone(self.estimator)

    @property
    def card(self) -> "ModelCard":
        """Everything that is said of the model, as a record that shows itself."""
        from mltrainer.models.card import ModelCard  # it reads rows of this table

        return ModelCard.of(self)

    def _repr_html_(self) -> str:
        return self.card._repr_html_()

    def identity(self) -> str:
        """The estimator's class path and every parameter, canonical: equal text means an equal estimator."""
        return canonical(self.estimator)


@dataclass(frozen=True)
class Family:
    """Models that assume alike; `assumes` is three sentences, `good` and `bad` the questions they answer so."""

    key: str
    title: str
    assumes: str
    good: str
    bad: str
    specs: tuple[ModelSpec, ...]

    @property
    def origin(self) -> str:
        """Of its rows: "named", or "added" beside them."""
        return self.specs[0].origin


def scaled(estimator: BaseEstimator, *before: BaseEstimator) -> Pipeline:
    """Standardize the columns on the train rows, then the steps in `before`, then the estimator.

    >>> [name for name, _ in scaled(StandardScaler()).steps]
    ['standardscaler-1', 'standardscaler-2']
    """
    return make_pipeline(StandardScaler(), *before, estimator)


def engine(estimator: Any) -> str:
    """The public class path of the innermost estimator: through pipelines and our own wrappers to the library.

    >>> engine(scaled(StandardScaler()))
    'sklearn.preprocessing.StandardScaler'
    """
    if isinstance(estimator, Lazy):
        return estimator.path
    if isinstance(estimator, Pipeline):
        return engine(estimator.steps[-1][1])
    ours = type(estimator).__module__.startswith("mltrainer.")
    if ours and hasattr(estimator, "engine"):  # the class at work is not a parameter
        return str(estimator.engine)
    if ours and "estimator" in estimator.get_params(deep=False):
        return engine(estimator.estimator)
    library = next(c for c in type(estimator).__mro__ if not c.__module__.startswith("mltrainer."))
    return _public(library)


def canonical(value: Any) -> str:
    """Write a configured object as text that is the same in every process and every session."""
    if isinstance(value, Lazy):
        return f"{value.path}({_arguments(value.params)})"
    if isinstance(value, np.ndarray | list | tuple):
        return f"[{', '.join(canonical(v) for v in value)}]"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k!r}: {canonical(value[k])}' for k in sorted(value, key=repr))}}}"
    if isinstance(value, type | FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    if value is None or isinstance(value, str | int | float | complex):
        return repr(value)
    # splitters carry no get_params, only attributes
    params = value.get_params(deep=False) if hasattr(value, "get_params") else vars(value)
    return f"{type(value).__module__}.{type(value).__qualname__}({_arguments(params)})"


def _arguments(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={canonical(params[name])}" for name in sorted(params))


def _public(kind: type) -> str:
    modules = kind.__module__.split(".")
    private = next((i for i, m in enumerate(modules) if m.startswith("_")), len(modules))
    return ".".join([*modules[:private], kind.__qualname__])
