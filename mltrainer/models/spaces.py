"""Search spaces: which settings of a model are worth trying, and between which bounds? One row per method."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import exp, log
from typing import Any

from mltrainer.errors import BadInput, UnknownName
from mltrainer.models import catalog
from mltrainer.models.base import Lazy, ModelSpec


@dataclass(frozen=True)
class Knob:
    """One setting: the end of its parameter's name, and either its bounds or the values to choose from.

    `log` spreads trials evenly over orders of magnitude; `whole` rounds to integers.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def at(self, u: float) -> Any:
        """The value at a point u of [0, 1], real ones to three digits: finer differences are none.

        >>> Knob("alpha", 0.01, 100.0, log=True).at(0.5)
        1.0
        """
        if self.choices:
            return self.choices[min(int(u * len(self.choices)), len(self.choices) - 1)]
        if self.whole:
            low, high = (log(self.low), log(self.high + 1)) if self.log else (self.low, self.high + 1)
            value = low + u * (high - low)
            return min(int(exp(value) if self.log else value), int(self.high))
        value = (
            exp(log(self.low) + u * log(self.high / self.low)) if self.log else self.low + u * (self.high - self.low)
        )
        return float(f"{value:.3g}")


real = Knob
scale = partial(Knob, log=True)
whole = partial(Knob, whole=True)
RATE = scale("learning_rate", 0.01, 0.3)
LEAF = scale("min_samples_leaf", 1, 200, whole=True)
THIRD = real("max_features", 0.1, 1.0)
RIDGE = scale("ridge__alpha", 1.0, 1e5)
PRIOR = scale("prior", 25.0, 2_500.0)
SHARE = real("share", 0.01, 0.25)
COMPONENTS = whole("components__n", 3, 30)
MARGIN = scale("C", 0.001, 10.0)
BLOCKS = whole("blocks", 3, 8)
NETWORK = (
    Knob("units", choices=(8, 16, 32)),  # two heads share them
    whole("depth", 1, 3),
    whole("epochs", 3, 20),
    scale("learning_rate", 0.0003, 0.01),
)

