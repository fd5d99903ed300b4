"""A researcher's own estimator beside the catalog's: any of scikit-learn's regressors, classifiers or pipelines."""

import re
from typing import Any

from sklearn.base import is_classifier

from mltrainer.errors import BadInput
from mltrainer.models import catalog
from mltrainer.models.base import Method, ModelSpec
from mltrainer.models.forecasters import ClassMeans

FAMILY = "own"
OWN = Method(
    "own",
    "An estimator of one's own",
    r"\hat y = f(x)",
    "What its author knows of it.",
    "Its author's question.",
    "Not known here.",
    "Its source: the hash of what it runs is part of the address of every result.",
)


NAME = re.compile(r"[^\W_][\w .+()-]{0,79}")  # it stands in tables, files and addresses; none of them obeys it


def register(estimator: Any, name: str = "", *, max_train_rows: int | None = None) -> ModelSpec:
    """Make an estimator a model that can be evaluated, tuned by hand, mapped and ranked like those of the catalog.

    Parameters
    ----------
    estimator : configured and unfitted, with scikit-learn's fit, predict and get_params; X comes clipped and not
        scaled, so scale it in a pipeline; y has mean 0 and deviation 1. A classifier is given the sign of y and needs
        `predict_proba`; its forecast is the mean of the classes it expects.
    name : shown in every table; default that of its class. Names of the catalog belong to the catalog.
    max_train_rows : how many rows it can bear.

    Returns
    -------
    ModelSpec
        For `evaluate`, `map` and `leakcheck`; each fit is a trial of the ledger. Kept models are of the catalog only.

    Raises
    ------
    BadInput
        What has no fit, predict and get_params, a class in place of an instance, or a name of the catalog.
    """
    lacking = [n for n in ("fit", "predict", "get_params") if not callable(getattr(estimator, n, None))]
    if isinstance(estimator, type) or lacking:
        what = f"the class {estimator.__name__}" if isinstance(estimator, type) else f"{str(estimator)[:60]!r}"
        raise BadInput(f"{what} is no model: give a name of the catalog, or a configured scikit-learn estimator")
    name = name or f"{type(estimator).__name__} (own)"
    if not NAME.fullmatch(name):
        raise BadInput(f"{name[:60]!a} is no name of a model: up to 80 letters, digits, spaces and . _ - + ( )")
    if name in {spec.name for spec in catalog.every()}:
        raise BadInput(f"{name} is a model of the catalog; give yours another name")
    if is_classifier(estimator) and not callable(getattr(estimator, "predict_proba", None)):
        raise BadInput(f"{name} is a classifier without predict_proba, and a forecast is made of probabilities")
    task, made = ("classifier", ClassMeans(estimator)) if is_classifier(estimator) else ("regressor", estimator)
    return ModelSpec(name, OWN, made, 1.0, FAMILY, task, max_train_rows=max_train_rows, origin="own")
