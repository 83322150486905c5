"""`RemoteEngine`: a model on another server. See `base.Engine` for the promises; a subclass speaks the server's API.

It is ready when a real token has come. While it is ready, the server is asked for something small in place of a
heartbeat: one that does not answer `_N_SILENT` times in a row is gone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from zoe_server import errors, protocol
from zoe_server.catalogue.model_info import ModelInfo
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, ModelSpec
from zoe_server.engines.base import Health, WithoutProcess
from zoe_server.engines.remote_connection import RemoteConnection

_LOGGER: Final = logging.getLogger(__name__)
LOOK_S: Final = 10.0
_N_SILENT: Final = 3
Vectors = tuple[tuple[float, ...], ...]


class RemoteEngine(WithoutProcess, ABC):
    """The model `spec` of the server at `url`; `look_s` is the pause between two looks whether it is there."""

    def __init__(self, spec: ModelSpec, url: str, look_s: float = LOOK_S) -> None:
        self.spec = spec
        self.url = url
        self._look_s = look_s
        self._connection: RemoteConnection | None = None
        self._info = ModelInfo()
        self._alive = False
        self._reported_at: float | None = None
        self._closed: asyncio.Future[str] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def info(self) -> ModelInfo:
        """What is known of the model since it answered first."""
        return self._info

    @property
    def health(self) -> Health:
        """Whether its server answered last time, and how many of our requests are open there."""
        n_open = 0 if self._connection is None else self._connection.n_open
        return Health(alive=self._alive, running=n_open, reported_at=self._reported_at)

    async def start(self) -> None:
        """Return when the model there has answered. See `base.Engine.start`."""
        self._closed = asyncio.get_running_loop().create_future()
        self._connection = connection = self._connect()
        try:
            self._info = await self._learn(connection)
        except errors.EngineUnavailableError:
            await self.stop()
            raise
        except errors.ZoeError as error:
            await self.stop()
            raise connection.unavailable(error.message) from error
        except BaseException:
            await self.stop()
            raise
        self._alive, self._reported_at = True, time.time()
        self._watching = asyncio.create_task(self._watch(connection), name=f"engine {self.spec.name}")

    async def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Answer `request`. See `base.Engine.chat`.

        Where nothing is to be written, a model that is primed is asked for one token, which nobody gets: servers keep
        what they computed of a prompt.
        """
        try:
            connection = self._running()
            if self._info.capabilities.embeddings:
                raise errors.ModelKindError.only_embeddings()
            yield protocol.Started(0, 0)
            if request.max_tokens == 0:
                yield await self._prime(connection, request)
                return
            async with aclosing(self._timed(connection, request)) as events:
                async for event in events:
                    yield event
        except errors.ZoeError as error:
            yield protocol.Failure(error)

    async def _prime(self, connection: RemoteConnection, request: protocol.ChatRequest) -> protocol.Finish:
        finish = protocol.Finish("length")
        if self._info.capabilities.priming:
            async with aclosing(self._timed(connection, replace(request, max_tokens=1))) as events:
                async for event in events:
                    finish = event if isinstance(event, protocol.Finish) else finish
        return replace(finish, reason="length", usage=replace(finish.usage, completion_tokens=0))

    async def _timed(
        self, connection: RemoteConnection, request: protocol.ChatRequest
    ) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Yield the events of an answer, the last of them with what it took."""
        began_s = time.monotonic()
        first_s = 0.0
        async with aclosing(self._answer(connection, request)) as events:
            async for event in events:
                took_s = time.monotonic() - began_s
                first_s = first_s or took_s
                timings = protocol.Timings(0.0, first_s, took_s)
                yield replace(event, timings=timings) if isinstance(event, protocol.Finish) else event

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the inputs. See `base.Engine.embed`."""
        if not self._info.capabilities.embeddings:
            raise errors.ModelKindError.no_embeddings()
        connection = self._running()
        began_s = time.monotonic()
        vectors, usage = await self._vectors(connection, request)
        took_s = time.monotonic() - began_s
        return protocol.Embeddings(vectors, usage, protocol.Timings(0.0, took_s, took_s))

    async def wait_closed(self) -> str:
        """Return why its server is gone. See `base.Engine.wait_closed`."""
        return "it was not started" if self._closed is None else await asyncio.shield(self._closed)

    async def kill(self, reason: str) -> None:
        """Ask it no more; open requests fail."""
        await self._end(reason)

    async def stop(self) -> None:
        """Ask it no more; open requests fail."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
            self._watching = None
        if self._alive and self._connection is not None:
            await self._let_go(self._connection)
        await self._end("it was stopped")

    @abstractmethod
    def _connect(self) -> RemoteConnection:
        """Return a connection to where the API begins."""

    @abstractmethod
    async def _learn(self, connection: RemoteConnection) -> ModelInfo:
        """Return what the model can do, once it has answered; raises what requests do."""

    @abstractmethod
    def _answer(
        self, connection: RemoteConnection, request: protocol.ChatRequest
    ) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Yield what the answer says, and `Finish`; raises what requests do."""

    @abstractmethod
    async def _vectors(
        self, connection: RemoteConnection, request: protocol.EmbedRequest
    ) -> tuple[Vectors, protocol.Usage]:
        """Return a vector of length 1 for each input."""

    @abstractmethod
    async def _look(self, connection: RemoteConnection) -> None:
        """Return if the server is there.

        Raises:
            errors.EngineUnavailableError: it is not; any other error is its answer.
        """

    @abstractmethod
    async def _let_go(self, connection: RemoteConnection) -> None:
        """Tell the server that the model is not needed any more, where its API can say that."""

    def _running(self) -> RemoteConnection:
        if self._connection is None or not self._alive:
            raise errors.EngineUnavailableError(f"model {self.spec.name!r}: it is not running", retry_after_s=2.0)
        return self._connection

    async def _end(self, reason: str) -> None:
        self._alive = False
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(reason)
        if self._connection is not None:
            await self._connection.close()

    async def _watch(self, connection: RemoteConnection) -> None:
        """See from time to time whether the server is there, until it was not several times in a row."""
        n_silent = 0
        while n_silent < _N_SILENT:
            await asyncio.sleep(self._look_s)
            try:
                async with asyncio.timeout(self._look_s):
                    await self._look(connection)
            except (errors.EngineUnavailableError, TimeoutError):
                n_silent += 1
                continue
            except errors.ZoeError as error:
                _LOGGER.debug("model %s: its server refuses, so it is there: %s", self.spec.name, error.message)
            n_silent, self._reported_at = 0, time.time()
        await self._end(f"its server at {self.url} does not answer")


def makes_embeddings(spec: ModelSpec) -> bool:
    """Whether the model is there for vectors only."""
    return EMBEDDINGS_ROLE in spec.roles


def in_order(connection: RemoteConnection, vectors: Sequence[Sequence[float]], n_inputs: int) -> Vectors:
    """Return the vectors, each of length 1.

    Raises:
        errors.EngineUnavailableError: they are not as many as the inputs.
    """
    if len(vectors) != n_inputs:
        raise connection.unavailable(f"its server made {len(vectors)} vectors of {n_inputs} texts")
    return tuple(map(_of_length_1, vectors))


def _of_length_1(vector: Sequence[float]) -> tuple[float, ...]:
    length = sum(number * number for number in vector) ** 0.5
    return tuple(number / length for number in vector) if length else tuple(vector)
