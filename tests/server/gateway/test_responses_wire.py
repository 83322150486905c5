"""The JSON of a Responses request: what is refused and where, and what the engine gets."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server import errors, protocol
from zoe_server.gateway.body import parse_json
from zoe_server.gateway.openai.responses import parse_response, to_request

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "name": "turn_on", "parameters": {"type": "object"}, "strict": True}
OTHER = {"type": "function", "name": "turn_off", "description": "off", "parameters": None}
CALL = {"type": "function_call", "call_id": "c1", "name": "turn_on", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "done"}


def translate(**fields: object) -> protocol.ChatRequest:
    body = {"input": "hi", **fields}
    return to_request(parse_response(parse_json(json.dumps(body).encode())), "id", "m")


def allowed(*tools: object, mode: str = "auto") -> dict[str, object]:
    return {"type": "allowed_tools", "mode": mode, "tools": list(tools)}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": [123]}, "input[0]"),
        ({"input": [{}]}, "input[0].role"),
        ({"input": [USER, {"role": "wizard", "content": "x"}]}, "input[1].role"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": None}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_image"}]}]},
            "input[0].content[1].image_url",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": ["message"], "role": "user", "content": "x"}]}, "input[0].type"),
        ({"input": [USER, {"type": "item_reference", "id": "msg_1"}]}, "input[1]"),
        ({"input": [{**CALL, "call_id": None}]}, "input[0].call_id"),
        ({"input": [{**CALL, "name": ""}]}, "input[0].name"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments"),
        ({"input": [CALL, {**OUTPUT, "call_id": 1}]}, "input[1].call_id"),
        ({"input": [CALL, {"type": "function_call_output", "call_id": "c1"}]}, "input[1].output"),
        ({"input": [{**OUTPUT, "output": [{"type": "input_image"}]}]}, "input[0].output[0].image_url"),
        ({"input": [{**OUTPUT, "output": [{"type": "input_file"}]}]}, "input[0].output[0].type"),
        ({"instructions": ["be brief"]}, "instructions"),
        ({"model": 1}, "model"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"max_output_tokens": -1}, "max_output_tokens"),
        ({"max_output_tokens": 10**30}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"messages": [USER]}, "messages"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"n": 2}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a"}}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "name": "a b"}]}, "tools[0].name"),
        ({"tools": [{**TOOL, "parameters": []}]}, "tools[0].parameters"),
        ({"tools": [{**TOOL, "strict": "yes"}]}, "tools[0].strict"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name"),
        ({"tools": [TOOL], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "fly"}}, "tool_choice.name"),
        ({"tools": [TOOL], "tool_choice": allowed(mode="required")}, "tool_choice.tools"),
        ({"tools": [TOOL], "tool_choice": allowed(TOOL, mode="none")}, "tool_choice.mode"),
        ({"tools": [TOOL], "tool_choice": allowed(TOOL, {"type": "mcp"})}, "tool_choice.tools[1].type"),
        ({"tools": [TOOL], "tool_choice": allowed(TOOL, OTHER)}, "tool_choice.tools[1].name"),
        ({"tools": [{"type": 5}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}, {**TOOL, "name": 5}]}, "tools[1].name"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"guided_json": {}, "text": {"format": {"type": "json_object"}}}, "guided_json"),
        ({"grammar": "root ::= x", "guided_json": {}}, "grammar"),
        ({"structural_tag": "x"}, "structural_tag"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"reasoning": "high"}, "reasoning"),
        ({"include": ["reasoning.encrypted_content", "message.output_text.logprobs"]}, "include[1]"),
        ({"include": ["everything"]}, "include[0]"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"truncation": "auto"}, "truncation"),
        ({"metadata": {"room": 1}}, "metadata.room"),
        ({"metadata": {str(index): "x" for index in range(17)}}, "metadata"),
        ({"metadata": {"room": "x" * 513}}, "metadata.room"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"conversation": {"id": "conv_1"}}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options.prewarm"),
        ({"zoe": {"priority": "urgent"}}, "zoe.priority"),
        ({"zoe": {"argument_values": {"area": "Kitchen"}}}, "zoe.argument_values.area"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        translate(**fields)
    assert caught.value.status == 400
    assert caught.value.param == param


@pytest.mark.parametrize("fields", [{"previous_response_id": "resp_1"}, {"conversation": "c"}, {"background": True}])
def test_what_needs_a_memory_is_refused_with_the_way_out(fields: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequestError, match="keeps no conversations; send the whole input"):
        translate(**fields)


def test_a_plain_request_leaves_everything_to_the_model() -> None:
    assert translate() == protocol.ChatRequest("id", "m", (USER,))


def test_what_changes_nothing_is_accepted() -> None:
    fields: dict[str, Any] = {
        "store": True,
        "background": False,
        "metadata": {"room": "kitchen"},
        "reasoning": {"effort": None, "summary": "auto"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "include": ["reasoning.encrypted_content"],
        "truncation": "disabled",
        "service_tier": "auto",
        "max_tool_calls": 3,
        "prompt_cache_options": {"mode": "implicit"},
        "some_new_field": 1,
    }
    assert translate(**fields) == translate()
    assert translate(**dict.fromkeys(fields)) == translate()


def test_the_template_is_told_how_much_to_think() -> None:
    request = translate(reasoning={"effort": "none"})
    assert request.chat_template_kwargs == {"enable_thinking": False, "thinking": False}


def test_everything_arrives() -> None:
    request = translate(
        instructions="be brief",
        tools=[TOOL, OTHER],
        tool_choice="required",
        parallel_tool_calls=False,
        max_output_tokens=5,
        stop="END",
        temperature=1,
        top_k=0,
        top_p=0.5,
        seed=7,
        zoe={"priority": "background", "argument_values": {"area": ["Kitchen"], "turn_on.name": None}},
    )
    assert request == protocol.ChatRequest(
        id="id",
        model="m",
        messages=({"role": "system", "content": "be brief"}, USER),
        tools=(protocol.Tool("turn_on", "", {"type": "object"}), protocol.Tool("turn_off", "off", {})),
        tool_choice=protocol.ToolChoice("required"),
        parallel_tool_calls=False,
        max_tokens=5,
        stop=("END",),
        sampling=protocol.Sampling(temperature=1, top_k=0, top_p=0.5, seed=7),
        priority="background",
        argument_values={"area": ("Kitchen",), "turn_on.name": None},
    )


def test_messages_of_every_role_and_part() -> None:
    items = [
        {"role": "developer", "content": "be brief"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": part} for part in ("a", "b")]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "c", "annotations": []},
                {"type": "refusal", "refusal": "d"},
            ],
        },
        {"role": "system", "content": []},
    ]
    assert translate(input=items).messages == (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "cd"},
        {"role": "system", "content": ""},
    )


def test_tools_of_other_kinds_are_skipped() -> None:
    others = [{"type": "web_search"}, {"type": "custom", "name": "x"}, {"type": "namespace", "name": "n", "tools": []}]
    assert translate(tools=[others[0], TOOL, *others[1:]]) == translate(tools=[TOOL])
    assert parse_response({"input": "hi", "tools": [*others, TOOL]}).echo()["tools"] == [
        {**TOOL, "description": None},
    ]


@pytest.mark.parametrize("nothing", [[], "", [{"type": "reasoning", "id": "rs_1", "summary": []}]])
def test_who_asks_nothing_gets_an_answer(nothing: object) -> None:
    """Some clients do, to see whether somebody answers."""
    assert translate(input=nothing).messages == ({"role": "user", "content": ""},)


@pytest.mark.parametrize("name", [None, "calendar event"])
def test_the_name_of_a_schema_is_the_client_s_own(name: str | None) -> None:
    wanted = {"type": "json_schema", "schema": {"type": "null"}, "name": name}
    assert translate(text={"format": wanted}).answer_schema == protocol.AnswerSchema(
        {"type": "null"}, "text.format.schema"
    )


def test_the_output_of_a_call_may_come_in_parts() -> None:
    parts = [{"type": "input_text", "text": "on"}, {"type": "input_text", "text": "!"}]
    found = translate(input=[USER, CALL, {**OUTPUT, "output": parts}]).messages[-1]
    assert found == {"role": "tool", "content": "on!", "tool_call_id": "c1"}


def test_text_and_calls_of_an_answer_become_one_message() -> None:
    second = {**CALL, "call_id": "c2", "arguments": ""}
    items = [
        USER,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"role": "assistant", "content": "One moment."},
        CALL,
        second,
        OUTPUT,
        {**OUTPUT, "call_id": "c2", "output": [{"type": "input_text", "text": "done too"}]},
        {**CALL, "call_id": "c3"},
    ]

    def call(call_id: str) -> dict[str, Any]:
        return {"id": call_id, "type": "function", "function": {"name": "turn_on", "arguments": "{}"}}

    assert translate(input=items).messages == (
        USER,
        {"role": "assistant", "content": "One moment.", "tool_calls": [call("c1"), call("c2")]},
        {"role": "tool", "content": "done", "tool_call_id": "c1"},
        {"role": "tool", "content": "done too", "tool_call_id": "c2"},
        {"role": "assistant", "content": None, "tool_calls": [call("c3")]},
    )


def test_a_named_tool_is_a_required_one() -> None:
    request = translate(tools=[TOOL, OTHER], tool_choice={"type": "function", "name": "turn_off"})
    assert request.tool_choice == protocol.ToolChoice("required", "turn_off")
    assert [tool.name for tool in request.tools] == ["turn_on", "turn_off"]


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_only_allowed_tools_are_shown(mode: protocol.ToolChoiceMode) -> None:
    request = translate(tools=[TOOL, OTHER], tool_choice=allowed({"type": "function", "name": "turn_off"}, mode=mode))
    assert request.tool_choice == protocol.ToolChoice(mode)
    assert [tool.name for tool in request.tools] == ["turn_off"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
ITEM_KEYS = st.sampled_from(["type", "role", "content", "call_id", "name", "arguments", "output", "text", "x"])
ITEM_WORDS = st.sampled_from(
    ["message", "function_call", "function_call_output", "reasoning", "item_reference", "user", "assistant", "{}"]
)
PARTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["input_text", "output_text", "refusal", "input_image"])},
    optional={
        "text": JSON_VALUES,
        "refusal": JSON_VALUES,
        "image_url": JSON_VALUES | st.just("data:image/png;base64,"),
    },
)
ITEMS = st.lists(st.dictionaries(ITEM_KEYS, ITEM_WORDS | st.lists(PARTS, max_size=2) | JSON_VALUES), max_size=4)
TOOLS = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(TOOL, JSON_VALUES) | {"type": st.just("function")}))
CHOICES = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "allowed_tools", "mcp"])},
    optional={"name": JSON_VALUES, "mode": st.sampled_from(["auto", "required"]), "tools": TOOLS | JSON_VALUES},
)
KNOWN_FIELDS = st.sampled_from(
    [
        "model",
        "instructions",
        "max_output_tokens",
        "text",
        "reasoning",
        "include",
        "metadata",
        "conversation",
        "stream_options",
        "zoe",
        "x",
    ]
)


@settings(deadline=None)  # the machine may be busy
@given(
    st.dictionaries(KNOWN_FIELDS, JSON_VALUES),
    ITEMS | JSON_VALUES,
    TOOLS | JSON_VALUES,
    CHOICES | JSON_VALUES,
)
def test_whatever_comes_is_a_request_or_a_refusal(
    data: dict[str, Any], items: object, tools: object, choice: object
) -> None:
    with suppress(errors.InvalidRequestError):
        body = parse_response({**data, "input": items, "tools": tools, "tool_choice": choice})
        request = to_request(body, "id", "m")
        assert request.messages
        json.dumps(body.echo())


@settings(deadline=None)  # the machine may be busy
@given(ITEMS)
def test_wrong_items_are_named_by_their_path(items: list[dict[str, Any]]) -> None:
    def refused_at() -> str | None:
        try:
            to_request(parse_response({"input": items}), "id", "m")
        except errors.InvalidRequestError as error:
            return error.param
        return "input"

    assert str(refused_at()).startswith("input")
