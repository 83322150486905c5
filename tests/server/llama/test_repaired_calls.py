"""Which calls count as repaired: those that are read although they are not written the way of the dialect."""

from __future__ import annotations

import pytest

from zoe_server import codec, protocol
from zoe_server.llama.dialects.base import Dialect
from zoe_server.llama.dialects.hermes import Hermes
from zoe_server.llama.dialects.llama3 import Llama3
from zoe_server.llama.dialects.mistral import Mistral
from zoe_server.llama.dialects.plain import Plain
from zoe_server.llama.dialects.plain_json import PlainJson
from zoe_server.llama.output import OutputStream

ON = '{"name": "on", "arguments": {"name": "Lamp"}}'
REQUEST = protocol.ChatRequest("r", "m", (), tools=(protocol.Tool("on"),))


def marked(call: str) -> str:
    return f"<tool_call>\n{call}\n</tool_call>"


@pytest.mark.parametrize(
    ("dialect", "answer", "repaired"),
    [
        (Hermes(), "Hello.", ()),
        (Hermes(), marked(ON), ()),
        (Hermes(), marked('{"arguments": {"a": 1}, "name": "on"}'), ()),
        (Hermes(), marked('{"name": "on", "arguments": "{}"}'), (0,)),
        (Hermes(), marked('{"name": "on"}'), (0,)),
        (Hermes(), marked('{"type": "function", "function": {"name": "on", "arguments": {}}}'), (0,)),
        (Hermes(), ON, (0,)),
        (Hermes(), f"```json\n[{ON}, {ON}]\n```", (0, 1)),
        (Hermes(), f"{marked(ON)}\n{ON}\n{marked(ON)}", (1,)),
        (Hermes(), ON[:-2], ()),
        (Hermes(), '{"name": "off", "arguments": {}}', ()),
        (Mistral(), f"[TOOL_CALLS][{ON}, {ON}]", ()),
        (Mistral(), ON, (0,)),
        (Llama3(), '{"name": "on", "parameters": {"name": "Lamp"}}', ()),
        (PlainJson(), ON, ()),
        (Plain(), ON, ()),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_counts_as_repaired(dialect: Dialect, answer: str, repaired: tuple[int, ...], size: int) -> None:
    output = OutputStream(REQUEST, dialect)
    events: list[protocol.ChatEvent] = []
    for start in range(0, len(answer), size):
        events += output.feed(answer[start : start + size].encode())
    events += output.close("stop")[0]
    assert output.repaired_calls == repaired
    assert set(repaired) <= {event.index for event in events if isinstance(event, protocol.ToolCallStart)}


def test_the_engine_tells_the_gateway() -> None:
    finish = protocol.Finish("tool_calls", repaired_calls=(0, 2))
    assert codec.decode_event(codec.encode_event(finish)) == finish
