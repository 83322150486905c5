"""The client of a server that is not Zoe's: llama-server, vLLM, LM Studio, Ollama, LocalAI, a service in the cloud.

It answers what a `ZoeClient` answers as far as OpenAI's API tells it. What only Zoe's server does is not there: no
judgement of sentences, no downloads, no figures of the server, and no names that calls are surely held to. These go
into the schemas of the tools as enums, as far as there is room for them, and servers that enforce schemas hold to them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, Final, Self, override

from homeassistant.core import HomeAssistant
from yarl import URL

from ..const import CONF_MODEL, CONF_SERVER, MODEL_AUTOMATIC, REQUIRED_API_VERSION, SERVER_OPENAI
from .client import ChatStream, ZoeClient, json_in
from .errors import ZoeError, ZoeNotZoeError, ZoeRequestRefusedError
from .offers import ModelFacts, Offers, PullStep
from .status import READY, Health, Metrics, ServedModel

_MAX_ENUM_CHARS: Final = 6000
"""All enums of a request together; a model reads some four characters as a token."""
_UNKNOWN_CONTEXT_TOKENS: Final = 1 << 20
"""Of a server that does not say what its model can read: it will refuse what is too long."""
_LOCAL_ENDINGS: Final = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost")


class OpenAIClient(ZoeClient):
    """Talks to one server; where the choice of a model is left to it, the one of its entry is meant."""

    is_zoe = False
    unknown_context_tokens = _UNKNOWN_CONTEXT_TOKENS

    _model = ""

    @classmethod
    @override
    def of(cls, hass: HomeAssistant, data: Mapping[str, Any]) -> Self:
        """Return a client of the server that the `data` of an entry names, and of the model in it."""
        client = super().of(hass, data)
        client._model = data.get(CONF_MODEL) or ""
        return client

    @property
    @override
    def primes(self) -> bool:
        """Whether prompts are computed before there is a sentence: only where nobody pays for it."""
        return is_local(URL(self._url).host or "")

    @override
    async def async_health(self) -> Health:
        """Return that the server is ready, if it lists its models."""
        await self.async_models()
        return Health(ready=True, api_version=REQUIRED_API_VERSION)

    @override
    async def async_status(self) -> list[ServedModel]:
        """Return the model, as far as anybody can tell it is there."""
        return [ServedModel(self._model, READY, "", ("tools", "chat"))]

    @override
    async def async_metrics(self) -> Metrics:
        """Return that nothing is known."""
        return Metrics.unknown()

    @override
    async def async_model_facts(self) -> list[ModelFacts]:
        """Return that nothing is known of what the models can do."""
        return [ModelFacts(frozenset({name}), None, None) for name in await self.async_models()]

    @override
    async def async_context_tokens(self) -> dict[str, int]:
        """Return how many tokens each model can read, as far as the server says that."""
        async with self._request("GET", "/v1/models") as response:
            stated = stated_context_tokens(await json_in(response))
        return {MODEL_AUTOMATIC: stated.get(self._model, _UNKNOWN_CONTEXT_TOKENS), **stated}

    @override
    async def async_recent_requests(self) -> list[dict[str, Any]]:
        """Return nothing: such a server keeps no accounts for us."""
        return []

    @override
    async def async_explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """Refuse: there is no choice to be explained.

        Raises:
            ZoeNotZoeError: always.
        """
        raise _only_zoe()

    @override
    async def async_offers(self) -> Offers:
        """Refuse, as a Zoe server would that is too old for it.

        Raises:
            ZoeRequestRefusedError: always.
        """
        raise ZoeRequestRefusedError("this is no Zoe server, it offers no models")

    @override
    def async_pull(self, name: str) -> AsyncGenerator[PullStep]:
        """Refuse.

        Raises:
            ZoeNotZoeError: always.
        """
        raise _only_zoe()

    @override
    async def async_load_model(self, name: str) -> None:
        """Refuse.

        Raises:
            ZoeNotZoeError: always.
        """
        raise _only_zoe()

    @override
    async def async_unload_model(self, name: str, wait_s: float) -> None:
        """Refuse.

        Raises:
            ZoeNotZoeError: always.
        """
        raise _only_zoe()

    @override
    @asynccontextmanager
    async def async_chat(self, body: dict[str, Any], within_s: float | None = None) -> AsyncIterator[ChatStream]:
        """Send a chat completion request as any such server takes it. See `ZoeClient.async_chat`."""
        async with super().async_chat(plain_request(body, self._model), within_s) as stream:
            yield stream


def plain_request(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return a request without what only Zoe's server knows; `model` answers where that is left to the server.

    A prompt that is to be computed for later becomes a request of one token, since none of these servers knows less.
    """
    plain = {key: value for key, value in body.items() if key != "zoe"}
    if plain["model"] == MODEL_AUTOMATIC:
        plain["model"] = model
    if plain.get("max_tokens") == 0:
        plain["max_tokens"] = 1
    if tools := plain.get("tools"):
        plain["tools"] = with_enums(tools, body.get("zoe", {}).get("argument_values", {}))
    return plain


