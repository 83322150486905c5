"""`OpenAIEngine`: a model on another server that speaks OpenAI's API.

What the model can do is asked with requests of one token, and what the server tells of its context is believed; what
the configuration says of either counts more.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.catalogue.model_info import Capabilities, ModelInfo
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines import openai_form
from zoe_server.engines.remote_connection import UNREADABLE, NoSuchPathError, RemoteConnection
from zoe_server.engines.remote_engine import LOOK_S, RemoteEngine, Vectors, in_order, makes_embeddings

_LOGGER: Final = logging.getLogger(__name__)
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
_HELLO: Final = ({"role": "user", "content": "Hi"},)
_TRIAL_TOOL: Final = protocol.Tool("look", "Looks.", {"type": "object", "properties": {}})
_TRIAL_SCHEMA: Final = protocol.AnswerSchema({"type": "object", "properties": {}}, "trial")


class OpenAIEngine(RemoteEngine):
    """A model of the server at `url`, which is the base URL of its API, or an address, which means its /v1.

    `options` are those of the spec, unless its engine is another one that has a server of its own.
    """

    def __init__(self, spec: ModelSpec, url: str, look_s: float = LOOK_S, options: OpenAIOptions | None = None) -> None:
        options = options or (spec.options if isinstance(spec.options, OpenAIOptions) else None)
        if options is None:
            raise TypeError(f"model {spec.name} is on no other server")
        super().__init__(spec, url if urlsplit(url).path else f"{url}/v1", look_s)
        self._options = options
        self._model = ""
        self._limit = openai_form.LIMIT

    def _connect(self) -> RemoteConnection:
        return RemoteConnection(self.spec.name, self.url, self._options)

    async def _look(self, connection: RemoteConnection) -> None:
        try:
            await connection.get("models")
        except NoSuchPathError:
            _LOGGER.debug("model %s: its server has no list, but it is there", self.spec.name)

    async def _let_go(self, connection: RemoteConnection) -> None:
        """This API cannot say it."""

    async def _answer(
        self, connection: RemoteConnection, request: protocol.ChatRequest
    ) -> AsyncGenerator[protocol.ChatEvent, None]:
        if request.prompt is None:
            path, body = "chat/completions", openai_form.chat_body(request, self._model, self._limit)
        else:
            path, body = "completions", openai_form.completion_body(request, self._model, self._limit)
        reader = openai_form.ChunkReader()
        async with aclosing(connection.lines(path, body)) as lines:
            async for line in lines:
                if not line.startswith(_DATA):
                    continue  # comments and other fields mean nothing here
                if (data := line[len(_DATA) :].strip()) == _DONE:
                    break
                try:
                    events = list(reader.read(json.loads(data)))
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise connection.unavailable(UNREADABLE) from error
                for event in events:
                    yield event
        if reader.reason is None:
            raise connection.unavailable("its server ended the answer in the middle")
        yield protocol.Finish(reader.reason, reader.usage)

    async def _vectors(
        self, connection: RemoteConnection, request: protocol.EmbedRequest
    ) -> tuple[Vectors, protocol.Usage]:
        inputs = [item if isinstance(item, str) else list(item) for item in request.inputs]
        body = {"model": self._model, "input": inputs, "encoding_format": "float"}
        answer = await connection.post("embeddings", body)
        try:
            items = sorted(answer["data"], key=lambda item: int(item["index"]))
            vectors = in_order(connection, [item["embedding"] for item in items], len(inputs))
            return vectors, protocol.Usage(prompt_tokens=answer["usage"]["prompt_tokens"])
        except (KeyError, TypeError, ValueError) as error:
            raise connection.unavailable(UNREADABLE) from error

    async def _learn(self, connection: RemoteConnection) -> ModelInfo:
        """Return what the model can do; where the configuration does not say, a request of one token shows."""
        options = self._options
        n_ctx_tokens = openai_form.context_tokens(await self._find(connection))
        n_ctx_tokens = options.n_ctx_tokens or n_ctx_tokens
        if makes_embeddings(self.spec):
            vectors, _ = await self._vectors(connection, protocol.EmbedRequest("trial", self._model, ("Hi",)))
            able = Capabilities(embeddings=True)
            return ModelInfo(name=self._model, n_ctx_tokens=n_ctx_tokens, dimensions=len(vectors[0]), capabilities=able)
        await self._try_either_limit(connection)
        able = Capabilities(
            tools=await self._can(connection, options.tools, _HELLO, tools=(_TRIAL_TOOL,)),
            schemas=await self._can(connection, options.schemas, _HELLO, answer_schema=_TRIAL_SCHEMA),
            pictures=await self._can(connection, options.pictures, (await asyncio.to_thread(_picture_message),)),
            logprobs=await self._can(connection, None, _HELLO, logprobs=1),
            raw_prompts=await self._can(connection, None, (), prompt="Hi"),
            priming=options.priming,
        )
        return ModelInfo(name=self._model, n_ctx_tokens=n_ctx_tokens, capabilities=able)

    async def _find(self, connection: RemoteConnection) -> Mapping[str, Any]:
        """Return what the server lists of the model, nothing if it has no list.

        Raises:
            errors.ZoeError: there is no such model, or no server.
        """
        wanted = self._options.model
        try:
            answer = await connection.get("models")
            listed = {str(one["id"]): one for one in answer["data"]}
        except NoSuchPathError:
            if wanted is None:
                raise
            self._model = wanted
            return {}
        except (KeyError, TypeError) as error:
            raise connection.unavailable(f"{UNREADABLE}; is {self.url} the base URL of one?") from error
        if wanted is None and len(listed) == 1:
            wanted = next(iter(listed))
        if wanted is None or wanted not in listed:
            what = "say which of its server's" if wanted is None else f"there is no {wanted!r} among its server's"
            names = ", ".join(sorted(listed)[:20]) or "none"
            raise connection.unavailable(f"{what} models it is, with `model` in its table: {names}")
        self._model = wanted
        found: Mapping[str, Any] = listed[wanted]
        return found

    async def _try_either_limit(self, connection: RemoteConnection) -> None:
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
        connection: RemoteConnection,
        known: bool | None,
        messages: tuple[Mapping[str, Any], ...],
        **fields: Any,  # noqa: ANN401 -- any of a request's
    ) -> bool:
        if known is not None:
            return known
        try:
            await self._try(connection, messages, **fields)
        except errors.ZoeError as error:
            _LOGGER.info("model %s cannot do all that there is: %s", self.spec.name, error.message)
            return False
        return True

    async def _try(
        self,
        connection: RemoteConnection,
        messages: tuple[Mapping[str, Any], ...],
        **fields: Any,  # noqa: ANN401 -- any of a request's
    ) -> None:
        """Ask for one token.

        Raises:
            errors.ZoeError: there was no answer.
        """
        request = protocol.ChatRequest("trial", self._model, messages, max_tokens=1, **fields)
        async with aclosing(self._answer(connection, request)) as events:
            async for _ in events:
                pass


def _picture_message() -> dict[str, Any]:
    from PIL import Image  # noqa: PLC0415 -- it is slow to import, and only for this

    file = io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return {"role": "user", "content": [{"type": "picture", "data": data, "path": "trial"}]}