ESTIMATED = "its parameters are estimated on the train rows, and nothing is left to choose"
# Method key (or the name of an entry whose method's row does not fit it) -> knobs, or why there are none.
SPACES: Mapping[str, tuple[Knob, ...] | str] = {
    # linear
    "ols": "least squares has no settings",
    "ridge": (scale("alpha", 0.1, 1e5),),
    "lasso": (scale("alpha", 0.001, 0.1),),
    "elastic-net": (scale("alpha", 0.001, 0.1), real("l1_ratio", 0.05, 1.0)),
    "bayesian-ridge": "the evidence chooses its penalty on the train rows",
    "ard": (scale("threshold_lambda", 10.0, 1e5),),
    "polynomial": (COMPONENTS, scale("ridge__alpha", 10.0, 1e5)),
    "huber": (real("epsilon", 1.05, 3.0), scale("alpha", 1.0, 1e5)),
    "theil-sen": (whole("components__n", 2, 15),),
    "ransac": (scale("estimator__alpha", 1.0, 1e5), real("residual_threshold", 1.0, 4.0)),
    "quantile": (scale("alpha", 0.001, 0.1),),
    "omp": (whole("n_nonzero_coefs", 1, 30),),
    "lars": (scale("alpha", 0.001, 0.1), whole("n_nonzero_coefs", 1, 30)),
    "pls": (whole("n_components", 1, 10),),
    "logit": (scale("C", 1e-4, 1.0),),
    "gamma": (scale("gammaregressor__alpha", 0.001, 10.0),),
    "rls": (COMPONENTS,),
    # trees
    "tree": (whole("max_depth", 1, 12), LEAF),
    "forest": (LEAF, THIRD),
    "extra-trees": (LEAF, THIRD),
    "gradient-boosting": (RATE, whole("max_depth", 1, 6), LEAF, real("subsample", 0.2, 1.0)),
    "adaboost": (scale("learning_rate", 0.01, 2.0), Knob("loss", choices=("linear", "square", "exponential"))),
    "histogram-boosting": (RATE, whole("max_leaf_nodes", 3, 31), LEAF, real("l2_regularization", 0.0, 50.0)),
    "catboost": (RATE, whole("depth", 2, 6)),
    "lightgbm": (RATE, whole("num_leaves", 3, 31), scale("min_child_samples", 5, 200, whole=True)),
    "xgboost": (RATE, whole("max_depth", 1, 6), scale("min_child_weight", 5, 200, whole=True)),
    # ensembles
    "voting": (RIDGE, replace(LEAF, name="trees__min_samples_leaf"), replace(RATE, name="boosting__learning_rate")),
    "majority-vote": (
        RIDGE,
        replace(LEAF, name="trees__min_samples_leaf"),
        replace(RATE, name="boosting__learning_rate"),
    ),
    "bagging": (LEAF, real("max_samples", 0.05, 1.0)),
    "stacking": (BLOCKS, scale("final__alpha", 1.0, 1e5), whole("final__max_depth", 1, 6)),
    "nnls-combination": (BLOCKS,),
    "multi-output": (RATE, whole("max_leaf_nodes", 3, 31), LEAF),
    "regressor-chain": (scale("estimator__alpha", 1.0, 1e5),),
    "classifier-chain": (scale("C", 1e-4, 1.0),),
    "isolation-forest": (SHARE, RIDGE),
    "one-class-svm": (SHARE, RIDGE, scale("nu", 0.01, 0.5)),
    "lof": (SHARE, RIDGE, whole("n_neighbors", 5, 60)),
    # neural
    "mlp": (scale("alpha", 0.01, 100.0), scale("learning_rate_init", 0.0005, 0.02)),
    "rbf-network": (whole("centers", 2, 30), scale("ridge__alpha", 0.1, 1e4)),
    "perceptron": (scale("alpha", 1e-5, 0.01), Knob("penalty", choices=(None, "l2", "l1"))),
    "passive-aggressive": (scale("eta0", 1e-6, 0.01), real("epsilon", 0.0, 2.0)),
    "sgd": (scale("alpha", 0.01, 100.0), scale("eta0", 0.001, 0.03)),
    # support vectors
    "svr": (scale("C", 1e-5, 1.0), real("epsilon", 0.0, 1.0)),
    "nu-svr": (scale("C", 0.001, 3.0), real("nu", 0.05, 0.9)),
    "linear-svr": (MARGIN, real("epsilon", 0.0, 1.0)),
    # series
    "arima": "its order is its name; other orders are entries of their own",
    "ses": (scale("alpha", 0.005, 0.5),),
    "holt-winters": ESTIMATED,
    "local-level": ESTIMATED,
    "particle-filter": "more particles are more exact and not another model",
    "unscented": ESTIMATED,
    "lstm": (whole("units", 4, 32), whole("window", 5, 40), whole("epochs", 3, 20)),
    "garch": ESTIMATED,
    "markov": ESTIMATED,
    "var": "BIC chooses its lags on the train rows",
    "theta": ESTIMATED,
    # deep
    **dict.fromkeys(("gru", "tcn", "patchtst", "tide"), NETWORK),
    # clusters
    "k-means": (whole("n_clusters", 2, 12), PRIOR),
    "agglomerative": (whole("n_clusters", 2, 12), PRIOR),
    "dbscan": (whole("min_samples", 5, 40), replace(SHARE, high=0.6), PRIOR),
    # neighbors and processes
    "knn": (scale("n_neighbors", 2, 100, whole=True), Knob("weights", choices=("uniform", "distance"))),
    "gaussian-process": (scale("rows", 250, 2_000, whole=True),),  # the likelihood chooses the kernel's parameters
    "GaussianProcess_gamma_0.1": (scale("k2__length_scale", 0.5, 10.0), scale("rows", 250, 2_000, whole=True)),
    "GaussianProcess_gamma_0.5": (scale("k2__length_scale", 0.5, 10.0), scale("rows", 250, 2_000, whole=True)),
    # special
    "gaussian-nb": (COMPONENTS, scale("var_smoothing", 1e-9, 1.0)),
    "multinomial-nb": (COMPONENTS, whole("n_bins", 2, 10), scale("multinomialnb__alpha", 0.1, 1_000.0)),
    "bernoulli-nb": (COMPONENTS, scale("bernoullinb__alpha", 0.1, 1_000.0)),
    "lda": (real("shrinkage", 0.01, 1.0),),
    "qda": (COMPONENTS, real("reg_param", 0.0, 1.0)),
    "pca-regression": (COMPONENTS,),
    "ica-regression": (whole("components__n", 8, 25), whole("keep", 1, 8)),
    "nmf-regression": (whole("parts__n_components", 2, 12),),
    "kernel-ridge": (scale("alpha", 1.0, 1e4),),
    "KernelRidge_sigmoid": (scale("alpha", 150.0, 1e4),),  # below, its kernel would leave no unique solution
}


