"""Code of an estimator that no installed library answers for, read as it runs: another body is another hash.

A library is known by its version. A class from a notebook or a file of one's own has none, so its functions are read,
with the functions, classes and constants of one's own that they name. They are read as loaded and not as the file
stands, which may have been edited since. Not seen is what is found by other ways than a name: a file that is read, an
object's state.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from mltrainer.features.expressions import Expression
from mltrainer.models.base import Lazy, canonical
from mltrainer.trust.provenance import fingerprint

PLAIN = (str, bytes, int, float, type(None), np.generic, np.ndarray)


def source(estimator: Any) -> str:
    """Hash of all code of one's own in a configured estimator; "" where installed libraries do everything."""
    seen: set[int] = set()
    own = [_read(kind, seen) for kind in kinds(estimator) if not installed(kind.__module__)]
    return fingerprint(own) if own else ""


def function(value: Any) -> str:
    """Hash of what a function runs; of one of an installed library its name and version, of an expression its text."""
    if isinstance(value, Expression):
        return value.code
    return source(value) or fingerprint(value.__module__, value.__qualname__, _version(value.__module__))


def _version(module: str) -> str:
    try:
        return version(module.partition(".")[0])
    except PackageNotFoundError:
        return ""


def packages(estimator: Any) -> set[str]:
    """Top packages of the classes an estimator is made of; those of libraries it imports when it runs are not seen."""
    lazy = {estimator.path.partition(".")[0]} if isinstance(estimator, Lazy) else set()
    return lazy | {kind.__module__.partition(".")[0] for kind in kinds(estimator)}


def kinds(value: Any) -> Iterator[Any]:
    """The classes and functions a configured estimator is made of, outermost first."""
    if isinstance(value, Lazy):
        yield type(value)
        module, _, name = value.path.rpartition(".")
        if not installed(module):
            with suppress(ImportError, AttributeError):  # it is not there, and said to be unavailable when it is built
                yield getattr(import_module(module), name)
        yield from kinds(value.params)
    elif isinstance(value, type | FunctionType):
        yield value
    elif isinstance(value, Mapping):
        yield from (kind for key in sorted(value, key=repr) for kind in kinds(value[key]))
    elif isinstance(value, list | tuple):
        yield from (kind for item in value for kind in kinds(item))
    elif not isinstance(value, PLAIN):
        yield type(value)
        params = value.get_params(deep=False) if isinstance(value, BaseEstimator) else getattr(value, "__dict__", {})
        yield from kinds(params)


@cache
def installed(module: str) -> bool:
    """Whether a module is of a library that its version answers for: Python's own, this package, or site-packages."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("builtins", "mltrainer"):
        return True
    try:
        found = find_spec(top)
    except ValueError:  # a script or a notebook
        found = None
    places = [found.origin or "", *(found.submodule_search_locations or ())] if found else []
    return any({"site-packages", "dist-packages"} & set(Path(place).parts) for place in places)


def _read(value: Any, seen: set[int]) -> Any:
    """A value in what has a fingerprint: functions by their code, classes by their members, each once."""
    match value:
        case staticmethod() | classmethod():
            return _read(value.__func__, seen)
        case property():
            return [_read(part, seen) for part in (value.fget, value.fset)]
        case cached_property():
            return _read(value.func, seen)
        case partial():
            return [_read(part, seen) for part in (value.func, value.args, value.keywords)]
        case CodeType():
            return [value.co_code, value.co_names, [_read(c, seen) for c in value.co_consts]]
        case FunctionType() | type():
            name = f"{value.__module__}.{value.__qualname__}"
            if installed(value.__module__) or id(value) in seen:
                return name
            seen.add(id(value))
            return [name, _function(value, seen) if isinstance(value, FunctionType) else _members(value, seen)]
        case dict():
            return {str(key): _read(item, seen) for key, item in value.items()}
        case list() | tuple():
            return [_read(item, seen) for item in value]
        case set() | frozenset():
            return sorted(fingerprint(_read(item, seen)) for item in value)
        case BaseEstimator():
            return [canonical(value), [_read(kind, seen) for kind in kinds(value)]]
    return value if isinstance(value, PLAIN) else type(value).__qualname__


def _members(kind: type, seen: set[int]) -> list[Any]:
    kept = {k: v for k, v in vars(kind).items() if callable(v) or not k.startswith("__")}
    bases = [_read(base, seen) for base in kind.__bases__]
    return [bases, [[name, _read(kept[name], seen)] for name in sorted(kept) if not name.startswith("_abc_")]]


def _function(function: FunctionType, seen: set[int]) -> list[Any]:
    names, scope = sorted(set(_names(function.__code__))), function.__globals__
    used = {name: scope[name] for name in names if name in scope}
    for module in [m for m in used.values() if isinstance(m, ModuleType) and not installed(m.__name__)]:
        used |= {f"{module.__name__}.{name}": getattr(module, name) for name in names if hasattr(module, name)}
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    parts = (function.__code__, function.__defaults__, function.__kwdefaults__, held)
    return [*(_read(part, seen) for part in parts), _read(used, seen)]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
