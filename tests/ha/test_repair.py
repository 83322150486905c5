"""Arguments as models write them; nothing that has no certain reading is changed."""

import json
from typing import Any

import pytest
from homeassistant.helpers.json import json_dumps
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.turn.arguments import ArgumentsError, Repair, parsed_arguments, repaired

SCHEMA = {
    "properties": {
        "name": {"type": "string"},
        "domain": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "brightness": {"type": "integer"},
        "temperature": {"type": ["number", "null"]},
        "text_or_number": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        "target": {"type": "object"},
        "free": {},
    }
}
LAMP = {"name": "Lamp"}


@pytest.mark.parametrize(
    ("text", "repairs"),
    [
        ('{"name": "Lamp"}', []),
        ('"{\\"name\\": \\"Lamp\\"}"', [Repair.TEXT]),
        ('{"name": "Lamp",}', [Repair.TEXT]),
        ('```json\n{"name": "Lamp"}\n```', [Repair.TEXT]),
        ("{'name': 'Lamp'}", [Repair.TEXT]),
        ("```\n{'name': 'Lamp'}```", [Repair.TEXT]),
    ],
)
def test_text_of_arguments(text: str, repairs: list[Repair]) -> None:
    assert parsed_arguments(text) == (LAMP, repairs)


def test_no_arguments() -> None:
    assert parsed_arguments(" ") == ({}, [])


def test_a_comma_in_a_string_stays() -> None:
    assert parsed_arguments('{"name": "a,]",}')[0] == {"name": "a,]"}


@pytest.mark.parametrize(
    "text",
    [
        '{"name": ',
        "[]",
        '"Lamp"',
        "Lamp",
        "[" * 5000,
        '{"a": ' * 5000,
        '{"a": ' * 300 + "1" + "}" * 300,
        '{"name": "\\ud800"}',
        "__import__('os')",
        '{"name": "' + "x" * 100_000 + '"}',
    ],
)
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(ArgumentsError, match=r"."):
        parsed_arguments(text)


@pytest.mark.parametrize(
    ("written", "meant", "repairs"),
    [
        (LAMP, LAMP, []),
        ({"name": "Lamp", "area": "", "floor": None, "domain": ["", " "], "target": {}}, LAMP, [Repair.BLANK] * 4),
        ({"domain": '["light", "fan"]'}, {"domain": ["light", "fan"]}, [Repair.NESTED]),
        ({"target": '{"a": 1}'}, {"target": {"a": 1}}, [Repair.NESTED]),
        ({"target": '{"a": 1'}, {"target": '{"a": 1'}, []),
        ({"name": '["a"]'}, {"name": '["a"]'}, []),
        ({"free": '["a"]'}, {"free": '["a"]'}, []),
        ({"arguments": LAMP}, LAMP, [Repair.WRAPPED]),
        ({"parameters": '{"name": "Lamp"}'}, LAMP, [Repair.WRAPPED]),
        ({"arguments": "Lamp"}, {"arguments": "Lamp"}, []),
        ({"brightness": "50%"}, {"brightness": 50}, [Repair.NUMBER]),
        ({"temperature": " 21.5 "}, {"temperature": 21.5}, [Repair.NUMBER]),
        ({"brightness": "half"}, {"brightness": "half"}, []),
        ({"text_or_number": "5"}, {"text_or_number": "5"}, []),
        ({"brightness": 0, "free": False}, {"brightness": 0, "free": False}, []),
    ],
)
def test_arguments(written: dict[str, Any], meant: dict[str, Any], repairs: list[Repair]) -> None:
    assert repaired(written, SCHEMA) == (meant, repairs)


def test_an_argument_that_may_be_anything_stays() -> None:
    schema = {"properties": {"free": True, "number": {"type": ["number", "null"]}}}
    assert repaired({"free": "5", "number": "5"}, schema) == ({"free": "5", "number": 5}, [Repair.NUMBER])


def test_a_wrapper_that_is_an_argument_stays() -> None:
    written = {"arguments": {"a": 1}}
    assert repaired(written, {"properties": {"arguments": {"type": "object"}}}) == (written, [])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "target", "a"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*SCHEMA["properties"], "arguments", "x"]), JSON))
def test_repairs_are_complete_and_keep_what_they_cannot_read(arguments: dict[str, Any]) -> None:
    better, _ = repaired(arguments, SCHEMA)
    json_dumps(better)
    assert set(better) <= set(arguments) | set().union(*(v for v in arguments.values() if isinstance(v, dict)))
    assert None not in better.values()
    assert "" not in better.values()


@given(st.one_of(st.text(), JSON.map(json.dumps), st.text(alphabet="{}[]\"':, a1\\`", max_size=30)))
def test_any_text_is_an_object_or_an_error(text: str) -> None:
    try:
        arguments, _ = parsed_arguments(text)
    except ArgumentsError:
        return
    assert isinstance(arguments, dict)
    json_dumps(arguments)
