"""Keeps what users, tools and prompts say apart from the control tokens that a chat template writes as text.

A template mixes both into one text. So a sentinel, a character that no content keeps, stands in all content behind each
character that a control token begins with, and no text of a template's own is a marker any more once it holds one:

    template   <|user|>{{ content }}<|im_end|>
    content    a <|im_end|> b
    prompt     <|user|>a <☑|im_end|> b<|im_end|>    (☑ is the sentinel)

Sentinels do not hinder what templates do with content (trim, lower, split, replace, tojson). What a template looks for
in it, such as `</think>` in earlier answers, stays whole, unless it is a control token itself: those are text in every
message, also in the assistant's. Control tokens of a single character are not kept apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

SENTINEL: Final = "\N{AEGEAN CHECK MARK}"
"""It is printable, so that no representation of a text writes it in another way, and hardly anybody writes it."""

_WHITE_SPACE: Final = " \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class Strips:
    """Whether a control token takes white space along that stands on its left, and on its right."""

    left: bool = False
    right: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of a prompt: where `has_markers` is false, no control token is in it, whatever it looks like."""

    text: str
    has_markers: bool


class ControlText:
    """The control tokens of one vocabulary, by their texts."""

    def __init__(self, tokens: Mapping[str, Strips]) -> None:
        self._tokens = {text: strips for text, strips in tokens.items() if len(text) > 1}
        self._lengths = sorted({len(text) for text in self._tokens}, reverse=True)
        self._first = _one_of({text[0] for text in self._tokens})
        # A template may write `<`, and content behind it the rest.
        self._seconds = {text[1] for text in self._tokens} & set("|\uff5c")
        self._beginning = re.compile("|".join(map(re.escape, sorted({text[:2] for text in self._tokens}))) or "(?!)")

    def breaker(self, constants: Iterable[str]) -> Callable[[Any], Any]:
        """Return what makes JSON data harmless for a template whose expressions have these string constants."""
        wanted = re.compile(rf"{self._first}|\A{_one_of(self._seconds)}|{SENTINEL}")
        kept = sorted(filter(self._is_harmless, set(constants)), key=len, reverse=True)
        pattern = re.compile("|".join([*map(re.escape, kept), wanted.pattern]))
        replaced = {**{text: text for text in kept}, SENTINEL: ""}

        def broken(value: Any) -> Any:  # noqa: ANN401 -- JSON data
            if isinstance(value, str):
                risky = wanted.search(value)
                return pattern.sub(lambda m: replaced.get(m[0], m[0] + SENTINEL), value) if risky else value
            if isinstance(value, Mapping):
                return {broken(key): broken(item) for key, item in value.items()}
            return [broken(item) for item in value] if isinstance(value, list | tuple) else value

        return broken

    def pieces(self, prompt: str) -> list[Piece]:
        """Return a rendered chat without its sentinels: in one piece, unless something only looks like a marker."""
        plain = without_sentinels(prompt)
        markers = list(self._markers(prompt)) if len(plain) < len(prompt) else []
        if len(plain) == len(prompt) or [text for _, text in markers] == [text for _, text in self._markers(plain)]:
            return [Piece(plain, has_markers=True)] if plain else []
        return list(self._divided(prompt, markers))

    def _is_harmless(self, constant: str) -> bool:
        """Return whether a constant has a character to be broken at, and cannot begin a control token anywhere."""
        ends = [(constant[match.start() :], 0) for match in re.finditer(self._first, constant)]
        ends += [(constant, 1)] if constant[:1] in self._seconds else []
        texts = [(end, text[at:]) for end, at in ends for text in self._tokens]
        return bool(ends) and not any(end.startswith(text) or text.startswith(end) for end, text in texts)

    def _markers(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the control tokens in a text with their offsets; of several, the longest counts."""
        end = 0
        for match in self._beginning.finditer(text):
            start = match.start()
            texts = (text[start : start + length] for length in self._lengths)
            marker = next((each for each in texts if each in self._tokens), None)
            if marker is not None and start >= end:
                end = start + len(marker)
                yield start, marker

    def _divided(self, prompt: str, markers: Iterable[tuple[int, str]]) -> Iterator[Piece]:
        end, strips = 0, Strips()
        for start, marker in markers:
            following = self._tokens[marker]
            yield from _text(prompt[end:start], Strips(strips.right, following.left))
            yield Piece(marker, has_markers=True)
            end, strips = start + len(marker), following
        yield from _text(prompt[end:], Strips(strips.right))


def without_sentinels(prompt: str) -> str:
    """Return a rendered chat as its reader would see it."""
    return prompt.replace(SENTINEL, "")


def _text(text: str, strips: Strips) -> Iterator[Piece]:
    """Yield text, if there is any, without the white space that the markers on its left and right take along."""
    text = without_sentinels(text)
    text = text.lstrip(_WHITE_SPACE) if strips.left else text
    text = text.rstrip(_WHITE_SPACE) if strips.right else text
    if text:
        yield Piece(text, has_markers=False)


def _one_of(characters: Collection[str]) -> str:
    """Return the pattern of one of these characters, which matches nothing if there are none."""
    return f"[{''.join(map(re.escape, sorted(characters)))}]" if characters else "(?!)"
