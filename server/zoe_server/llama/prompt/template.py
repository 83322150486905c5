"""From messages and tools to the one text a model continues: its own chat template, run as Hugging Face runs it.

This module knows no tokens: the template writes special tokens as text, and what only looks like them is broken with
sentinels (see `control_text`).
Source: transformers, `utils/chat_template_utils.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Any, Final, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from zoe_server.errors import EngineUnavailableError, InvalidRequestError
from zoe_server.llama.prompt.control_text import ControlText
from zoe_server.protocol import ChatRequest, Tool

CHATML: Final = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""The template of a model that brings none, as in llama.cpp."""

_REASONING: Final = ("<think>", "[THINK]", "<|channel>thought", "<|channel|>analysis")
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_FIRST, _LATE, _SAID = (
    {"role": role, "content": text} for role, text in (("system", "Alpha."), ("system", "Beta."), ("user", "Gamma."))
)
_TOOL: Final = {"type": "function", "function": {"name": "delta", "description": "", "parameters": {"type": "object"}}}
"""What a template is tried with."""


class ChatTemplate:
    """A compiled chat template; `render` may be called from several threads.

    Raises:
        EngineUnavailableError: the source is not valid jinja.
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str,
        eos_token: str,
        control_text: ControlText | None = None,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: now().strftime(form)
        self._names = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = environment.from_string(source or CHATML)
            constants = {node.value for node in environment.parse(source or CHATML).find_all(jinja2.nodes.Const)}
        except jinja2.TemplateSyntaxError as error:
            raise EngineUnavailableError(
                f"the model's chat template is not valid jinja (line {error.lineno}: {error.message})"
            ) from error
        texts = (constant for constant in constants if isinstance(constant, str))
        self._broken = (control_text or ControlText({})).breaker(texts)
        self._takes_late_instructions = self._tells_late_instructions()

    def render(self, request: ChatRequest, picture_marker: str = "") -> str:
        """Return the prompt of `request`, ending where the assistant's answer begins.

        Every picture is a `picture_marker` in it. The tools are in the prompt whatever the tool choice is, so that it
        does not change the cached prefix.

        Raises:
            InvalidRequestError: the template refuses the messages, or fails on them.
        """
        try:
            messages = [self._message(message, picture_marker) for message in request.messages]
            text = self._render(
                messages if self._takes_late_instructions else _with_one_beginning(messages),
                [self._broken(_function(tool)) for tool in request.tools],
            )
        except Exception as error:  # a template is a program: a request can make it raise anything
            raise InvalidRequestError(
                f"the model's chat template cannot render these messages: {error or type(error).__name__}",
                param="messages",
            ) from error
        return text if text.isascii() else _LONE_SURROGATES.sub("\ufffd", text)

    def _render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        return self._template.render(messages=messages, tools=tools or None, add_generation_prompt=True, **self._names)

    def _message(self, message: Mapping[str, Any], picture_marker: str) -> dict[str, Any]:
        """Return a message as templates expect it: content is a string, arguments of past calls are objects."""
        content = message.get("content") or ""
        if isinstance(content, list):
            texts = (self._broken(part["text"]) if part["type"] == "text" else picture_marker for part in content)
            content = "".join(texts)
        else:
            content = self._broken(content)
        others = {key: value for key, value in message.items() if key not in ("content", "tool_calls")}
        result = {**self._broken(others), "content": content}
        if calls := message.get("tool_calls"):
            result["tool_calls"] = [self._broken(_tool_call(call)) for call in calls]
        return result

    def _tells_late_instructions(self) -> bool:
        """Return whether a second system message becomes one in the prompt, and changes nothing else of it.

        Some templates refuse it, and some take it for what the user said.
        """
        try:
            short, long = (self._render(messages, [_TOOL]) for messages in ([_FIRST, _SAID], [_FIRST, _LATE, _SAID]))
        except Exception:  # noqa: BLE001 -- a template is a program, see `render`
            return False
        start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(short, long, strict=False)))
        end = start + len(long) - len(short)
        added = long[start:end]
        return long[:start] + long[end:] == short and all(word in added for word in ("system", _LATE["content"]))


def picture_parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the pictures of a message, in their order."""
    content = message.get("content")
    return [part for part in content if part["type"] == "picture"] if isinstance(content, list) else []


def knows_reasoning(source: str) -> bool:
    """Return whether a chat template is that of a model which reasons before it answers."""
    return any(marker in source for marker in _REASONING)


def opens_reasoning(prompt: str) -> bool:
    """Return whether a rendered prompt ends inside the reasoning, as the templates of some reasoning models do."""
    return prompt.rstrip().endswith("<think>")


def _with_one_beginning(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages with all system messages that they begin with in one."""
    n_system = sum(1 for _ in takewhile(lambda message: message["role"] == "system", messages))
    if n_system <= 1:
        return messages
    text = "\n".join(message["content"] for message in messages[:n_system])
    return [{"role": "system", "content": text}, *messages[n_system:]]


def _tool_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _arguments(function.get("arguments"))}}


def _arguments(text: object) -> object:
    """Return the object that `text` describes; templates write it as JSON. What is no JSON object stays what it is."""
    if not isinstance(text, str):
        return {} if text is None else text
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _function(tool: Tool) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    }


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Replace jinja's own filter, which escapes for HTML and sorts keys."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_as_dict
    )


def _as_dict(value: object) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON data")


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


class _GenerationTag(jinja2.ext.Extension):
    """Accepts `{% generation %}...{% endgeneration %}`, which marks training targets, as its contents."""

    tags = {"generation"}  # noqa: RUF012 -- jinja's own declaration

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
