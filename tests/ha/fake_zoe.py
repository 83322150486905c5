"""A Zoe server in the tests' own hands: real HTTP on loopback, answers from a script."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import web

ROUTE = "rule=automation; model=zoe-nano; candidates=zoe-nano,llama-3.2-3b"


class Judge(Protocol):
    """Judges as the server does, what was said and what was answered."""

    def said(self, request: dict[str, Any]) -> dict[str, float]: ...
    def denies(self, answer: str) -> float: ...


type Part = dict[str, Any] | str | asyncio.Event
type Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


def served_model(name: str, *roles: str, status: str = "ready", reason: str = "") -> dict[str, Any]:
    """A model as /admin/status lists it."""
    return {"id": name, "status": status, "reason": reason, "roles": roles, "open_requests": 0, "pinned": False}


def metrics_body(n_answers: int = 0, *gpus: dict[str, Any]) -> dict[str, Any]:
    """The figures after so many answers of 0.5 s to the first of 21 tokens, 0.1 s each, to prompts half of it known."""
    first = {"count": n_answers, "sum": 0.5 * n_answers, "buckets": {"+Inf": n_answers}}
    following = {"count": n_answers, "sum": 0.1 * n_answers, "buckets": {"+Inf": n_answers}}
    model = {
        "requests": n_answers,
        "failures": n_answers,
        "first_token_s": first,
        "per_token_s": following,
        "prompt_tokens": {"computed": 500 * n_answers, "reused": 500 * n_answers},
    }
    return {
        "uptime_s": 86.2,
        "memory": {"process_bytes": {"server": 2**28, "engines": 3 * 2**28}},
        "gpus": list(gpus),
        "models": {"zoe-nano": model},
        "failures": {"authentication_error": 99},
    }


@dataclass
class FakeZoe:
    """A Zoe server that answers chat requests from a script, one script entry per request, over real HTTP.

    Requests that want nothing but their prompt computed are `primed` beside the script, once `priming` is set.
    """

    url: str = ""
    server_id: str | None = "server-1"
    ready: bool = True
    api_key: str | None = None
    models: Any = field(default_factory=lambda: ["zoe", "zoe-nano", "llama-3.2-3b"])
    api_version: int = 1
    served: list[dict[str, Any]] = field(default_factory=lambda: [served_model("zoe-nano", "tools")])
    metrics: dict[str, Any] = field(default_factory=metrics_body)
    context_tokens: int = 4096
    prompt_tokens: int = 1000
    orders: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    facts: list[dict[str, Any]] | None = None
    overrides: dict[str, Handler] = field(default_factory=dict)
    script: list[list[dict[str, Any] | str | asyncio.Event] | web.Response] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    primed: list[dict[str, Any]] = field(default_factory=list)
    prime_answers: list[web.Response] = field(default_factory=list)
    prime_asked: asyncio.Event = field(default_factory=asyncio.Event)
    priming: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    judge: Judge | None = None
    afterwards: str | None = None
    """What is said to every request behind the end of the script; None if that is a mistake."""
    insists_on: tuple[tuple[str, dict[str, Any]], ...] = ()
    """The calls that are made again, once, when they were refused because of a question."""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._dispatch)
        return app

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        if override := self.overrides.get(request.path):
            return await override(request)
        if request.path == "/health":
            return self._health(request)
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return error_response(401, "authentication_error", "the API key is wrong")
        if request.path == "/v1/models":
            return web.json_response(
                {"object": "list", "data": self.facts or [self._model(name) for name in self.models]}
            )
        if request.path == "/v1/chat/completions":
            return await self._chat(request)
        return await self._administer(request)

    def _model(self, name: str) -> dict[str, Any]:
        return {"id": name, "aliases": [], "context_tokens": self.context_tokens}

    async def _administer(self, request: web.Request) -> web.Response:
        """Answer what is asked about the server, and note what it is told to do."""
        answers: dict[str, Any] = {
            "/metrics/json": self.metrics,
            "/admin/status": {"models": self.served},
            "/admin/requests": {"requests": [{"id": "req_1", "client": "HomeAssistant", "prompt": "turn it on"}]},
        }
        if request.method == "POST":
            self.orders.append((request.path, await request.json()))
            return web.json_response({"rule": "automation", "why": "an order", "model": "zoe-nano"})
        if request.path not in answers:
            return error_response(404, "invalid_request_error", f"{request.path}: Not Found")
        return web.json_response(answers[request.path])

    def _health(self, request: web.Request) -> web.Response:
        assert "Authorization" not in request.headers
        body: dict[str, Any] = {
            "server": "zoe",
            "version": "0.1.0",
            "id": self.server_id,
            "api_version": self.api_version,
        }
        if self.ready:
            return web.json_response({"status": "ok", **body})
        problem = {"type": "unavailable_error", "message": "a model is being loaded"}
        return web.json_response({"status": "loading", "error": problem, **body}, status=503)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["max_tokens"] == 0:
            return await self._prime(request, body)
        self.requests.append(body)
        self.asked.set()
        if self.insists_on and '"question_only"' in str(body["messages"][-1]["content"]):
            self.calls(*self.insists_on)
            self.insists_on = ()
        if not self.script and self.afterwards is not None:
            self.says(self.afterwards)
        answer = self.script.pop(0)
        if self.judge is not None and isinstance(answer, list):
            answer = judged(answer, self.judge, body)
        return await self._answer(request, answer)

    def _counted(self) -> list[dict[str, Any] | str | asyncio.Event] | web.Response:
        """Count the prompt, and write nothing."""
        if self.prompt_tokens >= self.context_tokens:
            counts = {"n_prompt_tokens": self.prompt_tokens, "n_ctx": self.context_tokens}
            return error_response(400, "exceed_context_size_error", "too long", **counts)
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": 0}
        done = chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
        return [self.priming, role(), done, chunk(choices=[], usage=usage), "data: [DONE]\n\n"]

    async def _answer(
        self, request: web.Request, answer: list[dict[str, Any] | str | asyncio.Event] | web.Response
    ) -> web.StreamResponse:
        if isinstance(answer, web.Response):
            return answer
        return await self._stream(request, answer)

    async def _prime(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        self.primed.append(body)
        self.prime_asked.set()
        if self.prime_answers:
            return self.prime_answers.pop(0)
        return await self._answer(request, self._counted())

    async def _stream(
        self, request: web.Request, answer: list[dict[str, Any] | str | asyncio.Event]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Zoe-Route": ROUTE})
        await response.prepare(request)
        try:
            for part in answer:
                if isinstance(part, asyncio.Event):
                    await part.wait()
                    continue
                data = part if isinstance(part, str) else f"data: {json.dumps(part)}\n\n"
                await response.write(data.encode())
        except asyncio.CancelledError:
            self.disconnected.set()
            raise
        return response

    def __post_init__(self) -> None:
        self.priming.set()

    def says(self, *pieces: str) -> None:
        """Answer the next request with these pieces of text."""
        self.script.append([role(), *(delta(content=piece) for piece in pieces), *ending("stop")])

    def calls(self, *calls: tuple[str, dict[str, Any]], text: str | None = None) -> None:
        """Answer the next request with tool calls, their arguments cut in two."""
        parts: list[Any] = [role()]
        if text:
            parts.append(delta(content=text))
        for index, (name, args) in enumerate(calls):
            arguments = json.dumps(args)
            first = {"index": index, "id": f"call_{len(self.script)}_{index}", "type": "function"}
            parts.append(delta(tool_calls=[{**first, "function": {"name": name, "arguments": ""}}]))
            pieces = (arguments[:4], arguments[4:])
            parts += [delta(tool_calls=[{"index": index, "function": {"arguments": piece}}]) for piece in pieces]
        self.script.append([*parts, *ending("tool_calls")])


def judged(answer: list[Part], judge: Judge, request: dict[str, Any]) -> list[Part]:
    """Return the answer with the server's judgements in its first chunk and in the one that ends it."""
    chunks = [part for part in answer if isinstance(part, dict)]
    text = "".join((choice.get("delta") or {}).get("content") or "" for one in chunks for choice in one["choices"])
    chunks[0]["zoe"] = {"said": judge.said(request)}
    for one in chunks:
        if text and any(choice.get("finish_reason") for choice in one["choices"]):
            one["zoe"] = {"answered": {"denies": judge.denies(text)}}
    return answer


def chunk(**members: object) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "zoe-nano", **members}


def delta(**members: object) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": members, "finish_reason": None}])


def role() -> dict[str, Any]:
    return delta(role="assistant", content="")


def ending(reason: str) -> list[dict[str, Any] | str]:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 90}}
    timings = {"queue_ms": 1.0, "first_token_ms": 20.0, "total_ms": 50.0}
    return [
        chunk(choices=[{"index": 0, "delta": {}, "finish_reason": reason}]),
        ": keep-alive\n\n",
        chunk(choices=[], usage=usage, timings=timings),
        "data: [DONE]\n\n",
    ]


def error_response(status: int, kind: str, message: str, **details: object) -> web.Response:
    return web.json_response({"error": {"message": message, "type": kind, **details}}, status=status)
