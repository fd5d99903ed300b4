"""Who did best, and is that more than luck? One row per model and ticker, deflated by every trial ever made."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.evaluation import trials
from mltrainer.evaluation.walkforward import (
    SUSPECT_HIT,
    SUSPECT_IC,
    SUSPECT_ROWS,
    Evaluation,
    constant_forecast,
)

COLUMNS = (
    "name family task ticker status verdict mse mae r2 r2_oos mape ic ic_t hit_rate sharpe deflated_sharpe sortino "
    "calmar max_drawdown value_at_risk expected_shortfall profit_factor win_rate turnover breakeven_bps "
    "information_ratio coverage fit_seconds predict_seconds peak_mb "
    "sharpe_low sharpe_high hit_p annual_return pinball key reason in_confidence_set panel"
).split()

NO_EVIDENCE = "no evidence of skill"
EVIDENCE = "evidence of skill"
NO_SIGNAL = "no signal: the forecast is constant"
SUSPECT = "suspected leakage: too good to be true, check before believing"
NOT_BEYOND = "no evidence of skill beyond holding the share"
CONFIDENCE = 0.95
SIZE = 0.05


@dataclass(frozen=True)
class Leaderboard:
    """The ranked rows (columns `COLUMNS`, best deflated Sharpe first) and what luck could have done.

    `luck` has trials, effective, spread, threshold (see `trials.luck`), overfitting, the probability that
    picking the best of these models by their past is no better than picking the median one (PBO), and spa_p, the p
    value of the hypothesis that none forecasts better than the mean of the past (SPA).
    """

    rows: pd.DataFrame
    luck: dict[str, float]

    def __repr__(self) -> str:
        """Say the finding in one sentence."""
        return f"Leaderboard({len(self.rows)} rows: {self.sentence()})"

    def _repr_html_(self) -> str:
        return self.rows.drop(columns=["key", "reason"]).to_html(index=False, float_format="{:.3g}".format)

    def sentence(self) -> str:
        """Say the finding in one true sentence of plain words."""
        ran = self.rows[self.rows["status"] == "ok"]
        n = int(self.luck["trials"])
        if ran.empty:
            return "No model ran to the end, so nothing can be said."
        best = ran.iloc[0]
        skilled = ran[ran["verdict"] == EVIDENCE]
        if len(skilled):
            names = ", ".join(skilled["name"].head(3))
            count = f"{len(skilled)} of {len(ran)} models show" if len(skilled) > 1 else f"1 of {len(ran)} models shows"
            return f"{count} evidence of skill after costs and {n} trials: {names}."
        chance = metrics.chance_of_best(best["sharpe"], self.luck["spread"], self.luck["effective"])
        tail = f"; the best, {best['name']} on {best['ticker']}, {_odds(chance)}" if np.isfinite(chance) else ""
        return f"No model shows evidence of skill after costs and {n} trials{tail}."

    def tests(self) -> list[str]:
        """What the tests say that look at all models together, one true sentence each; empty where none applies."""
        ran = self.rows[self.rows["status"] == "ok"]
        p, pbo = (self.luck.get(name) for name in ("spa_p", "overfitting"))
        said = []
        if p is not None and np.isfinite(p):
            found = "one or more forecast better" if p < SIZE else "no model is shown to forecast better"
            said.append(f"Superior predictive ability (SPA): p = {p:.2f}; {found} than the mean of the past does.")
        if "in_confidence_set" in ran and (known := ran["in_confidence_set"].dropna()).size > 1:
            count = f"{int(known.astype(bool).sum())} of {len(known)}"
            said.append(f"The 90 % model confidence set holds {count}, which squared errors cannot tell from the best.")
        if pbo is not None and np.isfinite(pbo):
            said.append(
                f"Probability of backtest overfitting (PBO): {pbo:.2f}; so often the best in one half of the time was "
                "no better than the median in the other."
            )
        return said


def _odds(chance: float) -> str:
    if chance > 0.95:
        return "does no better than luck alone would in nearly every such search"
    if chance < 0.05:
        return "is better than luck alone would explain but fails another test"
    return f"would be matched by luck alone in about {max(1, round(10 * chance))} of 10 such searches"


def leaderboard(evaluations: Iterable[Evaluation], luck: dict[str, float] | None = None) -> Leaderboard:
    """Rank evaluations by deflated Sharpe ratio and give each a verdict in words.

    Parameters
    ----------
    evaluations : what to rank; those that did not run keep a row with the reason.
    luck : what luck could have done; default from the whole ledger, as it stands now.
    """
    evaluations = list(evaluations)
    luck = dict(trials.luck() if luck is None else luck)
    peers = _peers(evaluations)
    luck["overfitting"] = _overfitting(peers)
    luck["spa_p"] = _superior(peers)
    best = {key: inside for same in peers for key, inside in _confidence_set(same).items()}
    rows = pd.DataFrame(
        [_row(e, luck["threshold"]) | {"in_confidence_set": best.get(e.key)} for e in evaluations], columns=COLUMNS
    )
    rows = rows.sort_values(["deflated_sharpe", "sharpe", "name"], ascending=[False, False, True], na_position="last")
    order = rows["status"].ne("ok").argsort(kind="stable")
    return Leaderboard(rows.iloc[order].reset_index(drop=True), luck)


def _row(evaluation: Evaluation, threshold: float) -> dict[str, object]:
    e = evaluation
    row: dict[str, object] = {
        "name": e.model, "family": e.family, "task": e.task, "ticker": e.ticker, "status": e.status,
        "key": e.key, "reason": e.reason, "verdict": e.status, "panel": e.meta.get("panel", ""),
    }  # fmt: skip
    if not e.ok:
        return row
    figures = e.metrics | {name: e.meta[name] for name in ("fit_seconds", "predict_seconds", "peak_mb")}
    deviation = 1.96 * figures["sharpe_deviation"]
    deflated = float("nan")
    if np.isfinite(threshold):
        deflated = metrics.probabilistic_sharpe(e.forecasts["net"], benchmark=max(threshold, 0.0))
    figures |= {"deflated_sharpe": deflated}
    figures |= {"sharpe_low": figures["sharpe"] - deviation, "sharpe_high": figures["sharpe"] + deviation}
    return row | {k: v for k, v in figures.items() if k in COLUMNS} | {"verdict": verdict(e, deflated)}


def verdict(evaluation: Evaluation, deflated: float) -> str:
    """Put the evidence into words; without evidence on every count the answer is "no evidence of skill".

    Evidence needs all of: a deflated Sharpe ratio of at least 0.95, an out-of-sample R² above zero, a HAC t of the
    information coefficient above 2, and a better risk-adjusted result than holding the share.
    """
    m = evaluation.metrics
    if constant_forecast(evaluation.forecasts):
        return NO_SIGNAL
    if len(evaluation.forecasts) > SUSPECT_ROWS and (abs(m["ic"]) > SUSPECT_IC or m["hit_rate"] > SUSPECT_HIT):
        return SUSPECT
    if not deflated >= CONFIDENCE:
        return NO_EVIDENCE
    if not m["information_ratio"] > 0:
        return NOT_BEYOND
    return EVIDENCE if m["r2_oos"] > 0 and m["ic_t"] > 2 else NO_EVIDENCE


def _peers(evaluations: list[Evaluation]) -> list[list[Evaluation]]:
    """Models that can be compared, by ticker: those that ran over the sessions that most of them ran over."""
    groups: dict[str, dict[object, list[Evaluation]]] = {}
    for e in evaluations:
        if e.ok:
            sessions = (len(e.forecasts), e.forecasts.index[0], e.forecasts.index[-1], e.horizon)
            groups.setdefault(e.ticker, {}).setdefault(sessions, []).append(e)
    return [max(same.values(), key=len) for same in groups.values()]


def _overfitting(peers: list[list[Evaluation]]) -> float:
    """Average over tickers of the probability of backtest overfitting among the models that ran."""
    figures = [metrics.backtest_overfitting(np.column_stack([e.forecasts["net"] for e in same])) for same in peers]
    known = [f for f in figures if np.isfinite(f)]
    return float(np.mean(known)) if known else float("nan")


def _superior(peers: list[list[Evaluation]]) -> float:
    """P value of "no model beats the mean of the past on any ticker": the least of the tickers', times their number."""
    figures = [
        metrics.superior_ability(_losses(same), _squared(same[0], "expanding_mean"), overlap=same[0].horizon)
        for same in peers
    ]
    known = [f for f in figures if np.isfinite(f)]
    return min(1.0, len(known) * min(known)) if known else float("nan")


def _confidence_set(same: list[Evaluation]) -> dict[str, bool]:
    """Key of each model compared -> whether it is in the model confidence set of its ticker."""
    inside = metrics.confidence_set(_losses(same), overlap=same[0].horizon)
    return {e.key: bool(held) for e, held in zip(same, inside, strict=True)}


def _losses(same: list[Evaluation]) -> np.ndarray:
    return np.column_stack([_squared(e, "forecast") for e in same])


def _squared(evaluation: Evaluation, column: str) -> np.ndarray:
    return ((evaluation.forecasts["y"] - evaluation.forecasts[column]) ** 2).to_numpy()
