"""Ollama's own API from its client's side: the body of a request, and the records of an answer.

Its servers cut what does not fit their context unless they are told not to, and load a model anew when the context
changes: every request says both alike. They hold an answer to a schema, but no call to a tool's.
Pure: it sends nothing and waits for nothing.
Source: Ollama, `docs/api.md`, `docs/openapi.yaml` and `api/types.go`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from zoe_server import errors, protocol
from zoe_server.engines import openai_form
from zoe_server.engines.remote_connection import failure

_STAYS: Final = -1


def chat_body(request: protocol.ChatRequest, model: Mapping[str, Any], *, thinks: bool) -> dict[str, Any]:
    """Return the body of POST /api/chat for `request`; `model` is what `model_fields` says, `thinks` that it can.

    Raises:
        errors.ModelKindError: it asks for what this API cannot say.
    """
    body = _common(request, model, thinks=thinks)
    body["messages"] = list(_messages(request.messages))
    if request.tools and request.tool_choice.mode != "none":
        wanted = request.tool_choice.name
        tools = [tool for tool in request.tools if wanted in (None, tool.name)]
        body["tools"] = [openai_form.tool_of(tool, request.argument_values) for tool in tools]
    if isinstance(request.answer_schema, protocol.AnswerGrammar):
        path = request.answer_schema.path
        raise errors.ModelKindError(f"{path}: this model's server takes schemas and no grammars", param=path)
    if request.answer_schema is not None:
        body["format"] = request.answer_schema.schema
    return body


def prompt_body(request: protocol.ChatRequest, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of POST /api/generate for a `request` whose prompt goes to the model as it is.

    Raises:
        errors.ModelKindError: the prompt is of tokens.
    """
    if not isinstance(request.prompt, str):
        raise errors.ModelKindError("prompt: this model's server takes text and no tokens", param="prompt")
    return {**_common(request, model, thinks=False), "prompt": request.prompt, "raw": True}


def model_fields(name: str, n_ctx_tokens: int, keep_alive_s: float | None) -> dict[str, Any]:
    """Return what every request says of the model; None is that it stays until it is let go."""
    keep_alive = _STAYS if keep_alive_s is None else f"{keep_alive_s:g}s"
    return {"model": name, "keep_alive": keep_alive, "options": {"num_ctx": n_ctx_tokens}}


def _common(request: protocol.ChatRequest, model: Mapping[str, Any], *, thinks: bool) -> dict[str, Any]:
    sampling = request.sampling
    wanted = {
        "num_predict": request.max_tokens,
        "stop": list(request.stop) or None,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "frequency_penalty": sampling.frequency_penalty or None,
        "presence_penalty": sampling.presence_penalty or None,
        "seed": sampling.seed,
    }
    options = {**model["options"], **{name: value for name, value in wanted.items() if value is not None}}
    body = {**model, "options": options, "stream": True, "truncate": False, "shift": False}
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    told = request.chat_template_kwargs
    if thinks and "enable_thinking" in told:
        body["think"] = told["enable_thinking"] and told.get("reasoning_effort", True)
    return body


def _messages(messages: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the messages as this API has them; a result names the tool, since calls have no ids in older servers."""
    names: dict[str, str] = {}
    for message in messages:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        out: dict[str, Any] = {
            "role": "system" if message["role"] == "developer" else message["role"],
            "content": "\n".join(part["text"] for part in parts if part["type"] == "text"),
        }
        if images := [part["data"] for part in parts if part["type"] == "picture"]:
            out["images"] = images
        if thought := message.get("reasoning_content"):
            out["thinking"] = thought
        if calls := message.get("tool_calls"):
            names |= {call["id"]: call["function"]["name"] for call in calls}
            out["tool_calls"] = [_call(call) for call in calls]
        if (call_id := message.get("tool_call_id")) is not None:
            out |= {"tool_call_id": call_id, "tool_name": names.get(call_id, "")}
        yield out


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {"id": call["id"], "function": {"name": function["name"], "arguments": _arguments(function["arguments"])}}


def _arguments(text: str) -> dict[str, Any]:
    """Return the arguments as an object; what a client sends that is none, as the text that it is."""
    try:
        given = json.loads(text or "{}")
    except (ValueError, RecursionError):
        given = text
    return given if isinstance(given, dict) else {"arguments": text}


class RecordReader:
    """Makes events of the records of one answer; every call comes whole."""

    def __init__(self) -> None:
        self.finish: protocol.Finish | None = None
        self._n_calls = 0

    def read(self, record: Mapping[str, Any]) -> Iterator[protocol.ChatEvent]:
        """Yield what the next record says.

        Raises:
            errors.ZoeError: it says that the answer has failed.
            KeyError, TypeError, ValueError: it makes no sense.
        """
        if "error" in record:
            raise failure(int(record.get("status_code") or 500), record)
        message = record.get("message") or {"content": record.get("response"), "thinking": record.get("thinking")}
        if thought := message.get("thinking"):
            yield protocol.Reasoning(thought)
        tokens = tuple(map(openai_form.drawn_token, record.get("logprobs") or ()))
        if (text := message.get("content")) or tokens:
            yield protocol.Text(text or "", tokens)
        for call in message.get("tool_calls") or ():
            yield from self._call(call)
        if record["done"]:
            reason: protocol.FinishReason = "length" if record.get("done_reason") == "length" else "stop"
            usage = protocol.Usage(record.get("prompt_eval_count") or 0, 0, record.get("eval_count") or 0)
            self.finish = protocol.Finish("tool_calls" if self._n_calls else reason, usage)

    def _call(self, call: Mapping[str, Any]) -> Iterator[protocol.ChatEvent]:
        function, index = call["function"], self._n_calls
        self._n_calls += 1
        yield protocol.ToolCallStart(index, call.get("id") or f"call_{uuid.uuid4().hex[:24]}", function["name"])
        yield protocol.ToolCallArguments(index, json.dumps(function.get("arguments") or {}, ensure_ascii=False))
