"""Line 15 of the behaviours: answers that are JSON of a schema, on a model that writes nonsense otherwise."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conformance.conftest import Client

# A model of random weights closes an object by chance only, about every third time.
NONSENSE_ATTEMPTS = 100
USER = {"role": "user", "content": "Which lamps are on?"}
LAMP = {"type": "object", "properties": {"on": {"type": "boolean"}, "area": {"enum": ["Hall", "Attic"]}}}
STATE = {
    "$defs": {"lamp": LAMP},
    "type": "object",
    "properties": {
        "version": {"const": 2},
        "level": {"type": "integer", "minimum": 10, "maximum": 20},
        "first": {"$ref": "#/$defs/lamp"},
        "lamps": {"type": "array", "items": {"$ref": "#/$defs/lamp"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["version", "level", "first", "lamps"],
    "additionalProperties": False,
}


def json_schema(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def is_lamp(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() <= {"on", "area"}
        and value.get("on", True) in (True, False)
        and value.get("area", "Hall") in ("Hall", "Attic")
    )


def assert_state(text: str) -> None:
    state = json.loads(text)
    assert list(state) == ["version", "level", "first", "lamps"]
    assert state["version"] == 2
    assert state["level"] in range(10, 21)
    assert is_lamp(state["first"])
    assert 1 <= len(state["lamps"]) <= 3
    assert all(map(is_lamp, state["lamps"]))


async def test_15_a_schema_is_kept(client: Client) -> None:
    for seed in range(3):
        fields = {"response_format": json_schema(STATE), "max_tokens": 400, "temperature": 1.0, "seed": seed}
        choice = (await client.chat(**fields))["choices"][0]
        assert choice["finish_reason"] == "stop"
        assert_state(choice["message"]["content"])
        chunks = await client.stream(**fields)
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == choice["message"]["content"]


async def test_15_an_object_is_an_object(client: Client) -> None:
    nonsense = {"temperature": 1.0, "top_k": 0, "min_p": 0.0}
    fields: dict[str, Any] = {"response_format": {"type": "json_object"}, "max_tokens": 400, **nonsense}
    for seed in range(NONSENSE_ATTEMPTS):
        choice = (await client.chat(**fields, seed=seed))["choices"][0]
        text = choice["message"]["content"]
        assert text.startswith("{")
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(text), dict)
            return
    pytest.fail(f"none of {NONSENSE_ATTEMPTS} objects came to its end within 400 tokens")


async def test_15_text_is_free(client: Client) -> None:
    free = await client.chat(temperature=0)
    assert (await client.chat(response_format={"type": "text"}, temperature=0))["choices"] == free["choices"]


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "object", "properties": {"a": {"not": {}}}}, "properties.a.not"),
        ({"type": "strin"}, "type"),
        ({"$ref": "#/$defs/missing"}, "$ref"),
        ({"type": "string", "pattern": "("}, "pattern"),
    ],
)
async def test_15_a_schema_that_cannot_be_kept_is_refused(client: Client, schema: object, param: str) -> None:
    for stream in (False, True):
        body = {"messages": [USER], "stream": stream, "response_format": json_schema(schema)}
        status, error = await client.refusal(body)
        assert (status, error["param"]) == (400, f"response_format.json_schema.schema.{param}")
        assert error["param"] in error["message"]
