"""Trained models on disk: found by the hash of their content, opened only if the trail tells of them, never pickled."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

import skops.io as sio
from sklearn.model_selection import TimeSeriesSplit
from skops.io.exceptions import UntrustedTypesFoundException

from mltrainer import blobstore, store
from mltrainer.errors import MltrainerError, Refused, Unavailable
from mltrainer.evaluation import trials
from mltrainer.evaluation.protocol import LEARNING
from mltrainer.models import catalog, spaces
from mltrainer.models.base import ModelSpec
from mltrainer.models.base import canonical as in_words
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
    "mltrainer.models.sequences.SequenceForecaster",
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
FORMAT = 5  # of the record; raise it when a model of before could no longer be asked
CHANCE = ("train_finish_time", "model_guid")  # in CatBoost's metadata
STATE: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("ticker", "mode", "from", "trained_from", "trained_to", "matrix"), str),
    **dict.fromkeys(("horizon", "rows", "columns"), int),
    **dict.fromkeys(("features",), list),
    **dict.fromkeys(("libraries", "calibration", "parameters", "scaling"), dict),
}
"""What the state of a model says, and as what; it may say more."""


def _of_each(values: Any, state: dict[str, Any], kind: type) -> bool:
    """Whether there is a value of a kind for each ticker, and no other."""
    named = isinstance(values, dict) and isinstance(state.get("tickers"), list)
    return named and sorted(values) == state["tickers"] and all(isinstance(v, kind) for v in values.values())


def _texts(values: list[Any]) -> bool:
    return all(isinstance(v, str) for v in values) and values == sorted(set(values))


OF_NAMES: dict[str, Callable[[Any, dict[str, Any]], bool]] = {
    "tickers": lambda values, state: isinstance(values, list) and bool(values) and _texts(values),
    "at_close": lambda values, state: (
        isinstance(values, list) and _texts(values) and set(values) <= {*state["tickers"]}
    ),
    "begins": lambda values, state: _of_each(values, state, str),
    "calibrations": lambda values, state: _of_each(values, state, dict),
    "ends": lambda values, state: _of_each(values, state, str) and _of_each(state["scaling"], state, dict),
    "effects": lambda values, state: _of_each(values, state, float),
    "protocol": lambda values, state: isinstance(values, dict) and bool(values) and {*values} <= {*LEARNING},
}
"""What it says of each of its names, where it does: models that were kept before panels say nothing."""


def each(estimator: Any) -> list[Any]:
    """The estimators of a kept model: one, or where each name has its own those of all."""
    return list(estimator.values()) if isinstance(estimator, dict) else [estimator]


def save(name: str, estimator: Any, state: dict[str, Any], project: str = "") -> str:
    """Store a fitted estimator and what belongs to it; returns the artifact's address, a sha256.

    `estimator` is a dict where each name has a model of its own. `state` is plain JSON: what
    the model was trained on, by which `libraries`, and how its forecasts are scaled back.
    A model that was trained twice on the same rows has one address. The trail is told the `project` it was kept for.
    """
    body = blobstore.put(packed(estimator))
    record = {"format": FORMAT, "name": name, "estimator": body, "state": state}
    artifact = blobstore.put(canonical(record).encode())
    said = {"artifact": artifact, "model": name, "estimator": body, "ticker": state.get("ticker", "")}
    audit.append("artifact", **said, **({"project": project} if project else {}))
    return artifact


def projects_of(artifact: str) -> set[str]:
    """What a model was kept for: a name for each time; "" where none was given."""
    told = (entry.payload for entry in audit.entries(kind="artifact"))
    return {str(said.get("project", "")) for said in told if said["artifact"] == artifact}


def packed(estimator: Any) -> bytes:
    """What skops writes of an estimator, less what differs from one writing to the next.

    skops dates every file and names objects by their place in memory, or by chance; here they are counted. CatBoost
    notes when it was trained, and a name that it drew.
    """
    for one in each(estimator):
        if type(one).__module__.startswith("catboost."):
            for name in CHANCE:
                one.get_metadata()[name] = ""
    with zipfile.ZipFile(io.BytesIO(sio.dumps(estimator))) as written:
        names: dict[Any, Any] = {}
        schema = _counted(json.loads(written.read("schema.json")), names)
        bodies = {names[name]: written.read(name) for name in written.namelist() if name in names}
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        for name, body in (bodies | {"schema.json": json.dumps(schema).encode()}).items():
            file.writestr(zipfile.ZipInfo(name), body)  # of 1980, the first day that a zip knows
    return whole.getvalue()


def _counted(node: Any, names: dict[Any, Any]) -> Any:
    """The same schema with objects and files named by the order in which they come."""
    if isinstance(node, list):
        return [_counted(item, names) for item in node]
    if not isinstance(node, dict):
        return node
    out = {}
    for key, item in node.items():
        if key == "__id__":
            out[key] = names.setdefault(item, len(names))
        elif key == "file" and isinstance(item, str):
            out[key] = names.setdefault(item, f"{len(names)}.{item.rpartition('.')[2]}")
        else:
            out[key] = _counted(item, names)
    return out


def _misfit(record: dict[str, Any], estimator: Any) -> str:
    """Why a record cannot be what `save` wrote of a model of this name; empty where it can."""
    state = record["state"]
    odd = sorted(name for name, kind in STATE.items() if not isinstance(state.get(name), kind))
    odd += [name for name, fits in OF_NAMES.items() if name in state and not fits(state[name], state)]
    if odd:
        return f"says nothing that could be the {odd[0]} of a model"
    if (sorted(estimator) if isinstance(estimator, dict) else None) != (state["tickers"] if "ends" in state else None):
        return "holds other models than one for each of its names"
    row = catalog.spec(record["name"])
    row = spaces.candidate(row, state["parameters"]) if state["parameters"] else row
    same = all(_same(row, one) for one in each(estimator))
    return "" if same else f"holds another model than the {record['name']} of the catalog"


def _same(row: ModelSpec, estimator: Any) -> bool:
    """Whether a fitted estimator is configured as the catalog's, but for what the matrix decides."""
    named = row.build()
    if type(estimator) is not type(named):
        return False
    has, asked = estimator.get_params(), named.get_params()
    decided = [k for k, v in asked.items() if k in row.takes or isinstance(v, TimeSeriesSplit)]
    named.set_params(**{k: has[k] for k in decided if type(has.get(k)) is type(asked[k])})
    return in_words(estimator) == in_words(named)


