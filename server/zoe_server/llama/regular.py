"""Regular languages as trees: put together, measured, and held to a length in characters.

A character is a code point. This module knows neither the syntax of patterns nor grammars.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

MAX_NODES: Final = 2000
"""Larger trees are refused: whoever matches a text looks at every place where it may be."""
MAX_OPTIONAL: Final = 50
"""More parts that may all be missing are refused where they are repeated."""
_LAST: Final = 0x10FFFF

Ranges = tuple[tuple[int, int], ...]


class TooLargeError(ValueError):
    """The tree is larger than what can be matched in reasonable time."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of these ranges of code points, which are sorted and apart."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """The parts one after the other; without parts, the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of the options; without options, no text at all."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`item`, which is never empty, from `least` to `most` times; None is unbounded."""

    item: Node
    least: int
    most: int | None


Node = Chars | Sequence | Either | Repeat
EMPTY: Final = Sequence(())
NOTHING: Final = Either(())
ANY: Final = Chars(((0, _LAST),))


def union(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the ranges sorted, those that touch put together."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return tuple(found)


def complement(ranges: Ranges) -> Ranges:
    """Return all other code points."""
    edges = [-1, *(edge for span in ranges for edge in span), _LAST + 1]
    return tuple((low + 1, high - 1) for low, high in zip(edges[::2], edges[1::2], strict=True) if high - low > 1)


def sequence(parts: Iterable[Node]) -> Node:
    """Return the parts one after the other, sequences among them dissolved."""
    flat: list[Node] = []
    for part in parts:
        flat += part.parts if isinstance(part, Sequence) else [part]
    return flat[0] if len(flat) == 1 else Sequence(tuple(flat))


def either(options: Iterable[Node]) -> Node:
    """Return one of the options, equal ones once."""
    unique = tuple(dict.fromkeys(option for option in options if option != NOTHING))
    return unique[0] if len(unique) == 1 else Either(unique)


def repeat(item: Node, least: int, most: int | None) -> Node:
    """Return `item` so many times. What may be empty is repeated without that, or a grammar would recurse endlessly.

    Raises:
        TooLargeError: writing it so takes too many parts.
    """
    if lengths(item)[0] == 0:
        least, item = 0, limited(_filled(item))
    if most == 0 or item == NOTHING:
        return EMPTY
    return item if (least, most) == (1, 1) else Repeat(item, least, most)


def limited(node: Node) -> Node:
    """Return `node`.

    Raises:
        TooLargeError: it has more than `MAX_NODES` nodes.
    """
    if sum(1 for _ in itertools.islice(_walk(node), MAX_NODES + 1)) > MAX_NODES:
        raise TooLargeError(f"has more than {MAX_NODES} parts")
    return node


def weight(node: Node) -> int:
    """Return how many places there are at which the text may be: a part that is repeated counts so many times."""
    if isinstance(node, Chars):
        return 1
    if isinstance(node, Repeat):
        return weight(node.item) * max(1, node.least, node.most or 0)
    return 1 + sum(map(weight, node.parts if isinstance(node, Sequence) else node.options))


def _walk(node: Node) -> Iterator[Node]:
    yield node
    children: tuple[Node, ...] = ()
    if isinstance(node, Sequence):
        children = node.parts
    elif isinstance(node, Either):
        children = node.options
    elif isinstance(node, Repeat):
        children = (node.item,)
    for child in children:
        yield from _walk(child)


def _filled(node: Node) -> Node:
    """Return `node` without the empty text."""
    if isinstance(node, Repeat):
        return Repeat(node.item, max(1, node.least), node.most)
    if isinstance(node, Either):
        return either(_filled(option) for option in node.options)
    if isinstance(node, Chars) or lengths(node)[0]:
        return node
    parts = node.parts
    if len(parts) > MAX_OPTIONAL:
        raise TooLargeError(f"repeats more than {MAX_OPTIONAL} optional parts")
    return either(sequence([_filled(part), *parts[index + 1 :]]) for index, part in enumerate(parts))


def lengths(node: Node) -> tuple[int, int | None]:
    """Return the length of the shortest and of the longest text, in characters; None is unbounded."""
    if isinstance(node, Chars):
        return 1, 1
    if isinstance(node, Repeat):
        least, most = lengths(node.item)
        return least * node.least, None if most is None or node.most is None else most * node.most
    found = [lengths(part) for part in (node.parts if isinstance(node, Sequence) else node.options)]
    shortest, longest = [least for least, _ in found], [most for _, most in found if most is not None]
    bounded = len(longest) == len(found)
    if isinstance(node, Sequence):
        return sum(shortest), sum(longest) if bounded else None
    return min(shortest, default=0), max(longest, default=0) if bounded else None


def within(node: Node, least: int, most: int | None) -> Node | None:
    """Return the texts of `node` of `least` to `most` characters, `NOTHING` if there are none.

    None if that is not known: of the parts of a sequence, only one may vary in length, and repeat what does not.
    """
    shortest, longest = lengths(node)
    if shortest >= least and (most is None or (longest is not None and longest <= most)):
        return node
    if (most is not None and shortest > most) or (longest is not None and longest < least):
        return NOTHING
    if isinstance(node, Sequence):
        return _sequence_within(node.parts, least, most)
    if isinstance(node, Repeat):
        return _repeat_within(node, least, most)
    options = [within(option, least, most) for option in node.options] if isinstance(node, Either) else []
    known = [option for option in options if option is not None]
    return either(known) if len(known) == len(options) else None


def _sequence_within(parts: tuple[Node, ...], least: int, most: int | None) -> Node | None:
    varying = [index for index, part in enumerate(parts) if len(set(lengths(part))) > 1]
    if len(varying) != 1:
        return None
    rest = sum(lengths(part)[0] for index, part in enumerate(parts) if index != varying[0])
    held = within(parts[varying[0]], max(0, least - rest), None if most is None else most - rest)
    if held is None or held == NOTHING:
        return held
    return sequence([*parts[: varying[0]], held, *parts[varying[0] + 1 :]])


def _repeat_within(node: Repeat, least: int, most: int | None) -> Node | None:
    width, widest = lengths(node.item)
    if width != widest:
        return None
    low = max(node.least, -(-least // width))
    limits = [limit for limit in (node.most, None if most is None else most // width) if limit is not None]
    high = min(limits, default=None)
    return NOTHING if high is not None and low > high else repeat(node.item, low, high)
