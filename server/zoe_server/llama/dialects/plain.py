"""The dialect of models that were never taught tool calls: everything is text."""

from __future__ import annotations

from zoe_server.llama.dialects.base import Dialect, Parser
from zoe_server.protocol import ChatEvent, ChatRequest, Text


class PlainParser(Parser):
    """Hands the text through."""

    def feed(self, text: str) -> list[ChatEvent]:
        """Return the text as one event."""
        return [Text(text)] if text else []

    def close(self, *, truncated: bool = False) -> list[ChatEvent]:
        """Return nothing."""
        return []


class Plain(Dialect):
    """Text only; tools are ignored."""

    name = "plain"
    markers = ()

    def grammar(self, request: ChatRequest, *, reasoning_open: bool = False) -> None:
        """Return None: the answer is free."""

    def parser(self, request: ChatRequest, *, reasoning_open: bool = False) -> PlainParser:
        """Return a parser that hands the text through."""
        return PlainParser()
