"""The items of a Responses request's `input`: their OpenAI form, and the messages that engines get.

    [{"role": "user", "content": "Lamp on"},
     {"type": "function_call", "call_id": "call_x", "name": "turn_on", "arguments": "{}"},
     {"type": "function_call_output", "call_id": "call_x", "output": "done"}]

Source: OpenAI's Python client, `types/responses/response_input_item.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from zoe_server import errors
from zoe_server.gateway import messages
from zoe_server.gateway.body import validated
from zoe_server.gateway.messages import CalledFunction, Message, ToolCall

_Form = TypeVar("_Form", bound=BaseModel)


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class ContentPart(_Wire):
    """A part of a message or of a call's output; other kinds of part need models that are not served."""

    type: Literal["input_text", "output_text", "refusal"]
    text: str = Field(validation_alias=AliasChoices("text", "refusal"))


class MessageItem(_Wire):
    """What somebody said."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[ContentPart]


class CallItem(_Wire):
    """A tool call of an earlier answer."""

    call_id: str
    name: str = Field(min_length=1, max_length=256)
    arguments: str


class OutputItem(_Wire):
    """What a tool call returned."""

    call_id: str
    output: str | list[ContentPart]


class ReasoningItem(_Wire):
    """Reasoning of an earlier answer; it is not given to the model again."""


_ITEMS: Final[Mapping[str, type[BaseModel]]] = {
    "message": MessageItem,
    "function_call": CallItem,
    "function_call_output": OutputItem,
    "reasoning": ReasoningItem,
}


def to_messages(items: str | Sequence[Mapping[str, Any]], instructions: str | None) -> tuple[Mapping[str, Any], ...]:
    """Return the `instructions` and the `items` of an input as `protocol.ChatRequest` wants them.

    Raises:
        errors.InvalidRequestError: with the path of the value that is wrong.
    """
    said = [{"role": "user", "content": items}] if isinstance(items, str) else items
    collected: list[Message] = []
    for index, item in enumerate(said):
        _add(collected, _item(item, f"input[{index}]"))
    if not collected:
        raise errors.InvalidRequestError("input: there is nothing to answer", param="input")
    system = [] if instructions is None else [Message(role="system", content=instructions)]
    return messages.to_messages([*system, *collected])


def by_type(data: Mapping[str, Any], forms: Mapping[str, type[_Form]], at: str, default: str = "") -> _Form:
    """Return `data`, which lies at the path `at`, in the one of `forms` that its `type` names.

    Raises:
        errors.InvalidRequestError: with the path of the value that is wrong.
    """
    kind = data.get("type") or default
    if not isinstance(kind, str) or kind not in forms:
        known = ", ".join(f"'{name}'" for name in forms)
        raise errors.InvalidRequestError(f"{at}.type: must be one of {known}", param=f"{at}.type")
    return validated(forms[kind], data, at)


def _item(data: Mapping[str, Any], at: str) -> BaseModel:
    if data.get("type") == "item_reference":
        raise errors.InvalidRequestError(f"{at}: the server keeps no items; send the item itself", param=at)
    return by_type(data, _ITEMS, at, default="message")


def _add(collected: list[Message], item: BaseModel) -> None:
    match item:
        case MessageItem():
            collected.append(Message(role=item.role, content=_text(item.content)))
        case OutputItem():
            collected.append(Message(role="tool", content=_text(item.output), tool_call_id=item.call_id))
        case CallItem():
            _add_call(collected, item)


def _add_call(collected: list[Message], item: CallItem) -> None:
    """Add a call to the message that it was made with: chats keep the text and the calls of an answer together."""
    call = ToolCall(id=item.call_id, function=CalledFunction(name=item.name, arguments=item.arguments))
    if not collected or collected[-1].role != "assistant":
        collected.append(Message(role="assistant"))
    answer = collected[-1]
    collected[-1] = answer.model_copy(update={"tool_calls": [*(answer.tool_calls or ()), call]})


def _text(content: str | list[ContentPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
