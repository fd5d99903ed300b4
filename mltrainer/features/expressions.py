"""Factors as one line of text, `ts_mean(volume, 5) / close`: parsed into a table of operators, never run as Python.

The grammar is that of the 101 alphas of Kakushadze (2016), with qlib's names where these are known better. Every
operator looks at rows up to its own: windows end at the row, and a delay below zero is no sentence of the language.

A time-series operator works on the sessions that a name has; an operator across names (`rank`, `scale`) on the names
that a session has, and so needs a panel. What has no value (before a window is full, a division by zero) is NaN.
"""

import ast
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from mltrainer.errors import BadInput, UnknownName

VERSION = 2  # of what the operators compute; raise it when an expression of before would say other numbers
LONGEST, DEEPEST, MOST = 600, 25, 150  # characters, levels and parts of an expression
WIDEST = 252  # sessions of a window
ITSELF = "itself"  # among the names, where there is one
FIELDS = ("open", "high", "low", "close", "volume", "vwap", "returns")
ALIASES = {
    "stddev": "ts_std", "correlation": "corr", "covariance": "cov", "ts_sum": "sum", "ts_argmax": "ts_argmax",
    "Ref": "delay", "Delta": "delta", "Mean": "ts_mean", "Std": "ts_std", "Max": "ts_max", "Min": "ts_min",
    "Sum": "sum", "Rank": "ts_rank", "IdxMax": "ts_argmax", "IdxMin": "ts_argmin", "WMA": "decay_linear",
    "Corr": "corr", "Cov": "cov", "Abs": "abs", "Log": "log", "Sign": "sign", "Greater": "greater", "Less": "less",
    "SignedPower": "signedpower",
}  # fmt: skip
Wide = pd.DataFrame  # sessions by names
Array = np.ndarray


# --- what the words mean: windows (n, d) that end at each row -> (n,) ------------------------------------------


def _place(best: Callable[..., Array]) -> Callable[[Array], Array]:
    return lambda W: np.where(np.isnan(W).any(axis=-1), np.nan, best(W, axis=-1) + 1.0)


def _rank_of_last(W: Array) -> Array:
    last = W[..., -1:]
    rank = (last > W).sum(axis=-1) + ((last == W).sum(axis=-1) + 1.0) / 2.0
    return np.where(np.isnan(W).any(axis=-1), np.nan, rank / W.shape[-1])


def _still(*windows: Array) -> Array:
    """Where one of the windows does not move: what is summed up there is the dust of rounding."""
    return np.logical_or.reduce([np.ptp(W, axis=-1) == 0 for W in windows])


def _mean(W: Array) -> Array:
    return np.where(_still(W), W[..., -1], W.mean(axis=-1))


def _deviation(W: Array) -> Array:
    return np.where(_still(W), 0.0, W.std(axis=-1, ddof=1))


def _decayed(W: Array) -> Array:
    weights = np.arange(1.0, W.shape[-1] + 1.0)
    return np.where(_still(W), W[..., -1], (W * (weights / weights.sum())).sum(axis=-1))


def _covariance(V: Array, W: Array) -> Array:
    v, w = (part - part.mean(axis=-1, keepdims=True) for part in (V, W))
    found = (v * w).sum(axis=-1) / (V.shape[-1] - 1)
    return np.where(_still(V, W) & np.isfinite(found), 0.0, found)


def _correlation(V: Array, W: Array) -> Array:  # a window that does not move has none
    return np.where(_still(V, W), np.nan, _covariance(V, W) / (V.std(axis=-1, ddof=1) * W.std(axis=-1, ddof=1)))


