"""POST /v1/chat/completions: OpenAI's chat, whole and streamed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aiohttp import web
from pydantic import Field

from zoe_server import errors, protocol
from zoe_server.gateway import driver
from zoe_server.gateway.body import Effort, Items, object_in, parse_json, thinking, validated
from zoe_server.gateway.openai.answer import AnswerHead, ChunkWriter, logprobs, timings, usage
from zoe_server.gateway.openai.body import (
    MAX_TOKENS,
    AnswerBody,
    NamedChoice,
    ToolSpec,
    check_known,
    check_stream_options,
    to_tools,
)
from zoe_server.gateway.openai.messages import Message, to_messages
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import track
from zoe_server.routing import rules
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC
from zoe_server.routing.said import Said, SaidClassifier, bundled_said

_CHUNK: Final = "chat.completion.chunk"


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """Answer one chat request."""
    body = parse_chat(parse_json(await request.read()))
    head = AnswerHead(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()))
    requests = to_requests(body, head.id, AUTOMATIC)
    track(request, body.model)
    question = RouteQuestion.of(requests[0])
    plan = services(request).router.route(body.model, question)
    writer = ChatWriter(head, len(requests), include_usage=body.include_usage, judge=_judge(body, question))
    return await driver.answer(request, plan, requests, writer, stream=bool(body.stream))


class ChatBody(AnswerBody):
    """The body of POST /v1/chat/completions."""

    messages: Items[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    tools: list[ToolSpec] | None = Field(default=None, max_length=1024)
    tool_choice: Literal["auto", "none", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    reasoning_effort: Effort | None = None
    chat_template_kwargs: dict[str, Any] | None = None


def parse_chat(data: Mapping[str, Any]) -> ChatBody:
    """Return the validated body.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    check_known(data)
    body = validated(ChatBody, data)
    _check_served(body)
    _check_tools(body)
    return body


def to_requests(body: ChatBody, request_id: str, model: str) -> tuple[protocol.ChatRequest, ...]:
    """Return one engine request per choice; they differ in their ids and, where a seed is given, in their seeds."""
    max_tokens = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    messages = to_messages(body.messages)
    return tuple(
        protocol.ChatRequest(
            id=f"{request_id}-{index}",
            model=model,
            messages=messages,
            tools=to_tools(body.tools),
            tool_choice=_tool_choice(body),
            parallel_tool_calls=body.parallel_tool_calls,
            max_tokens=max_tokens,
            stop=body.stops,
            sampling=body.sampling(index),
            priority=body.zoe.priority_for(max_tokens),
            argument_values=body.zoe.values,
            logprobs=(body.top_logprobs or 0) if body.logprobs else None,
            answer_schema=body.answer_schema(),
            chat_template_kwargs=thinking(body.reasoning_effort) | (body.chat_template_kwargs or {}),
        )
        for index in range(body.n or 1)
    )


def _tool_choice(body: ChatBody) -> protocol.ToolChoice:
    if isinstance(body.tool_choice, NamedChoice):
        return protocol.ToolChoice("required", body.tool_choice.function.name)
    return protocol.ToolChoice(body.tool_choice or "auto")


def _check_served(body: ChatBody) -> None:
    check_stream_options(body)
    if body.top_logprobs is not None and not body.logprobs:
        raise errors.InvalidRequestError("top_logprobs needs logprobs: true", param="top_logprobs")


def _check_tools(body: ChatBody) -> None:
    names = [tool.function.name for tool in body.tools or ()]
    if isinstance(body.tool_choice, NamedChoice) and body.tool_choice.function.name not in names:
        raise errors.InvalidRequestError(
            f"tool_choice names {body.tool_choice.function.name!r}, which is not among the tools",
            param="tool_choice.function.name",
        )
    if body.tool_choice == "required" and not names:
        raise errors.InvalidRequestError("tool_choice 'required' needs tools", param="tool_choice")


@dataclass(frozen=True, slots=True)
class Judge:
    """What a client that sends the member `zoe` is told: what was `said`, None if nothing was, and if answers deny."""

    said: Said | None
    classifier: SaidClassifier

    def before(self) -> dict[str, Any]:
        """Return what is known before anything is answered."""
        return {} if self.said is None else {"said": self.said.to_json()}

    def after(self, text: str) -> dict[str, Any]:
        """Return what is known of the `text` of an answer."""
        return {"answered": {"denies": round(self.classifier.denies(text), 3)}} if text.strip() else {}


def _judge(body: ChatBody, question: RouteQuestion) -> Judge | None:
    """Return who judges for clients that know our extension; the others get what they always got."""
    if not body.extended:
        return None
    return Judge(rules.said(question, bundled_said()) if question.text.strip() else None, bundled_said())


