"""Each rule of a label finds what it is there for, and nothing in labels that are as they should be."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import mltrainer as mt
from mltrainer.data.quality.label_rules import LABELS, Labels
from mltrainer.errors import BadInput

DAYS = pd.bdate_range("2000-01-03", periods=2_000, name="session")
NOISE = np.random.default_rng(7).normal(size=len(DAYS))


def found(y: np.ndarray, horizon: int = 1, last: np.ndarray | None = None) -> dict[str, str]:
    """Rule -> severity of what is found in labels."""
    frame = pd.DataFrame({"y": y, "per_unit": y, "last": NOISE[::-1] if last is None else last}, index=DAYS)
    case = Labels("MSFT", "label", frame, horizon=horizon)
    return {f.rule: f.severity for rule in LABELS if (f := rule.finding(case))}


def replaced(at: slice | int, value: float) -> np.ndarray:
    y = NOISE.copy()
    y[at] = value
    return y


def test_noise_is_a_label_without_a_finding():
    assert found(NOISE) == {}


@pytest.mark.parametrize(
    ("rule", "y"),
    [
        ("constant", np.full(len(DAYS), 0.3)),
        ("hole", replaced(slice(10, 13), np.nan)),
        ("repeated", replaced(slice(0, 200), 0.0)),
        ("repeated", np.where(NOISE > 1.5, 1.0, 0.0)),  # 7 % of a normal law
        ("heavy", replaced(slice(0, 2_000, 500), 40.0)),
        ("drift", NOISE + np.where(np.arange(len(DAYS)) < 1_000, 0.0, 0.3)),
    ],
)
def test_a_defect_is_found_by_its_own_rule(rule: str, y: np.ndarray):
    assert rule in found(y)


def test_labels_that_are_not_there_are_all_the_same():
    assert found(np.full(len(DAYS), np.nan)) == {"constant": "error", "hole": "warning"}


def test_a_label_that_was_known_at_its_row_is_an_error():
    assert found(NOISE, last=NOISE + 0.01)["known"] == "error"
    assert found(NOISE, last=-NOISE)["known"] == "error"
    assert "known" not in found(NOISE, last=NOISE + NOISE[::-1])  # a correlation of 0.71


def test_labels_that_overlap_are_as_many_as_stand_alone():
    assert found(NOISE, horizon=5)["overlap"] == "info"  # 400 of them
    assert found(NOISE, horizon=21)["overlap"] == "warning"  # 95


def test_drift_is_called_by_chance_as_seldom_as_three_standard_errors_are_passed():
    """Two-sided 0.27 % under a normal law: of 300 worlds at most 5 where 0.8 are expected, so that it is seldom.

    Overlapping windows of noise, whose errors are not independent. That a drift which is there is called is above.
    """
    rng = np.random.default_rng(1)

    def one(draw: Callable[[], np.ndarray]) -> bool:
        y = pd.Series(draw()).rolling(5).mean().shift(-4).to_numpy()
        return "drift" in found(y, horizon=5)

    assert sum(one(lambda: rng.normal(size=len(DAYS))) for _ in range(300)) <= 5  # of 300; 0.8 expected


@pytest.mark.usefixtures("home")
def test_a_matrix_is_asked_about_its_label():
    known = mt.quality(mt.matrix("MSFT", target="volatility", start="2004-01-02", end="2008-12-31"))
    assert known.ok
    assert known.kind == "label"
    assert known.name == "MSFT, volatility over 5 sessions"
    assert known.completeness == 1.0
    with pytest.raises(BadInput, match="names side by side"):
        mt.quality(mt.matrix("MSFT", target="rank", start="2004-01-02", end="2008-12-31"))
