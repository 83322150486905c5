"""POST /v1/responses: OpenAI's Responses API, without what a server would have to remember for it.

The server keeps nothing of a response, so what builds on an earlier one is refused. What the API does not know of our
chats (`top_k`, `min_p`, `seed`, `stop`, ...) means the same here.
Source: OpenAI's Python client, `types/responses/response_create_params.py`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from zoe_server import errors, protocol
from zoe_server.gateway import driver
from zoe_server.gateway.body import Effort, Items, RequestModel, parse_json, refuse, thinking, validated
from zoe_server.gateway.openai import body as openai_body
from zoe_server.gateway.openai.body import ANY_OBJECT, MAX_TOKENS, AnswerBody
from zoe_server.gateway.openai.responses_input import AnyTool, Choice, FunctionTool, to_messages, to_tools
from zoe_server.gateway.openai.responses_writer import ResponseHead, ResponseWriter
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import track
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC

_NEW_NAMES: Final = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
}
_STATELESS: Final = "the server keeps no conversations; send the whole input"

Includable = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]
MetadataKey = Annotated[str, Field(max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer one request."""
    body = parse_response(parse_json(await request.read()))
    head = ResponseHead(uuid.uuid4().hex, int(time.time()), "", body.echo())
    engine_request = to_request(body, f"resp_{head.key}", AUTOMATIC)
    track(request, body.model)
    plan = services(request).router.route(body.model, RouteQuestion.of(engine_request))
    writer = ResponseWriter(head, lambda: int(time.time()))
    return await driver.answer(request, plan, [engine_request], writer, stream=bool(body.stream))


class TextFormat(RequestModel):
    """`text.format`; the answer is held to the schema whatever `name` and `strict` say."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None

    @property
    def answer_schema(self) -> protocol.AnswerSchema | None:
        """The schema that the answer has to satisfy."""
        if self.type == "text":
            return None
        if self.schema_ is None:
            return protocol.AnswerSchema(ANY_OBJECT, "text.format")
        return protocol.AnswerSchema(self.schema_, "text.format.schema")

    def to_json(self) -> dict[str, Any]:
        """Return the format as a response repeats it."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class TextConfig(RequestModel):
    """`text`; how wordy an answer is remains the model's own."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(RequestModel):
    """`reasoning`; summaries are not made."""

    effort: Effort | None = None
    summary: str | None = None


class StreamOptions(openai_body.StreamOptions):
    """`stream_options`; usage is always told."""

    include_obfuscation: bool | None = None


class CacheOptions(RequestModel):
    """`prompt_cache_options`; prompts are kept as long as there is room."""

    prewarm: bool | None = None


class ResponseBody(AnswerBody):
    """The body of POST /v1/responses."""

    input: str | Items[dict[str, Any]]
    instructions: str | None = None
    stream_options: StreamOptions | None = None
    max_output_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    max_tool_calls: int | None = Field(default=None, ge=0)
    tools: list[AnyTool] | None = Field(default=None, max_length=1024)
    tool_choice: Choice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: Items[Includable] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    context_management: list[Any] | None = None
    moderation: dict[str, Any] | None = None
    prompt_cache_options: CacheOptions | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    user: str | None = None

    @property
    def format(self) -> TextFormat:
        """What the answer's text has to look like."""
        return (self.text and self.text.format) or TextFormat(type="text")

    @property
    def effort(self) -> Effort | None:
        """How much the model is to think."""
        return None if self.reasoning is None else self.reasoning.effort

    @property
    def functions(self) -> list[FunctionTool]:
        """The tools that a model can call; those of other kinds are the client's or OpenAI's own."""
        return [tool for tool in self.tools or () if isinstance(tool, FunctionTool)]

    def echo(self) -> dict[str, Any]:
        """Return what a response repeats of its request; None where the model's own default is at work."""
        return {
            "instructions": self.instructions,
            "max_output_tokens": self.max_output_tokens,
            "max_tool_calls": self.max_tool_calls,
            "metadata": self.metadata or {},
            "parallel_tool_calls": self.parallel_tool_calls is not False,
            "prompt_cache_key": self.prompt_cache_key,
            "reasoning": {"effort": self.effort, "summary": None},
            "safety_identifier": self.safety_identifier,
            "temperature": self.temperature,
            "text": {"format": self.format.to_json()},
            "tool_choice": self.tool_choice or "auto",
            "tools": [tool.to_json() for tool in self.functions],
            "top_p": self.top_p,
            "user": self.user,
        }


def parse_response(data: Mapping[str, Any]) -> ResponseBody:
    """Return the validated body; items and the tool choice wait for `to_request`.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    for name, new_name in _NEW_NAMES.items():
        if data.get(name) is not None:
            raise errors.InvalidRequestError(f"{name} is called {new_name} here", param=name)
    openai_body.check_known(data)
    body = validated(ResponseBody, data)
    openai_body.check_stream_options(body)
    _check_stateless(body)
    _check_format(body)
    _check_served(body)
    return body


def to_request(body: ResponseBody, request_id: str, model: str) -> protocol.ChatRequest:
    """Return the engine's request.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    tools, tool_choice = to_tools(body.functions, body.tool_choice)
    return protocol.ChatRequest(
        id=request_id,
        model=model,
        messages=to_messages(body.input, body.instructions),
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=body.parallel_tool_calls,
        max_tokens=body.max_output_tokens,
        stop=body.stops,
        sampling=body.sampling(0),
        priority=body.zoe.priority_for(body.max_output_tokens),
        argument_values=body.zoe.values,
        answer_schema=body.answer_schema(body.format.answer_schema),
        chat_template_kwargs=thinking(body.effort),
    )


def _check_stateless(body: ResponseBody) -> None:
    for name in ("previous_response_id", "conversation"):
        if getattr(body, name) is not None:
            raise errors.InvalidRequestError(f"{name}: {_STATELESS}", param=name, code="unsupported_parameter")
    if body.background:
        raise errors.InvalidRequestError(
            f"background: {_STATELESS} and wait for the answer", param="background", code="unsupported_parameter"
        )


def _check_format(body: ResponseBody) -> None:
    if body.format.type == "json_schema" and body.format.schema_ is None:
        raise errors.InvalidRequestError("text.format.schema: needed for this type", param="text.format.schema")


def _check_served(body: ResponseBody) -> None:
    """Refuse what would be a lie to ignore."""
    for name in ("prompt", "context_management", "moderation", "top_logprobs"):
        if getattr(body, name):
            refuse(name)
    if (body.n or 1) > 1:
        refuse("n")
    if body.truncation == "auto":
        refuse("truncation")
    if body.stream_options is not None and body.stream_options.include_obfuscation:
        refuse("stream_options.include_obfuscation")
    if body.prompt_cache_options is not None and body.prompt_cache_options.prewarm:
        refuse("prompt_cache_options.prewarm")
    for index, name in enumerate(body.include or ()):
        if name == "message.output_text.logprobs":
            refuse(f"include[{index}]")
