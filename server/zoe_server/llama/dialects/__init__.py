"""The dialects by name, and which one a model speaks."""

from __future__ import annotations

from zoe_server.llama.dialects.base import Dialect, Parser
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.dialects.plain import Plain

__all__ = ["Dialect", "Parser", "by_name", "detect", "names"]

_DIALECTS: dict[str, type[Dialect]] = {cls.name: cls for cls in (Hermes, Plain)}


def names() -> tuple[str, ...]:
    """Return the names that `by_name` knows."""
    return tuple(_DIALECTS)


def by_name(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        KeyError: there is none; the message lists those that exist.
    """
    if name not in _DIALECTS:
        raise KeyError(f"no dialect is called {name!r}; there are {', '.join(_DIALECTS)}")
    return _DIALECTS[name]()


def detect(template_source: str) -> Dialect:
    """Return the dialect of a model by what its chat template teaches it."""
    return Hermes() if "<tool_call>" in template_source else Plain()
