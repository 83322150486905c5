"""The request's JSON: what is refused and where, and what the engine gets."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zoe_server import codec, errors, protocol
from zoe_server.gateway.body import MAX_DEPTH, MAX_ITEMS, parse_json
from zoe_server.gateway.openai.body import MAX_CHOICES, MAX_STOPS, NOT_SERVED
from zoe_server.gateway.openai.chat import parse_chat, to_requests

USER = {"role": "user", "content": "hi"}
HEIGHT = {"type": "object", "properties": {"height": {"type": "integer"}}, "required": ["height"]}
TOOL = {"type": "function", "function": {"name": "turn_on", "parameters": {"type": "object"}}}


def translate(**fields: object) -> protocol.ChatRequest:
    body = {"messages": [USER], **fields}
    return to_requests(parse_chat(parse_json(json.dumps(body).encode())), "id", "m")[0]


def json_schema(**fields: object) -> dict[str, Any]:
    """Return a `response_format`."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "null"}, **fields}}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"42",
        b"null",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"a": "\xed\xa0\x80"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"[" * 101 + b"]" * 101 + b"}",
        b'{"a": ' + b'{"a": [' * 20_000 + b"]}" * 20_000 + b"}",
        b'{"a": 1e999}',
        b'{"a": [-1e400]}',
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(errors.InvalidRequestError):
        parse_json(raw)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [123]}, "messages[0]"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [USER, {"role": "wizard", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 42}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}]},
            "messages[0].content[1].image_url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///a"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"model": 1}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 1_000_000}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "0.5"}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 1e400}, None),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"repeat_penalty": 0}, "repeat_penalty"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"seed": -2}, "seed"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": 1}, "stop"),
        ({"stop": ["x"] * (MAX_STOPS + 1)}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        (
            {"tools": [{"type": "function", "function": {"name": "a", "parameters": []}}]},
            "tools[0].function.parameters",
        ),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "turn_on"}}}, "tool_choice.function.name"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
            "tool_choice.function.name",
        ),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_object", "schema": 5}}, "response_format.schema"),
        ({"response_format": {"type": "grammar", "grammar": "x"}}, "response_format.type"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "[]"}, "guided_json"),
        ({"guided_json": '{"a":' * 500 + "1" + "}" * 500}, "guided_json"),
        ({"json_schema": 5}, "json_schema"),
        ({"json_schema": {"type": "null"}, "response_format": json_schema()}, "json_schema"),
        ({"guided_json": {}, "response_format": {"type": "json_object"}}, "guided_json"),
        ({"structured_outputs": {"structural_tag": "a"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"json": 5}}, "structured_outputs.json"),
        (
            {"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "hm"}]}]},
            "messages[0].content[0].type",
        ),
        ({"response_format": json_schema(schema=[])}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(schema=None)}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(strict="yes")}, "response_format.json_schema.strict"),
        ({"zoe": {"priority": "urgent"}}, "zoe.priority"),
        ({"zoe": {"argument_values": {"area": "Kitchen"}}}, "zoe.argument_values.area"),
        ({"zoe": []}, "zoe"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        translate(**fields)
    assert caught.value.status == 400
    assert caught.value.param == param


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"a": ', "}"), ('{"anyOf": [', "]}")])
def test_what_is_nested_as_deep_as_may_be_reaches_the_engine_and_back(opened: str, closed: str) -> None:
    n_levels = (MAX_DEPTH - 6) // len(re.findall(r"[\[{]", opened))  # the rest is above it
    deep = json.loads(opened * n_levels + "1" + closed * n_levels)
    tool = {"type": "function", "function": {"name": "f", "parameters": {"a": deep}}}
    request = translate(tools=[tool])
    assert codec.decode_request(json.loads(json.dumps(codec.encode_request(request)))) == request


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_what_an_assistant_thought_reaches_the_engine(name: str) -> None:
    thought = {"role": "assistant", "content": "on", name: "hm"}
    assert translate(messages=[USER, thought, {**USER, name: "hm"}]).messages == (
        USER,
        {"role": "assistant", "content": "on", "reasoning_content": "hm"},
        USER,
    )


def test_what_the_template_is_told_reaches_the_engine() -> None:
    kwargs = {"enable_thinking": False}
    request = translate(chat_template_kwargs=kwargs)
    assert request.chat_template_kwargs == kwargs
    assert codec.decode_request(codec.encode_request(request)) == request
    assert translate(chat_template_kwargs=None).chat_template_kwargs == {}


@pytest.mark.parametrize(
    ("effort", "told"),
    [
        (None, {}),
        ("none", {"enable_thinking": False, "thinking": False}),
        ("minimal", {"enable_thinking": True, "thinking": True, "reasoning_effort": "low"}),
        ("high", {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}),
    ],
)
def test_the_template_is_told_how_much_to_think(effort: str | None, told: dict[str, Any]) -> None:
    assert translate(reasoning_effort=effort).chat_template_kwargs == told
    both = translate(reasoning_effort=effort, chat_template_kwargs={"enable_thinking": True})
    assert both.chat_template_kwargs == {**told, "enable_thinking": True}


def test_unknown_fields_are_ignored() -> None:
    assert translate(user="me", store=False, metadata={"a": 1}, service_tier="x") == translate()


def test_a_plain_request_leaves_everything_to_the_model() -> None:
    assert translate() == protocol.ChatRequest("id-0", "m", (USER,))


def test_everything_arrives() -> None:
    request = translate(
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=5,
        stop="END",
        temperature=1,
        top_k=0,
        top_p=0.5,
        min_p=0.1,
        repeat_penalty=1.1,
        frequency_penalty=-1,
        presence_penalty=1,
        seed=7,
        response_format=json_schema(strict=True, description="Nothing"),
        zoe={"priority": "background", "argument_values": {"area": ["Kitchen"], "turn_on.name": None}},
    )
    assert request == protocol.ChatRequest(
        id="id-0",
        model="m",
        messages=(USER,),
        tools=(protocol.Tool("turn_on", "", {"type": "object"}),),
        tool_choice=protocol.ToolChoice("required"),
        parallel_tool_calls=False,
        max_tokens=5,
        stop=("END",),
        sampling=protocol.Sampling(1, 0, 0.5, 0.1, 1.1, -1, 1, 7),
        priority="background",
        argument_values={"area": ("Kitchen",), "turn_on.name": None},
        answer_schema=protocol.AnswerSchema({"type": "null"}, "response_format.json_schema.schema"),
    )
    assert codec.decode_request(json.loads(json.dumps(codec.encode_request(request)))) == request


def test_a_body_may_begin_with_a_byte_order_mark() -> None:
    assert parse_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_vllms_word_for_every_token_is_understood() -> None:
    assert translate(top_k=-1).sampling == translate(top_k=0).sampling


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [1] * MAX_ITEMS},
        {"messages": [USER] * (MAX_ITEMS + 1)},
        {"messages": [{"role": "user", "content": [1] * MAX_ITEMS}]},
        {"messages": [{"role": "assistant", "tool_calls": [1] * MAX_ITEMS}]},
        {"messages": [USER], "zoe": {"argument_values": {"area": [1] * (MAX_ITEMS - 1)}}},
        {"messages": [USER], "zoe": {"argument_values": {"area": ["a"] * MAX_ITEMS}}},
        {"messages": [USER], "zoe": {"argument_values": {str(number): 1 for number in range(MAX_ITEMS + 1)}}},
    ],
)
def test_a_long_list_makes_one_error(fields: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        parse_chat(fields)
    cause = caught.value.__cause__
    assert isinstance(cause, ValidationError)
    assert cause.error_count() <= 2


@pytest.mark.parametrize("name", NOT_SERVED)
def test_what_would_constrain_an_answer_elsewhere_is_refused_by_name(name: str) -> None:
    for value in (["a"], {"a": 1}, "a", 1, True):
        with pytest.raises(errors.InvalidRequestError, match=name) as caught:
            translate(**{name: value})
        assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
    for nothing in (None, {}, [], "", 0, False):
        assert translate(**{name: nothing}) == translate()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"response_format": {"type": "json_object", "schema": HEIGHT}}, "response_format.schema"),
        ({"response_format": {"type": "json_schema", "schema": HEIGHT}}, "response_format.schema"),
        ({"response_format": json_schema(schema=HEIGHT, name="calendar event")}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(schema=HEIGHT, name=None)}, "response_format.json_schema.schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": HEIGHT}}},
            "response_format.json_schema.schema",
        ),
        ({"json_schema": HEIGHT}, "json_schema"),
        ({"guided_json": HEIGHT}, "guided_json"),
        ({"guided_json": json.dumps(HEIGHT)}, "guided_json"),
        ({"structured_outputs": {"json": HEIGHT}}, "structured_outputs.json"),
    ],
)
def test_a_schema_is_one_wherever_a_client_writes_it(fields: dict[str, Any], path: str) -> None:
    assert translate(**fields).answer_schema == protocol.AnswerSchema(HEIGHT, path)


