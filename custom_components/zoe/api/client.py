"""The client of a Zoe server. `_request` is the one door through which all HTTP goes."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

import aiohttp
from aiohttp.http import HttpProcessingError
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.core import HomeAssistant
from homeassistant.helpers.aiohttp_client import async_get_clientsession
from yarl import URL

from .errors import (
    ZoeCannotConnectError,
    ZoeError,
    ZoeInvalidUrlError,
    ZoeNotZoeError,
    ZoeStreamBrokenError,
    ZoeTimeoutError,
    ZoeUnauthorizedError,
    error_from_body,
)
from .offers import SUCCESS, ModelFacts, Offers, PullStep, context_tokens, model_facts, model_ids
from .sse import EventDecoder, decoded_chunk
from .status import Health, Metrics, ServedModel, served_models

RULE_TOOL_RESULTS: Final = "tool_results"
"""The rule for requests that go on with the result of a tool: they get the model of the sentence before it."""


@dataclass(frozen=True, slots=True)
class Route:
    """A choice: by which rule, the model, and all that were to be tried; empty where the server does not say."""

    rule: str = ""
    model: str = ""
    candidates: tuple[str, ...] = ()

    @classmethod
    def from_header(cls, header: str) -> Self:
        """Read the value of `X-Zoe-Route`."""
        parts = dict(part.strip().split("=", 1) for part in header.split(";") if "=" in part)
        candidates = tuple(name for name in parts.get("candidates", "").split(",") if name)
        return cls(parts.get("rule", ""), parts.get("model", ""), candidates)


@dataclass(frozen=True, slots=True)
class ChatStream:
    """An answer that has begun; reading `chunks` raises a `ZoeError` when it does not end as it should."""

    route: Route
    chunks: AsyncIterator[dict[str, Any]]


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

    is_zoe: ClassVar[bool] = True
    unknown_context_tokens: ClassVar[int] = 0
    """How much a model can read that the server does not list."""

    def __init__(self, session: aiohttp.ClientSession, url: str, api_key: str | None = None) -> None:
        self._session = session
        self._url = normalised_url(url)
        self._api_key = (api_key or "").strip()

    @classmethod
    def of(cls, hass: HomeAssistant, data: Mapping[str, Any]) -> Self:
        """Return a client of the server that the `data` of an entry names, with the key that is there, if any."""
        return cls(async_get_clientsession(hass), data[CONF_URL], data.get(CONF_API_KEY))

    @property
    def primes(self) -> bool:
        """Whether prompts are to be computed before there is a sentence."""
        return True

    async def async_health(self) -> Health:
        """Return who the server is and whether it is ready; needs no API key, so it is sent none.

        Raises:
            ZoeNotZoeError: something else answers.
        """
        async with self._request("GET", "/health", public=True) as response:
            return Health.from_response(await json_in(response), response.status)

    async def async_models(self) -> list[str]:
        """Return the names that a chat request may ask for."""
        async with self._request("GET", "/v1/models") as response:
            return model_ids(await json_in(response))

    async def async_model_facts(self) -> list[ModelFacts]:
        """Return what the server says about each of its models."""
        async with self._request("GET", "/v1/models") as response:
            return model_facts(await json_in(response))

    async def async_status(self) -> list[ServedModel]:
        """Return where each model stands."""
        async with self._request("GET", "/admin/status") as response:
            return served_models(await json_in(response))

    async def async_metrics(self) -> Metrics:
        """Return what the server has counted and measured since it was started."""
        async with self._request("GET", "/metrics/json") as response:
            return Metrics.from_body(await json_in(response))

    async def async_context_tokens(self) -> dict[str, int]:
        """Return how many tokens each model can read, by every name that a request or an answer may use."""
        async with self._request("GET", "/v1/models") as response:
            return context_tokens(await json_in(response))

    async def async_recent_requests(self) -> list[dict[str, Any]]:
        """Return the server's accounts of its last requests, the latest first."""
        async with self._request("GET", "/admin/requests") as response:
            body = await json_in(response)
        requests = body.get("requests") if isinstance(body, dict) else None
        return [one for one in requests if isinstance(one, dict)] if isinstance(requests, list) else []

    async def async_explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """Return which model would answer a sentence, and why; `question` is the body of `POST /admin/route`."""
        async with self._request("POST", "/admin/route", json=question) as response:
            body = await json_in(response)
        if not isinstance(body, dict):
            raise ZoeStreamBrokenError("the answer to /admin/route is not a JSON object")
        return body

    async def async_offers(self) -> Offers:
        """Return the models that the server could serve besides those that it serves.

        Raises:
            ZoeRequestRefusedError: the server is older than this question.
        """
        async with self._request("GET", "/admin/catalogue") as response:
            return Offers.from_body(await json_in(response))

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
            await json_in(response)

    @asynccontextmanager
    async def async_chat(self, body: dict[str, Any], within_s: float | None = None) -> AsyncIterator[ChatStream]:
        """Send a chat completion request, which must ask for a stream, and yield the answer once it begins.

        It has to be complete `within_s`, if that is given.

        Raises:
            ZoeError: the server reports an error, or cannot be reached.
        """
        timeout = aiohttp.ClientTimeout(
            total=within_s, sock_connect=STREAM_TIMEOUT.sock_connect, sock_read=STREAM_TIMEOUT.sock_read
        )
        async with (
            self._request("POST", "/v1/chat/completions", json=body, timeout=timeout) as response,
            aclosing(_chunks(response)) as chunks,
        ):
            yield ChatStream(Route.from_header(response.headers.get("X-Zoe-Route", "")), chunks)

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
        """Send one request and yield the response; who reads on translates what fails then (`_translated`).

        With `public` no key is sent and every status is handed to the caller. Redirects are not followed: a Zoe server
        sends none, and a key must not travel to another address.
        """
        headers = {} if public else self._authorization()
        with _translated(ZoeCannotConnectError):
            response = await self._session.request(
                method, self._url + path, json=json, headers=headers, timeout=timeout, allow_redirects=False
            )
        async with response:
            if not public:
                await _raise_for_status(response)
            yield response

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


