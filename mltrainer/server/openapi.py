"""The description of the interface (OpenAPI 3.1), made of the rows of `routes` and nothing else."""

from functools import cache
from importlib.metadata import version
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from mltrainer.server import metrics
from mltrainer.server.asking import asked
from mltrainer.server.roles import PERMISSIONS
from mltrainer.server.routes import ROUTES, Route

SCHEMAS = "#/components/schemas/"
ERRORS = {
    400: "a parameter that cannot be meant",
    403: "no token, or one whose role may not",
    404: "there is no such thing",
    413: "the body is too large",
    415: "the body is not application/json",
    422: "it was understood and cannot be done with the data there is",
    429: "too many wrong tokens came from this address",
    500: "something broke; the incident is in the server's log",
    502: "a provider failed",
    503: "too much is asked at once, or the store cannot be reached",
}
FAULT = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["status", "code", "message"],
            "properties": {
                "status": {"type": "integer"},
                "code": {"type": "string", "description": "the kind of error, for programs"},
                "message": {"type": "string", "description": "for people"},
                "incident": {"type": "string", "description": "number under which the server's log has it"},
            },
        }
    },
}


@cache
def document() -> dict[str, Any]:
    """The whole description, as JSON has it."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Error": FAULT}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    paths[metrics.PATH] = {"get": metrics.DESCRIPTION | {"responses": _text() | _faults()}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mlTrainer",
            "version": version("mltrainer"),
            "description": "Rates are fractions, times are UTC, sessions are New York dates, losses are positive. "
            "WebSocket /api/stream sends events as they happen.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    row = PERMISSIONS[route.permission]
    said = " ".join((route.call.__doc__ or "").split())
    made: dict[str, Any] = {
        "operationId": f"{route.method.lower()}_{route.call.__name__}",
        "summary": said.partition(". ")[0].rstrip("."),
        "description": f"{said} For {', '.join(sorted(row.roles))}: {row.what}.",
        "x-permission": route.permission,
        "responses": _responses(route, schemas),
    }
    parameters = asked(route.call).model_json_schema(ref_template=SCHEMAS + "{model}")
    schemas.update(parameters.pop("$defs", {}))
    known, required = parameters["properties"], parameters.get("required", [])
    inside = [name for name in known if f"{{{name}}}" in route.path]
    asks = inside if route.method == "POST" else list(known)
    if asks:
        made["parameters"] = [_parameter(name, known[name], name in inside, name in required) for name in asks]
    if route.method == "POST" and known.keys() - set(inside):
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": parameters}}}
    return made


def _parameter(name: str, schema: dict[str, Any], inside: bool, required: bool) -> dict[str, Any]:
    """A parameter of an address; one that is left out is not said to be null, which no address can say."""
    choices = [s for s in schema.get("anyOf", ()) if s.get("type") != "null"]
    if len(choices) == 1:
        schema = {k: v for k, v in schema.items() if k not in ("anyOf", "default")} | choices[0]
    return {"name": name, "in": "path" if inside else "query", "required": inside or required, "schema": schema}


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    answer = get_type_hints(route.call)["return"]
    schema = TypeAdapter(answer).json_schema(ref_template=SCHEMAS + "{model}", mode="serialization")
    schemas.update(schema.pop("$defs", {}))
    if "title" in schema and schema.get("type") == "object" and schema["title"] != "Dict":
        schemas[schema["title"]] = schema
        schema = {"$ref": SCHEMAS + schema["title"]}
    done = {"description": "done" if route.status == 200 else "begun", "content": _json(schema)}
    return {str(route.status): done, **_faults()}


def _faults() -> dict[str, Any]:
    return {str(s): {"description": why, "content": _json({"$ref": f"{SCHEMAS}Error"})} for s, why in ERRORS.items()}


def _text() -> dict[str, Any]:
    return {"200": {"description": "done", "content": {"text/plain": {"schema": {"type": "string"}}}}}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
