"""`OllamaEngine`: a model of an Ollama server, by Ollama's own API.

A model that is not there is downloaded there. It stays in that server's memory as long as it is loaded here, and leaves
it when it leaves here, unless it was there before.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OllamaOptions
from zoe_server.catalogue.model_info import Capabilities, ModelInfo
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines import ollama_form
from zoe_server.engines.base import Loading
from zoe_server.engines.remote_connection import UNREADABLE, RemoteConnection
from zoe_server.engines.remote_engine import LOOK_S, RemoteEngine, Vectors, in_order, makes_embeddings

_LOGGER: Final = logging.getLogger(__name__)
_CTX_TOKENS: Final = 8192
"""Without a number in the configuration; Ollama's own default of 4,096 is less than many homes take."""
_LET_GO_S: Final = 3.0
_LATEST: Final = ":latest"


class OllamaEngine(RemoteEngine):
    """A model of the Ollama server at `url`."""

    def __init__(self, spec: ModelSpec, url: str, look_s: float = LOOK_S) -> None:
        if not isinstance(spec.options, OllamaOptions):
            raise TypeError(f"model {spec.name} is on no Ollama server")
        super().__init__(spec, url.removesuffix("/v1").removesuffix("/api"), look_s)
        self._options = spec.options
        self._model = ollama_form.model_fields("", _CTX_TOKENS, None)
        self._loading: Loading | None = None
        self._was_loaded = False

    @property
    def loading(self) -> Loading | None:
        """How much of the model its server has downloaded, while it does so."""
        return self._loading

    def _connect(self) -> RemoteConnection:
        return RemoteConnection(self.spec.name, f"{self.url}/api", self._options)

    async def _look(self, connection: RemoteConnection) -> None:
        await connection.get("version")

    async def _answer(
        self, connection: RemoteConnection, request: protocol.ChatRequest
    ) -> AsyncGenerator[protocol.ChatEvent, None]:
        if request.prompt is None:
            path, body = "chat", ollama_form.chat_body(request, self._model, thinks=self._info.capabilities.thinking)
        else:
            path, body = "generate", ollama_form.prompt_body(request, self._model)
        reader = ollama_form.RecordReader()
        async for record in self._records(connection, path, body):
            try:
                events = list(reader.read(record))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise connection.unavailable(UNREADABLE) from error
            for event in events:
                yield event
        if reader.finish is None:
            raise connection.unavailable("its server ended the answer in the middle")
        if request.tool_choice.mode == "required" and reader.finish.reason == "stop":
            raise connection.unavailable("it made no call though one was required, which Ollama cannot enforce")
        yield reader.finish

    async def _records(
        self, connection: RemoteConnection, path: str, body: Mapping[str, Any]
    ) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield the JSON objects of an answer, a line each."""
        async with aclosing(connection.lines(path, body)) as lines:
            async for line in lines:
                try:
                    record = json.loads(line or b"{}")
                except ValueError as error:
                    raise connection.unavailable(UNREADABLE) from error
                if record:
                    yield record

    async def _vectors(
        self, connection: RemoteConnection, request: protocol.EmbedRequest
    ) -> tuple[Vectors, protocol.Usage]:
        if not all(isinstance(item, str) for item in request.inputs):
            raise errors.ModelKindError("input: this model's server takes texts and no tokens", param="input")
        body = {**self._model, "input": list(request.inputs), "truncate": request.truncate}
        answer = await connection.post("embed", body)
        try:
            vectors = in_order(connection, answer["embeddings"], len(request.inputs))
            return vectors, protocol.Usage(prompt_tokens=answer.get("prompt_eval_count") or 0)
        except (KeyError, TypeError, ValueError) as error:
            raise connection.unavailable(UNREADABLE) from error

    async def _learn(self, connection: RemoteConnection) -> ModelInfo:
        """Return what the server says of the model, once the model has answered."""
        name = await self._find(connection)
        self._was_loaded = await self._is_loaded(connection, name)
        shown = await connection.post("show", {"model": name})
        try:
            told = set(shown.get("capabilities") or ("completion", "tools"))
            details = shown.get("details") or {}
            trained_for = _trained_for(shown.get("model_info") or {})
        except (AttributeError, TypeError) as error:
            raise connection.unavailable(UNREADABLE) from error
        n_ctx_tokens = self._options.n_ctx_tokens or min(trained_for or _CTX_TOKENS, _CTX_TOKENS)
        self._model = ollama_form.model_fields(name, n_ctx_tokens, self.spec.keep_alive_s)
        info = ModelInfo(
            name=name,
            n_ctx_tokens=n_ctx_tokens,
            architecture=details.get("family"),
            quantization=details.get("quantization_level"),
        )
        if makes_embeddings(self.spec):
            vectors, _ = await self._vectors(connection, protocol.EmbedRequest("trial", name, ("Hi",)))
            return info.model_copy(
                update={"dimensions": len(vectors[0]), "capabilities": Capabilities(embeddings=True)}
            )
        able = Capabilities(
            tools="tools" in told,
            pictures="vision" in told,
            thinking="thinking" in told,
            schemas=True,
            raw_prompts=True,
            priming=True,
            logprobs=await self._tells_logprobs(connection, name),
        )
        return info.model_copy(update={"capabilities": able})

    async def _find(self, connection: RemoteConnection) -> str:
        """Return what the model is called there; one that is not there is downloaded, where that is wanted.

        Raises:
            errors.ZoeError: there is no such model, or no server.
        """
        answer = await connection.get("tags")
        try:
            names = [str(one["name"]) for one in answer["models"]]
        except (KeyError, TypeError) as error:
            raise connection.unavailable(f"{UNREADABLE}; is {self.url} the address of an Ollama server?") from error
        wanted = self._options.model
        if wanted is None and len(names) == 1:
            return names[0]
        if wanted is None:
            listed = ", ".join(sorted(names)[:20]) or "none"
            raise connection.unavailable(f"say which of its server's models it is, with `model` in its table: {listed}")
        if {wanted, wanted + _LATEST} & set(names):
            return wanted
        if not self._options.pull:
            raise connection.unavailable(f"its server does not have {wanted!r}, and `pull` is false in its table")
        await self._pull(connection, wanted)
        return wanted

    async def _is_loaded(self, connection: RemoteConnection, name: str) -> bool:
        """Whether the model is in the server's memory, where others may use it."""
        answer = await connection.get("ps")
        listed = answer.get("models") if isinstance(answer, dict) else None
        names = {one.get("name") for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()
        return bool({name, name + _LATEST} & names)

    async def _pull(self, connection: RemoteConnection, name: str) -> None:
        """Have the server download the model, and say how far it is."""
        _LOGGER.info("model %s: its server downloads %s", self.spec.name, name)
        self._loading = Loading("downloading")
        try:
            async for record in self._records(connection, "pull", {"model": name, "stream": True}):
                if "error" in record:
                    raise connection.unavailable(f"its server cannot download {name!r}: {record['error']}")
                total, done = record.get("total"), record.get("completed")
                self._loading = Loading("downloading", done / total if total and done is not None else None)
        except errors.InvalidRequestError as error:
            raise connection.unavailable(f"its server cannot download {name!r}: {error.message}") from error
        finally:
            self._loading = None

    async def _tells_logprobs(self, connection: RemoteConnection, name: str) -> bool:
        """Have the model write its first token; older servers do not say how probable it was."""
        hello = ({"role": "user", "content": "Hi"},)
        request = protocol.ChatRequest("trial", name, hello, max_tokens=1, logprobs=1)
        async with aclosing(self._answer(connection, request)) as events:
            return any([isinstance(event, protocol.Text) and event.tokens async for event in events])

    async def _let_go(self, connection: RemoteConnection) -> None:
        """Have the model leave the server's memory, if it came there because of us."""
        if self._was_loaded:
            return
        kind = "embed" if makes_embeddings(self.spec) else "generate"
        body = {"model": self._model["model"], "keep_alive": 0}
        try:
            async with asyncio.timeout(_LET_GO_S):
                await connection.post(kind, {**body, "input": []} if kind == "embed" else {**body, "stream": False})
        except (errors.ZoeError, TimeoutError) as error:
            _LOGGER.warning("model %s may stay in its server's memory: %s", self.spec.name, error)


def _trained_for(model_info: Mapping[str, Any]) -> int | None:
    """Return how many tokens the model can read at once."""
    found = (value for key, value in model_info.items() if key.endswith(".context_length"))
    return next((value for value in found if isinstance(value, int) and value > 0), None)
