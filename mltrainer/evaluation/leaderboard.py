"""Who did best, and is that more than luck? One row per model and ticker, judged among every trial ever made."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.evaluation import columns, judgments, skill
from mltrainer.evaluation.baselines import loss_difference
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.significance import SIZE
from mltrainer.evaluation.skill import Evidence, Judgment
from mltrainer.features import targets as aims
from mltrainer.metrics import selection

RIVALS = {"mean": "the mean of the past", "last": "the last value", "zero": "zero"}  # as a sentence has them
COLUMNS = list(columns.LEADERBOARD)

ONE_PANEL = ["name", "settings", "panel", "p_knows", "p_pays"]  # the same in all rows of one panel


@dataclass(frozen=True)
class Leaderboard:
    """The ranked rows (`columns.LEADERBOARD` says each column and its unit) and what luck could have done.

    Strongest evidence comes first.

    `luck` has what `skill.Judgment.luck` says, and overfitting, the probability that picking the best of these models
    by their past is no better than picking the median one (PBO), and spa_p, the p value of the hypothesis that none
    forecasts better than the mean of the past (SPA).
    """

    rows: pd.DataFrame
    luck: dict[str, float]

    def __repr__(self) -> str:
        """Say the finding in one sentence."""
        return f"Leaderboard({len(self.rows)} rows: {self.sentence()})"

    def _repr_html_(self) -> str:
        return self.rows.drop(columns=["key", "reason"]).to_html(index=False, float_format="{:.3g}".format)

    def sentence(self) -> str:
        """Say the finding in one true sentence of plain words, of several targets one each."""
        ran = self.rows[self.rows["status"] == "ok"]
        if ran.empty:
            return "No model ran to the end, so nothing can be said."
        targets = ran["target"].fillna("return")
        return " ".join(self._sentence(same, str(name)) for name, same in ran.groupby(targets, sort=False))

    def _sentence(self, ran: pd.DataFrame, target: str) -> str:
        n = int(self.luck["trials"])
        tried = f"after costs and {n} trial{'' if n == 1 else 's'}"
        if target != "return":
            tried = f"in forecasting {aims.target(target).title} after {n} trial{'' if n == 1 else 's'}"
        ran = ran[~(ran["panel"].fillna("").ne("") & ran.duplicated(ONE_PANEL))]  # a panel is one trial of many rows
        skilled = ran[ran["verdict"].map(skill.shows)]
        if len(skilled):
            first = [f"{name} ({skill.kinds(v)})" for name, v in skilled[["name", "verdict"]].to_numpy()]
            names = "; ".join(list(dict.fromkeys(first))[:3])
            count = f"{len(skilled)} of {len(ran)} models show" if len(skilled) > 1 else f"1 of {len(ran)} models shows"
            return f"{count} evidence of skill {tried}: {names}."
        best = ran.iloc[0]
        chance = np.nanmin([best["p_knows"], best["p_pays"], 1.0])
        if aims.target(target).proof == "loss":
            best = ran.iloc[int(np.nanargmax(ran["gain"].astype(float)))]
            rival, change = RIVALS.get(best["baseline"], best["baseline"]), "saves" if best["gain"] > 0 else "adds"
            return (
                f"No model beats {rival} {tried}; the best, {best['name']} on {best['ticker']}, {change} "
                f"{abs(best['gain']):.1%} of its loss (t {best['gain_t']:.1f})."
            )
        return (
            f"No model shows evidence of skill {tried}; the best, {best['name']} on {best['ticker']}, {_odds(chance)}."
        )

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
        elif len(ran) > MOST:
            said.append(f"The model confidence set is not sought among more than {MOST:,} models of one ticker.")
        if pbo is not None and np.isfinite(pbo):
            said.append(
                f"Probability of backtest overfitting (PBO): {pbo:.2f}; so often the best in one half of the time was "
                "no better than the median in the other."
            )
        return said


def _odds(chance: float) -> str:
    if chance > 0.95:
        return "does no better than luck alone would in nearly every such search"
    return f"would be matched by luck alone in about {max(1, round(10 * chance))} of 10 such searches"


def leaderboard(evaluations: Iterable[Evaluation], judgment: Judgment | None = None) -> Leaderboard:
    """Rank evaluations by their evidence of skill and give each a verdict in words (`skill.verdict`).

    Parameters
    ----------
    evaluations : what to rank; those that did not run keep a row with the reason.
    judgment : the tests of all trials; default those of the whole ledger, as it stands now.
    """
    if judgment is None:
        evaluations = list(evaluations)
        judgment = judgments.judgment(evaluations)
    groups: dict[str, dict[object, Peers]] = {}
    made = []
    for e in evaluations:  # each is forgotten before the next: of a whole ledger they do not fit into memory
        made.append(_cells(_row(e, judgment)))
        if e.ok:
            sessions = (len(e.forecasts), e.forecasts.index[0], e.forecasts.index[-1], e.horizon, e.target)
            groups.setdefault(e.ticker, {}).setdefault(sessions, Peers(e)).add(e)
    peers = [max(same.values(), key=lambda group: len(group.keys)) for same in groups.values()]
    luck = judgment.luck | {"overfitting": _overfitting(peers), "spa_p": _superior(peers)}
    best = {key: inside for same in peers for key, inside in same.confidence_set().items()}
    rows = pd.DataFrame(made, columns=COLUMNS)
    rows["in_confidence_set"] = pd.Series([best.get(key) for key in rows["key"]], rows.index, dtype=object)
    p = rows["p_single"].astype(float).fillna(rows[["p_knows", "p_pays"]].astype(float).min(axis=1)).fillna(1.0)
    keys, descending = ["_p", "deflated_sharpe", "sharpe", "name"], [True, False, False, True]
    rows = rows.assign(_p=p).sort_values(keys, ascending=descending, na_position="last").drop(columns="_p")
    order = rows["status"].ne("ok").argsort(kind="stable")
    return Leaderboard(rows.iloc[order].reset_index(drop=True), luck)


def _cells(row: dict[str, object]) -> list[object]:
    """In the order of the columns; what a row does not say is missing."""
    return [row.get(name, np.nan) for name in COLUMNS]


def _row(evaluation: Evaluation, judgment: Judgment) -> dict[str, object]:
    e = evaluation
    row: dict[str, object] = {
        "name": e.model, "family": e.family, "task": e.task, "ticker": e.ticker, "status": e.status,
        "key": e.key, "reason": e.reason, "verdict": e.status, "panel": e.meta.get("panel", ""), "horizon": e.horizon,
        "target": e.target, "baseline": e.meta.get("baseline", ""),
    }  # fmt: skip
    if not e.ok:
        return row
    row |= {"settings": e.meta.get("settings", ""), "project": e.meta.get("project", "")}
    figures = e.metrics | {name: e.meta[name] for name in ("fit_seconds", "predict_seconds", "peak_mb")}
    deviation, evidence = 1.96 * figures["sharpe_standard_error"], judgment.evidence.get(e.trial, Evidence())
    single = judgment.single.get(e.trial)
    timing = skill.timing_return(e.forecasts, e.horizon)
    luck = judgment.luck["best"] * np.sqrt(metrics.SESSIONS / max(len(timing), 1))
    figures |= {
        "deflated_sharpe": metrics.probabilistic_sharpe(timing, benchmark=luck) if np.isfinite(luck) else np.nan,
        "sharpe_low": figures["sharpe"] - deviation,
        "sharpe_high": figures["sharpe"] + deviation,
        "p_knows": evidence.p_knows,
        "p_pays": evidence.p_pays,
        "p_single": single.evidence.p if single else np.nan,
        "timing_t": evidence.t_pays,
        "timing_luck": luck,
        "gain_low": figures.get("gain", np.nan) - 1.96 * figures.get("gain_error", np.nan),
        "gain_high": figures.get("gain", np.nan) + 1.96 * figures.get("gain_error", np.nan),
    }
    span = {"start": str(e.forecasts.index[0].date()), "end": str(e.forecasts.index[-1].date())}
    known = {k: v for k, v in figures.items() if k in COLUMNS}
    return row | known | span | {"verdict": skill.verdict(e, evidence, single)}


MEANS = "mse mae r2 r2_oos hit_rate coverage spread_ratio mz_slope turnover".split()
NO_MEAN = "sortino calmar breakeven_bps profit_factor win_rate value_at_risk expected_shortfall".split()


def together(board: Leaderboard, evaluations: Iterable[Evaluation]) -> pd.DataFrame:
    """Rows of a board with one for each model of a panel in place of one for each of its tickers.

    What it earns is that of equal shares in every ticker, its IC the mean over sessions of that across tickers, its
    gain that of the mean loss; other figures are means over tickers, and what has no meaning for several is NaN.
    """
    frames: dict[str, list[Evaluation]] = {}
    for e in evaluations:
        if e.ok and e.meta.get("panel"):
            frames.setdefault(e.trial, []).append(e)
    trial = {e.key: key for key, same in frames.items() for e in same}
    rows: dict[str, dict[str, Any]] = {}
    for record in board.rows.to_dict("records"):
        row: dict[str, Any] = {str(k): v for k, v in record.items()}
        key = str(trial.get(str(row["key"]), row["key"]))
        if key in frames and key not in rows:
            own = board.rows[board.rows["key"].map(trial) == key][MEANS].astype(float)
            row |= dict.fromkeys(NO_MEAN, float("nan")) | {name: float(own[name].mean()) for name in MEANS}
            row |= _of_panel(frames[key], float(row["timing_luck"]))
        rows.setdefault(key, row)
    return pd.DataFrame(list(rows.values()), columns=COLUMNS)


def _of_panel(same: list[Evaluation], luck: float) -> dict[str, object]:
    """Figures of one model on all tickers of its panel."""
    horizon, aim = same[0].horizon, aims.target(same[0].target)
    net, held = (pd.concat([e.forecasts[c] for e in same], axis=1).mean(axis=1) for c in ("net", "benchmark"))
    timing = pd.concat([skill.timing_return(e.forecasts, horizon) for e in same], axis=1).mean(axis=1)
    sharpe, error = metrics.sharpe(net), 1.96 * metrics.sharpe_standard_error(net.to_numpy())
    _, alpha_t, beta = metrics.market_model(net.to_numpy(), held.to_numpy(), lags=horizon)
    found: dict[str, object] = {
        "ticker": f"{len(same)} tickers", "sharpe": sharpe, "sharpe_low": sharpe - error, "sharpe_high": sharpe + error,
        "timing_sharpe": metrics.sharpe(timing), "alpha_t": alpha_t, "beta": beta,
        "information_ratio": metrics.sharpe(net - held), "max_drawdown": metrics.max_drawdown(net.to_numpy()),
        "annual_return": metrics.annual_return(net.to_numpy()), "ic": same[0].meta["pooled"]["ic_by_session"],
        "ic_t": same[0].meta["pooled"]["ic_by_session_t"],
        "deflated_sharpe": metrics.probabilistic_sharpe(timing, benchmark=luck) if np.isfinite(luck) else np.nan,
    }  # fmt: skip
    if all("baseline" in e.forecasts for e in same):
        saved = pd.concat([loss_difference(e.forecasts, aim) for e in same], axis=1).mean(axis=1)
        rival = float(np.mean([e.metrics["baseline_loss"] for e in same]))
        share, t = float(saved.mean()) / rival, metrics.newey_west_t(saved, 2 * horizon)
        around = 1.96 * abs(share / t) if t else np.nan
        found |= {"gain": share, "gain_t": t, "gain_low": share - around, "gain_high": share + around}
    return found


MOST = 2_000  # models of a ticker among which a confidence set is sought: its time grows with their square


class Peers:
    """What tests of models together need of each: those that ran on one ticker over the same sessions."""

    def __init__(self, first: Evaluation) -> None:
        self.overlap, self.keys = first.horizon, list[str]()
        self._sums: list[selection.BlockSums] = []
        self._losses: list[np.ndarray] = []
        rival = "baseline" if "baseline" in first.forecasts else "expanding_mean"
        self.rival = selection.periods(_squared(first, rival), first.horizon)

    def add(self, e: Evaluation) -> None:
        """Take from a result what it will be compared by."""
        self.keys.append(e.key)
        self._sums.append(selection.BlockSums.of(e.forecasts["net"].to_numpy()))
        self._losses.append(selection.periods(_squared(e, "forecast"), self.overlap))

    @property
    def losses(self) -> np.ndarray:
        """Mean squared errors by period, (n, k)."""
        return np.column_stack(self._losses)

    def overfitting(self) -> float:
        """Probability of backtest overfitting."""
        return selection.BlockSums.overfitting(self._sums)

    def confidence_set(self) -> dict[str, bool]:
        """Key of each model -> whether it is in the confidence set; of more than `MOST` models none is said."""
        if len(self.keys) > MOST:
            return {}
        inside = selection.set_of_periods(self.losses)
        return {key: bool(held) for key, held in zip(self.keys, inside, strict=True)}


def _overfitting(peers: list[Peers]) -> float:
    """Average over tickers of the probability of backtest overfitting among the models that ran."""
    known = [f for f in (same.overfitting() for same in peers) if np.isfinite(f)]
    return float(np.mean(known)) if known else float("nan")


def _superior(peers: list[Peers]) -> float:
    """P value of "no model beats the mean of the past on any ticker": the least of the tickers', times their number."""
    figures = [selection.superior_of_periods(same.losses, same.rival) for same in peers]
    known = [f for f in figures if np.isfinite(f)]
    return min(1.0, len(known) * min(known)) if known else float("nan")


def _squared(evaluation: Evaluation, column: str) -> np.ndarray:
    return ((evaluation.forecasts["y"] - evaluation.forecasts[column]) ** 2).to_numpy()
