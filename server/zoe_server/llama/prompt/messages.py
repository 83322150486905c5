"""From the messages of a request to those that a model's chat template takes.

What a template has no place for is said another way: system texts go to the user's next turn, turns of one role in a
row become one, calls and their results become text, and so do the definitions of tools. What it takes stays as it is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import from_json

if TYPE_CHECKING:
    from zoe_server.llama.prompt.template_abilities import CallForm, TemplateAbilities
    from zoe_server.protocol import Tool

Message = dict[str, Any]
_SHORT_ID: Final = 9
_BETWEEN: Final = "\n\n"


def fitted(messages: Iterable[Mapping[str, Any]], abilities: TemplateAbilities) -> list[Message]:
    """Return the messages as a template with these abilities takes them; texts that are parts stay parts."""
    fitting = [_with_reasoning(_with_arguments(dict(message)), abilities.reasoning) for message in messages]
    fitting = list(_named_results(fitting))
    fitting = _with_calls(fitting, abilities.calls)
    if not abilities.results_alone or abilities.calls is None:
        fitting = list(_with_results_as_text(fitting, all_of_them=abilities.calls is None))
    if not abilities.several_system:
        fitting = _with_one_beginning(fitting)
    if not (abilities.system and abilities.middle_system):
        fitting = list(_with_system_in_turns(fitting, n_kept=1 if abilities.system else 0))
    if not abilities.repeated_roles:
        fitting = _with_turns(fitting)
    if not abilities.assistant_first and _first_role(fitting) == "assistant":
        at = 1 if fitting[0]["role"] == "system" else 0
        fitting.insert(at, {"role": "user", "content": ""})
    return fitting


def with_instructions(messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool]) -> list[Mapping[str, Any]]:
    """Return the messages with a system message that tells of tools, for a template that has no place for them."""
    lines = (json.dumps(definition(tool), ensure_ascii=False, default=dict) for tool in tools)
    text = (
        "You can call functions. To call one, answer with nothing but JSON of this form:\n"
        '{"name": "<name of the function>", "arguments": {<its arguments>}}\n'
        "You are then told what it returned. If none is needed, answer in words. These are the functions:\n"
    )
    n_system = sum(1 for _ in itertools.takewhile(_is_system, messages))
    told = {"role": "system", "content": text + "\n".join(lines)}
    return [*messages[:n_system], told, *messages[n_system:]]


def definition(tool: Tool) -> dict[str, Any]:
    """Return a tool as OpenAI writes it, which is what templates expect."""
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _with_arguments(message: Message) -> Message:
    """Return the message with the arguments of its calls as objects."""
    if calls := message.get("tool_calls"):
        functions = [{**call["function"], "arguments": _arguments(call["function"].get("arguments"))} for call in calls]
        message["tool_calls"] = [{**call, "function": each} for call, each in zip(calls, functions, strict=True)]
    return message


def _arguments(text: object) -> dict[str, Any]:
    """Return the object that `text` describes or, if it was cut off, begins to describe; other text as one argument."""
    if isinstance(text, Mapping):
        return dict(text)
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        value = from_json(text, allow_partial="trailing-strings")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": text}


def _with_reasoning(message: Message, name: str | None) -> Message:
    """Return the message with its reasoning, if it has any, under `name`; without a name, without it."""
    reasoning = message.pop("reasoning_content", None)
    return {**message, name: reasoning} if name and reasoning else message


def _named_results(messages: Iterable[Message]) -> Iterator[Message]:
    """Yield the messages, results with the name of their function, which some templates show."""
    names: dict[str, str] = {}
    for message in messages:
        for call in message.get("tool_calls") or []:
            names[call["id"]] = call["function"]["name"]
        name = names.get(message.get("tool_call_id") or "")
        yield {**message, "name": name} if message["role"] == "tool" and name else message


def _with_calls(messages: list[Message], form: CallForm | None) -> list[Message]:
    if form is None:
        return [_as_text(message) if message.get("tool_calls") else message for message in messages]
    if form.one_per_message:
        messages = list(_one_call_each(messages))
    return [_in_form(message, form) for message in messages]


def _as_text(message: Message) -> Message:
    """Return an answer that has calls as one that says them in JSON."""
    calls = [{key: call["function"][key] for key in ("name", "arguments")} for call in message["tool_calls"]]
    text = json.dumps(calls if len(calls) > 1 else calls[0], ensure_ascii=False)
    content = _joined(message["content"], text, "\n") if message.get("content") else text
    return {"role": message["role"], "content": content}


def _one_call_each(messages: list[Message]) -> Iterator[Message]:
    """Yield answers with several calls as several answers, each with its call's result behind it."""
    taken: set[int] = set()
    for at, message in enumerate(messages):
        calls = message.get("tool_calls") or []
        if len(calls) <= 1:
            if at not in taken:
                yield message
            continue
        n_results = sum(1 for _ in itertools.takewhile(_is_result, messages[at + 1 :]))
        behind = range(at + 1, at + 1 + n_results)
        for number, call in enumerate(calls):
            yield {**message, "content": "" if number else message.get("content"), "tool_calls": [call]}
            own = [i for i in behind if messages[i].get("tool_call_id") == call["id"] and i not in taken]
            taken.update(own)
            yield from (messages[i] for i in own)


