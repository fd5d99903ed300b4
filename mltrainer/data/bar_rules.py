"""What we ask of bars before anything is learned from them: one row a rule, and each says what it found, and where.

A rule looks and reports; it repairs nothing and drops nothing. Rules of value look at the bars in order, each stamp
once (the first), so that one disorder is not reported by every rule.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mltrainer.data.case import EXCHANGE, MONTH, PRICES, ZONE, Case, Hit, Rule, logs

# The data standard: what a series must hold to be judged on.
LEAST_SESSIONS, LEAST_COMPLETE, LEAST_VOLUME, JUMP = 252, 0.95, 0.90, 0.20
# Real shares see a return ten robust deviations out a few times in a decade, good data without news never.
OUTLIER = 10.0

# --- stamps ---------------------------------------------------------------------------------------------------


def _order(case: Case) -> Hit | None:
    back = case.raw.index[1:] < case.raw.index[:-1]
    return Hit(pd.DatetimeIndex(case.raw.index[1:][back]), "rows stand behind a later one") if back.any() else None


def repeats(raw: pd.DataFrame, keys: Sequence[str] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows whose stamp (and `keys`) came before: those that say the same as the first, and those that do not."""
    flat = raw.reset_index(names="stamp").set_axis(raw.index)
    known = ["stamp", *keys]
    again = flat.duplicated(known)
    first = flat.groupby(known, dropna=False)[[c for c in flat if c not in known]].transform("first")
    cells = flat[first.columns]
    same = ((cells == first) | (cells.isna() & first.isna())).all(axis=1)
    return raw[again & same], raw[again & ~same]


def _duplicate(case: Case) -> Hit | None:
    return _hit(repeats(case.raw)[0].index, "rows repeat another to the last digit")


def _conflict(case: Case) -> Hit | None:
    return _hit(repeats(case.raw)[1].index, "rows contradict another of the same stamp")


def _hit(index: pd.Index, says: str) -> Hit | None:
    return Hit(pd.DatetimeIndex(index), says) if len(index) else None


def _epoch(case: Case) -> Hit | None:
    """Seconds read as milliseconds lie in the first weeks of 1970, a session every 86 seconds."""
    index = pd.DatetimeIndex(case.raw.index).tz_localize(None)
    born = (index >= pd.Timestamp("1970-01-01")) & (index < pd.Timestamp("1970-02-20"))
    crowded = born & ((index != index.normalize()) | index.normalize().duplicated(keep=False))
    return _hit(case.raw.index[crowded | (index.year >= 2200)], "stamps were read in a wrong unit")


def _future(case: Case) -> Hit | None:
    return _hit(case.index[case.days > case.asof], f"bars are stamped after {case.asof.date()}")


def _weekend(case: Case) -> Hit | None:
    if not case.exchange:
        return None
    # the exchange traded on Saturdays until 1952
    found = case.days[(case.days.day_of_week >= 5) & (case.days >= pd.Timestamp("1953-01-01"))].unique()
    return _hit(found, "bars stand on a weekend")


def _stranger(case: Case) -> Hit | None:
    found = case.span.difference(case.sessions)
    return _hit(found[found.day_of_week < 5], f"bars stand on weekdays without a session of {EXCHANGE}")


def _shifted(case: Case) -> Hit | None:
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
    return _hit(case.span[off], f"bars stand {where}")


def _instants(case: Case) -> Hit | None:
    daily = case.intraday and len(case.days.unique()) == len(case.days) > 1
    return _hit(case.index, "daily bars carry a time of day instead of a session date") if daily else None


# --- completeness ---------------------------------------------------------------------------------------------


def _gap(case: Case) -> Hit | None:
    return _hit(case.missing, f"sessions of {EXCHANGE} have no bar")


def completeness(case: Case) -> float:
    """Share of the exchange's sessions, first day to last, that have a bar."""
    return 1 - len(case.missing) / max(len(case.sessions), 1)


def _incomplete(case: Case) -> Hit | None:
    share = completeness(case)
    return Hit(case.missing, f"sessions are missing, which leaves {share:.1%}") if share < LEAST_COMPLETE else None


def _short(case: Case) -> Hit | None:
    n = len(case.span)
    return Hit(case.span[:0], "sessions are all there is", rows=n) if n < LEAST_SESSIONS else None


def age(case: Case) -> int:
    """Whole sessions of the exchange between the last bar and `asof`."""
    return int(((case.calendar > case.span[-1]) & (case.calendar < case.asof)).sum()) if len(case.span) else 0


