"""From messages and tools to the one text a model continues: its own chat template, run as Hugging Face runs it.

Which messages it takes, `template_abilities` finds out, and `messages` makes them so. This module knows no tokens: the
template writes special tokens as text, and what only looks like them is broken with sentinels (see `control_text`).
Source: transformers, `utils/chat_template_utils.py`.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NoReturn

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from zoe_server.errors import EngineUnavailableError, InvalidRequestError
from zoe_server.llama.prompt import messages, template_abilities
from zoe_server.llama.prompt.control_text import ControlText
from zoe_server.llama.prompt.template_abilities import PLAINEST, TemplateAbilities
from zoe_server.protocol import ChatRequest

_LOG: Final = logging.getLogger(__name__)

CHATML: Final = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
"""The template of a model that brings none, as in llama.cpp."""

_REASONING: Final = ("<think>", "[THINK]", "<|channel>thought", "<|channel|>analysis")
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_END: Final = "\N{AEGEAN WORD SEPARATOR DOT}"
"""Stands where a text ends that the model is to continue: what a template writes behind it is cut off."""

_OWN_NAMES: Final = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token", "date_string"})


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
        self._bos_token, self._eos_token, self._now = bos_token, eos_token, now
        try:
            self._template = environment.from_string(source or CHATML)
            constants = {node.value for node in environment.parse(source or CHATML).find_all(jinja2.nodes.Const)}
        except jinja2.TemplateSyntaxError as error:
            raise EngineUnavailableError(
                f"the model's chat template is not valid jinja (line {error.lineno}: {error.message})"
            ) from error
        texts = (constant for constant in constants if isinstance(constant, str))
        self._broken = (control_text or ControlText({})).breaker(texts)
        self._no_tools: list[dict[str, Any]] | None = None
        if not self._renders_without_tools():
            self._no_tools = []  # some templates go through the tools without asking whether there are any
        self.abilities = template_abilities.ask(self._render)

    def render(self, request: ChatRequest, picture_marker: str = "") -> str:
        """Return the prompt of `request`, ending where the assistant's answer begins.

        If the last message is an assistant's text, the prompt ends with it, so that the answer continues it.
        Every picture is a `picture_marker` in it. The tools are in the prompt whatever the tool choice is, so that it
        does not change the cached prefix. What the template refuses all the same is tried in the plainest form.

        Raises:
            InvalidRequestError: the template refuses the messages, or fails on them.
        """
        for name in _OWN_NAMES & request.chat_template_kwargs.keys():
            path = f"chat_template_kwargs.{name}"
            raise InvalidRequestError(f"{path}: this is what the server itself tells the template", param=path)
        try:
            text = self._rendered(request, picture_marker, self.abilities)
        except Exception as error:
            plain = self._plainly_rendered(request, picture_marker)
            if plain is None:
                raise InvalidRequestError(
                    f"the model's chat template cannot render these messages: {error or type(error).__name__}",
                    param="messages",
                ) from error
            text = plain
        return text if text.isascii() else _LONE_SURROGATES.sub("\ufffd", text)

    def _plainly_rendered(self, request: ChatRequest, picture_marker: str) -> str | None:
        """Return the prompt without old reasoning, else in the plainest form, last without a place for tools."""
        for abilities in (replace(self.abilities, reasoning=None), PLAINEST, replace(PLAINEST, tools=False)):
            try:
                return self._rendered(request, picture_marker, abilities)
            except Exception:  # noqa: BLE001 -- the first refusal, which was another one, says why
                _LOG.debug("a chat template refuses the plainest form", exc_info=True)
        return None

    def _renders_without_tools(self) -> bool:
        try:
            self._render([{"role": "user", "content": "alpha"}], [])
        except Exception:  # noqa: BLE001 -- see `render`
            return False
        return True

    def _rendered(self, request: ChatRequest, picture_marker: str, abilities: TemplateAbilities) -> str:
        told: Sequence[Mapping[str, Any]] = request.messages
        tools = [self._broken(messages.definition(tool)) for tool in request.tools]
        if tools and not (abilities.tools and self.abilities.tools):
            told, tools = messages.with_instructions(told, request.tools), []
            abilities = replace(abilities, calls=None)
        fitting = messages.fitted(told, abilities)
        names = self._broken(request.chat_template_kwargs)
        if request.messages and _is_continued(request):
            begun = [*fitting[:-1], {**fitting[-1], "content": f"{fitting[-1]['content']}{_END}"}]
            in_form = [self._message(message, picture_marker) for message in begun]
            before, end, _ = self._render(in_form, tools, names, add_generation_prompt=False).rpartition(_END)
            if end:
                return before
        return self._render([self._message(message, picture_marker) for message in fitting], tools, names)

    def _render(
        self,
        fitting: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        others: Mapping[str, Any] | None = None,
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        return self._template.render(
            **(others or {}),
            messages=fitting,
            tools=tools or self._no_tools,
            add_generation_prompt=add_generation_prompt,
            bos_token=self._bos_token,
            eos_token=self._eos_token,
            date_string=self._now().strftime("%d %b %Y"),  # else Llama 3's have a date of 2024
        )

    def _message(self, message: Mapping[str, Any], picture_marker: str) -> dict[str, Any]:
        """Return a message whose texts are no control tokens, and whose content is a string or, if need be, parts."""
        content = message.get("content") or ""
        others = self._broken({key: value for key, value in message.items() if key != "content"})
        if isinstance(content, list):
            content = "".join(
                self._broken(part["text"]) if part["type"] == "text" else picture_marker for part in content
            )
        else:
            content = self._broken(content)
        parts = message["role"] in self.abilities.roles_of_parts
        return {**others, "content": [{"type": "text", "text": content}] if parts else content}


def _is_continued(request: ChatRequest) -> bool:
    """Return whether the answer goes on with the last message: a text, where no form of an answer is demanded."""
    last = request.messages[-1]
    is_text = last["role"] == "assistant" and isinstance(last.get("content"), str) and last["content"] != ""
    return is_text and "tool_calls" not in last and not request.answer_schema and request.tool_choice.mode != "required"


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


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Replace jinja's own filter, which escapes for HTML and sorts keys."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys, default=_as_json
    )


def _as_json(value: object) -> dict[str, Any] | list[Any]:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterator):  # such as jinja's `map` makes
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON data")


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


class _GenerationTag(jinja2.ext.Extension):
    """Accepts `{% generation %}...{% endgeneration %}`, which marks training targets, as its contents."""

    tags = {"generation"}  # noqa: RUF012 -- jinja's own declaration

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)