def _in_form(message: Message, form: CallForm) -> Message:
    result = dict(message)
    if calls := message.get("tool_calls"):
        result["tool_calls"] = [_call_in_form(call, form) for call in calls]
    if form.short_ids and message.get("tool_call_id"):
        result["tool_call_id"] = _short_id(message["tool_call_id"])
    return result


def _call_in_form(call: Mapping[str, Any], form: CallForm) -> Message:
    function = dict(call["function"])
    if form.arguments_as_text:
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "id": _short_id(call["id"]) if form.short_ids else call["id"], "function": function}


def _short_id(call_id: str) -> str:
    """Return nine letters and digits, always the same for the same id."""
    if len(call_id) == _SHORT_ID and call_id.isascii() and call_id.isalnum():
        return call_id
    return hashlib.blake2b(call_id.encode("utf-8", errors="replace")).hexdigest()[:_SHORT_ID]


def _with_results_as_text(messages: list[Message], *, all_of_them: bool) -> Iterator[Message]:
    """Yield the messages; results, all of them or those without a call, as turns of the user."""
    called: set[str] = set()
    for message in messages:
        called.update(call["id"] for call in message.get("tool_calls") or [])
        if _is_result(message) and (all_of_them or message.get("tool_call_id") not in called):
            of = f"The function {message['name']}" if "name" in message else "A function"
            yield {"role": "user", "content": _joined(f"{of} returned:", message.get("content") or "", "\n")}
        else:
            yield message


def _is_system(message: Mapping[str, Any]) -> bool:
    return bool(message["role"] == "system")


def _is_result(message: Message) -> bool:
    return bool(message["role"] == "tool")


def _with_one_beginning(messages: list[Message]) -> list[Message]:
    """Return the messages with all system messages that they begin with in one."""
    n_system = sum(1 for _ in itertools.takewhile(_is_system, messages))
    if n_system <= 1:
        return messages
    text = "\n".join(str(message["content"] or "") for message in messages[:n_system])
    return [{"role": "system", "content": text}, *messages[n_system:]]


def _with_system_in_turns(messages: list[Message], n_kept: int) -> Iterator[Message]:
    """Yield the messages; system messages but for the first `n_kept` stand at the beginning of the user's next turn."""
    waiting: list[Message] = []
    for index, message in enumerate(messages):
        if message["role"] == "system" and index >= n_kept:
            waiting.append(message)
        elif message["role"] == "user":
            yield _one([*waiting, message], "user")
            waiting = []
        else:
            yield message
    if waiting:
        yield _one(waiting, "user")


def _with_turns(messages: list[Message]) -> list[Message]:
    """Return the messages with those of one role in a row in one, unless they are calls or their results."""

    def key(item: tuple[int, Message]) -> tuple[str, int]:
        index, message = item
        return message["role"], -1 if message["role"] in (
            "user",
            "assistant",
        ) and "tool_calls" not in message else index

    groups = (list(group) for _, group in itertools.groupby(enumerate(messages), key))
    return [_one([message for _, message in group], group[0][1]["role"]) for group in groups]


def _one(messages: Sequence[Message], role: str) -> Message:
    """Return the messages as one of that role."""
    first, *others = messages
    content = first.get("content") or ""
    for message in others:
        content = _joined(content, message.get("content") or "", _BETWEEN)
    return {**messages[-1], "role": role, "content": content}


def _joined(first: Any, second: Any, between: str) -> Any:  # noqa: ANN401 -- texts, or lists of parts
    """Return two contents, of which each is text or parts, as one."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}{between}{second}" if first and second else first or second
    parts = [[{"type": "text", "text": one}] if isinstance(one, str) else one for one in (first, between, second)]
    return [part for each in parts for part in each]


def _first_role(messages: list[Message]) -> str:
    return str(next((message["role"] for message in messages if message["role"] != "system"), ""))
