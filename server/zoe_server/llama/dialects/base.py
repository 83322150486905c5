"""What a dialect is: how one family of models writes tool calls and reasoning, and how that text is read back."""

from __future__ import annotations

from abc import ABC, abstractmethod

from zoe_server.llama.constraint.grammar import Grammar, Rules
from zoe_server.protocol import ChatEvent, ChatRequest, Tool


class Parser(ABC):
    """Reads one answer. The events of all calls, put together, do not depend on where the text was cut.

    Nothing the model writes is an error: what is no proper call is text. The last brace of a call's arguments is sent
    only when the call is complete, so arguments that do not parse as JSON belong to a call that is to be ignored.
    `repaired_calls` are the indexes of those that were complete but not written the way of the dialect.
    """

    repaired_calls: tuple[int, ...] = ()
    repeating = False
    """Whether the answer only repeats itself, so that nothing more is wanted of it."""

    @abstractmethod
    def feed(self, text: str) -> list[ChatEvent]:
        """Return the events that `text`, the next piece of the answer, makes certain."""

    def feed_marker(self, marker: str) -> list[ChatEvent]:
        """Return the events that a control token makes certain; it is one of the dialect's markers, and never text."""
        del marker
        return []

    @abstractmethod
    def close(self, *, truncated: bool = False) -> list[ChatEvent]:
        """Return what was held back. A truncated answer was cut by a limit: what began as a call is dropped."""


class Dialect(ABC):
    """How a family of models writes tool calls and reasoning."""

    name: str
    prelude: str = ""
    """What stands before an answer's text that does not begin with reasoning."""

    behind_reasoning: str = ""
    """What stands between reasoning and the text behind it, with its prelude; nothing: white space may."""

    triggers: tuple[str, ...] = ()
    """Markers that a call begins with, wherever it stands."""

    markers: tuple[str, ...] = ("<think>", "</think>")
    """What an answer may have around calls, reasoning and text, and a vocabulary may have control tokens for.

    Other control tokens are dropped before a parser sees the answer.
    """

    def reasoning(self, template: str) -> tuple[str, str] | None:
        """Return what stands before and behind reasoning; None if a model with this chat template does not reason."""
        del template
        return None

    @abstractmethod
    def grammar(self, request: ChatRequest, *, reasoning_open: bool = False) -> Grammar | None:
        """Return the grammar that the answer has to follow; None if it is free.

        `reasoning_open` says that the prompt itself began the reasoning.
        """

    def calls_in(self, request: ChatRequest, rules: Rules) -> str | None:
        """Return the expression for the calls of an answer, None if it may have none; rules go to `rules`."""
        del request, rules
        return None

    @abstractmethod
    def parser(self, request: ChatRequest, *, reasoning_open: bool = False) -> Parser:
        """Return a parser for one answer; `reasoning_open` says that the prompt itself began the reasoning."""


def callable_tools(request: ChatRequest) -> tuple[Tool, ...]:
    """Return the tools that the answer may call: none with tool choice `none`, one if it is named."""
    choice = request.tool_choice
    if choice.mode == "none":
        return ()
    return tuple(tool for tool in request.tools if choice.name is None or tool.name == choice.name)
