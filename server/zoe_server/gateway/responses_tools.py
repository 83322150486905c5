"""The tools of a Responses request and the choice among them: their OpenAI form, and what engines get.

    {"tools": [{"type": "function", "name": "turn_on", "parameters": {...}, "strict": true}],
     "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "turn_on"}]}}

Source: OpenAI's Python client, `types/responses/function_tool.py` and `tool_choice_allowed.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from zoe_server import errors, protocol
from zoe_server.gateway.openai_wire import FunctionSpec, plain_tools
from zoe_server.gateway.responses_items import by_type

_FUNCTION: Final = "a function"  # no name of a key, so that no path of a problem has it
_OTHER: Final = "another tool"
Choice = Literal["auto", "none", "required"] | dict[str, Any]


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class NamedFunction(_Wire):
    """A function by its name: as `tool_choice`, or among its allowed tools."""

    type: Literal["function"]
    name: str


class AllowedTools(_Wire):
    """`tool_choice` that names the tools that may be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedFunction] = Field(min_length=1)


class _FunctionType(_Wire):
    type: Literal["function"]


class FunctionTool(FunctionSpec, _FunctionType):
    """`tools[i]`; arguments follow their schema with and without `strict`."""

    strict: bool | None = None

    def wire(self) -> dict[str, Any]:
        """Return the tool as a response repeats it."""
        told = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": self.type, **told, "strict": self.strict}


class OtherTool(_Wire):
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
