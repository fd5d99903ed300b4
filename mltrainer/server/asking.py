"""Reading a request: every parameter is of the type its route says, and what no route asks for is refused."""

import inspect
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from mltrainer.errors import BadInput, MltrainerError, NotEnoughHistory, ProviderError, Refused, StorageError, Tampered
from mltrainer.errors import Unavailable as NotThere
from mltrainer.server.records import NotFound, NotNow
from mltrainer.settings import settings

DEEPEST = 32
OURS = ("caller", "hear")  # what the server gives a route's function itself
# What an error of ours is in HTTP; the first that fits.
FAULTS: dict[type[MltrainerError], int] = {
    NotFound: 404,
    NotNow: 503,
    NotEnoughHistory: 422,
    Refused: 422,
    NotThere: 404,
    ProviderError: 502,
    Tampered: 500,
    StorageError: 503,
    BadInput: 400,
    MltrainerError: 500,
}


@cache
def asked(call: Callable[..., Any]) -> type[BaseModel]:
    """The parameters of a route's function as a model that checks them; who asks, and who hears, are none of them."""
    hints = get_type_hints(call, include_extras=True)
    given = {n: p for n, p in inspect.signature(call).parameters.items() if n not in OURS}
    fields: Any = {n: (hints[n], ... if p.default is p.empty else p.default) for n, p in given.items()}
    name = call.__name__.title().replace("_", "")
    return create_model(name, __config__=ConfigDict(strict=True, extra="forbid"), **fields)


def checked(call: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, or `BadInput` that names the first that cannot be meant."""
    try:
        model = asked(call).model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        if first["type"] == "extra_forbidden":
            known = ", ".join(asked(call).model_fields) or "none"
            raise BadInput(f"there is no parameter {where!a} here; known: {known}") from None
        raise BadInput(f"{where or 'the request'}: {first['msg'][:200]}") from None
    return {name: getattr(model, name) for name in type(model).model_fields}


def queried(call: Callable[..., Any], query: Mapping[str, list[str]]) -> dict[str, Any]:
    """What a query says, each value of the kind its parameter has."""
    known = asked(call).model_json_schema()["properties"]
    out: dict[str, Any] = {}
    for name, values in query.items():
        kind = _kind(known.get(name, {}))
        if kind != "array" and len(values) > 1:
            raise BadInput(f"{name[:80]}: was given {len(values)} times")
        out[name] = values if kind == "array" else _read(values[0], kind)
    return out


def _kind(schema: Mapping[str, Any]) -> str:
    """The JSON type of a parameter, of those it may have the first."""
    return str(schema.get("type") or next((s["type"] for s in schema.get("anyOf", ())), "string"))


def _read(text: str, kind: str) -> Any:
    if kind == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def body(data: bytes) -> dict[str, Any]:
    """The one JSON object of a body: no name twice, no number that JSON does not have, not too deep."""
    try:
        found = json.loads(data or b"{}", parse_constant=_none, object_pairs_hook=_once)
        shallow = _deep(found) <= DEEPEST
    except BadInput:
        raise
    except (ValueError, RecursionError):
        raise BadInput("the body is not JSON, or nested too deeply") from None
    if not isinstance(found, dict) or not shallow:
        raise BadInput("the body must be one JSON object, and not a deep one")
    return found


def _none(word: str) -> Any:
    raise BadInput(f"the body holds {word}, which is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadInput("the body says something twice")
    return found


def _deep(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_deep, inner), default=0)


def status_of(error: MltrainerError) -> int:
    """The HTTP status of an error of ours."""
    return next(status for kind, status in FAULTS.items() if isinstance(error, kind))


def told(error: MltrainerError) -> str:
    """What an error says, without where things lie on this machine; of damage nothing, the log has it."""
    if isinstance(error, Tampered | StorageError):
        return ""
    words = str(error).replace(str(settings().home.absolute()), "MLTRAINER_HOME")
    return re.sub(r"(?<![\w:/.])/(?!api/)[\w.@+-]+(?:/[\w.@+-]*)+", "(a file of the server)", words)[:500]
