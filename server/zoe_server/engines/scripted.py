"""`ScriptedEngine`: answers by script, in this process and without a model, but with every promise of a real engine.

It takes part in the same contract tests as `LocalEngine`; tests of the gateway use it where one particular output of a
model is needed. A script is a JSON list; the first answer whose `when` occurs in the last user message is played:

    [{"when": "lamp", "events": [{"event": "tool_call_start", "index": 0, "call_id": "c1", "name": "turn_on"},
                                 {"event": "tool_call_arguments", "index": 0, "text": "{}"}]},
     {"events": [{"event": "text", "text": "Hello"}, {"event": "hold"}]}]

Besides the events of `protocol` there are `hold` (wait until `release` is called) and `crash` (the engine is gone). A
missing `finish` is added. A word of the messages counts as one prompt token, a text event as one generated token.

With the role `embeddings` it makes vectors instead, of the counts of a text's bytes: they need no script.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from zoe_server import codec, errors, protocol
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, ModelSpec
from zoe_server.engines.base import Health, Loading
from zoe_server.engines.engine_log import LogLine

_N_TOKENS: Final = 256
_N_DIMENSIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Hold:
    """The answer stops here until `ScriptedEngine.release`."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The engine is gone at this point."""


Step = protocol.ChatEvent | Hold | Crash


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said when `when` occurs in the last user message; an empty `when` always does."""

    steps: tuple[Step, ...]
    when: str = ""


def parse_script(text: str) -> tuple[Answer, ...]:
    """Return the answers of a JSON script.

    Raises:
        ValueError: it is no such script.
    """
    try:
        return tuple(
            Answer(tuple(_step(event) for event in answer["events"]), answer.get("when", ""))
            for answer in json.loads(text)
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a script: {error!r}") from error


def _step(event: Mapping[str, Any]) -> Step:
    if event["event"] == "hold":
        return Hold()
    if event["event"] == "crash":
        return Crash()
    step = codec.decode_event(event)
    if isinstance(step, protocol.Embedding):
        raise TypeError("an embedding is no part of a chat")
    return step


class ScriptedEngine:
    """Plays `answers`, or those in the file at `spec.path`. See `base.Engine` for the promises."""

    def __init__(self, spec: ModelSpec, answers: Sequence[Answer] | None = None) -> None:
        self._spec = spec
        self._answers = answers
        self._slots = asyncio.Semaphore(spec.n_slots)
        self._released = asyncio.Event()
        self._gone: asyncio.Future[errors.ZoeError] | None = None
        self._waiting = 0
        self._running = 0
        self._step = 0
        self.requests: list[protocol.ChatRequest] = []
        self.cancelled: list[str] = []

    @property
    def info(self) -> ModelInfo:
        """The few facts there are."""
        return ModelInfo(
            name=self._spec.name,
            n_ctx_tokens=self._spec.n_ctx_tokens,
            n_slots=self._spec.n_slots,
            dimensions=_N_DIMENSIONS if self._makes_embeddings else None,
            capabilities=self._spec.capabilities,
        )

    @property
    def health(self) -> Health:
        """How many requests run and wait right now."""
        alive = self._gone is not None and not self._gone.done()
        return Health(alive, self._step, self._running, self._waiting, time.time() if alive else None)

    async def start(self) -> None:
        """Read the script, if it lies in a file."""
        if self._answers is None and not self._makes_embeddings:
            try:
                self._answers = parse_script(self._spec.path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise errors.EngineUnavailableError(f"cannot read the script {self._spec.path}: {error}") from error
        self._gone = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """Let every answer go on that stands at a `Hold`, now and later."""
        self._released.set()

    async def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Play the answer to `request`. See `base.Engine.chat`."""
        self.requests.append(request)
        finished = False
        try:
            async for event in self._answer(request):
                finished = isinstance(event, protocol.TERMINAL_EVENTS)
                yield event
                if finished:
                    return
        finally:
            if not finished:
                self.cancelled.append(request.id)

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """Return the bytes of `text`: this engine has no other tokens. See `base.Engine.tokenize`."""
        del add_special, parse_special
        self._check_alive()
        return list(text.encode())

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes. See `base.Engine.detokenize`."""
        self._check_alive()
        if wrong := [token for token in tokens if not 0 <= token < _N_TOKENS]:
            raise errors.InvalidRequestError(f"tokens: {wrong[0]} is not a token of this model", param="tokens")
        return bytes(tokens).decode(errors="replace")

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the inputs. See `base.Engine.embed`."""
        self._check_alive()
        if not self._makes_embeddings:
            raise errors.ModelKindError.no_embeddings()
        several = len(request.inputs) > 1
        texts = [
            self._embeddable(item, f"input[{index}]" if several else "input", truncate=request.truncate)
            for index, item in enumerate(request.inputs)
        ]
        usage = protocol.Usage(prompt_tokens=sum(len(text) for text in texts))
        return protocol.Embeddings(tuple(_vector(text) for text in texts), usage)

    async def wait_closed(self) -> str:
        """Return why it is gone. See `base.Engine.wait_closed`."""
        if self._gone is None:
            return "it was never started"
        return (await asyncio.shield(self._gone)).message

    @property
    def loading(self) -> Loading | None:
        """None: it is ready at once."""
        return None

    @property
    def log(self) -> tuple[LogLine, ...]:
        """Nothing: it has no process of its own."""
        return ()

    @property
    def pid(self) -> int | None:
        """None: it has no process of its own."""
        return None

    async def kill(self, reason: str) -> None:
        """End it; open requests fail as after a crash."""
        self._end(errors.EngineCrashedError(reason, retry_after_s=1.0))

    async def stop(self) -> None:
        """End it; open requests fail."""
        self._end(errors.EngineUnavailableError("the server is stopping"))

    @property
    def lingers(self) -> bool:
        """Never: it has no process of its own."""
        return False

    async def wait_ended(self) -> None:
        """Return at once."""

    async def _answer(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        refusal = self._refusal(request)
        if refusal is not None:
            yield protocol.Failure(refusal)
            return
        self._waiting += 1
        try:
            lost = await self._until(asyncio.ensure_future(self._slots.acquire()))
        finally:
            self._waiting -= 1
        if lost is not None:
            yield protocol.Failure(lost)
            return
        self._running += 1
        try:
            async for event in self._play(request):
                yield event
        finally:
            self._running -= 1
            self._slots.release()

    async def _play(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        prompt_tokens = len(_words(request))
        yield protocol.Started(prompt_tokens, 0)
        generated, called = 0, False
        for step in self._steps(request):
            self._step += 1
            if isinstance(step, Crash):
                self._end(errors.EngineCrashedError("the scripted engine crashed", retry_after_s=1.0))
            held = isinstance(step, Hold)
            lost = await self._until(asyncio.ensure_future(self._released.wait())) if held else self._lost()
            if lost is not None:
                yield protocol.Failure(lost)
                return
            if isinstance(step, protocol.Text):
                if request.max_tokens is not None and generated >= request.max_tokens:
                    break
                generated += 1
            if not isinstance(step, Hold | Crash):
                called = called or isinstance(step, protocol.ToolCallStart)
                yield step
        cut = request.max_tokens is not None and generated >= request.max_tokens
        reason: protocol.FinishReason = "length" if cut else "tool_calls" if called else "stop"
        yield protocol.Finish(reason, protocol.Usage(prompt_tokens, 0, generated))

    def _steps(self, request: protocol.ChatRequest) -> Iterator[Step]:
        said = str(request.prompt or "")
        said = said or next((str(m.get("content")) for m in reversed(request.messages) if m["role"] == "user"), "")
        for answer in self._answers or ():
            if answer.when in said:
                yield from answer.steps
                return

    @property
    def _makes_embeddings(self) -> bool:
        return EMBEDDINGS_ROLE in self._spec.roles

    def _embeddable(self, item: str | Sequence[int], path: str, *, truncate: bool) -> Sequence[int]:
        tokens = item.encode() if isinstance(item, str) else item
        if not tokens:
            raise errors.InvalidRequestError(f"{path}: an empty text has no embedding", param=path)
        if wrong := [token for token in tokens if not 0 <= token < _N_TOKENS]:
            raise errors.InvalidRequestError(f"{path}: {wrong[0]} is not a token of this model", param=path)
        if len(tokens) > self._spec.n_ctx_tokens and not truncate:
            raise errors.ContextSizeError(len(tokens), self._spec.n_ctx_tokens, path)
        return tokens[: self._spec.n_ctx_tokens]

    def _refusal(self, request: protocol.ChatRequest) -> errors.ZoeError | None:
        if (lost := self._lost()) is not None:
            return lost
        if self._makes_embeddings:
            return errors.ModelKindError.only_embeddings()
        if request.answer_schema is not None:
            return errors.InvalidRequestError(
                "this model plays a script and cannot be held to a schema", param=request.answer_schema.path
            )
        if (n_words := len(_words(request))) > self._spec.n_ctx_tokens:
            return errors.ContextSizeError(n_words, self._spec.n_ctx_tokens)
        if self._slots.locked() and self._waiting >= self._spec.queue_limit:
            return errors.QueueFullError("too many requests wait for this model", retry_after_s=1.0)
        return None

    async def _until(self, wanted: asyncio.Future[Any]) -> errors.ZoeError | None:
        """Wait for `wanted`, or return the error if the engine goes first."""
        if self._gone is None:
            return self._lost()
        try:
            await asyncio.wait({wanted, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
        return self._lost()

    def _check_alive(self) -> None:
        if (lost := self._lost()) is not None:
            raise lost

    def _lost(self) -> errors.ZoeError | None:
        if self._gone is None:
            return errors.EngineUnavailableError("the engine was not started")
        return self._gone.result() if self._gone.done() else None

    def _end(self, error: errors.ZoeError) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(error)


def _words(request: protocol.ChatRequest) -> list[str]:
    if request.prompt is not None:
        return request.prompt.split() if isinstance(request.prompt, str) else [str(token) for token in request.prompt]
    return [word for message in request.messages for word in str(message.get("content") or "").split()]


def _vector(tokens: Sequence[int]) -> tuple[float, ...]:
    """Return how often tokens fall on each of the dimensions, as a vector of length 1 exact in 32 bits."""
    counts = [sum(token % _N_DIMENSIONS == index for token in tokens) for index in range(_N_DIMENSIONS)]
    vector = [count / math.hypot(*counts) for count in counts]
    return codec.decode_vector(codec.encode_vector(vector))
