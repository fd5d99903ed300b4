"""What we ask of bars before anything is learned from them: one row a rule, and each says what it found, and where.

A rule looks and reports; it repairs nothing and drops nothing. Rules of value look at the bars in order, each stamp
once (the first), so that one disorder is not reported by every rule.
"""

from typing import Any

import numpy as np
import pandas as pd

from mltrainer.data.quality.case import EXCHANGE, MONTH, PRICES, ZONE, Case, Hit, Rule, logs

# The data standard: what a series must hold to be judged on.
LEAST_SESSIONS, LEAST_COMPLETE, LEAST_VOLUME, JUMP = 252, 0.95, 0.90, 0.20
# Real shares see a return ten robust deviations out a few times in a decade, good data without news never.
OUTLIER = 10.0

# --- stamps ---------------------------------------------------------------------------------------------------


def _order(case: Case) -> Hit:
    later = case.raw.index[1:]
    return Hit(later[later < case.raw.index[:-1]], "rows stand behind a later one")


def duplicate(case: Case) -> Hit:
    """Rows that are there twice."""
    return Hit(case.raw.index[_repeats(case)], "rows repeat another to the last digit")


def conflict(case: Case) -> Hit:
    """Rows of one stamp (and vintage) that differ."""
    again = case.raw.reset_index(names="stamp").duplicated(["stamp", *case.keys]).to_numpy()
    return Hit(case.raw.index[again & ~_repeats(case)], "rows contradict another of the same stamp")


def _repeats(case: Case) -> np.ndarray:
    return case.raw.reset_index(names="stamp").duplicated().to_numpy()


def _epoch(case: Case) -> Hit:
    """Seconds read as milliseconds lie in the first weeks of 1970, a session every 86 seconds."""
    index = pd.DatetimeIndex(case.raw.index).tz_localize(None)
    born = (index >= pd.Timestamp("1970-01-01")) & (index < pd.Timestamp("1970-02-20"))
    crowded = born & ((index != index.normalize()) | index.normalize().duplicated(keep=False))
    return Hit(case.raw.index[crowded | (index.year >= 2200)], "stamps were read in a wrong unit")


def future(case: Case) -> Hit:
    """Rows that nobody can know yet."""
    return Hit(case.index[case.days > case.asof], f"rows are stamped after {case.asof.date()}")


def _weekend(case: Case) -> Hit | None:
    # the exchange traded on Saturdays until 1952
    found = case.days[(case.days.day_of_week >= 5) & (case.days >= pd.Timestamp("1953-01-01"))].unique()
    return Hit(found, "bars stand on a weekend") if case.exchange else None


def _holiday(case: Case) -> Hit:
    found = case.span.difference(case.sessions)
    return Hit(found[found.day_of_week < 5], f"bars stand on weekdays without a session of {EXCHANGE}")


def _shift(case: Case) -> Hit:
    """Dates cut from New York midnight with the wrong offset stand a day off, in summer, in winter or all year."""
    noon = (case.span + pd.Timedelta(hours=12)).tz_localize(ZONE)
    summer = np.asarray(noon.tz_localize(None) - noon.tz_convert("UTC").tz_localize(None) == pd.Timedelta(hours=-4))
    off, notes = np.zeros(len(case.span), dtype=bool), {}
    for half, rows in (("summer", summer), ("winter", ~summer)):
        days = case.span[rows]
        fit = {k: days.shift(k, freq="D").isin(case.calendar).mean() for k in (0, 1, -1)} if len(days) >= 5 else {}
        best = max(fit, key=lambda k: fit[k], default=0)
        if best and fit[0] < 0.9 and fit[best] > 0.97:
            off, notes[half] = off | rows, "before" if best > 0 else "after"
    where = " and ".join(f"a day {side} their session in {half}" for half, side in notes.items())
    return Hit(case.span[off], f"bars stand {where}")


def _instant(case: Case) -> Hit | None:
    daily = case.intraday and case.days.is_unique and len(case.days) > 1
    return Hit(case.index, "daily bars carry a time of day instead of a session date") if daily else None


# --- completeness ---------------------------------------------------------------------------------------------


def _gap(case: Case) -> Hit:
    return Hit(case.missing, f"sessions of {EXCHANGE} have no bar")


def _complete(case: Case) -> Hit | None:
    share = case.completeness
    return Hit(case.missing, f"sessions are missing, which leaves {share:.1%}") if share < LEAST_COMPLETE else None


def _history(case: Case) -> Hit | None:
    n = len(case.span)
    return Hit(case.span[:0], "sessions are all there is", rows=n) if n < LEAST_SESSIONS else None