@dataclass(slots=True)
class Choice:
    """One choice of a whole answer, collected from its events."""

    index: int
    text: list[str] = field(default_factory=list)
    tokens: list[protocol.DrawnToken] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    finish: protocol.Finish | None = None

    def add(self, event: protocol.ChatEvent) -> None:
        """Take in the next event; a `Failure` is not for here."""
        match event:
            case protocol.Text(text, tokens):
                self.text.append(text)
                self.tokens += tokens
            case protocol.Reasoning(text):
                self.reasoning.append(text)
            case protocol.ToolCallStart(_, call_id, name):
                self.calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}})
            case protocol.ToolCallArguments(index, text):
                self.calls[index]["function"]["arguments"] += text
            case protocol.Finish():
                self.finish = event

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a member of `choices`."""
        text = "".join(self.text)
        reason = self.finish.reason if self.finish else None
        calls = (
            self.calls
            if reason != "length"
            else [call for call in self.calls if object_in(call["function"]["arguments"]) is not None]
        )
        message: dict[str, Any] = {"role": "assistant", "content": None if calls and not text else text}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if calls:
            message["tool_calls"] = calls
        return {"index": self.index, "message": message, "logprobs": logprobs(self.tokens), "finish_reason": reason}


class ChatWriter(ChunkWriter):
    """The answer as OpenAI's chats have it; a stream: role, pieces, a finish per choice; then usage, if asked for.

    With a `judge`, the first of all chunks tells what was said, and that of each finish whether its choice denies.
    """

    def __init__(
        self, head: AnswerHead, n_choices: int = 1, *, include_usage: bool = False, judge: Judge | None = None
    ) -> None:
        super().__init__(head, n_choices, include_usage=include_usage)
        self._judge = judge
        self._texts: list[list[str]] = [[] for _ in range(n_choices)]
        self._begun: set[int] = set()

    def whole(self, events: Sequence[driver.IndexedEvent]) -> dict[str, Any]:
        """Return the whole answer; of several choices, the first is judged."""
        choices = [Choice(index) for index in range(self.n_choices)]
        for index, event in events:
            choices[index].add(event)
        finishes = [choice.finish for choice in choices if choice.finish]
        judged = {} if self._judge is None else {**self._judge.before(), **self._judge.after("".join(choices[0].text))}
        return {
            **self.head.to_json("chat.completion"),
            "choices": [choice.to_json() for choice in choices],
            "usage": usage(finishes),
            "timings": timings(finishes),
            **({"zoe": judged} if judged else {}),
        }

    def chunks(self, index: int, event: protocol.ChatEvent) -> Iterator[dict[str, Any]]:
        """Return the chunks for the next event of choice `index`; the first brings the role, and only that one does."""
        delta = _delta(event)
        if delta is None and not isinstance(event, protocol.Finish):
            return
        if index not in self._begun:
            first = not self._begun
            self._begun.add(index)
            known = self._judge.before() if self._judge is not None and first else {}
            yield self._chunk(index, {"role": "assistant", "content": ""}) | ({"zoe": known} if known else {})
        if delta is not None:
            chunk = self._chunk(index, delta)
            if isinstance(event, protocol.Text):
                chunk["choices"][0]["logprobs"] = logprobs(event.tokens)
                self._texts[index].append(event.text)
            yield chunk
        if isinstance(event, protocol.Finish):
            yield from self._finish(index, event)

    def _finish(self, index: int, event: protocol.Finish) -> Iterator[dict[str, Any]]:
        self.finishes[index] = event
        finishes = list(self.finishes.values())
        chunk = self._chunk(index, {}, event.reason)
        if self.is_complete:
            chunk["timings"] = timings(finishes)
        if self._judge is not None and (known := self._judge.after("".join(self._texts[index]))):
            chunk["zoe"] = known
        yield chunk
        if self.is_complete and self.include_usage:
            told = {"usage": usage(finishes), "timings": timings(finishes)}
            yield {**self.head.to_json(_CHUNK), "choices": [], **told}

    def _chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunk = {**self.head.to_json(_CHUNK), "choices": [choice]}
        return {**chunk, "usage": None} if self.include_usage else chunk


def _delta(event: protocol.ChatEvent) -> dict[str, Any] | None:
    match event:
        case protocol.Text(text):
            return {"content": text}
        case protocol.Reasoning(text):
            return {"reasoning_content": text}
        case protocol.ToolCallStart(index, call_id, name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        case protocol.ToolCallArguments(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
    return None
