"""What is said of a model before anybody runs it: one record, on a page, in a terminal and as JSON."""

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from inspect import Parameter, signature
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from mltrainer.models.base import Lazy, Method, ModelSpec, canonical
from mltrainer.models.forecasters import quantile_level

INNER = ("estimator", "estimators", "final", "regressor", "reduce", "kernel")  # parameters that are models themselves


@dataclass(frozen=True)
class Part:
    """One of the estimators a model is made of: settings chosen here, and those left as the library has them."""

    name: str
    chosen: dict[str, str]
    default: dict[str, str]

    def __str__(self) -> str:
        """Say every setting."""
        said = [", ".join(f"{k} = {v}" for k, v in s.items()) for s in (self.chosen, self.default)]
        words = [said[0], said[1] and f"by default {said[1]}"]
        return f"{self.name}: {'; '.join(filter(None, words)) or 'nothing to set'}"


@dataclass(frozen=True)
class ModelCard:
    """The whole card of one model.

    Attributes
    ----------
    method : what was published: formula (LaTeX), assumption, use, complexity, reference.
    parts : the estimators it is made of, outermost first and in the order they work, with every setting.
    parameters : the same in one line, as the ledger keeps it: equal text means an equal model.
    origin : "named", "added" or "own".
    gives : what comes with a forecast: "interval", "probability", "deviation", "quantile 0.1".
    policy : how many rows it learns from where there are more.
    """

    name: str
    family: str
    task: str
    available: bool
    why_unavailable: str
    engine: str
    method: Method
    reading: str
    parts: tuple[Part, ...]
    parameters: str
    gives: tuple[str, ...]
    policy: str
    warns: str
    cost_seconds: float
    origin: str = "named"

    @classmethod
    def of(cls, spec: ModelSpec) -> "ModelCard":
        """Read the card off a row of the catalog; nothing is imported or fitted for it."""
        return cls(
            name=spec.name,
            family=spec.family,
            task=spec.task,
            available=spec.available,
            why_unavailable=spec.why_unavailable,
            engine=spec.engine,
            method=spec.method,
            reading=spec.reading,
            parts=tuple(parts(spec.estimator)),
            parameters=spec.identity(),
            gives=tuple(gives(spec)),
            policy=policy(spec),
            warns=spec.warns,
            cost_seconds=spec.cost,
            origin=spec.origin,
        )

    @property
    def tool(self) -> str:
        """The class that does the work and its library, as 'Ridge (sklearn)'."""
        return f"{self.engine.rpartition('.')[2]} ({self.engine.partition('.')[0]})"

    def rows(self) -> list[tuple[str, str]]:
        """What is said, as (what, words); rows without words are left out."""
        m, with_it = self.method, "; ".join(f"{g}: {MEANS[g.partition(' ')[0]]}" for g in self.gives)
        said = [
            ("Method", m.name),
            ("Formula", m.formula),
            ("Assumes", m.assumes),
            ("Use", m.use),
            ("Our reading", self.reading),
            ("Runs", self.engine),
            ("Settings", "\n".join(map(str, self.parts))),
            ("Gives", with_it),
            ("Learns from", self.policy),
            ("Cost", f"{m.complexity}; about {self.cost_seconds:g} CPU s for one ticker"),
            ("May warn", self.warns),
            ("Reference", m.reference),
            ("Origin", ADDED.format(self.family) if self.origin == "added" else ""),
            ("Status", self.why_unavailable),
        ]
        return [(what, words) for what, words in said if words]

    def text(self, width: int = 100) -> str:
        """The card for a terminal."""
        lines = [self.name]
        for what, words in self.rows():
            body = [w for line in words.splitlines() for w in textwrap.wrap(line, width, subsequent_indent="  ")]
            lines += [f"{what:<12} {body[0]}", *(f"{'':<12} {more}" for more in body[1:])]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The card for machines."""
        return asdict(self)

    def _repr_html_(self) -> str:
        from mltrainer import views  # plotly comes with it: on use only

        return views.card(self)


ADDED = "added beside the named models and not counted among them; runs where its name or family {} is asked for"
MEANS = {
    "interval": "conformal, from its own errors on train rows it had not learned from",
    "probability": "of a return above zero, by Platt's method on the same rows; the point forecast keeps its own",
    "deviation": "standard deviation of the return as the method itself says it",
    "quantile": "the conditional quantile itself, scored by pinball loss",
}


def gives(spec: ModelSpec) -> Iterator[str]:
    """What comes with a forecast of the mean."""
    yield "interval"
    if spec.task == "classifier":
        yield "probability"
    if "deviation" in spec.gives:
        yield "deviation"
    if (level := quantile_level(spec)) is not None:
        yield f"quantile {level:g}"


def policy(spec: ModelSpec) -> str:
    """How many rows it learns from."""
    rows = spec.policy or "all rows"
    rows += f", each with the {spec.lags - 1} sessions before it" if spec.lags > 1 else ""
    if spec.columns is None:
        return f"{rows}, all features"
    return f"{rows}; of the features only {', '.join(spec.columns)}"


def parts(value: Any) -> Iterator[Part]:
    """Every estimator inside a configured one, outermost first, each with its settings in words."""
    if isinstance(value, Lazy):
        yield Part(value.path.rpartition(".")[2], {k: _said(v) for k, v in value.params.items()}, {})
    elif isinstance(value, Pipeline):
        for _, step in value.steps:
            yield from parts(step)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts(item[1] if isinstance(item, tuple) else item)
    elif isinstance(value, BaseEstimator):
        defaults, settings = signature(type(value).__init__).parameters, value.get_params(deep=False)
        split: tuple[dict[str, str], dict[str, str]] = ({}, {})
        for name, held in settings.items():
            if not _inner(name, held):
                split[not _differs(held, defaults.get(name))][name] = _said(held)
        yield Part(type(value).__name__, *split)
        for name, held in settings.items():
            if _inner(name, held):
                yield from parts(held)


def _inner(name: str, value: Any) -> bool:
    return name in INNER and isinstance(value, BaseEstimator | list | tuple) and not isinstance(value, str)


def _differs(value: Any, default: Parameter | None) -> bool:
    return default is None or default.default is Parameter.empty or canonical(value) != canonical(default.default)


def _said(value: Any) -> str:
    """A setting in words: kernels as scikit-learn writes them, splitters by name, long arrays by their ends."""
    if hasattr(value, "tolist") and getattr(value, "size", 1) > 1:
        return f"{value.size} values, {value.flat[0]:.3g} to {value.flat[-1]:.3g}"
    return f"{value:g}" if isinstance(value, float) else str(value)
