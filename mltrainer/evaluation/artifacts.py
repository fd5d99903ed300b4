"""Trained models on disk: found by the hash of their content, opened only if the trail tells of them, never pickled."""

import json
from typing import Any

import skops.io as sio
from skops.io.exceptions import UntrustedTypesFoundException

from mltrainer import store
from mltrainer.errors import MltrainerError, Unavailable
from mltrainer.evaluation import trials
from mltrainer.trust import audit, gate
from mltrainer.trust.provenance import canonical

# Every type that a fitted model of the catalog consists of, beyond what skops trusts by itself; exact names, since a
# prefix would trust every callable of a library. A test holds this list to what the catalog needs, no more, no less.
TRUSTED = (
    "catboost.core.CatBoostRegressor",
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMRegressor",
    "mltrainer.models.combiners.ClusterMeans",
    "mltrainer.models.combiners.DensityClusters",
    "mltrainer.models.combiners.ForwardStack",
    "mltrainer.models.combiners.HorizonDirections",
    "mltrainer.models.combiners.Horizons",
    "mltrainer.models.combiners.IndependentComponents",
    "mltrainer.models.combiners.Inliers",
    "mltrainer.models.combiners.MajorityVote",
    "mltrainer.models.combiners.Parts",
    "mltrainer.models.combiners.RadialBasis",
    "mltrainer.models.combiners.Sided",
    "mltrainer.models.filters.Arima",
    "mltrainer.models.filters.ExponentialSmoothing",
    "mltrainer.models.filters.Garch",
    "mltrainer.models.filters.HoltWinters",
    "mltrainer.models.filters.LocalLevel",
    "mltrainer.models.filters.MarkovSwitching",
    "mltrainer.models.filters.Theta",
    "mltrainer.models.filters.VectorAutoregression",
    "mltrainer.models.forecasters.Bounded",
    "mltrainer.models.forecasters.ClassMeans",
    "mltrainer.models.forecasters.Components",
    "mltrainer.models.forecasters.Consensus",
    "mltrainer.models.forecasters.OneThread",
    "mltrainer.models.forecasters.PricedVolatility",
    "mltrainer.models.forecasters.QuantileForecaster",
    "mltrainer.models.forecasters.RecentGaussianProcess",
    "mltrainer.models.forecasters.RecursiveForecaster",
    "mltrainer.models.networks.LstmForecaster",
    "mltrainer.models.volatility.ParticleFilter",
    "mltrainer.models.volatility.UnscentedFilter",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process.kernels.ConstantKernel",
    "sklearn.gaussian_process.kernels.Matern",
    "sklearn.gaussian_process.kernels.Product",
    "sklearn.gaussian_process.kernels.RBF",
    "sklearn.gaussian_process.kernels.RationalQuadratic",
    "sklearn.gaussian_process.kernels.Sum",
    "sklearn.gaussian_process.kernels.WhiteKernel",
    "sklearn.model_selection._split.TimeSeriesSplit",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBRegressor",
)
FORMAT = 4  # of the record; raise it when a model of before could no longer be asked


def save(name: str, estimator: Any, state: dict[str, Any]) -> str:
    """Store a fitted estimator and what belongs to it; returns the artifact's address, a sha256.

    `state` is plain JSON: what the model was trained on, by which `libraries`, and how its forecasts are scaled back.
    """
    body = store.put_blob(sio.dumps(estimator))
    record = {"format": FORMAT, "name": name, "estimator": body, "state": state}
    artifact = store.put_blob(canonical(record).encode())
    audit.append("artifact", artifact=artifact, model=name, estimator=body)
    return artifact


def reopened(estimator: Any) -> Any:
    """The estimator as it would come back after it was saved and loaded."""
    return sio.loads(sio.dumps(estimator), trusted=list(TRUSTED))


def load(artifact: str) -> tuple[str, Any, dict[str, Any], list[str]]:
    """Open an artifact: (model name, fitted estimator, state, what changed since it was saved).

    Raises
    ------
    Refused
        The address is none, the trail does not tell of it, its bytes were changed, or it holds a type that no model
        of the catalog consists of. Nothing in it is run; a violation is written to the audit trail.
    Unavailable
        It was saved in the form of another version.
    """
    what = f"the artifact {str(artifact)[:64]!r}"
    told = {e.payload.get("artifact"): e.payload for e in audit.entries(kind="artifact")}
    if artifact not in told:
        gate.refuse(what, "is none that this installation has saved", "train the model here and save it")
    try:
        record = json.loads(store.get_blob(artifact))
        if record["estimator"] != told[artifact]["estimator"]:
            gate.refuse(what, "names another estimator than the audit trail does", "train the model again")
        body = store.get_blob(record["estimator"])
        estimator = sio.loads(body, trusted=list(TRUSTED))
    except UntrustedTypesFoundException as error:
        gate.refuse(what, f"holds what no model consists of: {str(error)[:200]}", "train the model again")
    except (MltrainerError, ValueError, KeyError, TypeError) as error:
        gate.refuse(what, f"was changed since it was saved: {error}", "train the model again")
    if record.get("format") != FORMAT:
        raise Unavailable(f"{what} was saved in the form of another version of mltrainer; train the model again")
    then = record["state"]["libraries"]
    now = trials.versions(then)
    changed = [f"{lib} {was} is now {now.get(lib, 'absent')}" for lib, was in then.items() if now.get(lib) != was]
    return record["name"], estimator, record["state"], changed
