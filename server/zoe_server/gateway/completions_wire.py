"""The OpenAI form of a plain completion (POST /v1/completions): strict validation, and its engine requests.

A prompt is a text or a list of tokens; several of them make as many answers, each with `n` choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from zoe_server import errors, protocol
from zoe_server.gateway.body import refuse, validated
from zoe_server.gateway.openai_wire import MAX_CHOICES, AnswerBody, check_known, check_stream_options

_DEFAULT_MAX_TOKENS: Final = 16
_MAX_PROMPTS: Final = 8

_Token = Annotated[int, Field(ge=0)]
_Tokens = Annotated[list[_Token], Field(min_length=1)]
Prompt = str | tuple[int, ...]


class CompletionBody(AnswerBody):
    """The body of POST /v1/completions."""

    prompt: str | _Tokens | list[str] | list[_Tokens]
    echo: bool | None = None
    best_of: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    logprobs: int | None = Field(default=None, ge=0, le=5)
    suffix: str | None = None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """The prompts, one or several."""
        if isinstance(self.prompt, str):
            return (self.prompt,)
        items: list[Any] = self.prompt
        if items and isinstance(items[0], int):
            return (tuple(items),)
        return tuple(item if isinstance(item, str) else tuple(item) for item in items)

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
