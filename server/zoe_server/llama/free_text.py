"""Text up to a marker, in GBNF: reasoning goes on as it likes until it ends.

A grammar has no way to say "anything but this", so the marker's own automaton is written out: one rule for each number
of its characters that have just been read (Knuth, Morris and Pratt). This module knows no schemas and no dialects.
"""

from __future__ import annotations

from zoe_server.llama.grammar import Rules, alternatives, literal, sequence

_CLASS_ESCAPES = frozenset("[]^-\\")


def text_until(rules: Rules, marker: str, then: str) -> str:
    """Return the expression for any text without `marker`, then `marker` itself, then `then`."""
    names = [rules.reserve("until") for _ in marker]
    others = rules.add("otherchar", f"[^{''.join(map(_in_class, dict.fromkeys(marker)))}]")
    for n_read, name in enumerate(names):
        parts = [sequence(others, names[0])]
        for char in dict.fromkeys(marker):
            n_next = _n_read(marker, marker[:n_read] + char)
            parts.append(sequence(literal(char), then if n_next == len(marker) else names[n_next]))
        rules.define(name, alternatives(parts))
    return names[0]


def _n_read(marker: str, text: str) -> int:
    """Return how many characters at the end of `text` are a beginning of `marker`."""
    return next(n for n in range(len(text), -1, -1) if text.endswith(marker[:n]))


def _in_class(char: str) -> str:
    return f"\\{char}" if char in _CLASS_ESCAPES else char