WINDOWS: dict[str, tuple[Callable[..., Array], int, str]] = {
    "ts_mean": (_mean, 1, "mean"),
    "ts_std": (_deviation, 2, "standard deviation, of a sample"),
    "sum": (lambda W: W.sum(axis=-1), 1, "sum"),
    "product": (lambda W: W.prod(axis=-1), 1, "product"),
    "ts_min": (lambda W: W.min(axis=-1), 1, "least"),
    "ts_max": (lambda W: W.max(axis=-1), 1, "largest"),
    "ts_argmin": (_place(np.argmin), 1, "session of the least, 1 for the oldest of the window"),
    "ts_argmax": (_place(np.argmax), 1, "session of the largest, 1 for the oldest of the window"),
    "ts_rank": (_rank_of_last, 1, "rank of the newest in the window, to 1; equal ones share their mean"),
    "decay_linear": (_decayed, 1, "mean with weights 1, 2 ... d, the newest the heaviest"),
    "delay": (lambda W: W[..., 0], 0, "value d sessions ago"),
    "delta": (lambda W: W[..., -1] - W[..., 0], 1, "value less that d sessions ago"),
}
"""Of (x, d): what it is, the least d, in words; `delay` and `delta` look at d + 1 sessions."""
PAIRS: dict[str, tuple[Callable[..., Array], int, str]] = {
    "corr": (_correlation, 2, "correlation"),
    "cov": (_covariance, 2, "covariance, of a sample"),
}
"""Of (x, y, d)."""
POINTS: dict[str, tuple[Callable[..., Any], int, str]] = {
    "abs": (np.abs, 1, "size"),
    "log": (np.log, 1, "natural logarithm"),
    "sign": (np.sign, 1, "-1, 0 or 1"),
    "signedpower": (lambda x, a: np.sign(x) * np.abs(x) ** a, 2, "sign(x) |x|^a"),
    "greater": (np.maximum, 2, "the larger of both"),
    "less": (np.minimum, 2, "the smaller of both"),
}
"""Of one value or of two, each session on its own."""
ACROSS: dict[str, tuple[Callable[[Wide], Wide], str]] = {
    "rank": (lambda x: x.rank(axis=1, pct=True), "rank among the names of the session, to 1; equal ones share theirs"),
    "scale": (lambda x: x.div(x.abs().sum(axis=1).replace(0.0, np.nan), axis=0), "x over the sum of |x| of all names"),
}
"""Of one value of all names of a session."""
ORDER: dict[type, Callable[..., Any]] = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.Lt: np.less, ast.Gt: np.greater, ast.LtE: np.less_equal, ast.GtE: np.greater_equal,
}  # fmt: skip
KNOWN = (*WINDOWS, *PAIRS, *POINTS, *ACROSS)


@dataclass(frozen=True)
class Expression:
    """A factor; `text` is canonical: expressions that differ in spaces, names' spelling or brackets only have one."""

    text: str

    @property
    def code(self) -> str:
        """What it computes, for addresses of results: a hash of text and `VERSION`, and the text itself."""
        return f"{sha256(f'{VERSION} {self.text}'.encode()).hexdigest()}: {self.text}"

    @property
    def name(self) -> str:
        """A name made of the text, another for each."""
        words = re.sub(r"\W+", "_", self.text).strip("_")[:26]
        return f"{words if words[:1].isalpha() else f'x_{words}'}_{self.code[:8]}"

    @property
    def across(self) -> bool:
        """Whether it compares the names of a session, so that one name alone has no value."""
        return any(isinstance(n, ast.Call) and _called(n) in ACROSS for n in ast.walk(self._tree))

    @cached_property
    def _tree(self) -> ast.expr:
        return ast.parse(self.text, mode="eval").body

    def __call__(self, bars: pd.DataFrame) -> "pd.Series[float]":
        """Values of one name, (n,) by session.

        One that compares names is computed among the name and itself as it was 1 and 7 sessions ago, which is good for
        a test of look-ahead and for nothing else; a matrix of one name refuses it.
        """
        frames = {ITSELF: bars}
        if self.across:
            frames |= {f"{k} ago": bars.shift(k).iloc[k:] for k in (1, 7)}
        return self.panel(frames)[ITSELF].reindex(bars.index)

    def panel(self, bars: Mapping[str, pd.DataFrame]) -> Wide:
        """Values by session and name, of bars by name; NaN where a name has no session."""
        with np.errstate(all="ignore"):
            found = _Evaluation(bars).of(self._tree)
        return found if isinstance(found, pd.DataFrame) else _Evaluation(bars).constant(found)


