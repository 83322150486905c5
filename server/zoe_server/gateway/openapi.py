"""What the server answers, as an OpenAPI document for tools and client generators.

It is made of the routes and of the models that check their bodies, so it cannot say anything else than they do. What
depends on a model (how many tokens fit, which names exist) is not in it.
Source: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiohttp.typedefs import Handler
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from zoe_server import __version__
from zoe_server.gateway.middleware import OPEN_PATHS, is_ollama_path

JSON: Final = "application/json"
TEXT: Final = "text/plain"

_References = Mapping[object, dict[str, Any]]  # by model

_PARAMETER: Final = re.compile(r"\{(\w+):[^}]*\}")
_TITLE: Final = "Zoe"
_KEYS: Final = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path: who answers, what may be sent, and the media types of the answer."""

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    summary: str
    body: type[BaseModel] | None = None
    answers: tuple[str, ...] = (JSON,)


class ErrorObject(BaseModel):
    """What is wrong; `param` is the path of the value that is."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """Every answer that is an error."""

    error: ErrorObject


class OllamaErrorBody(BaseModel):
    """Every answer that is an error, where Ollama's clients ask."""

    error: str


def document(routes: Sequence[Route], *, needs_key: bool) -> dict[str, Any]:
    """Return the document of `routes`; `needs_key` says whether requests must carry the key."""
    forms: list[type[BaseModel]] = [ErrorBody, OllamaErrorBody]
    forms += dict.fromkeys(route.body for route in routes if route.body is not None)
    names, schemas = models_json_schema(
        [(form, "validation") for form in forms],
        ref_template="#/components/schemas/{model}",
    )
    references: _References = {model: schema for (model, _), schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.1",
        "info": {"title": _TITLE, "version": __version__},
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": _KEYS},
        "security": [{name: []} for name in _KEYS] if needs_key else [],
    }


def _operation(route: Route, references: _References) -> dict[str, Any]:
    error = references[OllamaErrorBody if is_ollama_path(route.path) else ErrorBody]
    refused = {"description": "An error", "content": {JSON: {"schema": error}}}
    answer = {"description": "The answer", "content": {kind: _answer_schema(kind) for kind in route.answers}}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handler.__name__,
        "responses": {"200": answer, "4XX": refused, "5XX": refused},
    }
    if parameters := [_parameter(name) for name in _PARAMETER.findall(route.path)]:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": references[route.body]}}}
    if route.path in OPEN_PATHS:
        operation["security"] = []
    return operation


def _answer_schema(kind: str) -> dict[str, Any]:
    return {"schema": {"type": "object" if kind == JSON else "string"}}


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
