"""The client of a Zoe server. `_request` is the one door through which all HTTP goes."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiohttp.http import HttpProcessingError
from yarl import URL

from .chunk import decoded_chunk
from .errors import (
    ZoeCannotConnectError,
    ZoeInvalidUrlError,
    ZoeNotZoeError,
    ZoeStreamBrokenError,
    ZoeUnauthorizedError,
    error_from_body,
)
from .models import Health, ModelFacts, model_facts, model_ids
from .offers import SUCCESS, Offers, PullStep
from .route import Route
from .server_status import Metrics, ServedModel, context_tokens, served_models
from .sse import EventDecoder

# A question about the server itself is answered at once or not at all.
QUICK_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, sock_connect=5)
# An answer may take long in all, but comment lines keep coming while a prompt is computed: silence means a dead server.
STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)

_END_OF_STREAM: Final = "[DONE]"


def normalised_url(text: str) -> str:
    """Return the base address of a server as users mean it: without `/v1`, trailing slash, query and fragment.

    Raises:
        ZoeInvalidUrlError: `text` is not an http or https URL with a host, or it contains credentials.
    """
    try:
        url = URL(text.strip())
        valid = url.scheme in ("http", "https") and bool(url.host) and url.raw_user is None
    except ValueError as err:
        raise ZoeInvalidUrlError(str(err)) from err
    if not valid:
        raise ZoeInvalidUrlError("an address like http://127.0.0.1:11434 is needed")
    path = url.path.rstrip("/").removesuffix("/v1").rstrip("/")
    return str(url.with_path(path)).rstrip("/")


class ZoeClient:
    """Talks to one Zoe server. Every method raises a `ZoeError` when the server does not do what it promises."""

    def __init__(self, session: aiohttp.ClientSession, url: str, api_key: str | None = None) -> None:
        self._session = session
        self._url = normalised_url(url)
        self._api_key = (api_key or "").strip()
        self.on_route: Callable[[Route], None] = _ignore
        """Called with the server's choice for each chat request that is to be answered, once it begins to."""
        self.on_lost: Callable[[], None] = _ignore
        """Called when the server does not answer, or breaks off."""

    async def async_health(self) -> Health:
        """Return who the server is and whether it is ready; needs no API key, so it is sent none.

        Raises:
            ZoeNotZoeError: something else answers.
        """
        async with self._request("GET", "/health", public=True) as response:
            return Health.from_response(await _body(response), response.status)

    async def async_models(self) -> list[str]:
        """Return the names that a chat request may ask for."""
        async with self._request("GET", "/v1/models") as response:
            return model_ids(await _body(response))

    async def async_model_facts(self) -> list[ModelFacts]:
        """Return what the server says about each of its models."""
        async with self._request("GET", "/v1/models") as response:
            return model_facts(await _body(response))

    async def async_status(self) -> list[ServedModel]:
        """Return where each model stands."""
        async with self._request("GET", "/admin/status") as response:
            return served_models(await _body(response))

    async def async_metrics(self) -> Metrics:
        """Return what the server has counted and measured since it was started."""
        async with self._request("GET", "/metrics/json") as response:
            return Metrics.from_body(await _body(response))

    async def async_context_tokens(self) -> dict[str, int]:
        """Return how many tokens each model can read, by every name that a request or an answer may use."""
        async with self._request("GET", "/v1/models") as response:
            return context_tokens(await _body(response))

    async def async_recent_requests(self) -> list[dict[str, Any]]:
        """Return the server's accounts of its last requests, the latest first."""
        async with self._request("GET", "/admin/requests") as response:
            body = await _body(response)
        requests = body.get("requests") if isinstance(body, dict) else None
        return [one for one in requests if isinstance(one, dict)] if isinstance(requests, list) else []

    async def async_explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return which model would answer a sentence, and why; `question` is the body of `POST /admin/route`."""
        async with self._request("POST", "/admin/route", json=question) as response:
            body = await _body(response)
        if not isinstance(body, dict):
            raise ZoeStreamBrokenError("the answer to /admin/route is not a JSON object")
        return body

    async def async_offers(self) -> Offers:
        """Return the models that the server could serve besides those that it serves.

        Raises:
            ZoeRequestRefusedError: the server is older than this question.
        """
        async with self._request("GET", "/admin/catalogue") as response:
            return Offers.from_body(await _body(response))

    async def async_pull(self, name: str) -> AsyncGenerator[PullStep]:
        """Let the server download a model and serve it; yield what it is doing until it does.

        The server goes on if nobody waits for it any more.

        Raises:
            ZoeStreamBrokenError: the connection was lost.
            ZoeError: the server refuses, or fails.
        """
        async with self._request("POST", "/api/pull", json={"model": name}, timeout=STREAM_TIMEOUT) as response:
            async for record in _records(response):
                step = PullStep.from_record(record)
                if step.status == SUCCESS:
                    return
                yield step
            raise ZoeStreamBrokenError("the connection was closed in the middle of the download")

    async def async_load_model(self, name: str) -> None:
        """Bring a model into memory, out of quarantine, too; returns when it is there."""
        await self._async_order(f"/admin/models/{quote(name, safe='')}/load", {})

    async def async_unload_model(self, name: str, wait_s: float) -> None:
        """Take a model out of memory once the requests in work, which get `wait_s` for it, have ended."""
        await self._async_order(f"/admin/models/{quote(name, safe='')}/unload", {"wait_s": wait_s})

    async def _async_order(self, path: str, body: dict[str, Any]) -> None:
        async with self._request("POST", path, json=body, timeout=STREAM_TIMEOUT) as response:
            await response.read()

    async def async_chat(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Send a chat completion request and yield its chunks as they arrive; `body` must ask for a stream.

        Raises:
            ZoeStreamBrokenError: the stream ended early or is not a stream of JSON objects.
            ZoeError: the server reports an error, before or in the middle of the stream.
        """
        finished = False
        async with self._request("POST", "/v1/chat/completions", json=body, timeout=STREAM_TIMEOUT) as response:
            if body.get("max_tokens") != 0:  # a prompt computed ahead is nobody's question
                self.on_route(Route.from_header(response.headers.get("X-Zoe-Route", "")))
            async for event in _events(response):
                if event == _END_OF_STREAM:
                    break
                chunk = decoded_chunk(event)
                finished = finished or any(choice.get("finish_reason") for choice in chunk["choices"])
                yield chunk
            else:
                raise ZoeStreamBrokenError("the connection was closed in the middle of the answer")
        if not finished:
            raise ZoeStreamBrokenError("the answer ended without a finish reason")

    @asynccontextmanager
    async def _request(
        self,
        method: str,
        path: str,
        *,
        json: dict[str, Any] | None = None,
        timeout: aiohttp.ClientTimeout = QUICK_TIMEOUT,  # noqa: ASYNC109 (aiohttp keeps these per phase of a request)
        public: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and yield the response; what fails inside the block is translated as well.

        With `public` no key is sent and every status is handed to the caller. Redirects are not followed: a Zoe server
        sends none, and a key must not travel to another address.
        """
        headers = {} if public else self._authorization()
        answered = False
        try:
            async with self._session.request(
                method, self._url + path, json=json, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answered = True
                if not public:
                    await _raise_for_status(response)
                yield response
        except (aiohttp.ClientError, TimeoutError, UnicodeError) as err:  # some resolvers encode what is no host name
            message = str(err) or type(err).__name__
            self.on_lost()
            raise (ZoeStreamBrokenError(message) if answered else ZoeCannotConnectError(message)) from err

    def _authorization(self) -> dict[str, str]:
        """Return the header with the key, if there is one.

        Raises:
            ZoeUnauthorizedError: it is a text that no header can carry.
        """
        if not self._api_key:
            return {}
        if not self._api_key.isprintable():
            raise ZoeUnauthorizedError("there are characters in it that no key has, such as a line break")
        return {"Authorization": f"Bearer {self._api_key}"}


def _ignore(*_: object) -> None:
    """Stand in where nobody wants to know."""


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise error_from_body(await _body(response), response.status)
    if response.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise ZoeNotZoeError(f"the server redirects to another address (HTTP status {response.status})")


async def _body(response: aiohttp.ClientResponse) -> object:
    """Return the JSON in the body of a response, or None if there is none."""
    try:
        return json.loads(await response.read())
    except ValueError, RecursionError:
        return None


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[str]:
    decoder = EventDecoder()
    async for piece in response.content.iter_any():
        for event in decoder.feed(piece):
            yield event


async def _records(response: aiohttp.ClientResponse) -> AsyncGenerator[object]:
    """Yield the JSON in each line of a response."""
    try:
        async for line in response.content:
            yield json.loads(line)
    except (ValueError, RecursionError, HttpProcessingError) as err:  # the latter of a line that does not end
        raise ZoeStreamBrokenError("a part of the answer is not a line of JSON") from err
