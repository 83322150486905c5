"""The figures of one turn: from the arrival of a sentence to the end of its answer, over all requests it took."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from homeassistant.helpers import llm

type Clock = Callable[[], float]


@dataclass(slots=True)
class RequestStats:
    """What the server reported about one request: token counts, its own timings in ms, the model that answered."""

    model: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    timings: dict[str, float] = field(default_factory=dict)

    def read_chunk(self, chunk: dict[str, Any]) -> None:
        """Take what a chunk of the stream says about the request as a whole."""
        self.model = chunk.get("model") or self.model
        self.timings = chunk.get("timings") or self.timings
        if usage := chunk.get("usage"):
            self.prompt_tokens = usage.get("prompt_tokens") or 0
            self.completion_tokens = usage.get("completion_tokens") or 0
            self.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0

    def as_trace(self) -> dict[str, Any]:
        """Return the figures for Home Assistant's conversation trace, token counts under the names it knows."""
        return {
            "model": self.model,
            "input_tokens": self.prompt_tokens,
            "cached_input_tokens": self.cached_tokens,
            "output_tokens": self.completion_tokens,
            "timings": self.timings,
        }


class TurnStats:
    """Collects the figures of one turn. `clock` returns seconds and only its differences matter."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start_s = clock()
        self._first_delta_s: float | None = None
        self.requests: list[RequestStats] = []
        self.tool_calls: list[llm.ToolInput] = []
        self.repairs: Counter[str] = Counter()

    @property
    def has_spoken(self) -> bool:
        """Whether a piece of text or of a tool call has arrived."""
        return self._first_delta_s is not None

    def new_request(self) -> RequestStats:
        """Return the figures of the next request to the server, which are part of this turn."""
        self.requests.append(RequestStats())
        return self.requests[-1]

    def mark_delta(self) -> None:
        """Note that a piece of text or of a tool call arrived; only the first one of a turn counts."""
        if self._first_delta_s is None:
            self._first_delta_s = self._clock()

    def as_event_data(self, conversation_id: str, agent_id: str) -> dict[str, Any]:
        """Return the data of the event `zoe_turn`; call it when the turn is over.

        conversation_id, agent_id: the conversation, and the entity that answered
        model: the model that wrote the last answer
        requests: how many requests the turn took (one more than its rounds of tool calls)
        prompt_tokens, cached_tokens, completion_tokens: sums over these requests; the prompt includes what was cached
        ttft_ms: from the arrival of the sentence to the first piece of text or tool call
        total_ms: from the arrival of the sentence to the end of the answer, tools included
        tool_calls: a list of {"name", "arguments"}: the tools in the order in which they were called, and the names of
            the arguments that they were given
        repairs: how often each thing was put right that the model did wrong (`Intervention`)

        The event holds no words of the household, neither of the sentence nor of the answer or the values of arguments;
        Home Assistant keeps events for days.
        """
        first_s = self._first_delta_s
        return {
            "conversation_id": conversation_id,
            "agent_id": agent_id,
            "model": self.requests[-1].model if self.requests else None,
            "requests": len(self.requests),
            "prompt_tokens": sum(request.prompt_tokens for request in self.requests),
            "cached_tokens": sum(request.cached_tokens for request in self.requests),
            "completion_tokens": sum(request.completion_tokens for request in self.requests),
            "ttft_ms": None if first_s is None else self._milliseconds(first_s),
            "total_ms": self._milliseconds(self._clock()),
            "tool_calls": [{"name": call.tool_name, "arguments": sorted(call.tool_args)} for call in self.tool_calls],
            "repairs": {str(kind): count for kind, count in sorted(self.repairs.items())},
        }

    def _milliseconds(self, moment_s: float) -> float:
        return round((moment_s - self._start_s) * 1000, 1)