def space(spec: ModelSpec) -> dict[str, Knob]:
    """Parameters of an entry that can be tuned, and how; `BadInput` says why where there are none.

    >>> list(space(catalog.spec("KNeighborsRegressor_5")))
    ['kneighborsregressor__n_neighbors', 'kneighborsregressor__weights']
    """
    row = SPACES.get(spec.name, SPACES[spec.method.key])
    if isinstance(row, str):
        raise BadInput(f"{spec.name} has nothing to tune: {row}")
    found = {path: knob for knob in row for path in _paths(spec, knob)}
    if not found:
        others = [s.name for s in catalog.specs() if s.method is spec.method and any(_paths(s, k) for k in row)]
        raise BadInput(f"{spec.name} has nothing to tune: it chooses by itself on the train rows; tune {others[0]}")
    return found


def own(spec: ModelSpec) -> dict[str, Any]:
    """What the catalog sets these parameters to.

    >>> own(catalog.spec("KernelRidge_cosine"))
    {'kernelridge__alpha': 10.0}
    """
    params = parameters(spec)
    return {path: params[path] for path in space(spec)}


def candidate(spec: ModelSpec, settings: Mapping[str, Any]) -> ModelSpec:
    """The entry with other settings, under a name that says which; `settings` maps its parameters to values."""
    for path in settings.keys() - parameters(spec).keys():
        raise UnknownName.of(f"parameter of {spec.name}", path, parameters(spec))
    if isinstance(spec.estimator, Lazy):
        estimator: Any = replace(spec.estimator, params={**spec.estimator.params, **settings})
    else:
        estimator = spec.build().set_params(**settings)
    said = ", ".join(f"{label(path)}={value}" for path, value in settings.items())
    return replace(spec, name=f"{spec.name}({said})", estimator=estimator)


def label(path: str) -> str:
    """What a parameter is called where people read it.

    >>> label("estimator__kernelridge__alpha"), label("reduce__components__n")
    ('alpha', 'components')
    """
    *before, last = path.split("__")
    return before[-1] if last == "n" else last


def parameters(spec: ModelSpec) -> Mapping[str, Any]:
    """Parameters of an entry by path, as `candidate` takes them."""
    params: Mapping[str, Any] = (
        spec.estimator.params if isinstance(spec.estimator, Lazy) else spec.estimator.get_params(deep=True)
    )
    return params


def _paths(spec: ModelSpec, knob: Knob) -> list[str]:
    # a list is a grid that the entry searches itself
    return [p for p, v in parameters(spec).items() if f"__{p}".endswith(f"__{knob.name}") and not isinstance(v, list)]
