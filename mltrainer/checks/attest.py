"""Is a thing called CatBoost CatBoost? Every model of the catalog is fitted on real data and made to show it."""

import sys
from collections.abc import Iterable
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from mltrainer.checks import leakcheck
from mltrainer.errors import Unavailable
from mltrainer.evaluation import artifacts, study
from mltrainer.evaluation.engine import effective_jobs, executor, unwatched
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.scaling import Scaling, arrays, lagged
from mltrainer.evaluation.walk import carried, configured
from mltrainer.features.matrix import Matrix
from mltrainer.models.base import ModelSpec, engine
from mltrainer.trust.provenance import fingerprint

LEAD = 0.2  # correlation with the outcome that a planted lead must at least give
CUT, ASKED = 700, 200  # rows of made numbers to learn from and to ask about


@dataclass(frozen=True)
class Attestation:
    """What one model showed: genuine when no check found anything against it.

    `findings` are against it; `notes` are true and allowed, such as a forecast without signal.
    """

    name: str
    family: str
    genuine: bool
    engine: str
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    forecast: str = ""


def attest(
    models: Iterable[str] | None = None, *, ticker: str = "MSFT", jobs: int | None = None, progress: bool = True
) -> list[Attestation]:
    """Prove, for every model, that it is what its card says; one `Attestation` each.

    A model is genuine when the fitted estimator is the class its card names, another target makes another model, two
    fits under one seed agree bit for bit, it says the same after it was saved and loaded, it finds a planted lead,
    its forecasts are no other model's, and a rewritten future does not move them.

    Parameters
    ----------
    models : names; default the whole catalog.
    ticker : whose real data is used.
    jobs : worker processes; default the number of cores.
    """
    specs = study.select(models=models)
    matrix = study.matrix(ticker, start=leakcheck.START, end=leakcheck.END)
    try:
        with executor(effective_jobs(jobs)) as pool:
            shown = pool.map(attest_one, [s.name for s in specs], [matrix] * len(specs))
            found = list(tqdm(shown, total=len(specs), disable=unwatched(progress), unit="model", leave=False))
    except BrokenProcessPool:
        raise Unavailable("a worker of the attestation was ended; run it again") from None
    return _moved_by_the_future(_alike(found), ticker, jobs, progress)