def _aged(case: Case) -> Hit | None:
    late = age(case)
    says = f"sessions have passed since the last bar, seen from {case.asof.date()}"
    return Hit(case.span[-1:], says, rows=late) if late > 1 else None


# --- values ---------------------------------------------------------------------------------------------------


def _price(case: Case) -> Hit | None:
    prices = case.frame[[c for c in PRICES if c in case.frame]]
    fine = (prices > 0) & np.isfinite(prices)  # NaN is no price either
    return _hit(case.index[~fine.all(axis=1)], "bars have a price that is missing or not above zero")


def _ohlc(case: Case) -> Hit | None:
    if not {"high", "low"} <= set(case.frame):
        return None
    inner = case.frame[[c for c in ("open", "close") if c in case.frame]]
    slack = 1e-9 * case.frame["close"].abs()  # scaling by an adjustment factor leaves rounding of the last digit
    wrong = (case.frame["high"] < inner.max(axis=1) - slack) | (case.frame["low"] > inner.min(axis=1) + slack)
    wrong |= case.frame["high"] < case.frame["low"] - slack
    return _hit(case.index[wrong], "bars have a high below or a low above open or close")


def _columns(case: Case) -> Hit | None:
    lacking = [c for c in (*PRICES, "volume") if c not in case.frame]
    given = "close only" if list(case.frame) == ["close"] else f"no {', '.join(lacking)}"
    return Hit(case.index[:0], f"rows give {given}", rows=len(case.frame)) if lacking else None


def _negative(case: Case) -> Hit | None:
    volume = case.frame.get("volume", pd.Series(dtype=float))
    return _hit(volume.index[volume < 0], "sessions have a volume below zero")


def _volume(case: Case) -> Hit | None:
    if "volume" not in case.frame:
        return None
    silent = case.index[~(case.frame["volume"] > 0)]
    share = 1 - len(silent) / max(len(case.frame), 1)
    below = f", which leaves {share:.1%}" if share < LEAST_VOLUME else ""
    return Hit(silent, f"bars have no volume{below}", severity="" if below else "info") if len(silent) else None


def _stale(case: Case, run: int = 5) -> Hit | None:
    if case.intraday:  # a quiet quarter of an hour is no fault
        return None
    same = case.frame["close"].diff().eq(0)
    length = same.groupby((~same).cumsum()).transform("sum")
    still = same & (length >= run)
    return _hit(case.index[still], f"closes repeat the one before, in runs of {run} or more")


def _copied(case: Case) -> Hit | None:
    if not {*PRICES, "volume"} <= set(case.frame):
        return None
    full = case.frame[[*PRICES, "volume"]]
    same = full.eq(full.shift()).all(axis=1) & (full["volume"] > 0) & (full["high"] > full["low"])
    return _hit(case.index[same], "bars are copies of the one before")


def _jump(case: Case) -> Hit | None:
    news = case.news
    big = news[(news > np.log(1 + JUMP)) | (news < np.log(1 - JUMP))]
    notes = [f"{np.expm1(min(r, 99)):+.0%}" for r in big]
    return Hit(pd.DatetimeIndex(big.index), f"closes moved by more than {JUMP:.0%}", notes=notes) if len(big) else None


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


def _outlier(case: Case) -> Hit | None:
    z = robust_z(case.news)
    far = z[z.abs() > OUTLIER]
    notes = [f"{v:+.0f}" for v in far]
    says = f"returns lie more than {OUTLIER:g} robust deviations out and are no split"
    return Hit(pd.DatetimeIndex(far.index), says, notes=notes) if len(far) else None


def _spike(case: Case, factor: float = 4.0) -> Hit | None:
    """A price that leaps by a factor and is back the next session: a unit or a digit, not a market."""
    there, back = case.leaps, case.leaps.shift(-1)
    found = (there.abs() > np.log(factor)) & ((there + back).abs() < 0.2 * there.abs())
    return _hit(case.index[found], f"closes leap by a factor above {factor:g} and are back the session after")


def _split(case: Case) -> Hit | None:
    found = case.split_days
    if found.empty:
        return None
    notes = [f"{k:g}:1" if k > 1 else f"1:{1 / k:g}" for k in found]
    says = "splits are not in the prices" if case.splits is not None else "prices leap by the size of a split"
    return Hit(pd.DatetimeIndex(found.index), says, severity="" if case.sure else "warning", notes=notes)


# --- two sources ----------------------------------------------------------------------------------------------


