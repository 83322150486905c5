"""Which dialect a model speaks, told by excerpts of the chat templates of its family."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.random_gguf import HERMES_TEMPLATE
from zoe_server.catalogue.engine_options import DIALECTS
from zoe_server.llama import dialects

if TYPE_CHECKING:
    from conftest import Engine

LLAMA_HEADER = "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
GEMMA_TURN = "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"

EXCERPTS = {
    "zoe-nano": ("hermes", HERMES_TEMPLATE),
    "Qwen2.5": (
        "hermes",
        ("{%- if tools %}{{- '<|im_start|>system\\n' }}{{- \"\\n</tools>\\n\\nFor each function call, return a json "
        'object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{\\"name\\": '
        '<function-name>, \\"arguments\\": <args-json-object>}\\n</tool_call><|im_end|>\\n" }}'),
    ),
    "Qwen3": ("hermes", "{{- '<think>\\n' + reasoning_content }}{{- '<tool_call>\\n{\"name\": \"' }}"),
    "Hermes 2 Pro on Llama 3": ("hermes", f'{LLAMA_HEADER}{{{{- "<tool_call>" }}}}{{{{- \'"parameters": \' }}}}'),
    "Llama 3.1": (
        "llama3",
        "{{- \"<|python_tag|>\" + tool_call.name + \".call(\" }}{{- '\"parameters\": ' }}{{- \"<|eom_id|>\" }}",
    ),
    "Llama 3.2": (
        "llama3",
        ("{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{{- '{\"name\": \"' + tool_call.name + '\", ' }}"
        "{{- '\"parameters\": ' }}{{- tool_call.arguments | tojson }}"),
    ),
    "Mistral Nemo": ("mistral", '{{- "[TOOL_CALLS][" }}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}'),
    "Mistral Small 3.2": (
        "mistral",
        "{{- '[TOOL_CALLS]' + tool_call.function.name }}{{- '[CALL_ID]' + tool_call.id }}{{- '[ARGS]' }}",
    ),
    "Ministral 3": ("mistral", "{{- '[THINK]' + block['thinking'] + '[/THINK]' }}{{- '[TOOL_CALLS]' }}"),
    "gpt-oss": (
        "harmony",
        ('{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}'
        '{{- "functions." + tool_call.name + "<|channel|>commentary " }}'),
    ),
    "Gemma 2": ("plain", GEMMA_TURN),
    "Gemma 3 with tools": ("gemma", f"{{%- if tools %}}...{{%- endif %}}{GEMMA_TURN}"),
    "FunctionGemma": (
        "functiongemma",
        (f"{GEMMA_TURN}{{%- for tool in tools %}}{{{{- '<start_function_declaration>' -}}}}"
        "{{- '<start_function_call>call:' + function['name'] + '{' -}}"),
    ),
    "Gemma 4": (
        "gemma4",
        ("{%- if tools -%}{{- '<|tool_call>call:' + function['name'] + '{' -}}{{- '}<tool_call|>' -}}"
        "{{- '<|channel>thought\\n<channel|>' -}}"),
    ),
    "Functionary 3.1": (
        "functionary-v3.1",
        ("{{ '<function=' + tool_call['function']['name'] + '>' + tool_call['function']['arguments'] | tojson }}"
        "{{ '</function>' }}{{ '<|python_tag|>' }}{%- if tools %}"),
    ),
    "Functionary 3.2": (
        "functionary-v3.2",
        "Respond in this format:\\n>>>${recipient}\\n${content}{{ '>>>all\\n' + message['content'] }}{%- if tools %}",
    ),
    "parameters in elements": ("json", "{%- if tools %}<function=example><parameter=a>...</parameter></function>"),
    "Granite 3.3": ("json", '{%- if tools %}{"name": "..."} <|tool_call|>{%- endif %}'),
    "reasoning only": ("json", "{{ '<|Assistant|><think>\\n' }}"),
    "Phi 3.5": ("plain", "{% for message in messages %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}"),
    "Llama 3": ("plain", LLAMA_HEADER),
    "no template": ("plain", ""),
}  # fmt: skip


@pytest.mark.parametrize("model", EXCERPTS)
def test_the_dialect_is_told_by_the_template(model: str) -> None:
    name, source = EXCERPTS[model]
    assert dialects.detect(source).name == name


def test_every_dialect_is_told_by_some_template_and_has_the_name_that_the_settings_accept() -> None:
    assert {name for name, _ in EXCERPTS.values()} == set(DIALECTS)
    assert tuple(dialects.by_name(name).name for name in DIALECTS) == DIALECTS


def test_a_template_that_shows_no_tools_makes_no_model_that_calls_them(make_engine: Callable[..., Engine]) -> None:
    reasoning = make_engine(chat_template="{{ messages[0].content }}{{ '<think>' }}").intake
    assert (reasoning.dialect.name, reasoning.abilities) == ("json", ["thinking"])
    assert make_engine(chat_template="{{ messages[0].content }}").intake.abilities == []
