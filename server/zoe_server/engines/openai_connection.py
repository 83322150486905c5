"""`OpenAIConnection`: asks a server that speaks OpenAI's API, and makes whatever goes wrong an error of ours."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.engines import openai_form

_CONNECT_S: Final = 10.0
_MAX_LINE_BYTES: Final = 8 << 20
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"
UNREADABLE: Final = "its server says what is no answer of OpenAI's API"


class NoSuchPathError(errors.EngineUnavailableError):
    """The server does not have this part of the API."""


class OpenAIConnection:
    """All requests to the server of `options` for the model that is called `name` here; made in a running loop."""

    def __init__(self, name: str, options: OpenAIOptions) -> None:
        self._name = name
        self._options = options
        key = options.api_key
        self._session = aiohttp.ClientSession(
            headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=options.silence_s),
            read_bufsize=_MAX_LINE_BYTES,
        )
        self.n_open = 0

    async def close(self) -> None:
        """End all requests: each of them fails."""
        await self._session.close()

    async def get(self, path: str) -> Any:  # noqa: ANN401 -- JSON
        """Return the JSON at `path`.

        Raises:
            NoSuchPathError: there is nothing at `path`.
            errors.ZoeError: the server refuses, fails, is not there, or says nothing for too long.
        """
        async with self._answer("GET", path) as response:
            return await self._json(response)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        """Return the JSON that answers `body`; raises what `get` does."""
        async with self._answer("POST", path, body) as response:
            return await self._json(response)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[protocol.ChatEvent, None]:
        """Yield the events of a stream and, at its end, the `Finish`; raises what `get` does."""
        reader = openai_form.ChunkReader()
        began_s = time.monotonic()
        first_s = 0.0
        async with self._answer("POST", path, body) as response:
            async for data in _events_of(response):
                if data == _DONE:
                    break
                try:
                    events = list(reader.read(json.loads(data)))
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise self.unavailable(UNREADABLE) from error
                first_s = first_s or time.monotonic() - began_s
                for event in events:
                    yield event
        if reader.reason is None:
            raise self.unavailable("its server ended the answer in the middle")
        timings = protocol.Timings(0.0, first_s, time.monotonic() - began_s)
        yield protocol.Finish(reader.reason, reader.usage, timings)

    def unavailable(self, reason: str) -> errors.EngineUnavailableError:
        """Return the error of a request that the model cannot answer for `reason`."""
        return errors.EngineUnavailableError(f"model {self._name!r}: {reason}", retry_after_s=2.0)

    async def _json(self, response: aiohttp.ClientResponse) -> Any:  # noqa: ANN401 -- JSON
        try:
            return await response.json(content_type=None)
        except ValueError as error:
            raise self.unavailable(UNREADABLE) from error

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Lend a response with a good status."""
        self.n_open += 1
        try:
            async with self._session.request(method, f"{self._options.url}/{path}", json=body) as response:
                if response.status != HTTPStatus.OK:
                    raise await self._refusal(response)
                yield response
        except TimeoutError as error:
            raise self.unavailable(f"its server said nothing for {self._options.silence_s:g} s") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # RuntimeError: the session is closed
            raise self.unavailable(f"no connection to {self._options.url}: {error}") from error
        finally:
            self.n_open -= 1

    async def _refusal(self, response: aiohttp.ClientResponse) -> errors.ZoeError:
        text = await response.text(errors="replace")
        if response.status == HTTPStatus.NOT_FOUND and response.method == "GET":
            return NoSuchPathError(f"model {self._name!r}: its server has no {response.url}")
        try:
            answer: object = json.loads(text)
        except ValueError:
            answer = text
        wait = response.headers.get("Retry-After", "")
        return openai_form.failure(response.status, answer, float(wait) if wait.isdecimal() else None)


async def _events_of(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the data of server-sent events; comments and other fields mean nothing here."""
    try:
        async for line in response.content:
            if line.startswith(_DATA):
                yield line[len(_DATA) :].strip()
    except ValueError as error:  # aiohttp's, of a line that is longer than its buffer
        raise aiohttp.ClientPayloadError("an event is too long") from error