def agreement(case: Case) -> Hit | None:
    """Whether another source says the same: log returns where one of the two is a price, else levels."""
    if case.other is None:
        return None
    name, kind, values = case.other
    both = pd.concat([case.told, values], axis=1, join="inner").dropna()
    if len(both) < MONTH:
        return Hit(case.index[:0], f"days in common with {name} are too few to compare", "info", rows=len(both))
    a, b = both.iloc[:, 0], both.iloc[:, 1]
    if "bars" in (case.kind, kind):
        a, b = (logs(x).diff().dropna() for x in (a, b))
        apart, moves, unit = (a - b).abs() > 0.01, (a, b), "1 % of return"
    else:
        apart = (a - b).abs() > np.maximum(0.05, 1e-3 * b.abs())
        moves, unit = (a.diff().dropna(), b.diff().dropna()), "0.05, or 0.1 %"
    r, share = _correlation(*moves), float(apart.mean())
    said = f"of {len(apart):,} common days differ from {name} by more than {unit}; correlation of changes {r:.3f}"
    late = next((k for k in (1, -1) if r < 0.9 and _correlation(moves[0].shift(k), moves[1]) > max(0.95, r)), 0)
    said += f"; moved by one day they agree, so {case.name if late < 0 else name} is a day late" if late else ""
    severity = "error" if r < 0.9 else "warning" if r < 0.98 or share > 0.02 else "info"
    return Hit(pd.DatetimeIndex(apart.index[apart]), said, severity)


def _correlation(a: "pd.Series[float]", b: "pd.Series[float]") -> float:
    fine = a.notna() & b.notna()
    if fine.sum() < 3 or np.ptp(a[fine]) == 0 or np.ptp(b[fine]) == 0:
        return 1.0 if np.allclose(a[fine], b[fine]) else 0.0
    return float(np.corrcoef(a[fine], b[fine])[0, 1])


# --- the table ---------------------------------------------------------------------------------------------------

SLOW = {"quick": False}
REPORT, LOOK = "ask the source again, or cut the span to leave them out", "look at these days before you trust them"

BARS: tuple[Rule, ...] = (
    Rule("order", "error", "rows stand in order of time", "ask the source again: part of it was lost or mixed", _order),
    Rule("duplicate", "warning", "no row is there twice", "nothing is lost by dropping them", _duplicate),
    Rule("conflict", "error", "no two rows of one stamp differ", "neither can be believed; ask the source", _conflict),
    Rule("epoch", "error", "stamps are read in their own unit", "divide or multiply them by 1,000", _epoch),
    Rule("future", "error", "nothing is stamped after the day of judgment", "check clock, zone and unit", _future),
    Rule("instant", "error", "daily bars carry the date of their session", "cut the New York date", _instants),
    Rule("weekend", "error", "no bar stands on a weekend", "see rule shift; else leave them out", _weekend),
    Rule("shift", "error", "dates are New York's, in summer and in winter", "cut the New York date", _shifted, **SLOW),
    Rule("holiday", "error", f"no bar stands on a weekday without a session of {EXCHANGE}", REPORT, _stranger, **SLOW),
    Rule("gap", "warning", "every session has a bar; holidays are no gaps", "ask the source again", _gap, **SLOW),
    Rule("complete", "error", f"at least {LEAST_COMPLETE:.0%} of sessions have a bar", REPORT, _incomplete, **SLOW),
    Rule("history", "info", f"there are at least {LEAST_SESSIONS} sessions", "widen start and end", _short),
    Rule("fresh", "warning", "at most one whole session has passed since the last bar", "fetch again", _aged, **SLOW),
    Rule("price", "error", "every price is a number above zero", REPORT, _price),
    Rule("ohlc", "error", "high and low hold open and close", REPORT, _ohlc),
    Rule("columns", "info", "there are all four prices and volume", "features of the rest are unavailable", _columns),
    Rule("negative", "error", "no volume is below zero", REPORT, _negative),
    Rule("volume", "warning", f"at least {LEAST_VOLUME:.0%} of bars have volume", "do not trust their volume", _volume),
    Rule("stale", "warning", "no close stands still for five sessions", LOOK, _stale),
    Rule("copy", "warning", "no bar is a copy of the one before", "the source may have filled a gap", _copied),
    Rule("jump", "info", f"no close moves by more than {JUMP:.0%}", LOOK, _jump),
    Rule("outlier", "info", f"no return lies {OUTLIER:g} robust deviations out, but for splits", LOOK, _outlier),
    Rule("spike", "error", "no close leaps by a factor and is back the session after", REPORT, _spike),
    Rule("split", "error", "splits are in the prices", "fetch adjusted bars, or adjust by the split", _split),
    Rule("agreement", "warning", "another source says the same", "find out which of the two is right", agreement),
)
