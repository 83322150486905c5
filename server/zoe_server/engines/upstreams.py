"""`Upstreams`: one model on several servers. See `base.Engine` for the promises.

1. Who answers: each beginning of a prompt (system message and tools, which all requests of a home share) has its own
   order of the servers, so that each server keeps the prompts of its homes warm. A server that comes or goes changes
   the order of nobody else.
2. Not all at one: a server with more than its share of the open requests, by `_LOAD_FACTOR`, and more than `_N_FEW`
   of them, which it computes together, is passed over.
3. Failing: where one cannot answer, the next one does, as long as nothing was said.
4. Coming back: a server that is gone is asked again from time to time.

Sources: Thaler and Ravishankar, "Using name-based mappings to increase hit rates" (rendezvous hashing, 1998);
Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2018).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar

from zoe_server import errors, protocol
from zoe_server.catalogue.model_info import Capabilities, ModelInfo
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.base import Health, WithoutProcess
from zoe_server.engines.remote_engine import LOOK_S, RemoteEngine

_LOGGER: Final = logging.getLogger(__name__)
_LOAD_FACTOR: Final = 1.25
_N_FEW: Final = 4
_N_BEGINNING: Final = 256
"""Characters or tokens of a bare prompt that count as its beginning."""
AnswerT = TypeVar("AnswerT")


def rank(beginning: str, url: str) -> bytes:
    """Return how much the server at `url` is the one for prompts that begin so: the greatest is."""
    return hashlib.blake2b(f"{url}\n{beginning}".encode(errors="surrogatepass"), digest_size=8).digest()


class Upstreams(WithoutProcess):
    """The model `spec` on the servers at `urls`; `make` makes the engine of one; the gone are asked every `look_s`."""

    def __init__(
        self,
        spec: ModelSpec,
        urls: Sequence[str],
        make: Callable[[ModelSpec, str], RemoteEngine],
        look_s: float = LOOK_S,
        rank: Callable[[str, str], bytes] = rank,
    ) -> None:
        self._spec = spec
        self._urls = tuple(urls)
        self._make = make
        self._look_s = look_s
        self._rank = rank
        self._there: dict[str, RemoteEngine] = {}
        self._failed_at: dict[str, float] = {}
        self._info = ModelInfo()
        self._closed: asyncio.Future[str] | None = None
        self._keeping: set[asyncio.Task[None]] = set()

    @property
    def info(self) -> ModelInfo:
        """What all of the servers that were there at the start can do, with the smallest of their contexts."""
        return self._info

    @property
    def health(self) -> Health:
        """Whether one of them is there, and how many requests are open at all of them."""
        each = [engine.health for engine in self._there.values()]
        told = [health.reported_at for health in each if health.reported_at is not None]
        n_open = sum(health.running for health in each)
        return Health(any(health.alive for health in each), running=n_open, reported_at=max(told, default=None))

    async def start(self) -> None:
        """Return when all servers were asked and one is there, or more. See `base.Engine.start`."""
        self._closed = asyncio.get_running_loop().create_future()
        try:
            failures = await asyncio.gather(*map(self._begin, self._urls))
        except BaseException:
            await self.stop()
            raise
        if not self._there:
            await self.stop()
            told = "; ".join(error.message for error in failures if error is not None)
            raise errors.EngineUnavailableError(f"none of its servers answers: {told}", retry_after_s=2.0)
        self._info = _in_common([engine.info for engine in self._there.values()])
        self._keeping = {asyncio.create_task(self._keep(url), name=f"upstream {url}") for url in self._urls}

    async def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Answer `request` on the first server that can. See `base.Engine.chat`."""
        failure = _nobody(self._spec)
        yield protocol.Started(0, 0)
        for engine in self._order(_beginning(request)):
            has_begun = False
            async with aclosing(engine.chat(request)) as events:
                async for event in events:
                    if (
                        isinstance(event, protocol.Failure)
                        and not has_begun
                        and self._others_may_answer(engine, event.error)
                    ):
                        failure = event
                        break
                    if not isinstance(event, protocol.Started):
                        has_begun = True
                        yield event
                else:
                    return
        yield failure

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the inputs, of the first server that can. See `base.Engine.embed`."""
        return await self._first(str(request.inputs[:1]), lambda engine: engine.embed(request))

    async def wait_closed(self) -> str:
        """Return once none of the servers is there any more. See `base.Engine.wait_closed`."""
        return "it was not started" if self._closed is None else await asyncio.shield(self._closed)

    async def kill(self, reason: str) -> None:
        """Ask nobody any more; open requests fail."""
        self._close(reason)
        await self.stop()

    async def stop(self) -> None:
        """Ask nobody any more; open requests fail."""
        keeping, self._keeping = self._keeping, set()
        for task in keeping:
            task.cancel()
        if keeping:
            await asyncio.wait(keeping)
        there, self._there = self._there, {}
        await asyncio.gather(*(engine.stop() for engine in there.values()))
        self._close("it was stopped")

    async def _first(self, beginning: str, ask: Callable[[RemoteEngine], Awaitable[AnswerT]]) -> AnswerT:
        """Return the answer of the first server that has one.

        Raises:
            errors.ZoeError: that of the last server, or of one that finds fault with the request.
        """
        error = _nobody(self._spec).error
        for engine in self._order(beginning):
            try:
                return await ask(engine)
            except errors.ZoeError as found:
                if not self._others_may_answer(engine, found):
                    raise
                error = found
        raise error

    def _order(self, beginning: str) -> list[RemoteEngine]:
        """Return whom to ask, in order; those with their share of open requests come last, behind them who failed."""
        there = list(self._there.values())
        n_open = sum(engine.health.running for engine in there)
        share = max(_N_FEW, math.ceil(_LOAD_FACTOR * (n_open + 1) / max(1, len(there))))

        def place(engine: RemoteEngine) -> tuple[bool, bool]:
            return self._is_doubtful(engine), engine.health.running >= share

        by_rank = sorted(there, key=lambda engine: self._rank(beginning, engine.url), reverse=True)
        return sorted(by_rank, key=place)

    def _others_may_answer(self, engine: RemoteEngine, error: errors.ZoeError) -> bool:
        """Whether it is the server that is at fault; one that is not there is asked last until it is seen again."""
        if isinstance(error, errors.EngineUnavailableError):
            self._failed_at[engine.url] = time.time()
        elif not isinstance(error, errors.QueueFullError):
            return False
        _LOGGER.warning("model %s: %s", self._spec.name, errors.in_one_line(error.message))
        return True

    def _is_doubtful(self, engine: RemoteEngine) -> bool:
        failed_at, seen_at = self._failed_at.get(engine.url), engine.health.reported_at
        return failed_at is not None and (seen_at is None or seen_at <= failed_at)

    async def _begin(self, url: str) -> errors.ZoeError | None:
        """Add the server at `url`, or return why it is not there."""
        engine = self._make(self._spec, url)
        try:
            await engine.start()
        except errors.ZoeError as error:
            return error
        self._there[url] = engine
        return None

    async def _keep(self, url: str) -> None:
        """Wait until the server at `url` is gone, then until it is back, and so on."""
        while True:
            engine = self._there.get(url)
            if engine is not None:
                reason = await engine.wait_closed()
                _LOGGER.warning("model %s: %s", self._spec.name, reason)
                await engine.stop()
                self._there.pop(url, None)
                if not self._there:
                    self._close(reason)
            await asyncio.sleep(self._look_s)
            if await self._begin(url) is None:
                _LOGGER.info("model %s: its server at %s is back", self._spec.name, url)

    def _close(self, reason: str) -> None:
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(reason)


def _beginning(request: protocol.ChatRequest) -> str:
    """Return what the requests of one home have in common: tools and the first message; of a bare prompt, its start."""
    if request.prompt is not None:
        return str(request.prompt[:_N_BEGINNING])
    first = [message.get("content") for message in request.messages[:1]]
    return json.dumps([[tool.name for tool in request.tools], first], ensure_ascii=False, default=str)


def _nobody(spec: ModelSpec) -> protocol.Failure:
    text = f"model {spec.name!r}: none of its servers is there"
    return protocol.Failure(errors.EngineUnavailableError(text, retry_after_s=2.0))


def _in_common(infos: Sequence[ModelInfo]) -> ModelInfo:
    """Return what holds for all of them."""
    able = {name: all(getattr(info.capabilities, name) for info in infos) for name in Capabilities.model_fields}
    contexts = [info.n_ctx_tokens for info in infos if info.n_ctx_tokens is not None]
    common = {"capabilities": Capabilities(**able), "n_ctx_tokens": min(contexts, default=None)}
    return infos[0].model_copy(update=common)
