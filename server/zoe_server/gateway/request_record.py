"""`RequestRecord`: one HTTP request from its headers to the end of its answer, as people and metrics look at it.

    queued --its prompt is being computed--> prefill --its first token came--> decode --> done

It is told what happens and asks nobody. An event of a stream costs it an addition; what takes longer waits for the end.
At its end it holds no text of prompts or answers, except a prompt's end where the configuration asks for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from zoe_server import errors, protocol
from zoe_server.call_check import fits
from zoe_server.metrics.outcome import CallResult, Outcome, Result
from zoe_server.routing.router import RoutePlan

Phase = Literal["queued", "prefill", "decode", "done"]

CANCELLED: Final = "cancelled"
PROMPT_CHARACTERS: Final = 4000
"""Of a prompt that is kept, so much: its end, where the last message stands."""

_MAX_NAME: Final = 200
_FAILED_STATUS: Final = 400
_PROSE: Final = (protocol.Text, protocol.Reasoning)


@dataclass(slots=True)
class _Call:
    """A tool call, put together from its pieces."""

    name: str
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class RequestRecord:
    """One request.

    `id` goes back to the client; `path` is what was asked, and `api` the same as the routes write it. `begun_at` is in
    seconds since 1970, `begun` by the monotonic clock. Until an answer ends, `pieces` of it stand for its tokens.
    """

    id: str
    method: str
    path: str
    api: str
    client: str = ""
    keeps_prompt: bool = False
    begun_at: float = field(default_factory=time.time)
    begun: float = field(default_factory=time.monotonic)
    asked: str | None = None
    rule: str | None = None
    wanted: str | None = None
    model: str | None = None
    adapter: str | None = None
    phase: Phase = "queued"
    pieces: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    first_token_s: float | None = None
    finishes: list[protocol.Finish] = field(default_factory=list)
    calls: Counter[CallResult] = field(default_factory=Counter)
    code: str | None = None
    status: int | None = None
    ended: float | None = None
    prompt: str | None = None
    _n_answers: int = 1
    _tools: Sequence[Sequence[protocol.Tool]] = ()
    _open_calls: dict[tuple[int, int], _Call] = field(default_factory=dict)

    @property
    def age_s(self) -> float:
        """How long it has been in work, or was."""
        return (time.monotonic() if self.ended is None else self.ended) - self.begun

    @property
    def completion_tokens(self) -> int:
        """The tokens of its answers: as engines counted them, as soon as each has ended."""
        if len(self.finishes) < self._n_answers:
            return self.pieces
        return sum(finish.usage.completion_tokens for finish in self.finishes)

    @property
    def result(self) -> Result:
        """How it ended."""
        if self.code == CANCELLED:
            return "cancelled"
        return "ok" if self.code is None and (self.status or 0) < _FAILED_STATUS else "failed"

    def planned(self, plan: RoutePlan) -> None:
        """Note what the router chose."""
        self.rule, self.wanted, self.adapter = plan.rule, plan.candidates[0], plan.adapter

    def wants(self, requests: Sequence[protocol.ChatRequest]) -> None:
        """Note what engines are asked for, at least one answer."""
        self._n_answers, self._tools = len(requests), [request.tools for request in requests]
        if self.keeps_prompt:
            self.prompt = prompt_end(requests[0])

    def wants_vectors(self, inputs: Sequence[str | tuple[int, ...]]) -> None:
        """Note the texts, or their tokens, that vectors are to be made of."""
        if self.keeps_prompt:
            self.prompt = "\n".join(str(item)[-PROMPT_CHARACTERS:] for item in inputs)[-PROMPT_CHARACTERS:]

    def saw(self, index: int, event: protocol.ChatEvent) -> None:
        """Note the next event of answer `index`."""
        if isinstance(event, _PROSE):
            self.pieces += 1
            if self.first_token_s is None:
                self._begin_decoding()
        elif isinstance(event, protocol.ToolCallArguments):
            self.pieces += 1
            if (call := self._open_calls.get((index, event.index))) is not None:
                call.arguments.append(event.text)
        else:
            self._saw_once(index, event)

    def failed(self, error: errors.ZoeError) -> None:
        """Note why it fails; the first reason counts."""
        self.code = self.code or error.code or error.type

    def embedded(self, answer: protocol.Embeddings) -> None:
        """Note an answer that came at once."""
        self.prompt_tokens = answer.usage.prompt_tokens
        self.finishes.append(protocol.Finish("stop", answer.usage, answer.timings))

    def delivered(self, status: int) -> None:
        """Note that the whole answer was written, with `status`: who leaves now cancels nothing."""
        self.status = status

    def end(self, status: int | None) -> None:
        """Note the end; without a `status` the client has left, which is no reason if it failed or got all before."""
        self.phase, self.ended, self.status = "done", time.monotonic(), status or self.status
        self._tools = ()
        self._open_calls.clear()
        if self.status is None:
            self.code = self.code or CANCELLED

    def outcome(self) -> Outcome:
        """Return what metrics count."""
        return Outcome(
            api=self.api,
            duration_s=self.age_s,
            result=self.result,
            rule=self.rule,
            wanted=self.wanted,
            model=self.model,
            code=self.code,
            finishes=tuple(self.finishes),
            calls=self.calls,
        )

    def record(self) -> dict[str, Any]:
        """Return it as JSON data; what is not known is null."""
        known = {
            "id": self.id,
            "began_at": round(self.begun_at, 3),
            "age_s": round(self.age_s, 4),
            "phase": self.phase,
            "method": self.method,
            "path": self.path[:_MAX_NAME],
            "client": self.client[:_MAX_NAME],
            "asked": None if self.asked is None else self.asked[:_MAX_NAME],
            "rule": self.rule,
            "model": self.model or self.wanted,
            "adapter": self.adapter,
            "fallback": self.model not in (None, self.wanted),
            "prompt_tokens": self.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "completion_tokens": self.completion_tokens,
            "first_token_s": None if self.first_token_s is None else round(self.first_token_s, 4),
            "tool_calls": dict(self.calls),
            "finish": ",".join(dict.fromkeys(finish.reason for finish in self.finishes)) or None,
            "status": self.status,
            "error": self.code,
        }
        return known if self.prompt is None else {**known, "prompt": self.prompt}

    def _saw_once(self, index: int, event: protocol.ChatEvent) -> None:
        match event:
            case protocol.Started():
                self.prompt_tokens = max(self.prompt_tokens, event.prompt_tokens)
                self.cached_tokens = max(self.cached_tokens, event.cached_tokens)
                self.phase = "prefill" if self.phase == "queued" else self.phase
            case protocol.ToolCallStart():
                self._open_calls[index, event.index] = _Call(event.name)
                if self.first_token_s is None:
                    self._begin_decoding()
            case protocol.Failure():
                self.failed(event.error)
            case protocol.Finish():
                self.finishes.append(event)
                self._judge_calls(index, event.repaired_calls)

    def _begin_decoding(self) -> None:
        self.phase, self.first_token_s = "decode", self.age_s

    def _judge_calls(self, index: int, repaired: Sequence[int]) -> None:
        tools = {tool.name: tool.parameters for tool in self._tools[index]}
        for (answer, at), call in self._open_calls.items():
            if answer != index:
                continue
            valid = call.name in tools and fits("".join(call.arguments), tools[call.name])
            self.calls["invalid" if not valid else "repaired" if at in repaired else "valid"] += 1


def prompt_end(request: protocol.ChatRequest) -> str:
    """Return the end of what the model is to read, without pictures."""
    if request.prompt is not None:
        return str(request.prompt)[-PROMPT_CHARACTERS:]
    pieces: list[str] = []
    room = PROMPT_CHARACTERS
    for message in reversed(request.messages):
        pieces.append(f"{message['role']}: {_text(message)}\n"[-room:])
        room -= len(pieces[-1])
        if room <= 0:
            break
    return "".join(reversed(pieces))


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list | tuple):
        return " ".join(part.get("text") or "" for part in content)
    return str(content or "")
