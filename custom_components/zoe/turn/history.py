"""Which part of a conversation a request carries: whole rounds, the newest of them, and results of tools that fit.

A round is what the user said and everything up to what he says next, so a tool's result never loses its call. Rounds
are left out in blocks, not one by one, so that requests keep beginning alike and the server has computed the
beginning. The running round always stays; where it alone is too long, as a look at a whole home can be, its results
are shortened: what the user and the call name stays first, then what is short. Equal input gives equal results, and a
result says how much is left out and how to ask for it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from homeassistant.components import conversation
from homeassistant.helpers.json import json_dumps
from homeassistant.util.json import JsonObjectType, JsonValueType, json_loads

from .messages import Message, length_of

_ANSWER_SHARE: Final = 4
"""A context is left free for the answer by this part at most.
"""


@dataclass(slots=True)
class ContextBudget:
    """How long a request may be, in characters, as far as the server has told; it counts in tokens.

    `context_tokens` is None as long as no request was too long. A model's tokens are of different length in different
    texts, so `chars_per_token` follows the last request that was counted.
    """

    context_tokens: int | None = None
    chars_per_token: float = 1.0

    def learn_limit(self, prompt_tokens: int, context_tokens: int, chars: int) -> None:
        """Take what the server said about a request of `chars` characters that was too long."""
        if prompt_tokens > 0 and context_tokens > 0:
            self.context_tokens = context_tokens
            self.learn_length(prompt_tokens, chars)

    def learn_length(self, prompt_tokens: int, chars: int) -> None:
        """Take what the server said about the length of a request of `chars` characters."""
        if prompt_tokens > 0:
            self.chars_per_token = chars / prompt_tokens

    def excess_chars(self, chars: int, answer_tokens: int) -> int:
        """Return how many of `chars` characters are too many if an answer may have `answer_tokens`; 0 if none."""
        if self.context_tokens is None:
            return 0
        room = self.context_tokens - min(answer_tokens, self.context_tokens // _ANSWER_SHARE)
        return max(0, chars - int(room * self.chars_per_token))


def round_starts(content: Sequence[conversation.Content]) -> list[int]:
    """Return where in a chat log the rounds begin."""
    return [index for index, item in enumerate(content) if isinstance(item, conversation.UserContent)]


def start_within(content: Sequence[conversation.Content], max_rounds: int) -> int:
    """Return where the history begins of which a request carries `max_rounds` rounds at most."""
    starts = round_starts(content)
    block = max(1, max_rounds // 2)
    left_out = -(-max(0, len(starts) - max_rounds) // block) * block
    return starts[min(left_out, len(starts) - 1)] if starts else 1


def start_after(content: Sequence[conversation.Content], start: int, excess_chars: int, lengths: Sequence[int]) -> int:
    """Return where the history begins if `excess_chars` have to go from `start` on; as late as the running round.

    `lengths` are the characters of each entry of `content` in a request.
    """
    starts = [index for index in round_starts(content) if index >= start]
    for index in starts:
        if sum(lengths[start:index]) >= excess_chars:
            return index
    return starts[-1] if starts else start


MIN_RESULT_CHARS: Final = 300
"""A result that is shorter tells nothing any more.
"""
_SPARE_CHARS: Final = 80
"""What a note about what is left out may take.
"""

_ENTRY: Final = re.compile(r"^(?=- )", re.MULTILINE)
_ATTRIBUTES: Final = re.compile(r"^  attributes:\n(?:    .*\n?)*", re.MULTILINE)
_NAMING: Final = re.compile(r"^(?:- names|  areas|  domain|    device_class): (.*)$", re.MULTILINE)
_WORD: Final = re.compile(r"[^\W_]+")
_STEM: Final = 5


def shortened(messages: Sequence[Message], excess_chars: int) -> list[Message]:
    """Return the messages of a round with so many characters less, as far as its results can be shortened."""
    results = [message for message in messages if message["role"] == "tool"]
    limit = _limit([length_of(message) for message in results], excess_chars)
    wanted = _Wanted(" ".join(_asking(message) for message in messages))
    return [_cut(message, limit, wanted) if message["role"] == "tool" else message for message in messages]


def _limit(lengths: Sequence[int], excess: int) -> int:
    """Return to which length all longer ones have to be cut so that the excess goes."""
    limit, total = 0, 0
    ordered = [*sorted(lengths, reverse=True), 0]
    for count, (length, following) in enumerate(pairwise(ordered), 1):
        total += length
        limit = (total - excess) // count
        if limit >= following:
            break
    return max(MIN_RESULT_CHARS, limit)


def _asking(message: Message) -> str:
    """Return what a message asks for: what the user said, or the arguments of calls."""
    if message["role"] == "user":
        content = message["content"]
        return content if isinstance(content, str) else str(content[0].get("text", ""))
    return " ".join(call["function"]["arguments"] for call in message.get("tool_calls", ()))


class _Wanted:
    """The words that tell what is looked for."""

    def __init__(self, text: str) -> None:
        self._text = text.casefold()
        self._stems = set(_stems(text))

    def scores(self, texts: Sequence[str]) -> list[float]:
        """Return how much each text has to do with it; a word that many of them have says little."""
        stems = [self._stems.intersection(_stems(text)) for text in texts]
        spread = Counter(stem for found in stems for stem in found)
        return [
            sum(1 / spread[stem] for stem in found) + self._named(text)
            for text, found in zip(texts, stems, strict=True)
        ]

    def _named(self, text: str) -> int:
        """Return how many parts of a text, between commas, are said as they are: not all scripts have spaces."""
        parts = {part.strip(" '\"") for part in re.split(r"[,\n]", text.casefold())}
        return sum(len(part) > 1 and part in self._text for part in parts)


def _stems(text: str) -> list[str]:
    """Return the words of a text without their endings; those with digits have none."""
    return [word[:_STEM] if word.isalpha() else word for word in _WORD.findall(text.casefold())]


def _cut(message: Message, limit: int, wanted: _Wanted) -> Message:
    text = message["content"]
    if len(text) <= limit:
        return message
    result = json_loads(text)
    around = len(text) - _size(result["data"]) if isinstance(result, dict) else 0
    data = _fitting(result["data"] if isinstance(result, dict) else result, limit - around, wanted)
    if isinstance(result, dict):
        return {**message, "content": json_dumps({**result, "data": data})}
    return {**message, "content": json_dumps(data)}


def _size(value: object) -> int:
    return len(json_dumps(value))


def _fitting(value: JsonValueType, room: int, wanted: _Wanted) -> JsonValueType:
    """Return a JSON value that takes `room` characters at most, or as few as it can."""
    if _size(value) <= room:
        return value
    if isinstance(value, str):
        entries = _ENTRY.split(value)
        return _fitting_entries(entries, room, wanted) if len(entries) > 2 else _beginning(value, room)  # noqa: PLR2004
    if isinstance(value, list):
        kept = _best(value, json_dumps, room, wanted)
        return [*(value[at] for at in kept), f"({len(value) - len(kept)} more)"]
    return _fitting_object(value, room, wanted) if isinstance(value, dict) else value


def _fitting_object(value: JsonObjectType, room: int, wanted: _Wanted) -> JsonObjectType:
    result = dict(value)
    for key in sorted(value, key=lambda key: -_size(value[key])):
        excess = _size(result) - room
        if excess <= 0:
            return result
        result[key] = _fitting(value[key], max(0, _size(value[key]) - excess), wanted)
    if _size(result) <= room:
        return result
    items = list(value.items())
    kept = _best(items, json_dumps, room, wanted)
    return {**dict(items[at] for at in kept), "more": len(items) - len(kept)}


def _fitting_entries(entries: list[str], room: int, wanted: _Wanted) -> str:
    """Return a list in YAML, such as Home Assistant's live context, without attributes, and then without entries."""
    head, *rest = entries
    scores = wanted.scores(["\n".join(_NAMING.findall(entry)) or entry for entry in rest])
    lean = [_ATTRIBUTES.sub("", entry) for entry in rest]
    mixed = [entry if score else short for entry, short, score in zip(rest, lean, scores, strict=True)]
    for texts in (mixed, lean):
        whole = head + "".join(texts)
        if _size(whole) <= room:
            return whole
    named = sum(_size(entry) for entry, score in zip(rest, scores, strict=True) if score)
    texts = mixed if named <= room - _size(head) - _SPARE_CHARS else lean
    kept = _best(texts, str, room - _size(head), wanted, scores)
    note = f"- ({len(rest) - len(kept)} more; ask for an area, a domain or a name)\n"
    return head + "".join(texts[at] for at in kept) + note


def _best[T](
    items: Sequence[T],
    as_text: Callable[[T], str],
    room: int,
    wanted: _Wanted,
    scores: Sequence[float] | None = None,
) -> list[int]:
    """Return where those items are that fit, with room for a note; the most wanted ones, in their order."""
    ranks = scores or wanted.scores([as_text(item) for item in items])
    room -= _SPARE_CHARS
    kept: list[int] = []
    for at in sorted(range(len(items)), key=lambda at: -ranks[at]):
        room -= _size(items[at]) + 1
        if room < 0:
            break
        kept.append(at)
    return sorted(kept)


def _beginning(text: str, room: int) -> str:
    """Return how a text begins, and how much is left out."""
    length = max(0, int(len(text) * (room - _SPARE_CHARS) / _size(text)))
    while length and _size(text[:length]) > room - _SPARE_CHARS:
        length = length * 9 // 10
    return f"{text[:length]}… ({len(text) - length} more characters)"