def _fresh(case: Case) -> Hit | None:
    says = f"sessions have passed since the last bar, seen from {case.asof.date()}"
    return Hit(case.span[-1:], says, rows=case.age) if case.age > 1 else None


# --- values ---------------------------------------------------------------------------------------------------


def _price(case: Case) -> Hit:
    prices = case.frame[[c for c in PRICES if c in case.frame]]
    fine = (prices > 0) & np.isfinite(prices)  # NaN is no price either
    return Hit(case.index[~fine.all(axis=1)], "bars have a price that is missing or not above zero")


def _ohlc(case: Case) -> Hit:
    high, low = case.frame["high"], case.frame["low"]
    inner = case.frame[[c for c in ("open", "close") if c in case.frame]]
    slack = 1e-9 * case.frame["close"].abs()  # scaling by an adjustment factor leaves rounding of the last digit
    wrong = (high < inner.max(axis=1) - slack) | (low > inner.min(axis=1) + slack) | (high < low - slack)
    return Hit(case.index[wrong], "bars have a high below or a low above open or close")


def _columns(case: Case) -> Hit | None:
    lacking = [c for c in (*PRICES, "volume") if c not in case.frame]
    given = "close only" if list(case.frame) == ["close"] else f"no {', '.join(lacking)}"
    return Hit(case.index[:0], f"rows give {given}", rows=len(case.frame)) if lacking else None


def _negative(case: Case) -> Hit:
    return Hit(case.index[case.frame["volume"] < 0], "bars have a volume below zero")


def _volume(case: Case) -> Hit:
    silent = ~(case.frame["volume"] > 0)
    share = 1 - silent.mean()
    says = f"bars have no volume, which leaves {share:.1%}"
    return Hit(case.index[silent], says, severity="" if share < LEAST_VOLUME else "info")


def _stale(case: Case, run: int = 5) -> Hit | None:
    same = case.frame["close"].diff().eq(0)
    still = same & (same.groupby((~same).cumsum()).transform("sum") >= run)
    says = f"closes repeat the one before, in runs of {run} or more"
    return None if case.intraday else Hit(case.index[still], says)  # a quiet quarter of an hour is no fault


def _copy(case: Case) -> Hit:
    full = case.frame[[*PRICES, "volume"]]
    same = full.eq(full.shift()).all(axis=1) & (full["volume"] > 0) & (full["high"] > full["low"])
    return Hit(case.index[same], "bars are copies of the one before")


def _jump(case: Case) -> Hit:
    big = case.news[(case.news > np.log(1 + JUMP)) | (case.news < np.log(1 - JUMP))]
    return Hit(big.index, f"closes moved by more than {JUMP:.0%}", notes=[f"{np.expm1(min(r, 99)):+.0%}" for r in big])


def robust_z(x: "pd.Series[float]") -> "pd.Series[float]":
    r"""Distance from the median in robust standard deviations; NaN where half of the values are one and the same.

    .. math:: z_t = (x_t - \mathrm{med}(x)) / (1.4826\, \mathrm{med}|x - \mathrm{med}(x)|)

    References
    ----------
    Iglewicz & Hoaglin (1993), *How to detect and handle outliers*, ASQC, section 4.
    """
    away = x - x.median()
    spread = 1.482602218505602 * away.abs().median()
    return away / spread if spread > 0 else away * np.nan


def _outlier(case: Case) -> Hit:
    z = robust_z(case.news)
    far = z[z.abs() > OUTLIER]
    says = f"returns lie more than {OUTLIER:g} robust deviations out and are no split"
    return Hit(far.index, says, notes=[f"{v:+.0f}" for v in far])


def _spike(case: Case, factor: float = 4.0) -> Hit:
    """A price that leaps by a factor and is back the next session: a unit or a digit, not a market."""
    there, back = case.leaps, case.leaps.shift(-1)
    found = (there.abs() > np.log(factor)) & ((there + back).abs() < 0.2 * there.abs())
    return Hit(case.index[found], f"closes leap by a factor above {factor:g} and are back the session after")


def _split(case: Case) -> Hit:
    notes = [f"{k:g}:1" if k > 1 else f"1:{1 / k:g}" for k in case.split_days]
    says = "prices leap by the size of a split" if case.splits is None else "splits are not in the prices"
    return Hit(case.split_days.index, says, severity="" if case.sure else "warning", notes=notes)


# --- two sources ----------------------------------------------------------------------------------------------


