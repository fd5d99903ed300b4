"""Numbers as a reader compares them: few digits, true minus signs, a dash where there is none."""

from collections.abc import Callable

import numpy as np

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: object, digits: int = 3) -> str:
    """Write a number with three significant digits and a true minus sign; a dash where it is undefined.

    >>> number(0.012345), number(1234.5), number(-2.0), number(float("nan"))
    ('0.0123', '1,230', '−2', '–')
    """
    x = float(value)  # type: ignore[arg-type]
    if not np.isfinite(x):
        return DASH
    rounded = float(f"{x:.{digits}g}") + 0.0  # no minus before a zero
    text = f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"
    return text.replace("-", MINUS)


def percent(value: object) -> str:
    """Write a fraction as a percentage without its sign: the header says %.

    >>> percent(0.5268), percent(-2.0678)
    ('52.7', '−207')
    """
    return number(float(value) * 100)  # type: ignore[arg-type]


def fixed(digits: int) -> Callable[[object], str]:
    """Format with a fixed number of digits after the point: for columns that are compared by eye."""

    def write(value: object) -> str:
        x = round(float(value), digits) + 0.0  # type: ignore[arg-type]  # no minus before a zero
        return f"{x:.{digits}f}".replace("-", MINUS) if np.isfinite(x) else DASH

    return write
