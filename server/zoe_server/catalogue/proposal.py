"""What to make of a model file that nobody described: the roles and the context that its header suggests. Pure."""

from __future__ import annotations

import re
from typing import Final

from zoe_server.catalogue.entry import Role
from zoe_server.catalogue.gguf_file import GgufFacts, Kind
from zoe_server.catalogue.spec import DEFAULT_CONTEXT_TOKENS

_KNOWS_TOOLS: Final = re.compile(r"\btools\b")


def is_model(facts: GgufFacts) -> bool:
    """Whether the file is a model by itself, and not a part of one, an adapter or a vocabulary."""
    return facts.kind in (Kind.TEXT, Kind.EMBEDDINGS)


def roles(facts: GgufFacts) -> tuple[Role, ...]:
    """Return the roles that suit the model; none where it has no chat template and can only complete text."""
    if facts.kind is Kind.EMBEDDINGS:
        return ("embeddings",)
    if facts.kind is not Kind.TEXT or facts.template is None:
        return ()
    return ("tools", "chat") if _KNOWS_TOOLS.search(facts.template) else ("chat",)


def context_tokens(facts: GgufFacts) -> int:
    """Return a context that the model was trained for and that a home needs; more costs memory."""
    return min(facts.context_tokens or DEFAULT_CONTEXT_TOKENS, DEFAULT_CONTEXT_TOKENS)