def _agreement(case: Case) -> Hit | None:
    """Whether another source says the same: log returns where one of the two is a price, else levels."""
    if case.other is None:
        return None
    name = case.other.name
    both = pd.concat([case.told, case.other.told], axis=1, join="inner").dropna()
    if len(both) < MONTH:
        return Hit(both.index[:0], f"days in common with {name} are too few to compare", "info", rows=len(both))
    a, b = both.iloc[:, 0], both.iloc[:, 1]
    if case.keys and case.other.keys:
        apart, unit = (a - b).abs() > np.maximum(0.05, 1e-3 * b.abs()), "0.05, or 0.1%"
        a, b = a.diff(), b.diff()
    else:
        a, b = (logs(x).diff().dropna() for x in (a, b))
        apart, unit = (a - b).abs() > 0.01, "1% of return"
    r, share = _correlation(a, b), float(apart.mean())
    said = f"of {len(apart):,} common days differ from {name} by more than {unit}; correlation of changes {r:.3f}"
    late = next((k for k in (1, -1) if r < 0.9 and _correlation(a.shift(k), b) > max(0.95, r)), 0)
    said += f"; moved by one day they agree, so {case.name if late < 0 else name} is a day late" if late else ""
    severity = "error" if r < 0.9 else "warning" if r < 0.98 or share > 0.02 else "info"
    return Hit(apart.index[apart], said, severity, rows=int(apart.sum()))


def _correlation(a: "pd.Series[float]", b: "pd.Series[float]") -> float:
    fine = a.notna() & b.notna()
    flat = fine.sum() < 3 or np.ptp(a[fine]) == 0 or np.ptp(b[fine]) == 0
    return float(np.allclose(a[fine], b[fine]) if flat else np.corrcoef(a[fine], b[fine])[0, 1])


# --- the table ------------------------------------------------------------------------------------------------

ELSEWHERE = "leave them out, unless another exchange was open"  # as Nasdaq in the hurricane of 27 September 1985
SLOW: dict[str, Any] = {"quick": False}
VOLUME: dict[str, Any] = {"needs": "volume"}
ALL: dict[str, Any] = {"needs": "open high low close volume"}
REPORT, LOOK = "ask the source again, or cut the span to leave them out", "look at these days before you trust them"
NEITHER = "neither can be believed; ask the source"
AGREEMENT = Rule("agreement", "warning", "another source says the same", "find out which one is right", _agreement)

BARS: tuple[Rule, ...] = (
    Rule("order", "error", "rows stand in order of time", "ask the source again: part of it was lost or mixed", _order),
    Rule("duplicate", "warning", "no row is there twice", "nothing is lost by dropping them", duplicate),
    Rule("conflict", "error", "no two rows of one stamp differ", NEITHER, conflict),
    Rule("epoch", "error", "stamps are read in their own unit", "divide or multiply them by 1,000", _epoch),
    Rule("future", "error", "nothing is stamped after the day of judgment", "check clock, zone and unit", future),
    Rule("instant", "error", "daily bars carry the date of their session", "cut the New York date", _instant),
    Rule("weekend", "error", "no bar stands on a weekend", "see rule shift; else leave them out", _weekend),
    Rule("shift", "error", "dates are New York's, in summer and in winter", "cut the New York date", _shift, **SLOW),
    Rule("holiday", "warning", f"every bar of a weekday has a session of {EXCHANGE}", ELSEWHERE, _holiday, **SLOW),
    Rule("gap", "warning", "every session has a bar; holidays are no gaps", "ask the source again", _gap, **SLOW),
    Rule("complete", "error", f"at least {LEAST_COMPLETE:.0%} of sessions have a bar", REPORT, _complete, **SLOW),
    Rule("history", "info", f"there are at least {LEAST_SESSIONS} sessions", "widen start and end", _history),
    Rule("fresh", "warning", "at most one whole session has passed since the last bar", "fetch again", _fresh, **SLOW),
    Rule("price", "error", "every price is a number above zero", REPORT, _price),
    Rule("ohlc", "error", "high and low hold open and close", REPORT, _ohlc, needs="high low"),
    Rule("columns", "info", "there are all four prices and volume", "features of the rest are unavailable", _columns),
    Rule("negative", "error", "no volume is below zero", REPORT, _negative, **VOLUME),
    Rule("volume", "warning", f"at least {LEAST_VOLUME:.0%} of bars have volume", "do not trust it", _volume, **VOLUME),
    Rule("stale", "warning", "no close stands still for five sessions", LOOK, _stale),
    Rule("copy", "warning", "no bar is a copy of the one before", "the source may have filled a gap", _copy, **ALL),
    Rule("jump", "info", f"no close moves by more than {JUMP:.0%}", LOOK, _jump),
    Rule("outlier", "info", f"no return lies {OUTLIER:g} robust deviations out, but for splits", LOOK, _outlier),
    Rule("spike", "error", "no close leaps by a factor and is back the session after", REPORT, _spike),
    Rule("split", "error", "splits are in the prices", "fetch adjusted bars, or start after it", _split),
    AGREEMENT,
)