def reopened(estimator: Any) -> Any:
    """The estimator as it would come back after it was saved and loaded."""
    return sio.loads(sio.dumps(estimator), trusted=list(TRUSTED))


def load(artifact: str) -> tuple[str, Any, dict[str, Any], list[str]]:
    """Open an artifact: (model name, fitted estimator, state, what changed since it was saved).

    Raises
    ------
    Refused
        The address is none, the trail does not tell of it, its bytes were changed, it is no record of a model, or it
        holds a type that no model of the catalog consists of. Nothing in it is run; it is written to the audit trail.
    Unavailable
        It was saved in the form of another version.
    """
    what = f"the artifact {str(artifact)[:64]!r}"
    if not re.fullmatch(r"[0-9a-f]{64}", str(artifact)):
        remedy = "give the 64 hex digits that saving it returned"
        gate.refuse(what, "is no address of a kept model", remedy, kind="mistake")
    with store.reading() as connection:
        entry = audit.told(connection, "artifact", artifact, "artifact")
    if entry is None:
        why = "is none that this installation has saved"
        gate.refuse(what, why, "train the model here and save it", kind="mistake")
    try:
        record = json.loads(blobstore.get(artifact))
        if any(record[name] != entry[told] for name, told in (("estimator", "estimator"), ("name", "model"))):
            gate.refuse(what, "is of another model than the audit trail says", "train the model again")
        estimator = None
        if record.get("format") == FORMAT:
            estimator = sio.loads(blobstore.get(record["estimator"]), trusted=list(TRUSTED))
            if why := _misfit(record, estimator):
                gate.refuse(what, why, "train the model again")
    except UntrustedTypesFoundException as error:
        gate.refuse(what, f"holds what no model consists of: {str(error)[:200]}", "train the model again")
    except Refused:
        raise
    except MltrainerError as error:
        gate.refuse(what, f"was changed since it was saved: {error}", "train the model again")
    except Exception as error:  # whatever forged bytes make their reader say
        said = " ".join(str(error).split())[:100]
        gate.refuse(what, f"is no record of a model ({type(error).__name__}: {said})", "train the model again")
    if estimator is None:
        raise Unavailable(f"{what} was saved in the form of another version of mltrainer; train the model again")
    then = record["state"]["libraries"]
    now = trials.versions(then)
    changed = [f"{lib} {was} is now {now.get(lib, 'absent')}" for lib, was in then.items() if now.get(lib) != was]
    return record["name"], estimator, record["state"], changed
