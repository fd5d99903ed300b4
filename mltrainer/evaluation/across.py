"""What a validator asks of a panel: the figures in the mean of its names, and which names break a promise."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from mltrainer import metrics
from mltrainer.evaluation import crosssection, validation
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.residuals import Finding, residual_tests
from mltrainer.evaluation.skill import timing_return
from mltrainer.features import targets

LEVEL = 0.05
Peers = Mapping[str, Evaluation]  # the results of one model on each name of a panel


def names_mean(tables: Mapping[str, pd.DataFrame], merit: str) -> pd.DataFrame:
    """Mean over names of each figure of each part, where a name has it.

    Parameters
    ----------
    tables : of each name, as `validation.parts` gives it.
    merit : the figure that says whether something was added.

    Returns
    -------
    DataFrame
        By part, in the order of the first name that has it: `names` that have the merit, the figures, and `above`, the
        share of these names in which it is above zero.
    """
    parts = pd.concat(tables).groupby(level=1, sort=False)
    value = pd.concat(tables)[merit]
    above = (value > 0).where(value.notna()).astype(float).groupby(level=1, sort=False).mean()
    return parts.mean().assign(above=above).pipe(lambda t: t.assign(names=parts[merit].count()))


def folds(peers: Peers, merit: str) -> pd.DataFrame:
    """`names_mean` by test block, which is the same for all names."""
    whole = pd.concat([e.forecasts["fold"] for e in peers.values()])
    days = {f: f"{own.index.min().date()} to {own.index.max().date()}" for f, own in whole.groupby(whole)}
    tables = {t: validation.parts(e, e.forecasts["fold"].map(days)) for t, e in peers.items()}
    return names_mean(tables, merit).sort_index()


def equal_shares(peers: Peers) -> tuple["pd.Series[float]", "pd.Series[float]"]:
    """Net return by session of equal shares in every name's positions, and of their timing."""
    net = pd.DataFrame({t: e.forecasts["net"] for t, e in peers.items()}).mean(axis=1)
    timing = pd.DataFrame({t: timing_return(e.forecasts, e.horizon) for t, e in peers.items()}).mean(axis=1)
    return net, timing.dropna()


@dataclass(frozen=True)
class Broken:
    """One test that is asked of every name: in which it fails at 5 %, of how many that can be asked, and in words."""

    test: str
    names: list[str]
    asked: int
    words: str

    def sentence(self) -> str:
        """Say it, and how many names would fail by chance."""
        if not self.asked:
            return "too few outcomes of any name to tell"
        if not self.names:
            return f"nothing against it in any of {self.asked} names"
        chance = f"where chance alone makes {LEVEL * self.asked:.1f}"
        return f"{self.words}: in {len(self.names)} of {self.asked} names, {chance}"


def residuals(peers: Peers) -> list[Broken]:
    """The tests of errors (`residual_tests`) of every name; in the words of those that reject."""
    found = {t: residual_tests(e) for t, e in peers.items()}
    return [_broken({t: own[i] for t, own in found.items()}) for i in range(len(next(iter(found.values()))))]


def coverage(peers: Peers, nominal: float) -> list[Broken]:
    """The tests of the interval (`validation.coverage_checks`) of every name that has outcomes enough."""
    found = {t: own for t, e in peers.items() if (own := validation.coverage_checks(e, nominal))}
    return [_broken({t: own[i] for t, own in found.items()}, "the promise is broken") for i in range(3) if found]


def _broken(of: Mapping[str, Finding | validation.Check], words: str = "") -> Broken:
    failed = {t: f for t, f in of.items() if f.p_value < LEVEL}
    said = words or " or ".join(dict.fromkeys(f.words for f in failed.values()))
    asked = sum(np.isfinite(f.p_value) for f in of.values())
    return Broken(next(iter(of.values())).test, sorted(failed), int(asked), said)


def by_name(peers: Peers, nominal: float) -> pd.DataFrame:
    """Of each name: `outside` its interval, the p values that it is kept, of its loss against the baseline's, of signs.

    Returns
    -------
    DataFrame
        By ticker: outcomes (one horizon apart), outside, frequency, clusters (p values of Kupiec and Christoffersen),
        gain, gain_p (Diebold-Mariano), hit_p (Pesaran-Timmermann); NaN where too few.
    """
    rows = {}
    for ticker, e in peers.items():
        frame = e.forecasts.iloc[:: e.horizon].dropna(subset=["lower", "upper"])
        missed = metrics.misses(frame["y"], frame["lower"], frame["upper"])
        checks = [c.p_value for c in validation.coverage_checks(e, nominal)] or [np.nan] * 3
        t = e.metrics.get("gain_t", np.nan)
        rows[ticker] = {
            "outcomes": len(missed), "outside": float(np.mean(missed)) if len(missed) else np.nan,
            "frequency": checks[0], "clusters": checks[1],
            "gain": e.metrics.get("gain", np.nan), "gain_p": float(2 * stats.norm.sf(abs(t))),
            "hit_p": e.metrics.get("hit_p", np.nan),
        }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("ticker")


def gaps(peers: Peers, others: Mapping[str, Mapping[str, Evaluation]]) -> pd.DataFrame:
    """`validation.gaps` in the mean of all names."""
    tables = {t: validation.gaps(e, dict(others[t])) for t, e in peers.items() if t in others}
    return pd.concat(tables).groupby(level=1, sort=False).mean()


def no_decay(peers: Peers) -> str:
    """Why it cannot be said for how long the forecasts order the names; empty where it can."""
    aim = targets.target(next(iter(peers.values())).target)
    if len(peers) < crosssection.LEAST:
        return f"it takes {crosssection.LEAST} names to rank, and these are {len(peers)}"
    if aim.pays not in ("sign", "quantiles"):
        return f"a forecast of {aim.title} does not claim to order returns"
    return ""


def decay(peers: Peers, prices: pd.DataFrame) -> pd.DataFrame:
    """Mean over sessions of the rank correlation, across names, of forecast and return to come, by horizon.

    Parameters
    ----------
    prices : (n, k) sessions x tickers, at which a session is entered.

    Returns
    -------
    DataFrame
        By horizon (1 to 21 sessions): mean, icir, t (Newey and West), sessions; see `crosssection.decay`.
    """
    said = pd.DataFrame({t: e.forecasts["forecast"] for t, e in peers.items()}).sort_index()
    return crosssection.decay(said, prices.loc[said.index[0] :, said.columns])
