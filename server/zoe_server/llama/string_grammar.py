"""JSON strings in GBNF: those of a regular language, those of a length, and those that are none of some names.

Where characters matter they are written as `json.dumps` writes them, so that no escape says the same in another way.
This module knows no schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from zoe_server.llama.grammar import Rules, alternatives, json_text, literal, sequence
from zoe_server.llama.regular import NOTHING, Chars, Either, Node, Ranges, Repeat, complement, union

MAX_REPEATS: Final = 2000
"""llama.cpp counts no further."""
_BLOCK: Final = 1000
_QUOTE: Final = '"\\""'
_LONGEST_PLAIN: Final = 3
"""A set of so few characters is written as literals."""
_RAW: Final[Ranges] = ((0x20, 0x21), (0x23, 0x5B), (0x5D, 0xD7FF), (0xE000, 0x10FFFF))
_ESCAPED: Final = (*range(0x20), ord('"'), ord("\\"))


def string_of(rules: Rules, node: Node) -> str:
    """Return the expression for the strings whose text is in the language of `node`, which is not `NOTHING`."""
    return rules.add("string", sequence(_QUOTE, _expression(rules, node), _QUOTE))


def string_between(rules: Rules, least: int, most: int | None) -> str:
    """Return the expression for the strings of `least` to `most` characters; None is unbounded."""
    if least == 0 and most is None:
        return "json-string"
    if most == 0:
        return literal('""')
    return rules.add("string", sequence(_QUOTE, *_counted(rules, "json-char", least, most), _QUOTE))


def string_other_than(rules: Rules, names: Iterable[str]) -> str:
    """Return the expression for the strings that are none of `names`."""
    return rules.add("other", sequence(_QUOTE, _unlike(rules, sorted(set(names)), 0)))


def _counted(rules: Rules, item: str, least: int, most: int | None) -> list[str]:
    """Return expressions for `item` so many times, in blocks where there are more than llama.cpp counts."""
    if max(least, most or 0) <= MAX_REPEATS:
        return [_times(item, least, most)]
    block = rules.add("block", _times(item, _BLOCK, _BLOCK))
    if most is None:
        return [_times(block, least // _BLOCK, least // _BLOCK), _times(item, least % _BLOCK, None)]
    optional = most - least
    blocks, rest = max(0, optional // _BLOCK - 1), optional % _BLOCK + (_BLOCK if optional >= _BLOCK else 0)
    parts = [_times(block, least // _BLOCK, least // _BLOCK), _times(item, least % _BLOCK, least % _BLOCK)]
    return [part for part in (*parts, _times(block, 0, blocks), _times(item, 0, rest)) if part]


def _times(item: str, least: int, most: int | None) -> str:
    if most == 0:
        return ""
    return item if (least, most) == (1, 1) else f"{item}{{{least},{'' if most is None else most}}}"


def _expression(rules: Rules, node: Node) -> str:
    """Return the expression for the text of `node` without its quotes."""
    if isinstance(node, Chars):
        return _one_of(node.ranges)
    if isinstance(node, Repeat):
        item = rules.add("part", _expression(rules, node.item))
        return sequence(*_counted(rules, item, node.least, node.most))
    if isinstance(node, Either):
        return alternatives(_expression(rules, option) for option in node.options if option != NOTHING)
    return sequence(*_run_together(rules, node.parts))


def _run_together(rules: Rules, parts: Sequence[Node]) -> Iterable[str]:
    """Yield the expressions of the parts, single characters in a row as one literal."""
    text = ""
    for part in parts:
        if isinstance(part, Chars) and (char := _single(part.ranges)) is not None:
            text += char
            continue
        if text:
            yield literal(text)
        text = ""
        yield _expression(rules, part)
    if text:
        yield literal(text)


def _single(ranges: Ranges) -> str | None:
    """Return the JSON form of the only character, None if there are several."""
    return json_text(chr(ranges[0][0]))[1:-1] if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else None


def _one_of(ranges: Ranges) -> str:
    """Return the expression for one character of these ranges, which are not empty."""
    raw = _shared(ranges, _RAW)
    escapes = [json_text(chr(code))[1:-1] for code in _ESCAPED if any(low <= code <= high for low, high in ranges)]
    spans = "".join(_code(low) + (f"-{_code(high)}" if high > low else "") for low, high in raw)
    return alternatives([*([f"[{spans}]"] if spans else []), *map(literal, escapes)])


def _shared(first: Ranges, second: Ranges) -> Ranges:
    return complement(union([*complement(first), *complement(second)]))


def _code(code: int) -> str:
    char = chr(code)
    if char.isascii() and char.isalnum():
        return char
    return f"\\u{code:04X}" if code <= ord("\uffff") else f"\\U{code:08X}"


def _unlike(rules: Rules, names: Sequence[str], depth: int) -> str:
    """Return what may follow the first `depth` characters, which the sorted `names` share, with the end quote."""
    longer = [name for name in names if len(name) > depth]
    firsts = sorted({name[depth] for name in longer})
    parts = [] if len(longer) < len(names) else [_QUOTE]
    for char in firsts:
        rest = _unlike(rules, [name for name in longer if name[depth] == char], depth + 1)
        parts.append(sequence(literal(json_text(char)[1:-1]), rules.add("other", rest)))
    others = complement(union((ord(char), ord(char)) for char in firsts))
    parts.append(sequence(_one_of(others), "json-char*", _QUOTE))
    return alternatives(parts)
