"""The track record: how often right, how wrong against the plain forecast, and whether the intervals held."""

from typing import Any

import numpy as np
import pandas as pd

from mltrainer import metrics
from mltrainer.trading.forecasts.scoring import score

COLUMNS = (
    "evidence target horizon interval forecasts known apart days hits hit_rate hit_low hit_high mean_confidence loss "
    "baseline_loss gain gain_t covered coverage kupiec_p falsified"
).split()
KEYS = ["evidence", "target", "horizon", "interval"]


def track(scored: pd.DataFrame | None = None) -> pd.DataFrame:
    """Sum up scored forecasts, one row for each kind of evidence, target, horizon and interval: never mixed.

    Parameters
    ----------
    scored : as `score` gives them, default all of the mode in force.

    Returns
    -------
    DataFrame
        forecasts : how many; known : of these with an outcome; apart : of these, so many do not overlap on one ticker
        (the next begins where the last was known), and hits and coverage are counted on them alone; days : on so many.
        hits, hit_rate, hit_low, hit_high : on the forecast's side of its center, with Wilson's 95 % interval, for
        which the names of one day are one trial, as they move together.
        mean_confidence : what they had said of that.
        loss, baseline_loss, gain, gain_t : means of the proper loss over all that are known; the share of the
        baseline's loss that was saved, and its t with Newey and West's error over 2 horizons (NaN below 8 days).
        covered, coverage, kupiec_p : of those with an interval, how many held, and Kupiec's p that so many should.
        falsified : how many of the known were called wrong.

    References
    ----------
    Wilson (1927), Journal of the American Statistical Association 22, 209-212; Kupiec (1995), Journal of Derivatives 3.
    """
    scored = score() if scored is None else scored
    rows = [dict(zip(KEYS, key, strict=True)) | _row(same) for key, same in scored.groupby(KEYS, sort=True)]
    return pd.DataFrame(rows, columns=COLUMNS)


def sentence(record: pd.DataFrame) -> str:
    """Say it in plain words; what is no forward evidence says so."""
    forward = record[record["evidence"] == "forward"]
    if forward["known"].sum() == 0:
        n, past = int(forward["forecasts"].sum()), int(record["forecasts"].sum() - forward["forecasts"].sum())
        waiting = f"{n} wait for their outcome" if n else "none was committed before its outcome"
        return f"No forward evidence yet: {waiting}; {past} historical or late ones are shown and do not count."
    said = [
        f"{r.target} over {r.horizon} sessions: {r.known} known, right side {r.hits} of {r.apart} "
        f"({r.hit_low:.0%} to {r.hit_high:.0%}), loss saved against the plain forecast {r.gain:+.1%} (t {r.gain_t:.1f})"
        for r in forward[forward["known"] > 0].itertuples()
    ]
    return f"{'; '.join(said)}."


def _row(same: pd.DataFrame) -> dict[str, Any]:
    known = same[same["status"] == "known"]
    row: dict[str, Any] = {"forecasts": len(same), "known": len(known), "falsified": int(known["falsified"].sum())}
    free = apart(known)
    hits = int(free["hit"].sum())
    days = free["as_of"].nunique()
    row |= {"apart": len(free), "days": days, "hits": hits, "mean_confidence": free["confidence"].astype(float).mean()}
    row["hit_rate"] = hits / len(free) if len(free) else np.nan
    row["hit_low"], row["hit_high"] = metrics.wilson(row["hit_rate"], days)
    held = free["inside"].dropna().astype(bool)
    if len(held):
        alpha = 1 - float(same["interval"].iloc[0])
        row |= {"covered": int(held.sum()), "coverage": held.mean(), "kupiec_p": metrics.kupiec(~held, alpha=alpha).p}
    return row | _losses(known)


def _losses(known: pd.DataFrame) -> dict[str, float]:
    if known.empty:
        return {}
    by_day = known.groupby("as_of")[["loss", "baseline_loss"]].mean().astype(float)
    saved = (by_day["baseline_loss"] - by_day["loss"]).to_numpy()
    rival = float(by_day["baseline_loss"].mean())
    t = metrics.newey_west_t(saved, 2 * int(known["horizon"].iloc[0])) if len(saved) >= 8 and np.ptp(saved) else np.nan
    return {"loss": float(by_day["loss"].mean()), "baseline_loss": rival,
            "gain": float(saved.mean()) / rival if rival else np.nan, "gain_t": t}  # fmt: skip


def apart(known: pd.DataFrame) -> pd.DataFrame:
    """Of each ticker, those that begin when the outcome of the one before was known."""
    kept = []
    for _, own in known.sort_values("as_of", kind="stable").groupby("ticker"):
        end = ""
        for place, begins, ends in zip(own.index, own["as_of"], own["known_on"], strict=True):
            if begins >= end:
                kept.append(place)
                end = ends
    return known.loc[sorted(kept)]
