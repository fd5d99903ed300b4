"""What one model forecast and earned out of sample, as a record that packs into bytes without pickles."""

import io
import json
import zipfile
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mltrainer.evaluation.results import Metrics

MEASURED = "fit_seconds shared_seconds predict_seconds slowest_fold peak_mb warnings".split()
BESIDE = (*MEASURED, "settings", "project")  # of `meta`: what stands in the ledger's row and not in the result


@dataclass(frozen=True)
class Evaluation:
    """What one model said and earned out of sample.

    Attributes
    ----------
    status : "ok", "failed", "timeout", "memory", "unavailable"; or "diagnostic" for a split that trains on the
        future and "contaminated" for a model trained elsewhere on the sessions it is judged by, which are shown and
        never ranked; `reason` says why it is not ok.
    target : what is forecast, a name of `targets.TARGETS`; forecasts are in its unit.
    forecasts : one row per out-of-sample session; `columns.FORECASTS` says each column and its unit.
    metrics : figures of design section 5, by name or as attributes, NaN where undefined.
    meta : fit and predict seconds and how many of them were shared, seconds of the slowest fold, peak memory, warnings,
        `policy` where a model bore only some of the rows, `panel` where it was trained on several tickers, and then
        `pooled` with figures of all of them together; of a result of the ledger `settings`, what differs from the
        defaults, and `project`, what it was first made for.
    """

    key: str
    model: str
    family: str
    task: str
    ticker: str
    horizon: int
    status: str = "ok"
    reason: str = ""
    forecasts: pd.DataFrame = field(default_factory=pd.DataFrame)
    metrics: Metrics = field(default_factory=Metrics)
    meta: dict[str, Any] = field(default_factory=dict)
    target: str = "return"

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", Metrics(self.metrics))

    @property
    def ok(self) -> bool:
        """Whether it ran to the end."""
        return self.status == "ok"

    @property
    def trial(self) -> str:
        """Address of the trial it belongs to: its own, or that of the panel it is one ticker of."""
        return str(self.meta.get("trial", self.key))

    @property
    def constant(self) -> bool:
        """Whether the model found no signal; see `constant_forecast`."""
        return constant_forecast(self.forecasts)

    def __repr__(self) -> str:
        """Say the result in one line."""
        if not self.ok:
            return f"Evaluation({self.model} on {self.ticker}: {self.status}, {self.reason})"
        m = self.metrics
        said = f"IC {m['ic']:.3f}, Sharpe {m['sharpe']:.2f} net of costs, out-of-sample R2 {m['r2_oos']:.4f}"
        panel = f", {self.meta['panel']}" if self.meta.get("panel") else ""
        left = f"; {self.meta['contaminated']}" if self.meta.get("contaminated") else ""
        return f"Evaluation({self.model} on {self.ticker}{panel}: {said}{left})"

    @property
    def measured(self) -> dict[str, Any]:
        """The part of `meta` that another run of the same fit would find different: times, memory, warnings."""
        return {name: self.meta[name] for name in MEASURED if name in self.meta}

    def to_bytes(self) -> bytes:
        """Pack into one npz without pickles, all but what was measured; equal fits give equal bytes."""
        head = {k: v for k, v in asdict(self).items() if k != "forecasts"}
        head["meta"] = {k: v for k, v in self.meta.items() if k not in BESIDE}
        columns = {f"f_{c}": self.forecasts[c].to_numpy(float) for c in self.forecasts}
        index = self.forecasts.index.to_numpy("datetime64[s]").astype("int64") if len(self.forecasts) else np.empty(0)
        packed = io.BytesIO()
        arrays: dict[str, Any] = {"head": np.array(json.dumps(head)), "index": index, **columns}
        np.savez_compressed(packed, **arrays)
        return packed.getvalue()

    @classmethod
    def from_bytes(cls, body: bytes) -> "Evaluation":
        """Read what `to_bytes` wrote."""
        with np.load(io.BytesIO(body), allow_pickle=False) as packed:
            columns = {k[2:]: packed[k] for k in packed.files if k.startswith("f_")}
            index = pd.DatetimeIndex(packed["index"].astype("datetime64[s]"), name="session")
            return cls(forecasts=pd.DataFrame(columns, index=index), **json.loads(str(packed["head"])))

    @staticmethod
    def columns(body: bytes, *names: str) -> pd.DataFrame:
        """Some columns of the forecasts in what `to_bytes` wrote, by session, without unpacking the rest."""
        with zipfile.ZipFile(io.BytesIO(body)) as packed:
            index = pd.DatetimeIndex(_array(packed, "index").astype("datetime64[s]"), name="session")
            return pd.DataFrame({name: _array(packed, f"f_{name}") for name in names}, index=index)


def _array(packed: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array of an npz, in half the time of `np.load`: luck reads ten of every trial that was ever made."""
    body = packed.read(f"{name}.npy")
    shape, dtype = _layout(body[: 10 + int.from_bytes(body[8:10], "little")])
    return np.frombuffer(body, dtype, int(np.prod(shape)), len(body) - int(np.prod(shape)) * dtype.itemsize)


@lru_cache(maxsize=512)  # the header of every array of so many rows is the same
def _layout(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    file = io.BytesIO(header)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def constant_forecast(forecasts: pd.DataFrame) -> bool:
    """Whether the forecast per unit of volatility never changes inside a fold: the model found no signal."""
    per_unit = forecasts["forecast"] / forecasts["scale"]
    least = 1e-9 * max(per_unit.abs().max(), 1e-12)
    fold, values = forecasts["fold"].to_numpy(), per_unit.to_numpy(float)
    if len(values) and np.std(values[fold == fold[0]]) > 2 * least:  # nearly every one does change in the first
        return False
    spread = per_unit.groupby(forecasts["fold"]).std()
    return bool((spread < least).all())
