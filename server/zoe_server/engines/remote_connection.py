"""`RemoteConnection`: asks another server over HTTP, and makes whatever goes wrong an error of ours."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from yarl import URL

from zoe_server import errors
from zoe_server.catalogue.engine_options import RemoteOptions

_CONNECT_S: Final = 10.0
_MAX_LINE_BYTES: Final = 8 << 20
_REFUSED: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)
_TOO_LONG: Final = ("context_length_exceeded", "exceed_context_size_error")
_CONTEXT: Final = re.compile(r"(?:maximum context length (?:is|of)|context size \()\D*(\d+)")
_PROMPT: Final = re.compile(r"(?:request \(|has (?:about )?)(\d+) (?:prompt )?tokens")
_MAX_REASON: Final = 500
UNREADABLE: Final = "its server says what is no answer of this API"


class NoSuchPathError(errors.EngineUnavailableError):
    """The server does not have this part of the API."""


class RemoteConnection:
    """All requests to the server at `url` for the model that is called `name` here; made in a running loop."""

    def __init__(self, name: str, url: str, options: RemoteOptions) -> None:
        self._name = name
        self._url = url
        self._silence_s = options.silence_s
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

    async def text_at_root(self, path: str) -> str:
        """Return the text at `path` of the server itself, whose API begins further down; raises what `get` does."""
        async with self._answer("GET", str(URL(self._url).with_path(path))) as response:
            return await response.text(errors="replace")

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- JSON
        """Return the JSON that answers `body`; raises what `get` does."""
        async with self._answer("POST", path, body) as response:
            return await self._json(response)

    async def lines(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[bytes, None]:
        """Yield the lines of the answer to `body` as they come; raises what `get` does."""
        async with self._answer("POST", path, body) as response:
            try:
                async for line in response.content:
                    yield line.strip()
            except ValueError as error:  # aiohttp's, of a line that is longer than its buffer
                raise self.unavailable("a line of its answer is too long") from error

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
        """Lend a response with a good status; `path` is one of the API, or a whole URL."""
        url = path if "://" in path else f"{self._url}/{path}"
        self.n_open += 1
        try:
            async with await self._request(method, url, body) as response:
                if response.status != HTTPStatus.OK:
                    raise await self._refusal(response)
                yield response
        except TimeoutError as error:
            raise self.unavailable(f"its server said nothing for {self._silence_s:g} s") from error
        except (aiohttp.ClientError, OSError, RuntimeError) as error:  # RuntimeError: the session is closed
            raise self.unavailable(f"no connection to {self._url}: {error}") from error
        finally:
            self.n_open -= 1

    async def _request(self, method: str, url: str, body: Mapping[str, Any] | None) -> aiohttp.ClientResponse:
        """Return a response that has begun; where a kept connection turns out to be closed, it is asked for anew.

        Servers close connections that are idle, llama-server after five seconds, and one that is used at this moment
        has brought nothing yet.
        """
        try:
            return await self._session.request(method, url, json=body)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._session.request(method, url, json=body)

    async def _refusal(self, response: aiohttp.ClientResponse) -> errors.ZoeError:
        text = await response.text(errors="replace")
        if response.status == HTTPStatus.NOT_FOUND and response.method == "GET":
            return NoSuchPathError(f"model {self._name!r}: its server has no {response.url}")
        try:
            answer: object = json.loads(text)
        except ValueError:
            answer = text
        wait = response.headers.get("Retry-After", "")
        return failure(response.status, answer, float(wait) if wait.isdecimal() else None)


def failure(status: int, answer: object, retry_after_s: float | None = None) -> errors.ZoeError:
    """Return what an answer with an error means: what is the request's fault, and what others may answer instead."""
    code, reason, details = _said(answer)
    if status in _REFUSED:
        if code in _TOO_LONG or _CONTEXT.search(reason):
            found = _CONTEXT.search(reason)
            n_ctx = details.get("n_ctx") or (int(found[1]) if found else 0)
            asked = _PROMPT.search(reason)
            n_prompt = details.get("n_prompt_tokens") or (int(asked[1]) if asked else 0)
            return errors.ContextSizeError(n_prompt, n_ctx)
        return errors.InvalidRequestError(f"the model's server refuses the request: {reason}")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return errors.QueueFullError(f"the model's server is busy: {reason}", retry_after_s=retry_after_s or 1.0)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return errors.EngineUnavailableError(f"its server refuses our key: {reason}", code="upstream_key")
    return errors.EngineUnavailableError(f"its server failed ({status}): {reason}", retry_after_s=retry_after_s)


def _said(answer: object) -> tuple[str, str, Mapping[str, Any]]:
    """Return code, message and details of an error, in whatever form a server writes it."""
    error = answer.get("error", answer) if isinstance(answer, Mapping) else answer
    if not isinstance(error, Mapping):
        return "", errors.in_one_line(str(error)[:_MAX_REASON]), {}
    codes = (error.get("code"), error.get("type"))
    code = next((one for one in codes if one in _TOO_LONG), "")
    message = error.get("message") or error.get("detail") or json.dumps(error)
    return str(code), errors.in_one_line(str(message)[:_MAX_REASON]), error