@pytest.mark.parametrize(
    ("fields", "kind", "path"),
    [
        ({"grammar": "a+"}, "grammar", "grammar"),
        ({"guided_grammar": "a+"}, "grammar", "guided_grammar"),
        ({"ebnf": "a+"}, "grammar", "ebnf"),
        ({"regex": "a+"}, "regex", "regex"),
        ({"guided_regex": "a+"}, "regex", "guided_regex"),
        ({"structured_outputs": {"grammar": "a+"}}, "grammar", "structured_outputs.grammar"),
        ({"structured_outputs": {"regex": "a+"}}, "regex", "structured_outputs.regex"),
    ],
)
def test_a_grammar_is_one_wherever_a_client_writes_it(
    fields: dict[str, Any], kind: protocol.GrammarKind, path: str
) -> None:
    request = translate(**fields)
    assert request.answer_schema == protocol.AnswerGrammar(kind, "a+", path)
    assert codec.decode_request(codec.encode_request(request)) == request


def test_texts_to_choose_from() -> None:
    for fields in ({"guided_choice": ["on", "off"]}, {"structured_outputs": {"choice": ["on", "off"]}}):
        form = translate(**fields).answer_schema
        assert isinstance(form, protocol.AnswerGrammar)
        assert (form.kind, json.loads(form.text)) == ("choice", ["on", "off"])