def with_enums(tools: Sequence[Mapping[str, Any]], values: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Return the tools with the values that exist as enums of their arguments: the short lists first, as they fit.

    A key of `values` is an argument or `"tool.argument"`, which wins; an empty list means any value.
    """
    wanted = [
        (sum(len(value) + 4 for value in known), index, argument)
        for index, function in enumerate(tool["function"] for tool in tools)
        for argument in function.get("parameters", {}).get("properties", {})
        if (known := _known(values, function["name"], argument))
    ]
    room = _MAX_ENUM_CHARS
    chosen: set[tuple[int, str]] = set()
    for n_chars, index, argument in sorted(wanted):
        room -= n_chars
        if room < 0:
            break
        chosen.add((index, argument))
    return [_limited(index, tool, values, chosen) for index, tool in enumerate(tools)]


def _known(values: Mapping[str, Sequence[str]], tool: str, argument: str) -> Sequence[str]:
    return values.get(f"{tool}.{argument}", values.get(argument, ()))


def _limited(
    index: int, tool: Mapping[str, Any], values: Mapping[str, Sequence[str]], chosen: set[tuple[int, str]]
) -> dict[str, Any]:
    function = tool["function"]
    arguments = {argument for at, argument in chosen if at == index}
    if not arguments:
        return dict(tool)
    parameters = function["parameters"]
    properties = {
        name: _with_enum(schema, _known(values, function["name"], name)) if name in arguments else schema
        for name, schema in parameters["properties"].items()
    }
    return {**tool, "function": {**function, "parameters": {**parameters, "properties": properties}}}


def _with_enum(schema: Mapping[str, Any], known: Sequence[str]) -> Mapping[str, Any]:
    """Return the schema of texts, or of a list of texts, as that of the known ones; any other stays as it is."""
    if schema.get("type") == "string" and "enum" not in schema:
        return {**schema, "enum": list(known)}
    if schema.get("type") == "array" and isinstance(items := schema.get("items"), Mapping):
        return {**schema, "items": _with_enum(items, known)}
    return schema


def stated_context_tokens(body: object) -> dict[str, int]:
    """Return from a list of models how many tokens each can read, in whatever words its server says that."""
    models = body.get("data") if isinstance(body, dict) else None
    found = {}
    for one in models if isinstance(models, list) else ():
        if isinstance(one, dict) and "id" in one:
            found[str(one["id"])] = _stated(one) or _UNKNOWN_CONTEXT_TOKENS
    return found


def _stated(model: Mapping[str, Any]) -> int | None:
    meta = model.get("meta")
    told = [model.get(key) for key in ("context_tokens", "max_model_len", "context_length", "context_window", "n_ctx")]
    told += [meta.get("n_ctx")] if isinstance(meta, dict) else []
    return next((number for number in told if isinstance(number, int) and number > 0), None)


def _only_zoe() -> ZoeError:
    return ZoeNotZoeError("only Zoe's own server can do this")


def is_local(host: str) -> bool:
    """Return whether a host is at home, as far as its name or address tells."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.lower().endswith(_LOCAL_ENDINGS)
    return address.is_private or address.is_loopback or address.is_link_local


def client_for(hass: HomeAssistant, data: Mapping[str, Any]) -> ZoeClient:
    """Return a client of the server at the address in `data`, with the key that is there, if any."""
    kind = OpenAIClient if data.get(CONF_SERVER) == SERVER_OPENAI else ZoeClient
    return kind.of(hass, data)
