"""AdapterTurns dialogues into the text the model sees: through the very chat template and renderer that serve it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from zoe_server.llama.prompt.template import ChatTemplate
from zoe_server.protocol import ChatRequest, Tool

TEMPLATE_PATH: Final = Path(__file__).with_name("zoe_nano.jinja")
BOS, EOS = "<|endoftext|>", "<|im_end|>"
SYSTEM, USER, ASSISTANT, TOOL = "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"


@dataclass(frozen=True)
class HomeText:
    """The system text of one home, and the exchanges that follow it, each on its own."""

    prefix: str
    exchanges: tuple[str, ...]


def chat_template() -> ChatTemplate:
    """Return zoe-nano's template."""
    return ChatTemplate(TEMPLATE_PATH.read_text(encoding="utf-8"), bos_token=BOS, eos_token=EOS)


def render(template: ChatTemplate, dialogue: dict[str, Any]) -> HomeText:
    """Render all exchanges as one conversation, and cut it where a user speaks.

    Raises:
        ValueError: the pieces are not the dialogue's exchanges (a text holds a marker of the template).
    """
    messages = [dialogue["system"], *(message for exchange in dialogue["exchanges"] for message in exchange)]
    messages.append({"role": "user", "content": "next"})  # an assistant's last text would be left open, to be continued
    tools = tuple(Tool(**tool["function"]) for tool in dialogue["tools"])
    text = template.render(ChatRequest(id="", model="", messages=tuple(messages), tools=tools))
    prefix, *exchanges, _ = text.split(USER)
    if len(exchanges) != len(dialogue["exchanges"]):
        raise ValueError("a text of the dialogue holds the template's markers")
    return HomeText(prefix, tuple(USER + exchange for exchange in exchanges))


def read_homes(folder: Path) -> Iterator[HomeText]:
    """Yield the homes of all shards in a folder, in the order of their names.

    Raises:
        FileNotFoundError: there are no shards.
    """
    paths = sorted(folder.glob("*.jsonl.gz"))
    if not paths:
        raise FileNotFoundError(f"no training data in {folder}; write it with `python -m zoe_train.data`")
    template = chat_template()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                yield render(template, json.loads(line))
