"""`OpenAIEngine`: a model on another server that speaks OpenAI's API. See `base.Engine` for the promises.

It is ready when a real token has come. What the model can do is asked with requests of one token, and what the server
tells of its context is believed; what the configuration says of either counts more. While it is ready, its list of
models is asked for in place of a heartbeat: a server that does not answer `_N_SILENT` times in a row is gone.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.catalogue.model_info import Capabilities, ModelInfo
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, ModelSpec
from zoe_server.engines import openai_form
from zoe_server.engines.base import Health, Loading
from zoe_server.engines.engine_log import LogLine
from zoe_server.engines.openai_connection import UNREADABLE, NoSuchPathError, OpenAIConnection

_LOGGER: Final = logging.getLogger(__name__)
_LOOK_S: Final = 10.0
_N_SILENT: Final = 3
_HELLO: Final = ({"role": "user", "content": "Hi"},)
_TRIAL_TOOL: Final = protocol.Tool("look", "Looks.", {"type": "object", "properties": {}})
_TRIAL_SCHEMA: Final = protocol.AnswerSchema({"type": "object", "properties": {}}, "trial")


class OpenAIEngine:
    """A model of the server at `spec.options.url`; `look_s` is the pause between two looks whether it is there."""

    def __init__(self, spec: ModelSpec, look_s: float = _LOOK_S) -> None:
        if not isinstance(spec.options, OpenAIOptions):
            raise TypeError(f"model {spec.name} is on no other server")
        self._spec = spec
        self._options = spec.options
        self._look_s = look_s
        self._connection: OpenAIConnection | None = None
        self._model = ""
        self._limit = openai_form.LIMIT
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

    @property
    def loading(self) -> Loading | None:
        """None: a server tells nothing of how far it is."""
        return None

    @property
    def log(self) -> tuple[LogLine, ...]:
        """Nothing: what its server writes is there."""
        return ()

    @property
    def pid(self) -> int | None:
        """None: it takes no memory of this machine that we know of."""
        return None

    @property
    def lingers(self) -> bool:
        """Never: nothing of it is here."""
        return False

    async def start(self) -> None:
        """Return when the model there has answered. See `base.Engine.start`."""
        self._closed = asyncio.get_running_loop().create_future()
        self._connection = connection = OpenAIConnection(self._spec.name, self._options)
        try:
            listed = await self._find(connection)
            self._info = await self._learn(connection, openai_form.context_tokens(listed))
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
        self._watching = asyncio.create_task(self._watch(connection), name=f"engine {self._spec.name}")

    async def chat(self, request: protocol.ChatRequest) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Answer `request`. See `base.Engine.chat`.

        No server of this kind is known to compute a prompt for later, so where nothing is to be written, none is asked.
        """
        try:
            connection = self._running()
            path, body = self._asked(request)
            yield protocol.Started(0, 0)
            if request.max_tokens == 0:
                yield protocol.Finish("length")
                return
            async with aclosing(connection.stream(path, body)) as events:
                async for event in events:
                    yield event
        except errors.ZoeError as error:
            yield protocol.Failure(error)

    async def embed(self, request: protocol.EmbedRequest) -> protocol.Embeddings:
        """Return the vectors of the inputs. See `base.Engine.embed`."""
        if not self._info.capabilities.embeddings:
            raise errors.ModelKindError.no_embeddings()
        connection = self._running()
        began_s = time.monotonic()
        inputs = [item if isinstance(item, str) else list(item) for item in request.inputs]
        vectors, usage = await self._vectors(connection, inputs)
        took_s = time.monotonic() - began_s
        return protocol.Embeddings(vectors, usage, protocol.Timings(0.0, took_s, took_s))

    async def _vectors(
        self, connection: OpenAIConnection, inputs: list[str | list[int]]
    ) -> tuple[tuple[tuple[float, ...], ...], protocol.Usage]:
        body = {"model": self._model, "input": inputs, "encoding_format": "float"}
        answer = await connection.post("embeddings", body)
        try:
            items = sorted(answer["data"], key=lambda item: int(item["index"]))
            vectors = tuple(_of_length_1(item["embedding"]) for item in items)
            usage = protocol.Usage(prompt_tokens=answer["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise connection.unavailable(UNREADABLE) from error
        if len(vectors) != len(inputs):
            raise connection.unavailable(f"its server made {len(vectors)} vectors of {len(inputs)} texts")
        return vectors, usage

    async def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = True) -> list[int]:
        """OpenAI's API has no tokenizer."""
        raise errors.ModelKindError.no_tokenizer()

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """OpenAI's API has no tokenizer."""
        raise errors.ModelKindError.no_tokenizer()

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
        await self._end("it was stopped")

    async def wait_ended(self) -> None:
        """Return at once: nothing of it is here."""

    def _asked(self, request: protocol.ChatRequest) -> tuple[str, dict[str, Any]]:
        """Return where to ask and what.

        Raises:
            errors.ModelKindError: the model cannot do this, or the API cannot say it.
        """
        if self._info.capabilities.embeddings:
            raise errors.ModelKindError.only_embeddings()
        if request.prompt is not None:
            return "completions", openai_form.completion_body(request, self._model, self._limit)
        return "chat/completions", openai_form.chat_body(request, self._model, self._limit)

    def _running(self) -> OpenAIConnection:
        if self._connection is None or not self._alive:
            raise errors.EngineUnavailableError(f"model {self._spec.name!r}: it is not running", retry_after_s=2.0)
        return self._connection

    async def _end(self, reason: str) -> None:
        self._alive = False
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(reason)
        if self._connection is not None:
            await self._connection.close()

    async def _find(self, connection: OpenAIConnection) -> Mapping[str, Any]:
        """Return what the server lists of the model, nothing if it has no list.

        Raises:
            errors.ZoeError: there is no such model, or no server.
        """
        wanted = self._options.remote_model
        try:
            answer = await connection.get("models")
            listed = {str(one["id"]): one for one in answer["data"]}
        except NoSuchPathError:
            if wanted is None:
                raise
            self._model = wanted
            return {}
        except (KeyError, TypeError) as error:
            raise connection.unavailable(f"{UNREADABLE}; is {self._options.url} the base URL of one?") from error
        if wanted is None and len(listed) == 1:
            wanted = next(iter(listed))
        if wanted is None or wanted not in listed:
            what = "say which of its server's" if wanted is None else f"there is no {wanted!r} among its server's"
            names = ", ".join(sorted(listed)[:20]) or "none"
            raise connection.unavailable(f"{what} models it is, with `model` in its table: {names}")
        self._model = wanted
        found: Mapping[str, Any] = listed[wanted]
        return found

    async def _learn(self, connection: OpenAIConnection, n_ctx_tokens: int | None) -> ModelInfo:
        """Return what the model can do; where the configuration does not say, a request of one token shows."""
        options = self._options
        n_ctx_tokens = options.n_ctx_tokens or n_ctx_tokens
        if EMBEDDINGS_ROLE in self._spec.roles:
            vectors, _ = await self._vectors(connection, ["Hi"])
            able = Capabilities(embeddings=True)
            return ModelInfo(name=self._model, n_ctx_tokens=n_ctx_tokens, dimensions=len(vectors[0]), capabilities=able)
        await self._try_either_limit(connection)
        able = Capabilities(
            tools=await self._can(connection, options.tools, _HELLO, tools=(_TRIAL_TOOL,)),
            schemas=await self._can(connection, options.schemas, _HELLO, answer_schema=_TRIAL_SCHEMA),
            pictures=await self._can(connection, options.pictures, (await asyncio.to_thread(_picture_message),)),
            logprobs=await self._can(connection, None, _HELLO, logprobs=1),
        )
        return ModelInfo(name=self._model, n_ctx_tokens=n_ctx_tokens, capabilities=able)

    async def _try_either_limit(self, connection: OpenAIConnection) -> None:
        """See whether the model answers; newer models of OpenAI have another word for the longest answer."""
        try:
            await self._try(connection, _HELLO)
        except errors.InvalidRequestError as error:
            if openai_form.NEW_LIMIT not in error.message:
                raise
            self._limit = openai_form.NEW_LIMIT
            await self._try(connection, _HELLO)

    async def _can(
        self,
        connection: OpenAIConnection,
        known: bool | None,
        messages: tuple[Mapping[str, Any], ...],
        **fields: Any,  # noqa: ANN401 -- any of a request's
    ) -> bool:
        if known is not None:
            return known
        try:
            await self._try(connection, messages, **fields)
        except errors.ZoeError as error:
            _LOGGER.info("model %s cannot do all that there is: %s", self._spec.name, error.message)
            return False
        return True

    async def _try(
        self,
        connection: OpenAIConnection,
        messages: tuple[Mapping[str, Any], ...],
        **fields: Any,  # noqa: ANN401 -- any of a request's
    ) -> None:
        """Ask for one token.

        Raises:
            errors.ZoeError: there was no answer.
        """
        request = protocol.ChatRequest("trial", self._model, messages, max_tokens=1, **fields)
        body = openai_form.chat_body(request, self._model, self._limit)
        async with aclosing(connection.stream("chat/completions", body)) as events:
            async for _ in events:
                pass

    async def _watch(self, connection: OpenAIConnection) -> None:
        """Ask for the list of models from time to time, until it has not come several times in a row."""
        n_silent = 0
        while n_silent < _N_SILENT:
            await asyncio.sleep(self._look_s)
            try:
                async with asyncio.timeout(self._look_s):
                    await connection.get("models")
            except NoSuchPathError:
                _LOGGER.debug("model %s: its server has no list, but it is there", self._spec.name)
            except (errors.EngineUnavailableError, TimeoutError):
                n_silent += 1
                continue
            except errors.ZoeError as error:
                _LOGGER.debug("model %s: its server refuses, so it is there: %s", self._spec.name, error.message)
            n_silent, self._reported_at = 0, time.time()
        await self._end(f"its server at {self._options.url} does not answer")


def _picture_message() -> dict[str, Any]:
    from PIL import Image  # noqa: PLC0415 -- it is slow to import, and only for this

    file = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return {"role": "user", "content": [{"type": "picture", "data": data, "path": "trial"}]}


def _of_length_1(vector: Sequence[float]) -> tuple[float, ...]:
    length = sum(number * number for number in vector) ** 0.5
    return tuple(number / length for number in vector) if length else tuple(vector)