def attest_one(name: str, matrix: Matrix, spec: ModelSpec | None = None) -> Attestation:
    """Make one model show what can be shown without the others."""
    spec = spec or study.select(models=[name])[0]
    base = Attestation(spec.name, spec.family, False, spec.engine)
    if not spec.available:
        return replace(base, findings=[spec.why_unavailable])
    X, y, later = _rows(spec, matrix)
    try:
        with threadpool_limits(1):
            first, second = (_said(spec, matrix, X, y, later) for _ in range(2))
            other = _said(spec, matrix, _other(X), -y[::-1], later)
            same = _answer(artifacts.reopened(_said(spec, matrix, X, y, later)[0]), spec, later)
            lead = _planted(spec, matrix)
    except Exception as error:  # a model that fails has not shown that it is genuine
        return replace(
            base, findings=[f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"]
        )
    found, notes = [], []
    ran = fitted_engine(first[0])
    if not _same_class(ran, spec.engine):
        found.append(f"the fitted estimator is {ran}, its card names {spec.engine}")
    if not np.array_equal(first[1], second[1]):
        found.append("two fits under one seed say different things")
    if not np.array_equal(first[1], same):
        found.append("it says something else after it was saved and loaded")
    if np.ptp(first[1]) == 0:
        notes.append("no signal: its forecast is constant on this data")
    elif np.array_equal(first[1], other[1]):
        found.append("another target changes nothing it says")
    if not lead > LEAD:
        found.append(f"it does not find a planted lead (correlation {lead:.2f}, at least {LEAD} is asked)")
    return replace(
        base, genuine=not found, findings=found, notes=notes, forecast="" if notes else fingerprint(first[1])
    )


def fitted_engine(fitted: Any) -> str:
    """The class path of what was really fitted: through pipelines and our wrappers to the library's estimator."""
    if isinstance(fitted, Pipeline):
        return fitted_engine(fitted.steps[-1][1])
    found = engine(fitted)
    # a wrapper of ours derives from scikit-learn's base classes alone; a subclass of a library's estimator is one
    return fitted_engine(fitted.estimator_) if found.startswith("sklearn.base.") else found


def _same_class(ran: str, named: str) -> bool:
    """One class of one library, which is really loaded; a library may export it from another of its modules."""
    package, name = named.partition(".")[0], named.rpartition(".")[2]
    return (ran.partition(".")[0], ran.rpartition(".")[2]) == (package, name) and package in sys.modules


def _rows(spec: ModelSpec, matrix: Matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train rows, their target, and later rows, as the walk-forward would give them."""
    y = matrix.y.dropna()
    cut = len(y) * 3 // 4
    X, unit = arrays(spec, matrix, y.index)
    z = y.to_numpy(float) / unit
    scaling = Scaling.fit(spec, X[:cut], z[:cut], Protocol().winsorize)
    return scaling.features(X[:cut]), scaling.label(z[:cut]), scaling.features(X[cut:])


def _other(X: np.ndarray) -> np.ndarray:
    # a series model learns from its own past, so for it another past is the other target
    return X[::-1] if X.shape[1] <= 2 else X


def _said(spec: ModelSpec, matrix: Matrix, X: np.ndarray, y: np.ndarray, later: np.ndarray) -> tuple[Any, np.ndarray]:
    fitted = configured(spec, matrix).fit(X, y)
    return fitted, _answer(fitted, spec, later)


def _answer(fitted: Any, spec: ModelSpec, later: np.ndarray) -> np.ndarray:
    # as long as all later rows together, so that none of their labels is known
    return carried(spec, fitted, later, np.full(len(later), np.nan), horizon=len(later))


def _planted(spec: ModelSpec, matrix: Matrix) -> float:
    """Correlation with the outcome on later rows, where a lead was planted in numbers made for it.

    A series model gets a return with a slow drift and one that takes back yesterday's noise, and must find one of
    them; a volatility model a factor that moves the risk and its price; any other model a factor in two states.
    """
    matrix = replace(matrix, at_close=())  # sessions of made numbers are entered when they begin
    if spec.series:
        return max((_followed(spec, matrix, r) for r in _returns()), key=lambda c: (np.isfinite(c), c))
    X, y = _lead(len(spec.columns or matrix.X.columns), volatile=spec.task == "volatility")
    X = lagged(pd.DataFrame(X), spec.lags)
    return _correlation(_answer(configured(spec, matrix).fit(X[:CUT], y[:CUT]), spec, X[CUT:]), y[CUT:])


def _lead(columns: int, volatile: bool) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, p) of which a third rises with the factor, a third falls, a third is noise; and the label (n,).

    A mean over the features knows nothing of it, nor any sum that did not learn their signs.
    """
    rng = np.random.default_rng(7)
    n, third = CUT + ASKED, columns // 3
    lead = rng.choice([-1.0, 1.0], n) + 0.3 * rng.normal(size=n)
    loads = rng.permutation(np.repeat([1.0, -1.0, 0.0], [third, third, columns - 2 * third]))
    X = lead[:, None] * loads + 0.7 * rng.normal(size=(n, columns))
    y = np.exp(0.5 * lead) * (0.7 + 0.7 * rng.normal(size=n)) if volatile else lead + 0.5 * rng.normal(size=n)
    return X, (y - y.mean()) / y.std()


def _returns() -> tuple[np.ndarray, np.ndarray]:
    """Returns (n,) with a slow drift, and returns that take back the noise of the session before."""
    rng, n = np.random.default_rng(7), CUT + ASKED
    drift = np.zeros(n)
    for t in range(1, n):
        drift[t] = 0.98 * drift[t - 1] + 0.002 * rng.normal()
    noise = 0.01 * rng.normal(size=n)
    return drift + 0.1 * noise, 0.002 * rng.normal(size=n) + np.diff(noise, prepend=0.0)


def _followed(spec: ModelSpec, matrix: Matrix, r: np.ndarray) -> float:
    """Correlation of a series model's forecasts with the sum of the next returns, on the rows after `CUT`."""
    X = np.column_stack([r, *(np.abs(r) + 0.01 for _ in (spec.columns or ())[1:])])
    y = sliding_window_view(r[1:], matrix.horizon).sum(axis=1)
    answer = _answer(configured(spec, matrix).fit(X[:CUT], y[:CUT]), spec, X[CUT:])
    return _correlation(answer[: len(y) - CUT], y[CUT:])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 else float("nan")


def _alike(shown: list[Attestation]) -> list[Attestation]:
    """No model may say exactly what another says."""
    first: dict[str, str] = {}
    out = []
    for a in shown:
        twin = first.setdefault(a.forecast, a.name) if a.forecast else a.name
        if twin != a.name:
            a = replace(a, genuine=False, findings=[*a.findings, f"it says exactly what {twin} says"])
        out.append(a)
    return out


def _moved_by_the_future(shown: list[Attestation], ticker: str, jobs: int | None, progress: bool) -> list[Attestation]:
    names = [a.name for a in shown]
    leaks = leakcheck.leakcheck(ticker=ticker, models=names, jobs=jobs, progress=progress).leaks
    said = {leak.name.partition(" (")[0]: str(leak) for leak in leaks if leak.kind == "forecast"}
    return [replace(a, genuine=False, findings=[*a.findings, said[a.name]]) if a.name in said else a for a in shown]
