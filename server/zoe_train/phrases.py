"""A tiny language for many ways to say one thing: `(a|b)` chooses, `[a]` may be left out, `{x}` is filled in.

    >>> say(random.Random(1), "[please] (turn|switch) on the {x}", x="lamp")

The ways to say things are in `phrases.yaml`; this module knows nothing of homes.
"""

from __future__ import annotations

import functools
import random
import re
from pathlib import Path
from typing import Any, Final

import yaml

_TOKENS: Final = re.compile(r"[()\[\]|]|[^()\[\]|]+")
_BLANKS: Final = re.compile(r"\s+([,.?!])|\s+")

Node = str | list["Node"] | tuple[list["Node"], ...]
"""Text, a sequence of nodes, or a choice between sequences."""


@functools.cache
def _parse(pattern: str) -> list[Node]:
    tokens = _TOKENS.findall(pattern)
    choices, end = _choices(tokens, 0)
    if end != len(tokens):
        raise ValueError(f"unbalanced brackets in {pattern!r}")
    return [tuple(choices)]


def _choices(tokens: list[str], at: int) -> tuple[list[list[Node]], int]:
    choices: list[list[Node]] = [[]]
    while at < len(tokens) and tokens[at] not in ")]":
        token = tokens[at]
        if token == "|":
            choices.append([])
            at += 1
        elif token in "([":
            inner, at = _choices(tokens, at + 1)
            choices[-1].append(tuple([*inner, []] if token == "[" else inner))
            at += 1
        else:
            choices[-1].append(token)
            at += 1
    return choices, at


def _draw(rng: random.Random, node: Node) -> str:
    if isinstance(node, str):
        return node
    if isinstance(node, tuple):
        return "".join(_draw(rng, part) for part in rng.choice(node))
    return "".join(_draw(rng, part) for part in node)


def say(rng: random.Random, *patterns: str, **fields: object) -> str:
    """Return one way to say one of `patterns`, with its fields filled in.

    Raises:
        ValueError: a pattern's brackets do not match.
        KeyError: a field is missing.
    """
    text = "".join(_draw(rng, node) for node in _parse(rng.choice(patterns))).format(**fields)
    return _BLANKS.sub(lambda match: match[1] or " ", text).strip()


@functools.cache
def _phrases() -> dict[str, Any]:
    phrases: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("phrases.yaml").read_text(encoding="utf-8"))
    return phrases


def phrase(rng: random.Random, *keys: str, **fields: object) -> str:
    """Return one of the ways to say one of `keys`.

    Raises:
        KeyError: `phrases.yaml` lacks a key, or a field is missing.
    """
    return say(rng, *(pattern for key in keys for pattern in _phrases()[key]), **fields)
