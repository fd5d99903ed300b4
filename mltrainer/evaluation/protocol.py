"""Everything that decides a result besides the data and the model."""

from dataclasses import dataclass, field

from mltrainer.evaluation.splits import Split, WalkForward

VERSION = 2  # raise it when the protocol changes what a stored result would be


@dataclass(frozen=True)
class Protocol:
    """Everything that decides a result besides the data and the model.

    Parameters
    ----------
    split : how time is cut.
    cost_bps : cost of trading one unit of position, in basis points of its value, per side.
    interval : nominal coverage of the prediction interval.
    tail : share of train rows at each end beyond whose quantile a feature is clipped, in train and test alike; a
        crash day twenty deviations out would otherwise decide every linear fit, and every forecast after it.
    """

    split: Split = field(default_factory=WalkForward)
    cost_bps: float = 5.0
    interval: float = 0.90
    tail: float = 0.01
