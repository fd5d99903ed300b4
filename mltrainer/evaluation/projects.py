"""What a trial was made for, and what it does otherwise than the defaults: labels beside a result, never part of it.

A project is a label of intent. The same fit has the same address in every project, and luck counts every trial of the
ledger: another name for the work makes no search smaller.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mltrainer.errors import BadInput
from mltrainer.evaluation.protocol import Protocol
from mltrainer.evaluation.record import Evaluation
from mltrainer.evaluation.splits import Split, WalkForward
from mltrainer.features.matrix import Matrix
from mltrainer.models import catalog
from mltrainer.models.base import Lazy, ModelSpec, canonical
from mltrainer.models.card import parts
from mltrainer.models.spaces import label
from mltrainer.settings import settings
from mltrainer.trust import audit

NAME = re.compile(r"\w[\w .-]{0,59}")


def named(project: str | None) -> str:
    """The project that is meant: the one named, else that of the settings; "" for none."""
    project = settings().project if project is None else project
    if project and not NAME.fullmatch(project):
        raise BadInput(f"project {project[:80]!r} is no name: up to 60 letters, digits, spaces, dots and dashes")
    return project


def differences(spec: ModelSpec, matrix: Matrix, protocol: Protocol) -> str:
    """What differs from the defaults, as "cost_bps=10, folds=5, alpha=3"; empty where nothing does.

    Of a model of the catalog its parameters that are not the catalog's, of another those that are not its library's.
    """
    said = [*_protocol(protocol), *_model(spec), *matrix.notes]
    said += [f"judged after its knowledge cutoff {spec.cutoff}"] if spec.cutoff else []
    return ", ".join(said)


def of_model(spec: ModelSpec) -> str:
    """What of a model differs from the defaults: `differences` of the usual protocol and of data without notes."""
    return ", ".join(_model(spec))


def _protocol(protocol: Protocol) -> Iterator[str]:
    usual = vars(Protocol())
    for name, value in vars(protocol).items():
        if name == "split":
            yield from _split(value)
        elif value != usual[name]:
            yield f"{name}={_short(value)}"


def _split(split: Split) -> Iterator[str]:
    kind, usual = type(split), vars(WalkForward())
    if kind is not WalkForward:
        yield f"split={kind.__name__}"
    yield from (f"{name}={_short(value)}" for name, value in vars(split).items() if usual.get(name, ...) != value)


def _model(spec: ModelSpec) -> Iterator[str]:
    known = {row.name: row for row in catalog.every()}
    entry = known.get(spec.name) or known.get(spec.name.partition("(")[0])
    if entry is None or entry.engine != spec.engine:
        return (f"{part.name}({_pairs(part.chosen)})" for part in parts(spec.estimator) if part.chosen)
    mine, theirs = ({**_params(row.estimator), "max_train_rows": row.max_train_rows} for row in (spec, entry))
    return (
        f"{label(path)}={_short(value)}"
        for path, value in mine.items()
        if path not in theirs or canonical(theirs[path]) != canonical(value)
    )


def _params(estimator: Any) -> Mapping[str, Any]:
    """Parameters by path, without those that are estimators themselves."""
    given = estimator.params if isinstance(estimator, Lazy) else estimator.get_params(deep=True)
    return {path: v for path, v in given.items() if not hasattr(v, "get_params") and not isinstance(v, list | tuple)}


def _pairs(chosen: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def labelled(evaluation: Evaluation, settings: str, project: str) -> Evaluation:
    """The result with what differs from the defaults, and its project, beside it; what is empty is not said."""
    beside = {"settings": settings, "project": project}
    return dataclasses.replace(evaluation, meta=evaluation.meta | {k: v for k, v in beside.items() if v})


def joins(results: Iterable[Evaluation], project: str) -> None:
    """Write to the trail that results made before, for something else, belong to a project as well."""
    others = [e.key for e in results if project and e.meta.get("project", "") != project]
    told = joined(project) if others else set()
    if new := [key for key in others if key not in told]:
        audit.append("project", project=project, keys=new)


def joined(project: str) -> set[str]:
    """Keys of results made for something else that belong to a project as well."""
    entries = audit.entries(kind="project")
    return {key for e in entries if e.payload.get("project") == project for key in e.payload.get("keys", ())}
