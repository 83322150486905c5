"""POST /v1/completions: a prompt that goes to the model as it is, and its continuation.

A prompt is a text or a list of tokens; several of them make as many answers, each with `n` choices.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from aiohttp import web
from pydantic import Field

from zoe_server import errors, protocol
from zoe_server.gateway import driver
from zoe_server.gateway.body import Texts, each_text, parse_json, refuse, validated
from zoe_server.gateway.openai.answer import AnswerHead, ChunkWriter, timings, token_text, usage
from zoe_server.gateway.openai.body import MAX_CHOICES, AnswerBody, check_known, check_stream_options
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import track
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC

_KIND: Final = "text_completion"
_DEFAULT_MAX_TOKENS: Final = 16
_MAX_PROMPTS: Final = 8

Prompt = str | tuple[int, ...]


async def completions(request: web.Request) -> web.StreamResponse:
    """Answer one request."""
    body = parse_completion(parse_json(await request.read()))
    head = AnswerHead(f"cmpl-{uuid.uuid4().hex}", int(time.time()))
    requests = to_requests(body, head.id, AUTOMATIC)
    tokens = isinstance(requests[0].prompt, tuple)  # they are those of the model that /tokenize takes for `zoe`
    track(request, body.model)
    plan = services(request).router.route(body.model, None if tokens else RouteQuestion.of(requests[0]))
    writer = CompletionWriter(head, body.echoes, body.n or 1, include_usage=body.include_usage)
    return await driver.answer(request, plan, requests, writer, stream=bool(body.stream))


class CompletionBody(AnswerBody):
    """The body of POST /v1/completions."""

    prompt: Texts
    echo: bool | None = None
    best_of: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    logprobs: int | None = Field(default=None, ge=0, le=5)
    suffix: str | None = None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts, one or several."""
        return each_text(self.prompt)

    @property
    def echoes(self) -> tuple[str, ...]:
        """For each choice the text that it begins with: its prompt, if that was asked for."""
        texts = [prompt if self.echo and isinstance(prompt, str) else "" for prompt in self.prompts]
        return tuple(text for text in texts for _ in range(self.n or 1))


