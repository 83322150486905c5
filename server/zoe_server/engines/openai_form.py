"""OpenAI's API from its client's side: the body of a request, the events of a stream.

What a server does not enforce itself, it is asked for as far as its API can say it: names of the home become enums of
the tools' schemas. Pure: it sends nothing and waits for nothing.
Source: OpenAI's API reference, "Chat"; vLLM and llama-server for `reasoning_content`, `top_k` and the like.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.argument_values import limited, values_of
from zoe_server.engines.remote_connection import failure

_REASONS: Final[Mapping[str, protocol.FinishReason]] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
"""The others, such as `stop` and `content_filter`, mean that the answer has ended."""
LIMIT: Final = "max_tokens"
NEW_LIMIT: Final = "max_completion_tokens"
"""What the longest answer is called; OpenAI's newer models refuse the old name."""


def chat_body(request: protocol.ChatRequest, model: str, limit: str = LIMIT) -> dict[str, Any]:
    """Return the body of POST /chat/completions for `request`, which goes to `model` there; see `LIMIT`.

    Raises:
        errors.ModelKindError: it asks for what this API cannot say.
    """
    if isinstance(request.answer_schema, protocol.AnswerGrammar):
        text = f"{request.answer_schema.path}: this model's server takes schemas and no grammars"
        raise errors.ModelKindError(text, param=request.answer_schema.path)
    body = {**_common(request, model, limit), "messages": [_message(message) for message in request.messages]}
    if request.tools:
        body["tools"] = [tool_of(tool, request.argument_values) for tool in request.tools]
        name = request.tool_choice.name
        body["tool_choice"] = request.tool_choice.mode if name is None else _function({"name": name})
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.answer_schema is not None:
        named = {"name": "answer", "schema": request.answer_schema.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if request.chat_template_kwargs:
        body["chat_template_kwargs"] = dict(request.chat_template_kwargs)
    return body


def completion_body(request: protocol.ChatRequest, model: str, limit: str = LIMIT) -> dict[str, Any]:
    """Return the body of POST /completions for a `request` whose prompt goes to the model as it is."""
    prompt = request.prompt if isinstance(request.prompt, str) else list(request.prompt or ())
    body = {**_common(request, model, limit), "prompt": prompt}
    return body if request.logprobs is None else {**body, "logprobs": request.logprobs}


def _common(request: protocol.ChatRequest, model: str, limit: str) -> dict[str, Any]:
    """Return what both bodies have; what the client left open is left to the server there."""
    sampling = request.sampling
    wanted = {
        limit: request.max_tokens,
        "stop": list(request.stop) or None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "frequency_penalty": sampling.frequency_penalty or None,
        "presence_penalty": sampling.presence_penalty or None,
        "seed": sampling.seed,
    }
    said = {name: value for name, value in wanted.items() if value is not None}
    return {"model": model, "stream": True, "stream_options": {"include_usage": True}, **said}


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    return {**message, "content": [_part(part) for part in content]}


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] != "picture":
        return dict(part)
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{part['data']}"}}


def tool_of(tool: protocol.Tool, values: Mapping[str, tuple[str, ...] | None]) -> dict[str, Any]:
    """Return the tool as these APIs have it, its arguments limited to the `values` that there are."""
    known = values_of(tool.name, {key: listed or () for key, listed in values.items()})
    return _function(
        {"name": tool.name, "description": tool.description, "parameters": limited(tool.parameters, known)}
    )


def _function(function: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": dict(function)}


class ChunkReader:
    """Makes events of the chunks of one stream, in which servers leave out, repeat and join what clients tolerate."""

    def __init__(self) -> None:
        self.reason: protocol.FinishReason | None = None
        self.usage = protocol.Usage()
        self._calls: dict[int, str] = {}  # position in the stream -> id
        self._index = -1

    def read(self, chunk: Mapping[str, Any]) -> Iterator[protocol.ChatEvent]:
        """Yield what the next chunk says.

        Raises:
            errors.ZoeError: it says that the answer has failed.
            KeyError, TypeError, ValueError: it makes no sense.
        """
        if chunk.get("error"):
            raise failure(int(chunk["error"].get("status") or 500), chunk)
        if usage := chunk.get("usage"):
            self.usage = _usage(usage)
        for choice in chunk.get("choices") or ():
            yield from self._delta(choice.get("delta") or {"content": choice.get("text")}, choice.get("logprobs"))
            if reason := choice.get("finish_reason"):
                self.reason = _REASONS.get(reason, "stop")

    def _delta(self, delta: Mapping[str, Any], logprobs: Mapping[str, Any] | None) -> Iterator[protocol.ChatEvent]:
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield protocol.Reasoning(thought)
        if text := delta.get("content"):
            yield protocol.Text(text, tuple(map(drawn_token, (logprobs or {}).get("content") or ())))
        for call in delta.get("tool_calls") or ():
            yield from self._call(call)

    def _call(self, call: Mapping[str, Any]) -> Iterator[protocol.ChatEvent]:
        """Yield what is said of a call; one with another id is another call, even at the same position."""
        position, call_id = call.get("index") or 0, call.get("id")
        function = call.get("function") or {}
        if position not in self._calls or (call_id and call_id != self._calls[position]):
            self._index += 1
            self._calls[position] = call_id or f"call_{uuid.uuid4().hex[:24]}"
            yield protocol.ToolCallStart(self._index, self._calls[position], function["name"])
        if arguments := function.get("arguments"):
            text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            yield protocol.ToolCallArguments(self._index, text)


def _usage(usage: Mapping[str, Any]) -> protocol.Usage:
    details = usage.get("prompt_tokens_details") or {}
    return protocol.Usage(
        usage.get("prompt_tokens") or 0, details.get("cached_tokens") or 0, usage.get("completion_tokens") or 0
    )


def drawn_token(entry: Mapping[str, Any]) -> protocol.DrawnToken:
    """Return what `entry` says of a token; raises what `ChunkReader.read` does."""
    return protocol.DrawnToken(_probability(entry), tuple(map(_probability, entry.get("top_logprobs") or ())))


def _probability(entry: Mapping[str, Any]) -> protocol.TokenProbability:
    data = entry.get("bytes")
    return protocol.TokenProbability(tuple(entry["token"].encode() if data is None else data), entry["logprob"])


def context_tokens(listed: Mapping[str, Any]) -> int | None:
    """Return the context of a model as its server lists it: vLLM, LM Studio, OpenRouter, llama-server, Zoe."""
    meta = listed.get("meta") or {}
    found: Sequence[Any] = (
        *(
            listed.get(name)
            for name in ("context_tokens", "max_model_len", "context_length", "context_window", "n_ctx")
        ),
        *(meta.get(name) for name in ("n_ctx", "n_ctx_train")),
    )
    return next((number for number in found if isinstance(number, int) and number > 0), None)
