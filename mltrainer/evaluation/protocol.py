"""Everything that decides a result besides the data and the model."""

from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from typing import Any

from mltrainer.errors import BadInput
from mltrainer.evaluation.costs import Costs
from mltrainer.evaluation.positions import CHOSEN
from mltrainer.evaluation.splits import Fold, Split, WalkForward

MOST_COST_BPS = 10_000  # all of the value
PANELS = ("pooled", "per-name", "hierarchical")
OF_PANELS = ("panel", "ranked")
LEARNING = (*OF_PANELS, "winsorize", "interval", "window")  # what decides how a model is trained, beside its data
LATER = (*OF_PANELS, "costs")  # fields that results older than they are do not name
VERSION = 3  # raise it when the protocol changes what a stored result would be


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a result besides the data and the model.

    Parameters
    ----------
    split : how time is cut. Whatever it says of itself, each fold is looked at when it is used (`flaw`), and a result
        from one that lets the future in is a diagnostic.
    cost_bps : cost of trading one unit of position, in basis points of its value, per side.
    costs : what trading costs in parts, in place of `cost_bps`.
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
    costs: Costs | None = None
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
        _checked("costs", self.costs, self.costs is None or isinstance(self.costs, Costs), "mt.Costs(...)")
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
        said = [f.name for f in fields(self) if f.name in OF_PANELS and getattr(self, f.name) != f.default]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in said)

    @property
    def learning(self) -> dict[str, Any]:
        """What of it decides a training, where it differs from the default, as `of` takes it."""
        own, usual = ({**vars(p), **vars(p.split)} for p in (self, type(self)()))
        return {name: own[name] for name in LEARNING if name in own and own[name] != usual[name]}

    @classmethod
    def of(cls, **options: Any) -> "Protocol":
        """A walk-forward protocol of plain values, as a command line or a notebook has them.

        Parameters
        ----------
        options : of `Protocol` and of `WalkForward`, by name: cost_bps, interval, winsorize, policy, folds, window,
            rows_per_column, costs (of `Costs`, by name); None is the default.
        """
        given = {name: value for name, value in options.items() if value is not None}
        if isinstance(given.get("costs"), dict):
            given["costs"] = Costs(**given["costs"])
        cuts = {name: given.pop(name) for name in ("folds", "window", "rows_per_column") if name in given}
        return cls(split=WalkForward(**cuts), **given)

    def options(self) -> dict[str, Any]:
        """What differs from the default, as `of` takes it; `BadInput` where time is cut otherwise than forward."""
        if type(self.split) is not WalkForward:
            raise BadInput(f"a report is of a walk-forward, and {type(self.split).__name__} is none; evaluate it alone")
        own, usual = ({**asdict(p), **asdict(p.split)} for p in (self, type(self)()))
        return {name: own[name] for name in own if name != "split" and own[name] != usual[name]}


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