class _Evaluation:
    """The values of an expression's parts on the bars of several names."""

    def __init__(self, bars: Mapping[str, pd.DataFrame]) -> None:
        self.bars = bars
        self.sessions = pd.DatetimeIndex(sorted(set().union(*(b.index for b in bars.values()))))
        self.there = {name: self.sessions.isin(b.index) for name, b in bars.items()}

    def of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return float(str(node.value))  # whole numbers would be computed in 64 bits, and pass their end
            case ast.Name():
                return self.field(node.id)
            case ast.UnaryOp():
                return -self.of(node.operand)
            case ast.BinOp():
                return _finite(ORDER[type(node.op)](self.of(node.left), self.of(node.right)))
            case ast.Compare():
                left, right = self.of(node.left), self.of(node.comparators[0])
                missing = np.isnan(left) | np.isnan(right)
                return _finite(np.where(missing, np.nan, ORDER[type(node.ops[0])](left, right)) + 0.0 * (left + right))
            case ast.IfExp():
                test, yes, no = (self.of(part) for part in (node.test, node.body, node.orelse))
                return self.constant(0.0) + np.where(np.isnan(test), np.nan, np.where(test != 0, yes, no))
            case ast.Call():
                return self.call(_called(node), [self.of(a) for a in node.args])
        raise AssertionError(ast.dump(node))

    def call(self, name: str, values: list[Any]) -> Any:
        if name in POINTS:
            return _finite(POINTS[name][0](*values))
        wide = [v if isinstance(v, pd.DataFrame) else self.constant(v) for v in values[: 1 + (name in PAIRS)]]
        if name in ACROSS:
            return _finite(ACROSS[name][0](wide[0]))
        d = int(values[-1]) + (name in ("delay", "delta"))
        compute = (WINDOWS if name in WINDOWS else PAIRS)[name][0]
        return pd.DataFrame({n: self.rolled(compute, [w[n] for w in wide], d, n) for n in self.bars}, self.sessions)

    def rolled(self, compute: Callable[..., Array], columns: list[Any], d: int, name: str) -> Array:
        own = [c.to_numpy(float)[self.there[name]] for c in columns]
        values, out = np.full(len(own[0]), np.nan), np.full(len(self.sessions), np.nan)
        if len(values) >= d:
            values[d - 1 :] = _finite(compute(*(sliding_window_view(c, d) for c in own)))
        out[self.there[name]] = values
        return out

    def field(self, name: str) -> Wide:
        if found := re.fullmatch(r"adv(\d+)", name):  # of Kakushadze: average daily dollar volume
            money = self.field("close") * self.field("volume")
            return self.call("ts_mean", [money, int(found[1])])
        if name == "returns":
            close = self.field("close")
            return close / self.call("delay", [close, 1]) - 1.0
        if lacking := [n for n, b in self.bars.items() if name not in b]:
            whose = "these bars" if lacking[0] == ITSELF else f"the bars of {lacking[0]}"
            known = [f for f in FIELDS if f in self.bars[lacking[0]] or f == "returns"]
            raise BadInput(f"{whose} have no {name}; use {', '.join(known)}")
        wide = pd.DataFrame({n: b[name].reindex(self.sessions) for n, b in self.bars.items()}, self.sessions)
        return wide.astype(float)

    def constant(self, value: float) -> Wide:
        return pd.DataFrame({n: np.where(t, float(value), np.nan) for n, t in self.there.items()}, self.sessions)


def _finite(values: Any) -> Any:
    if isinstance(values, pd.DataFrame):
        return values.where(np.isfinite(values))
    return np.where(np.isfinite(values), values, np.nan)


# --- reading --------------------------------------------------------------------------------------------------