@contextmanager
def _translated(lost: type[ZoeError]) -> Iterator[None]:
    """Raise `lost` for what happens to a connection, and an error of its own if it takes too long."""
    try:
        yield
    except (aiohttp.ClientError, UnicodeError) as err:  # some resolvers encode what is no host name
        raise lost(str(err) or type(err).__name__) from err
    except TimeoutError as err:
        raise ZoeTimeoutError("the time is up") from err


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise error_from_body(await json_in(response), response.status)
    if response.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise ZoeNotZoeError(f"the server redirects to another address (HTTP status {response.status})")


async def json_in(response: aiohttp.ClientResponse) -> object:
    """Return the JSON in the body of a response, or None if there is none."""
    with _translated(ZoeStreamBrokenError):
        content = await response.read()
    try:
        return json.loads(content)
    except ValueError, RecursionError:
        return None


async def _chunks(response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any]]:
    """Yield the chunks of an answer as they arrive.

    Raises:
        ZoeStreamBrokenError: the stream ended early or is not a stream of JSON objects.
        ZoeError: the server reports an error in the middle of it.
    """
    finished = False
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


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[str]:
    decoder = EventDecoder()
    with _translated(ZoeStreamBrokenError):
        async for piece in response.content.iter_any():
            for event in decoder.feed(piece):
                yield event


async def _records(response: aiohttp.ClientResponse) -> AsyncGenerator[object]:
    """Yield the JSON in each line of a response."""
    with _translated(ZoeStreamBrokenError):
        try:
            async for line in response.content:
                yield json.loads(line)
        except (ValueError, RecursionError, HttpProcessingError) as err:  # the latter of a line that does not end
            raise ZoeStreamBrokenError("a part of the answer is not a line of JSON") from err
