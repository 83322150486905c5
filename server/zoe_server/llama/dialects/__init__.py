"""The dialects by name, and which one a model speaks."""

from __future__ import annotations

import re
from typing import Final

from zoe_server.llama.dialects.base import Dialect, Parser
from zoe_server.llama.dialects.functionary import Functionary31, Functionary32
from zoe_server.llama.dialects.gemma import FunctionGemma, Gemma, Gemma4
from zoe_server.llama.dialects.harmony import Harmony
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.dialects.llama3 import Llama3
from zoe_server.llama.dialects.mistral import Mistral
from zoe_server.llama.dialects.plain import Plain
from zoe_server.llama.dialects.plain_json import PlainJson

__all__ = ["Dialect", "Parser", "by_name", "detect"]

_DIALECTS: dict[str, type[Dialect]] = {
    cls.name: cls
    for cls in (
        *(Hermes, Llama3, Mistral, Harmony, Gemma, FunctionGemma, Gemma4, Functionary31, Functionary32),
        *(PlainJson, Plain),
    )
}

_TAUGHT: Final[tuple[tuple[type[Dialect], re.Pattern[str]], ...]] = tuple(
    (dialect, re.compile(pattern, re.DOTALL))
    for dialect, pattern in (
        (Harmony, r"<\|channel\|>.*<\|message\|>|<\|message\|>.*<\|channel\|>"),
        (Mistral, r"\[TOOL_CALLS\]"),
        (Functionary32, r">>>all"),
        (FunctionGemma, r"<start_function_call>"),
        (Gemma4, r"<\|tool_call>call:"),
        (Hermes, r"<tool_call>"),
        (Functionary31, r"<function=(?!.*<parameter=)"),
        (Llama3, r"<\|python_tag\|>|<\|start_header_id\|>.*\"parameters\": "),
        (Gemma, r"<start_of_turn>.*\btools\b|\btools\b.*<start_of_turn>"),
        (PlainJson, r"\btools\b|<think>"),
    )
)
"""What the templates of each family have and those after it in this table may lack: the first match counts."""


def by_name(name: str) -> Dialect:
    """Return the dialect of that name, one of those that the settings accept."""
    return _DIALECTS[name]()


def detect(template_source: str) -> Dialect:
    """Return the dialect of a model by what its chat template teaches it.

    A template that knows of tools but teaches none of the markers gets JSON, as does one that only reasons.
    """
    found = (dialect for dialect, pattern in _TAUGHT if pattern.search(template_source))
    return next(found, Plain)()
