"""What to make of a model file that nobody described: what its header and its name suggest. Pure."""

from __future__ import annotations

import re
from typing import Final

from zoe_server.catalogue.engine_options import DEFAULT_CONTEXT_TOKENS
from zoe_server.catalogue.entry import Role
from zoe_server.catalogue.gguf_file import GgufFacts, Kind

_KNOWS_TOOLS: Final = re.compile(r"\btools\b")
_QUANTIZATION: Final = re.compile(r"[-._](ud[-._])?(i1[-._])?(iq\d\w*|q\d\w*|bf16|fp?16|fp?32|mxfp4\w*)$")
_PROJECTOR_MARK: Final = re.compile(r"^mmproj([-._]|$)|[-._]mmproj$")
_BETWEEN_WORDS: Final = re.compile(r"[\s._-]+")


def is_model(facts: GgufFacts) -> bool:
    """Whether the file is a model by itself, and not a part of one, an adapter or a vocabulary."""
    return facts.kind in (Kind.TEXT, Kind.EMBEDDINGS)


def roles(facts: GgufFacts, *, sees: bool = False) -> tuple[Role, ...]:
    """Return the roles that suit the model; none where it has no chat template and can only complete text.

    With `sees` it has a projector.
    """
    if facts.kind is Kind.EMBEDDINGS:
        return ("embeddings",)
    if facts.kind is not Kind.TEXT or facts.template is None:
        return ()
    spoken: tuple[Role, ...] = ("tools", "chat") if _KNOWS_TOOLS.search(facts.template) else ("chat",)
    return (*spoken, "vision") if sees else spoken


def context_tokens(facts: GgufFacts) -> int:
    """Return a context that the model was trained for and that a home needs; more costs memory."""
    return min(facts.context_tokens or DEFAULT_CONTEXT_TOKENS, DEFAULT_CONTEXT_TOKENS)


def sees_with(name: str, model: GgufFacts, projector_name: str, projector: GgufFacts) -> bool:
    """Whether the projector is the model's own: it makes vectors of the model's size, and they have a name in common.

    A name is that of the file, without its ending, what marks a projector and the quantization; or the header's.
    """
    if (model.kind, projector.kind) != (Kind.TEXT, Kind.PROJECTOR):
        return False
    if model.vector_size is None or model.vector_size != projector.vector_size:
        return False
    return bool(_names(name, model) & _names(projector_name, projector))


def _names(name: str, facts: GgufFacts) -> set[str]:
    base = _PROJECTOR_MARK.sub("", _QUANTIZATION.sub("", name.casefold()))
    spellings = (base, (facts.name or "").casefold())
    return {_BETWEEN_WORDS.sub(" ", spelling).strip() for spelling in spellings} - {""}
