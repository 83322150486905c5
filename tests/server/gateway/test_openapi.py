"""The document says what the routes do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from jsonschema import Draft202012Validator

from zoe_server import errors
from zoe_server.gateway.middleware import error_body, ollama_error_body
from zoe_server.gateway.openapi import ErrorBody, OllamaErrorBody

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tests.server.gateway.conftest import Gateway, Start

KEY = {"X-Api-Key": "k-1"}


async def document(gateway: Gateway) -> dict[str, Any]:
    response = await gateway.client.get("/openapi.json", headers=KEY)
    found: dict[str, Any] = await response.json()
    assert response.status == 200
    return found


async def test_every_route_is_in_the_document_and_nothing_else(gateway: Gateway) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in gateway.client.app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    described = {
        (method.upper(), path)
        for path, operations in (await document(gateway))["paths"].items()
        for method in operations
    }
    assert described == served


async def test_the_document_is_openapi(gateway: Gateway) -> None:
    found = await document(gateway)
    assert found["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(found).validate()
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_every_reference_leads_somewhere_and_every_operation_has_a_name_of_its_own(gateway: Gateway) -> None:
    found = await document(gateway)
    references = set(re.findall(r'"\$ref": "([^"]+)"', await (await gateway.client.get("/openapi.json")).text()))
    assert references
    assert references <= {f"#/components/schemas/{name}" for name in found["components"]["schemas"]}
    names = [operation["operationId"] for path in found["paths"].values() for operation in path.values()]
    assert len(set(names)) == len(names)


async def test_bodies_are_described_by_the_models_that_check_them(gateway: Gateway) -> None:
    found = await document(gateway)
    content = found["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"]
    schema = found["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["n"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 8}


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (ErrorBody, error_body(errors.ContextSizeError(5, 4))),
        (ErrorBody, error_body(errors.InvalidRequestError("no", param="n"))),
        (OllamaErrorBody, ollama_error_body(errors.ModelNotFoundError("no", param="model"))),
    ],
)
def test_errors_have_the_form_that_is_described(form: type[BaseModel], body: dict[str, Any]) -> None:
    Draft202012Validator(form.model_json_schema()).validate(body)


async def test_the_document_needs_the_key_and_says_so(start: Start) -> None:
    gateway = await start(api_key="k-1")
    assert (await gateway.client.get("/openapi.json")).status == 401
    found = await document(gateway)
    assert [set(way) for way in found["security"]] == [{"bearer"}, {"header"}]
    assert found["paths"]["/health"]["get"]["security"] == []
    assert "security" not in found["paths"]["/v1/models"]["get"]


async def test_without_a_key_none_is_asked_for_and_no_model_is_loaded(start: Start) -> None:
    gateway = await start(wait=False)
    assert (await document(gateway))["security"] == []
    assert gateway.engines == []
