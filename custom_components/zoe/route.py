"""Which model the server chose for a request, as it says in the header `X-Zoe-Route`.

rule=automation; model=qwen; candidates=qwen,llama
"""

from dataclasses import dataclass
from typing import Final, Self

RULE_TOOL_RESULTS: Final = "tool_results"
"""The rule for requests that go on with the result of a tool: they get the model of the sentence before it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A choice: by which rule, the model, and all that were to be tried; empty where the server does not say."""

    rule: str = ""
    model: str = ""
    candidates: tuple[str, ...] = ()

    @classmethod
    def from_header(cls, header: str) -> Self:
        """Read the header's value."""
        parts = dict(part.strip().split("=", 1) for part in header.split(";") if "=" in part)
        candidates = tuple(name for name in parts.get("candidates", "").split(",") if name)
        return cls(parts.get("rule", ""), parts.get("model", ""), candidates)