def parse(text: str) -> Expression:
    """Read a factor; what is no sentence of the language is `BadInput` in one line, and nothing of it is run.

    >>> parse("Mean($volume,5)/close").text
    'ts_mean(volume, 5) / close'
    >>> parse("rank(ts_mean(volume, 5) / close)").across
    True
    """
    shown = " ".join(str(text).split())[:80]
    if len(text) > LONGEST:
        raise BadInput(f"the expression {shown!r}... has {len(text):,} characters; {LONGEST} are the most")
    try:
        tree = ast.parse(text.strip().replace("$", ""), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise BadInput(f"{shown!r} is no expression; write it like ts_mean(volume, 5) / close") from None
    if sum(1 for _ in ast.walk(tree)) > 3 * MOST:
        raise BadInput(f"the expression {shown!r} has too many parts; {MOST} are the most")
    tree = _read(tree, 0)
    if not any(isinstance(n, ast.Name) and n.id not in KNOWN for n in ast.walk(tree)):
        raise BadInput(f"{shown!r} uses no field of the bars, so it says the same always; use {', '.join(FIELDS)}")
    return Expression(ast.unparse(ast.fix_missing_locations(tree)))


def _read(node: ast.expr, depth: int) -> ast.expr:
    """The same part under canonical names, or why it is none."""
    if depth > DEEPEST:
        raise BadInput(f"the expression is more than {DEEPEST} levels deep; make it simpler")
    match node:
        case ast.Constant():
            return ast.Constant(_number(node.value))
        case ast.Name():
            return _field(node.id)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
            inner = _read(node.operand, depth + 1)
            return ast.UnaryOp(ast.USub(), inner) if isinstance(node.op, ast.USub) else inner
        case ast.BinOp() if type(node.op) in ORDER:
            left, right = (_read(part, depth + 1) for part in (node.left, node.right))
            if isinstance(node.op, ast.Pow) and not (isinstance(right, ast.Constant) and float(str(right.value)) <= 10):
                raise BadInput("an exponent is a number from 0 to 10; signedpower(x, a) takes others")
            return ast.BinOp(left, node.op, right)
        case ast.Compare(ops=[op]) if type(op) in ORDER:
            left, right = (_read(part, depth + 1) for part in (node.left, node.comparators[0]))
            return ast.Compare(left, [op], [right])
        case ast.IfExp():
            test, yes, no = (_read(part, depth + 1) for part in (node.test, node.body, node.orelse))
            return ast.IfExp(test, yes, no)
        case ast.Call(func=ast.Name(), keywords=[]):
            return _call(node, depth)
    parts = "fields, numbers, + - * / **, comparisons and functions are"
    raise BadInput(f"{ast.unparse(node)[:60]!r} is no part of an expression: {parts}")


def _number(value: object) -> float | int:
    # a whole number may be too large to be a float at all, so its size comes first
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e12 or not math.isfinite(value):
        raise BadInput(f"{str(value)[:40]!r} is no number of an expression")
    return int(value) if value == int(value) else float(value)


def _field(name: str) -> ast.Name:
    if not (name in FIELDS or re.fullmatch(r"adv\d+", name)):
        raise UnknownName.of("field of the bars", name, (*FIELDS, "adv20"))
    return ast.Name(f"adv{_window(int(name[3:]), 1, 'adv')}" if name.startswith("adv") else name)


def _call(node: ast.Call, depth: int) -> ast.Call:
    written = _called(node)
    name = ALIASES.get(written, written)
    if name in ("min", "max"):
        raise BadInput(f"{name} means two things: write ts_{name}(x, d) over time, or greater and less of two values")
    if name not in KNOWN:
        raise UnknownName.of("function", written, KNOWN)
    rolling = name in WINDOWS or name in PAIRS
    wanted = 2 if name in WINDOWS else 3 if name in PAIRS else POINTS[name][1] if name in POINTS else 1
    if len(node.args) != wanted:
        raise BadInput(f"{name} takes {wanted} argument{'s' * (wanted > 1)}, {len(node.args)} were given")
    args = [_read(a, depth + 1) for a in (node.args[:-1] if rolling else node.args)]
    if rolling:
        least = (WINDOWS if name in WINDOWS else PAIRS)[name][1]
        args.append(ast.Constant(_window(_literal(node.args[-1]), least, name)))
    return ast.Call(ast.Name(name), args, [])


def _literal(node: ast.expr) -> object:
    """The number that is written there, or else the text of what is."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.unparse(node)


def _window(value: object, least: int, name: str) -> int:
    shown = str(value) if isinstance(value, int | float) and abs(value) < 1e12 else repr(str(value)[:30])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        raise BadInput(f"{name} of {shown} sessions would look ahead; a number of past sessions is {least} or more")
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= WIDEST:
        raise BadInput(f"{name} takes a whole number of sessions from {least} to {WIDEST}, not {shown}")
    return value


def _called(node: ast.Call) -> str:
    assert isinstance(node.func, ast.Name)
    return node.func.id
