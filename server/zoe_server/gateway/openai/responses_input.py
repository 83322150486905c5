"""What a Responses request gives to the model: the items of its `input` and its tools, in OpenAI's form and in ours.

    {"input": [{"role": "user", "content": "Lamp on"},
               {"type": "function_call", "call_id": "call_x", "name": "turn_on", "arguments": "{}"},
               {"type": "function_call_output", "call_id": "call_x", "output": "done"}],
     "tools": [{"type": "function", "name": "turn_on", "parameters": {...}, "strict": true}],
     "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "turn_on"}]}}

Source: OpenAI's Python client, `types/responses/response_input_item.py`, `function_tool.py`, `tool_choice_allowed.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AliasChoices, BaseModel, Discriminator, Field, Tag

from zoe_server import errors, protocol
from zoe_server.gateway.body import Items, RequestModel, validated
from zoe_server.gateway.openai import messages
from zoe_server.gateway.openai.body import FunctionSpec, plain_tools
from zoe_server.gateway.openai.messages import CalledFunction, Message, Part, ToolCall

_Form = TypeVar("_Form", bound=BaseModel)
_FUNCTION: Final = "a function"  # no name of a key, so that no path of a problem has it
_OTHER: Final = "another tool"
Choice = Literal["auto", "none", "required"] | dict[str, Any]


class ContentPart(RequestModel):
    """A part of a message or of a call's output."""

    type: Literal["input_text", "output_text", "refusal", "input_image"]
    text: str | None = Field(default=None, validation_alias=AliasChoices("text", "refusal"))
    image_url: str | None = None


class MessageItem(RequestModel):
    """What somebody said."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | Items[ContentPart]


class CallItem(RequestModel):
    """A tool call of an earlier answer."""

    call_id: str
    name: str = Field(min_length=1, max_length=256)
    arguments: str


class OutputItem(RequestModel):
    """What a tool call returned."""

    call_id: str
    output: str | Items[ContentPart]


class ReasoningItem(RequestModel):
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
    chat = _Chat()
    if instructions is not None:
        chat.add(Message(role="system", content=instructions), "instructions")
    n_before = len(chat.messages)
    for index, data in enumerate(said):
        at = f"input[{index}]"
        _add(chat, _item(data, at), at)
    if len(chat.messages) == n_before:  # some clients ask for nothing, to see whether somebody answers
        chat.add(Message(role="user", content=""), "input")
    return messages.to_messages(chat.messages, chat.paths)


@dataclass(slots=True)
class _Chat:
    """Messages, and where in the body their contents are."""

    messages: list[Message] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def add(self, message: Message, path: str) -> None:
        self.messages.append(message)
        self.paths.append(path)


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


def _add(chat: _Chat, item: BaseModel, at: str) -> None:
    match item:
        case MessageItem():
            chat.add(Message(role=item.role, content=_content(item.content, f"{at}.content")), f"{at}.content")
        case OutputItem():
            output = _content(item.output, f"{at}.output")
            chat.add(Message(role="tool", content=output, tool_call_id=item.call_id), f"{at}.output")
        case CallItem():
            _add_call(chat, item, at)


def _add_call(chat: _Chat, item: CallItem, at: str) -> None:
    """Add a call to the message that it was made with: chats keep the text and the calls of an answer together."""
    call = ToolCall(id=item.call_id, function=CalledFunction(name=item.name, arguments=item.arguments))
    if not chat.messages or chat.messages[-1].role != "assistant":
        chat.add(Message(role="assistant"), at)
    answer = chat.messages[-1]
    chat.messages[-1] = answer.model_copy(update={"tool_calls": [*(answer.tool_calls or ()), call]})


def _content(content: str | Items[ContentPart], at: str) -> str | list[Part]:
    return content if isinstance(content, str) else [_part(part, f"{at}[{i}]") for i, part in enumerate(content)]


def _part(part: ContentPart, at: str) -> Part:
    """Return the part as chats have it."""
    if part.type == "input_image":
        if part.image_url is None:
            raise errors.InvalidRequestError(
                f"{at}.image_url: missing; the server keeps no files", param=f"{at}.image_url"
            )
        return Part(type="image_url", image_url=part.image_url)
    if part.text is None:
        raise errors.InvalidRequestError(f"{at}.text: missing", param=f"{at}.text")
    return Part(type="text", text=part.text)


class NamedFunction(RequestModel):
    """A function by its name: as `tool_choice`, or among its allowed tools."""

    type: Literal["function"]
    name: str


class AllowedTools(RequestModel):
    """`tool_choice` that names the tools that may be called."""

    mode: Literal["auto", "required"]
    tools: Items[NamedFunction] = Field(min_length=1)


class _FunctionType(RequestModel):
    type: Literal["function"]


class FunctionTool(FunctionSpec, _FunctionType):
    """`tools[i]`; arguments follow their schema with and without `strict`."""

    strict: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the tool as a response repeats it."""
        told = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": self.type, **told, "strict": self.strict}


class OtherTool(RequestModel):
    """`tools[i]` of another kind: a search of OpenAI's, a tool without a schema, ...; no model here sees it."""

    type: str


def _kind(tool: object) -> str:
    return _FUNCTION if isinstance(tool, dict) and tool.get("type") == "function" else _OTHER


AnyTool = Annotated[Annotated[FunctionTool, Tag(_FUNCTION)] | Annotated[OtherTool, Tag(_OTHER)], Discriminator(_kind)]
_CHOICES: Final[Mapping[str, type[NamedFunction | AllowedTools]]] = {
    "function": NamedFunction,
    "allowed_tools": AllowedTools,
}


def to_tools(
    tools: Sequence[FunctionTool], choice: Choice | None
) -> tuple[tuple[protocol.Tool, ...], protocol.ToolChoice]:
    """Return the tools that the model gets to see, and what it may do with them.

    Raises:
        errors.InvalidRequestError: with the path of the value that is wrong.
    """
    every_tool = plain_tools(tools, "name")
    if isinstance(choice, dict):
        return _chosen(every_tool, by_type(choice, _CHOICES, "tool_choice"))
    if choice == "required" and not tools:
        raise errors.InvalidRequestError("tool_choice 'required' needs tools", param="tool_choice")
    return every_tool, protocol.ToolChoice(choice or "auto")


def _chosen(
    tools: tuple[protocol.Tool, ...], choice: NamedFunction | AllowedTools
) -> tuple[tuple[protocol.Tool, ...], protocol.ToolChoice]:
    """Return the tools and the choice among them; those that must not be called are not shown to the model."""
    if isinstance(choice, NamedFunction):
        _check_exists(choice.name, tools, "tool_choice.name")
        return tools, protocol.ToolChoice("required", choice.name)
    for index, tool in enumerate(choice.tools):
        _check_exists(tool.name, tools, f"tool_choice.tools[{index}].name")
    allowed = {tool.name for tool in choice.tools}
    return tuple(tool for tool in tools if tool.name in allowed), protocol.ToolChoice(choice.mode)


def _check_exists(name: str, tools: Sequence[protocol.Tool], path: str) -> None:
    if name not in [tool.name for tool in tools]:
        raise errors.InvalidRequestError(f"{path} is {name!r}, which is not among the tools", param=path)
