"""POST /api/chat, /api/generate, /api/embed and /api/embeddings: Ollama's answers, whole or as records.

    {"model": "zoe", "created_at": "...", "message": {"role": "assistant", "content": "On"}, "done": false}
    {"model": "zoe", "created_at": "...", "message": {"role": "assistant", "content": "", "tool_calls": [...]},
     "done": false}
    {"model": "zoe", "created_at": "...", "message": {"role": "assistant", "content": ""}, "done": true,
     "done_reason": "stop", "total_duration": 41000000, ...}

Source: Ollama, `docs/api.md`, `api/types.go` and `server/routes.go`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from aiohttp import web

from zoe_server import errors, protocol
from zoe_server.gateway import driver
from zoe_server.gateway.body import object_in, parse_json, validated
from zoe_server.gateway.middleware import ollama_error_body
from zoe_server.gateway.ollama.body import ChatBody, EmbedBody, EmbedPromptBody, GenerateBody
from zoe_server.gateway.openai.answer import token_list
from zoe_server.gateway.openai.body import check_known
from zoe_server.gateway.openai.embeddings import check_inputs, embed_on, json_list, json_response, shortened
from zoe_server.gateway.request_record import RequestRecord
from zoe_server.gateway.services import Services, services
from zoe_server.gateway.tracking import track
from zoe_server.routing import fallback
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, RoutePlan

_NO_EMBEDDINGS: Final = protocol.Embeddings((), protocol.Usage())
EmptyReason = Literal["load", "unload"]


async def chat(request: web.Request) -> web.StreamResponse:
    """Answer one chat request."""
    return await _answer(request, ChatBody, chat_form)


async def generate(request: web.Request) -> web.StreamResponse:
    """Answer one prompt."""
    return await _answer(request, GenerateBody, generate_form)


async def _answer(request: web.Request, kind: type[ChatBody | GenerateBody], form: Form) -> web.StreamResponse:
    data = parse_json(await request.read())
    check_known(data, "format")
    body = validated(kind, data)
    state = services(request)
    engine_request = None if body.is_empty else body.to_request(f"ollama-{uuid.uuid4().hex}", AUTOMATIC)
    request_record = track(request, body.model)
    plan = state.router.route(body.model, RouteQuestion.of(engine_request) if engine_request else None)
    writer = OllamaWriter(body.model, form, shows_thinking=body.shows_thinking)
    if engine_request is None:
        return await _load(request, body, plan, writer)
    try:
        return await driver.answer(request, plan, [engine_request], writer, stream=body.streamed)
    finally:
        if body.unloads and request_record.model is not None:
            state.unload_later(request_record.model)


async def _load(
    request: web.Request, body: ChatBody | GenerateBody, plan: RoutePlan, writer: OllamaWriter
) -> web.Response:
    """Answer when the model is loaded, or is not any more.

    Raises:
        errors.ModelBusyError: it is to be unloaded, and answers somebody.
    """
    state = services(request)
    if body.unloads:
        await state.unload(plan.candidates[0])
        return web.json_response(writer.empty("unload"))
    async with fallback.lease(state.fleet, plan, 0):
        return web.json_response(writer.empty("load"), headers=driver.route_headers(plan))


async def embed(request: web.Request) -> web.Response:
    """Answer with a vector of every text; a text that is too long is cut, unless the request says no to that."""
    state = services(request)
    body = validated(EmbedBody, parse_json(await request.read()))
    request_record = track(request, body.model)
    plan = state.router.route_embeddings(body.model)
    answer = await _embeddings(state, plan, request_record, body, body.inputs, truncate=body.truncate is not False)
    embeddings = await json_list(answer.vectors, lambda _, vector: shortened(vector, body.wanted_dimensions))
    head = {
        "model": body.model,
        "total_duration": nanoseconds(answer.timings.total_s),
        "load_duration": nanoseconds(answer.timings.queue_s),
        "prompt_eval_count": answer.usage.prompt_tokens,
    }
    return json_response(head, "embeddings", embeddings, plan)


async def embed_prompt(request: web.Request) -> web.Response:
    """Answer with the vector of one text, cut if it is too long."""
    state = services(request)
    body = validated(EmbedPromptBody, parse_json(await request.read()))
    request_record = track(request, body.model)
    plan = state.router.route_embeddings(body.model)
    inputs = (body.prompt,) if body.prompt else ()
    answer = await _embeddings(state, plan, request_record, body, inputs, truncate=True)
    vector = answer.vectors[0] if answer.vectors else ()
    return web.json_response({"embedding": vector}, headers=driver.route_headers(plan))


async def _embeddings(
    state: Services,
    plan: RoutePlan,
    request_record: RequestRecord,
    body: EmbedBody | EmbedPromptBody,
    inputs: tuple[str, ...],
    *,
    truncate: bool,
) -> protocol.Embeddings:
    """Return the embeddings; without inputs, which only asks for the model to be loaded or unloaded, none, then."""
    if not inputs and body.unloads:
        await state.unload(plan.candidates[0])
        return _NO_EMBEDDINGS
    if not inputs:
        async with fallback.lease(state.fleet, plan, 0):
            return _NO_EMBEDDINGS
    check_inputs(inputs)
    try:
        return (await embed_on(state, plan, inputs, request_record, truncate=truncate))[1]
    finally:
        if body.unloads and request_record.model is not None:
            state.unload_later(request_record.model)


@dataclass(frozen=True, slots=True)
class Part:
    """Some of an answer, or all of it; every call is complete. `tokens` wrote the text, if they are asked for."""

    text: str = ""
    thinking: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    tokens: tuple[protocol.DrawnToken, ...] = ()

    def __add__(self, other: Part) -> Part:
        return Part(
            self.text + other.text,
            self.thinking + other.thinking,
            self.calls + other.calls,
            self.tokens + other.tokens,
        )


Form = Callable[[Part], dict[str, Any]]


def chat_form(part: Part) -> dict[str, Any]:
    """Return `part` as /api/chat says it."""
    message: dict[str, Any] = {"role": "assistant", "content": part.text}
    if part.thinking:
        message["thinking"] = part.thinking
    if part.calls:
        message["tool_calls"] = list(part.calls)
    return {"message": message}


def generate_form(part: Part) -> dict[str, Any]:
    """Return `part` as /api/generate says it."""
    return {"response": part.text, "thinking": part.thinking} if part.thinking else {"response": part.text}


class PartReader:
    """Makes parts of the events of one answer; a tool call waits until its arguments are complete."""

    def __init__(self, *, shows_thinking: bool) -> None:
        self._shows_thinking = shows_thinking
        self._starts: dict[int, protocol.ToolCallStart] = {}
        self._arguments: dict[int, str] = {}

    def read(self, event: protocol.ChatEvent) -> Part | None:
        """Return what the next event makes certain, None if that is nothing.

        A call whose arguments never become an object was cut off, and is no call.
        """
        match event:
            case protocol.Text(text, tokens):
                return Part(text=text, tokens=tokens)
            case protocol.Reasoning(text) if self._shows_thinking:
                return Part(thinking=text)
            case protocol.ToolCallStart(index):
                self._starts[index], self._arguments[index] = event, ""
            case protocol.ToolCallArguments(index, text):
                self._arguments[index] += text
                return self._complete(index)
        return None

    def _complete(self, index: int) -> Part | None:
        arguments = object_in(self._arguments[index])
        if arguments is None or index not in self._starts:
            return None
        start = self._starts.pop(index)
        function = {"index": index, "name": start.name, "arguments": arguments}
        return Part(calls=({"id": start.call_id, "function": function},))


def _now() -> datetime:
    return datetime.now(UTC)


class OllamaWriter:
    """The answer of the model that the client calls `model`, in the form of its path; `now` tells the time."""

    media_type = driver.RECORDS

    def __init__(
        self, model: str, form: Form, *, shows_thinking: bool = True, now: Callable[[], datetime] = _now
    ) -> None:
        self._model = model
        self._form = form
        self._now = now
        self._reader = PartReader(shows_thinking=shows_thinking)

    def begin(self, model: str) -> None:
        """See `driver.Writer`; the name stays the client's."""

    def chunk(self, index: int, event: protocol.ChatEvent) -> str:
        """See `driver.Writer`."""
        del index
        if isinstance(event, protocol.Finish):
            return driver.record(self.last(Part(), event))
        part = self._reader.read(event)
        return "" if part is None else driver.record(self.record(part))

    def idle(self) -> str:
        """See `driver.Writer`."""
        return driver.record(self.record(Part()))

    def failure(self, error: errors.ZoeError) -> str:
        """See `driver.Writer`."""
        return driver.record(ollama_error_body(error))

    def whole(self, events: Sequence[driver.IndexedEvent]) -> dict[str, Any]:
        """See `driver.Writer`."""
        parts = [part for _, event in events if (part := self._reader.read(event)) is not None]
        finish = next(event for _, event in events if isinstance(event, protocol.Finish))
        return self.last(sum(parts, Part()), finish)

    def record(self, part: Part) -> dict[str, Any]:
        """Return a record in the middle of a stream."""
        return {**self._begun(part), "done": False}

    def last(self, part: Part, finish: protocol.Finish) -> dict[str, Any]:
        """Return the record that ends an answer; a whole answer is this record alone."""
        reason = "length" if finish.reason == "length" else "stop"
        return {**self._begun(part), "done": True, "done_reason": reason, **_counts(finish)}

    def empty(self, reason: EmptyReason) -> dict[str, Any]:
        """Return the answer to a request that has nothing to answer."""
        return {**self._begun(Part()), "done": True, "done_reason": reason}

    def _begun(self, part: Part) -> dict[str, Any]:
        """Return what every record begins with."""
        head = {"model": self._model, "created_at": timestamp(self._now()), **self._form(part)}
        return {**head, "logprobs": token_list(part.tokens)} if part.tokens else head


def timestamp(moment: datetime) -> str:
    """Return `moment` in UTC, as Ollama writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _counts(finish: protocol.Finish) -> dict[str, int]:
    """Return token counts, and durations in nanoseconds; the wait in the queue takes the place of loading."""
    timings = finish.timings
    return {
        "total_duration": nanoseconds(timings.total_s),
        "load_duration": nanoseconds(timings.queue_s),
        "prompt_eval_count": finish.usage.prompt_tokens,
        "prompt_eval_duration": nanoseconds(timings.first_token_s - timings.queue_s),
        "eval_count": finish.usage.completion_tokens,
        "eval_duration": nanoseconds(timings.total_s - timings.first_token_s),
    }


def nanoseconds(seconds: float) -> int:
    """Return a duration as Ollama writes it."""
    return max(0, round(seconds * 1e9))
