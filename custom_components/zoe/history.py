"""Which part of a conversation a request carries: whole rounds, and the newest of them.

A round is what the user said and everything up to what he says next, so a tool's result never loses its call. Rounds
are left out in blocks, not one by one, so that requests keep beginning alike and the server has computed the
beginning. The running round always stays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from homeassistant.components import conversation

_ANSWER_SHARE: Final = 4
"""A context is left free for the answer by this part at most."""


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
