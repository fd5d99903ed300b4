"""Everything that decides a result besides the data and the model."""

from dataclasses import dataclass, field, fields
from numbers import Real

from mltrainer.errors import BadInput
from mltrainer.evaluation.positions import CHOSEN
from mltrainer.evaluation.splits import Fold, Split, WalkForward

MOST_COST_BPS = 10_000  # all of the value
PANELS = ("pooled", "per-name", "hierarchical")
LATER = ("panel", "ranked")  # fields that results older than they are do not name
VERSION = 3  # raise it when the protocol changes what a stored result would be


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a result besides the data and the model.

    Parameters
    ----------
    split : how time is cut. Whatever it says of itself, each fold is looked at when it is used (`flaw`), and a result
        from one that lets the future in is a diagnostic.
    cost_bps : cost of trading one unit of position, in basis points of its value, per side.
    interval : nominal coverage of the prediction interval.
    winsorize : share of train rows at each end beyond whose quantile a feature is clipped, in train and test alike; a
        crash day twenty deviations out would otherwise decide every linear fit, and every forecast after it.
    policy : how a signed forecast becomes a position: "sign" (default), "proportional", "threshold" or "volatility"
        (`positions.POLICIES`); targets without a sign have a policy of their own.
    panel : whose rows a model of a panel learns from: "pooled" (default, one model of the rows of all names),
        "per-name" (one for each name, of its own rows), or "hierarchical" (the pooled one and a shrunken intercept for
        each name: `effects.name_effects`). What lives in the history of one share is per name in any case.
    ranked : whether models of a panel see each feature as its rank among the names of its session, evenly from -0.5
        to 0.5 (`Matrix.ranked`). Models that read past returns themselves see them as they are.
    """

    split: Split = field(default_factory=WalkForward)
    cost_bps: float = 5.0
    interval: float = 0.90
    winsorize: float = 0.01
    policy: str = ""
    panel: str = "pooled"
    ranked: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.split, Split):
            raise BadInput(f"split={str(self.split)[:60]!r} cuts no time; give a Split such as WalkForward()")
        _checked("cost_bps", self.cost_bps, 0 <= _number(self.cost_bps) <= MOST_COST_BPS, f"0 to {MOST_COST_BPS:,}")
        _checked("interval", self.interval, 0 < _number(self.interval) < 1, "a coverage above 0 and below 1")
        _checked(
            "winsorize", self.winsorize, 0 <= _number(self.winsorize) < 0.5, "a share of rows from 0 to below one half"
        )
        _checked("policy", self.policy, self.policy in ("", *CHOSEN), f"one of {', '.join(CHOSEN)}")
        _checked("panel", self.panel, self.panel in PANELS, f"one of {', '.join(PANELS)}")
        _checked("ranked", self.ranked, isinstance(self.ranked, bool), "True or False")

    def __repr__(self) -> str:
        """All that decides a result, as its key has it; a later field only where it was chosen, so that keys stay."""
        said = [f.name for f in fields(self) if f.name not in LATER or getattr(self, f.name) != f.default]
        return f"Protocol({', '.join(f'{name}={getattr(self, name)!r}' for name in said)})"

    @property
    def of_panels(self) -> str:
        """What of it only a panel can have, in words; empty where nothing is."""
        said = [f.name for f in fields(self) if f.name in LATER and getattr(self, f.name) != f.default]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in said)


def _number(value: object) -> float:
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")


def _checked(name: str, value: object, holds: bool, asked: str) -> None:
    if not holds:
        raise BadInput(f"protocol {name}={str(value)[:60]} would make figures that mean nothing; give {asked}")


def flaw(fold: Fold, horizon: int) -> str:
    """Why a fold is not the honest one; empty where it is.

    It learns only from rows before those it tests, and the label of row t, which ends at t + 1 + horizon, must have
    ended before the first of them: a purge of at least horizon + 1 rows.
    """
    if not len(fold.train) or not len(fold.test):
        return ""
    learned, first = int(fold.train.max()), int(fold.test.min())
    if learned >= first:
        return f"diagnostic: trains on the future: on row {learned} for a forecast of row {first}"
    if learned + 1 + horizon >= first:
        gap = first - learned - 1
        return (
            f"diagnostic: trains on labels that reach into what it tests: a gap of {gap} rows before row {first}, "
            f"where horizon {horizon} needs {horizon + 1}"
        )
    return ""
