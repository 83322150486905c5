"""Ollama's JSON: what is refused and where, and what the engine gets."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoe_server import errors, protocol
from zoe_server.gateway.body import parse_json, validated
from zoe_server.gateway.ollama.body import ChatBody, GenerateBody, ShowBody

USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "turn_on", "parameters": {"type": "object"}}}
PICTURE = "iVBORw0KGgo="


def chat_body(**fields: object) -> ChatBody:
    return validated(ChatBody, parse_json(json.dumps({"model": "zoe", "messages": [USER], **fields}).encode()))


def chat(**fields: object) -> protocol.ChatRequest:
    return chat_body(**fields).to_request("id", "m")


def generate(**fields: object) -> protocol.ChatRequest:
    body = {"model": "zoe", "prompt": "hi", **fields}
    return validated(GenerateBody, parse_json(json.dumps(body).encode())).to_request("id", "m")


WRONG_IN_BOTH: list[tuple[dict[str, Any], str | None]] = [
    ({"model": None}, "model"),
    ({"model": ""}, "model"),
    ({"model": 1}, "model"),
    ({"stream": "no"}, "stream"),
    ({"options": []}, "options"),
    ({"options": {"temperature": "0.5"}}, "options.temperature"),
    ({"options": {"temperature": -1}}, "options.temperature"),
    ({"options": {"temperature": True}}, "options.temperature"),
    ({"options": {"top_k": 1.5}}, "options.top_k"),
    ({"options": {"top_k": -1}}, "options.top_k"),
    ({"options": {"top_p": 1.1}}, "options.top_p"),
    ({"options": {"min_p": 2}}, "options.min_p"),
    ({"options": {"repeat_penalty": 0}}, "options.repeat_penalty"),
    ({"options": {"presence_penalty": 3}}, "options.presence_penalty"),
    ({"options": {"frequency_penalty": -3}}, "options.frequency_penalty"),
    ({"options": {"seed": 2**63}}, "options.seed"),
    ({"options": {"num_predict": 10**30}}, "options.num_predict"),
    ({"options": {"num_predict": "10"}}, "options.num_predict"),
    ({"options": {"stop": [""]}}, "options.stop[0]"),
    ({"options": {"stop": {}}}, "options.stop"),
    ({"keep_alive": "soon"}, "keep_alive"),
    ({"keep_alive": ""}, "keep_alive"),
    ({"keep_alive": True}, "keep_alive"),
    ({"keep_alive": []}, "keep_alive"),
    ({"think": "much"}, "think"),
    ({"think": 1}, "think"),
    ({"format": "yaml"}, "format"),
    ({"format": ["json"]}, "format"),
    ({"format": 1}, "format"),
    ({"logprobs": 1}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *WRONG_IN_BOTH,
        ({"messages": "hi"}, "messages"),
        ({"messages": [123]}, "messages[0]"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"messages": [USER, {"role": "wizard", "content": "x"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}, "messages[0].content"),
        ({"messages": [USER, {**USER, "images": [1]}]}, "messages[1].images[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": []}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
    ],
)
def test_what_is_wrong_in_a_chat_is_named_by_its_path(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        chat(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *WRONG_IN_BOTH,
        ({"prompt": 1}, "prompt"),
        ({"system": []}, "system"),
        ({"images": [1]}, "images[0]"),
        ({"suffix": "}"}, "suffix"),
        ({"template": "{{ .Prompt }}"}, "template"),
        ({"context": [1, 2]}, "context"),
        ({"context": ["1"]}, "context[0]"),
        ({"raw": True, "system": "You are Zoe."}, "system"),
        ({"raw": True, "context": [1]}, "context"),
    ],
)
def test_what_is_wrong_in_a_prompt_is_named_by_its_path(fields: dict[str, Any], param: str | None) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        generate(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("ask", [chat, generate])
@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 3}, 3),
        ({"top_logprobs": 3}, None),
        ({"logprobs": False}, None),
    ],
)
def test_probabilities_are_asked_for_with_so_many_others(
    ask: Callable[..., protocol.ChatRequest], fields: dict[str, Any], wanted: int | None
) -> None:
    assert ask(**fields).logprobs == wanted


def test_a_plain_request_leaves_everything_to_the_model() -> None:
    assert chat() == generate() == protocol.ChatRequest("id", "m", (USER,))


def test_how_the_server_runs_its_models_is_not_the_client_s_business() -> None:
    options = {"num_ctx": 8192.0, "num_gpu": 99, "num_thread": 4, "use_mmap": True, "mirostat": 0, "whatever": "x"}
    empty = {"format": "", "think": None, "truncate": True, "tools": []}
    assert chat(options=options, keep_alive="5m", **empty) == chat()
    nothing = {"suffix": "", "template": "", "context": [], "raw": False, "images": []}
    assert generate(options=options, keep_alive=-1, **nothing) == chat()


@pytest.mark.parametrize(("form", "schema"), [("json", {"type": "object"}), ({"enum": [1]}, {"enum": [1]})])
def test_a_format_is_a_schema_of_the_answer(form: object, schema: dict[str, Any]) -> None:
    assert chat(format=form) == generate(format=form)
    assert chat(format=form).answer_schema == protocol.AnswerSchema(schema, "format")


def test_everything_arrives() -> None:
    options = {
        "temperature": 1,
        "top_k": 40.0,
        "top_p": 0.5,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "seed": 7,
        "num_predict": 5,
        "stop": ["END"],
    }
    assert chat(tools=[TOOL], options=options) == protocol.ChatRequest(
        id="id",
        model="m",
        messages=(USER,),
        tools=(protocol.Tool("turn_on", "", {"type": "object"}),),
        max_tokens=5,
        stop=("END",),
        sampling=protocol.Sampling(1, 40, 0.5, 0.1, 1.1, -1, 1, 7),
    )


def test_the_system_prompt_stands_before_the_prompt() -> None:
    assert generate(system="be brief").messages == ({"role": "system", "content": "be brief"}, USER)


@pytest.mark.parametrize("num_predict", [-2, -1, 0])
def test_no_number_of_tokens_means_no_bound(num_predict: int) -> None:
    assert chat(options={"num_predict": num_predict}).max_tokens is None


@pytest.mark.parametrize(("seed", "arrives"), [(-1, None), (None, None), (0, 0), (-2, 2**32 - 3), (2**32 - 1, 0)])
def test_every_seed_but_minus_one_is_one(seed: int | None, arrives: int | None) -> None:
    assert chat(options={"seed": seed}).sampling.seed == arrives


def test_one_stop_string_may_stand_alone() -> None:
    assert chat(options={"stop": "END"}).stop == ("END",)


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0h0m"])
def test_no_time_to_stay_means_unload(keep_alive: object) -> None:
    assert chat_body(keep_alive=keep_alive).unloads


@pytest.mark.parametrize("keep_alive", [None, -1, 300, "5m", "1h30m", "-1s", "0.5s", "100\u00b5s"])
def test_any_other_time_to_stay_does_not(keep_alive: object) -> None:
    assert not chat_body(keep_alive=keep_alive).unloads


@pytest.mark.parametrize(("think", "shown"), [(None, True), (True, True), ("high", True), (False, False)])
def test_reasoning_is_shown_unless_it_is_declined(think: object, shown: bool) -> None:
    body = chat_body(think=think)
    assert body.shows_thinking is shown
    told = {} if think is None else {"enable_thinking": shown, "thinking": shown}
    effort = {"reasoning_effort": "high"} if think == "high" else {}
    assert body.to_request("id", "m").chat_template_kwargs == told | effort


@pytest.mark.parametrize(("stream", "streamed"), [(None, True), (True, True), (False, False)])
def test_records_are_the_default(stream: bool | None, streamed: bool) -> None:
    assert chat_body(stream=stream).streamed is streamed


@pytest.mark.parametrize("messages", [None, []])
def test_no_messages_are_nothing_to_answer(messages: list[Any] | None) -> None:
    assert chat_body(messages=messages).is_empty


@pytest.mark.parametrize(("body", "wanted"), [({"model": "a", "name": "b"}, "a"), ({"name": "b"}, "b")])
def test_the_model_to_be_shown_has_two_names(body: dict[str, Any], wanted: str) -> None:
    assert validated(ShowBody, body).wanted == wanted


def test_a_model_to_be_shown_must_be_named() -> None:
    with pytest.raises(errors.InvalidRequestError, match="model is required"):
        _ = validated(ShowBody, {"model": ""}).wanted


def calls(*names: str) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": name}} for name in names]}


def result(content: str, **fields: str) -> dict[str, Any]:
    return {"role": "tool", "content": content, **fields}


def paired(*messages: dict[str, Any]) -> dict[str, str]:
    """Return the ids that results got, by their contents."""
    plain = chat(messages=[USER, *messages]).messages
    return {message["content"]: message["tool_call_id"] for message in plain if message["role"] == "tool"}


def test_the_second_turn_of_home_assistant() -> None:
    """What Home Assistant 2026.10 sends after a tool call: no ids, no names of tools, and its old reasoning."""
    called = {"function": {"name": "HassTurnOn", "arguments": {"name": "Lampe für Öl"}}}
    history = [
        {"role": "system", "content": "You control a home."},
        USER,
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [called]},
        {"role": "tool", "content": '{"data":{"success":[]},"error":null}'},
    ]
    assert chat(messages=history, tools=[TOOL], options={"num_ctx": 8192}, keep_alive=-1, think=False).messages == (
        {"role": "system", "content": "You control a home."},
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": "HassTurnOn", "arguments": '{"name": "Lampe für Öl"}'},
                }
            ],
            "reasoning_content": "hm",
        },
        {"role": "tool", "content": '{"data":{"success":[]},"error":null}', "tool_call_id": "call_0"},
    )


def test_results_without_a_name_belong_to_the_calls_in_order() -> None:
    assert paired(calls("f", "g"), result("1"), result("2"), calls("f"), result("3")) == {
        "1": "call_0",
        "2": "call_1",
        "3": "call_2",
    }


def test_results_with_a_name_belong_to_the_first_call_of_that_name() -> None:
    found = paired(calls("f", "g", "g"), result("1", tool_name="g"), result("2", tool_name="f"), result("3"))
    assert found == {"1": "call_1", "2": "call_0", "3": "call_2"}


def test_results_never_belong_to_calls_of_an_earlier_message() -> None:
    assert paired(calls("f"), calls("g"), result("1"), result("2")) == {"1": "call_1", "2": ""}


def test_a_result_of_an_unknown_tool_belongs_to_the_next_call() -> None:
    assert paired(calls("f"), result("1", tool_name="other")) == {"1": "call_0"}


def test_ids_win_where_there_are_some() -> None:
    both = {"tool_calls": [{"id": name, "function": {"name": "f"}} for name in ("a", "b")]}
    found = paired({"role": "assistant", **both}, result("1", tool_call_id="b"), result("2"))
    assert found == {"1": "b", "2": "a"}


def test_a_result_without_a_call_has_no_id() -> None:
    assert paired(result("1"), calls("f"), result("2"), result("3")) == {"1": "", "2": "call_0", "3": ""}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.sampled_from(["model", "messages", "prompt", "options", "tools", "keep_alive", "think", "images", "x"])


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from([ChatBody, GenerateBody]), st.dictionaries(FIELDS, JSON_VALUES))
def test_whatever_comes_is_a_request_or_a_refusal(form: type[ChatBody | GenerateBody], data: dict[str, Any]) -> None:
    with suppress(errors.InvalidRequestError):
        assert validated(form, {"model": "zoe", **data}).to_request("id", "m").id == "id"


ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
NAMES = st.sampled_from(["f", "g"])
CALLS = st.lists(st.fixed_dictionaries({"function": st.fixed_dictionaries({"name": NAMES})}), max_size=3)
MESSAGES = st.fixed_dictionaries({"role": ROLES}, optional={"tool_calls": CALLS, "tool_name": NAMES})


@settings(deadline=None)  # the machine may be busy
@given(st.lists(MESSAGES, min_size=1))
def test_no_call_has_two_results(messages: list[dict[str, Any]]) -> None:
    plain = chat(messages=messages).messages
    made = [call["id"] for message in plain for call in message.get("tool_calls", ())]
    answered = [message["tool_call_id"] for message in plain if message.get("tool_call_id")]
    assert len(set(made)) == len(made)
    assert len(set(answered)) == len(answered)
    assert set(answered) <= set(made)


def test_pictures_stand_before_the_text() -> None:
    asked = ChatBody.model_validate({"model": "m", "messages": [{**USER, "images": [PICTURE, PICTURE]}]})
    (message,) = asked.to_request("r", "m").messages
    first, second, text = message["content"]
    assert [first["path"], second["path"]] == ["messages[0].images[0]", "messages[0].images[1]"]
    assert (first["type"], first["data"], text["type"]) == ("picture", PICTURE, "text")
    alone = GenerateBody.model_validate({"model": "m", "prompt": "What?", "images": [PICTURE]})
    assert [part["type"] for part in alone.to_request("r", "m").messages[-1]["content"]] == ["picture", "text"]


@pytest.mark.parametrize("arguments", [{"name": "Lamp"}, '{"name": "Lamp"}'])
def test_arguments_of_a_past_call_are_an_object_or_its_text(arguments: object) -> None:
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "turn_on", "arguments": arguments}}]}
    (call,) = chat(messages=[called]).messages[0]["tool_calls"]
    assert call["function"] == {"name": "turn_on", "arguments": '{"name": "Lamp"}'}