def test_an_assistant_s_thoughts_are_skipped_and_its_refusals_said() -> None:
    thoughts = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "reasoning"},
    ]
    parts = [*thoughts, {"type": "text", "text": "No"}, {"type": "refusal", "refusal": "."}]
    old = translate(messages=[USER, {"role": "assistant", "content": parts}, USER]).messages[1]
    assert old == {"role": "assistant", "content": "No."}


def test_the_other_name_of_the_repeat_penalty() -> None:
    assert translate(repetition_penalty=1.2).sampling.repeat_penalty == 1.2
    assert translate(repetition_penalty=1.2, repeat_penalty=1.1).sampling.repeat_penalty == 1.1


def test_any_object_is_a_schema_like_others() -> None:
    wanted = protocol.AnswerSchema({"type": "object"}, "response_format")
    assert translate(response_format={"type": "json_object"}).answer_schema == wanted
    assert translate(response_format={"type": "text"}) == translate(response_format=None) == translate()


def test_the_newer_name_of_the_token_limit_wins() -> None:
    assert translate(max_completion_tokens=0).max_tokens == 0
    assert translate(max_tokens=9, max_completion_tokens=4).max_tokens == 4


@pytest.mark.parametrize(
    ("fields", "n"),
    [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 20}, 20)],
)
def test_probabilities_only_where_asked_for(fields: dict[str, object], n: int | None) -> None:
    assert translate(**fields).logprobs == n


def test_a_named_tool_is_a_required_one() -> None:
    choice = {"type": "function", "function": {"name": "turn_on"}}
    assert translate(tools=[TOOL], tool_choice=choice).tool_choice == protocol.ToolChoice("required", "turn_on")


def test_several_choices_differ_in_id_and_seed() -> None:
    body = parse_chat({"messages": [USER], "n": 3, "seed": 10})
    requests = to_requests(body, "id", "m")
    assert [(request.id, request.sampling.seed) for request in requests] == [("id-0", 10), ("id-1", 11), ("id-2", 12)]


@pytest.mark.parametrize("seed", [-1, None])
def test_no_seed_means_a_random_one(seed: int | None) -> None:
    assert translate(seed=seed).sampling.seed is None


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 2**63 - 1))
def test_no_seed_is_taken_for_a_random_one(seed: int) -> None:
    found = translate(seed=seed).sampling.seed
    assert found is not None
    assert 0 <= found < 0xFFFF_FFFF


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "turn "}, {"type": "text", "text": "on"}]
    assert translate(messages=[{"role": "user", "content": parts}]).messages == (
        {"role": "user", "content": "turn on"},
    )


def test_history_with_tool_calls_takes_its_usual_form() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "turn_on", "arguments": ""}},
        {"function": {"name": "turn_off", "arguments": {"name": "Lampe für Öl"}}},
    ]
    history = [
        {"role": "developer", "content": "be brief"},
        USER,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c1", "content": None},
        {"role": "tool", "content": "no such call"},
        {"role": "assistant", "content": None},
    ]
    assert translate(messages=history).messages == (
        {"role": "system", "content": "be brief"},
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "turn_on", "arguments": "{}"}},
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "turn_off", "arguments": '{"name": "Lampe für Öl"}'},
                },
            ],
        },
        {"role": "tool", "content": "", "tool_call_id": "c1"},
        {"role": "tool", "content": "no such call", "tool_call_id": ""},
        {"role": "assistant", "content": ""},
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KNOWN_FIELDS = st.sampled_from(["model", "messages", "n", "stop", "tools", "tool_choice", "zoe", "seed", "stream", "x"])


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(KNOWN_FIELDS, JSON_VALUES))
def test_whatever_comes_is_a_request_or_a_refusal(data: dict[str, Any]) -> None:
    with suppress(errors.InvalidRequestError):
        assert 1 <= len(to_requests(parse_chat(data), "id", "m")) <= MAX_CHOICES


@pytest.mark.parametrize(
    ("fields", "priority"),
    [
        ({}, "interactive"),
        ({"max_tokens": 8}, "interactive"),
        ({"max_tokens": 0}, "background"),
        ({"max_completion_tokens": 0}, "background"),
        ({"max_tokens": 0, "zoe": {"priority": "interactive"}}, "interactive"),
        ({"max_tokens": 8, "zoe": {"priority": "background"}}, "background"),
    ],
)
def test_a_prompt_that_is_computed_for_later_is_not_urgent(fields: dict[str, object], priority: str) -> None:
    assert translate(**fields).priority == priority