def parse_completion(data: Mapping[str, Any]) -> CompletionBody:
    """Return the validated body.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    check_known(data)
    body = validated(CompletionBody, data)
    check_stream_options(body)
    if body.suffix:
        refuse("suffix")
    if (schema := body.answer_schema()) is not None:  # engines hold a chat's answer to one, and no plain continuation
        refuse(schema.path)
    if body.logprobs is not None and body.echo:
        raise errors.InvalidRequestError("echo: a prompt that is repeated has no logprobs", param="echo")
    if body.best_of is not None and body.best_of > (body.n or 1):
        refuse("best_of")
    if not 1 <= len(body.prompts) <= _MAX_PROMPTS:
        raise errors.InvalidRequestError(f"prompt: there must be 1 to {_MAX_PROMPTS} prompts", param="prompt")
    if body.echo and not all(isinstance(prompt, str) for prompt in body.prompts):
        raise errors.InvalidRequestError("echo: only prompts of text can be repeated, not tokens", param="echo")
    return body


def to_requests(body: CompletionBody, request_id: str, model: str) -> tuple[protocol.ChatRequest, ...]:
    """Return one engine request per choice of every prompt, in that order."""
    choices = [(prompt, choice) for prompt in body.prompts for choice in range(body.n or 1)]
    return tuple(
        protocol.ChatRequest(
            id=f"{request_id}-{index}",
            model=model,
            messages=(),
            max_tokens=_DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
            stop=body.stops,
            sampling=body.sampling(choice),
            priority=body.zoe.priority_for(body.max_tokens),
            prompt=prompt,
            logprobs=body.logprobs,
        )
        for index, (prompt, choice) in enumerate(choices)
    )


@dataclass(slots=True)
class TextChoice:
    """One choice, collected from its events; it begins with `text`."""

    index: int
    text: str = ""
    finish: protocol.Finish | None = None
    tokens: list[protocol.DrawnToken] = field(default_factory=list)

    def add(self, event: protocol.ChatEvent) -> None:
        """Take in the next event."""
        if isinstance(event, protocol.Text):
            self.text += event.text
            self.tokens += event.tokens
        elif isinstance(event, protocol.Finish):
            self.finish = event

    def to_json(self) -> dict[str, Any]:
        """Return the choice as a member of `choices`."""
        return _choice(self.index, self.text, self.finish.reason if self.finish else None, self.tokens)


class CompletionWriter(ChunkWriter):
    """The answer as OpenAI's plain completions have it; every `n_per_prompt` choices share a prompt.

    A stream: pieces, one finish per choice; at the end usage, if it was asked for. Each choice begins with its echo.
    """

    def __init__(self, head: AnswerHead, echoes: Sequence[str], n_per_prompt: int, *, include_usage: bool) -> None:
        super().__init__(head, len(echoes), include_usage=include_usage)
        self._echoes = dict(enumerate(echoes))
        self._n_per_prompt = n_per_prompt
        self._n_characters: Counter[int] = Counter()

    def whole(self, events: Sequence[driver.IndexedEvent]) -> dict[str, Any]:
        """See `driver.Writer`."""
        choices = [TextChoice(index, self._echoes[index]) for index in range(self.n_choices)]
        for index, event in events:
            choices[index].add(event)
        finishes = [choice.finish for choice in choices if choice.finish]
        return {
            **self.head.to_json(_KIND),
            "choices": [choice.to_json() for choice in choices],
            "usage": summed_usage(finishes, self._n_per_prompt),
            "timings": timings(finishes),
        }

    def chunks(self, index: int, event: protocol.ChatEvent) -> Iterator[dict[str, Any]]:
        """Return the chunks for the next event of choice `index`; its prompt comes first, if it is to be repeated."""
        if not isinstance(event, protocol.Text | protocol.Finish):
            return
        if echo := self._echoes.pop(index, ""):
            yield self._chunk(_choice(index, echo, None))
        if isinstance(event, protocol.Text):
            yield self._chunk(_choice(index, event.text, None, event.tokens, self._n_characters[index]))
            self._n_characters[index] += len(event.text)
            return
        self.finishes[index] = event
        yield self._chunk(_choice(index, "", event.reason))
        if self.is_complete and self.include_usage:
            finishes = [self.finishes[at] for at in range(self.n_choices)]
            yield {**self.head.to_json(_KIND), "choices": [], "usage": summed_usage(finishes, self._n_per_prompt)}

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        chunk = {**self.head.to_json(_KIND), "choices": [choice]}
        return {**chunk, "usage": None} if self.include_usage else chunk


def summed_usage(finishes: Sequence[protocol.Finish], n_per_prompt: int) -> dict[str, Any]:
    """Return the token counts of all prompts together."""
    groups = [usage(finishes[at : at + n_per_prompt]) for at in range(0, len(finishes), n_per_prompt)]
    total = {key: sum(group[key] for group in groups) for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    cached = sum(group["prompt_tokens_details"]["cached_tokens"] for group in groups)
    return {**total, "prompt_tokens_details": {"cached_tokens": cached}}


def _choice(
    index: int, text: str, reason: str | None, tokens: Sequence[protocol.DrawnToken] = (), start: int = 0
) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": _logprobs(tokens, start), "finish_reason": reason}


def _logprobs(tokens: Sequence[protocol.DrawnToken], start: int) -> dict[str, Any] | None:
    """Return the probabilities of tokens in the old form: parallel lists; the first stands at character `start`."""
    if not tokens:
        return None
    texts = [token_text(one.token) for one in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [one.token.logprob for one in tokens],
        "top_logprobs": [{token_text(other): other.logprob for other in one.top} for one in tokens],
        "text_offset": list(accumulate(map(len, texts[:-1]), initial=start)),
    }
