"""The model in the package, in a real engine."""

from __future__ import annotations

import pytest

from zoe_server import protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec, bundled_model_path
from zoe_server.engines.local import LocalEngine

HOME = "Static Context: An overview of the areas and the devices in this smart home:\n- names: Lamp\n  domain: light\n"
TURN_ON = protocol.Tool(
    "intent__HassTurnOn", "Turns on a device", {"type": "object", "properties": {"name": {"type": "string"}}}
)


@pytest.mark.parametrize("mode", ["auto", "none"])
async def test_where_no_call_may_be_made_none_is_printed(mode: protocol.ToolChoiceMode) -> None:
    engine = LocalEngine(ModelSpec("m", bundled_model_path(), options=LlamaOptions(n_threads=1, n_gpu_layers=0)))
    await engine.start()
    messages = {"role": "system", "content": HOME}, {"role": "user", "content": "turn on the lamp"}
    request = protocol.ChatRequest("r", "m", messages, (TURN_ON,), protocol.ToolChoice(mode), max_tokens=40)
    events = [event async for event in engine.chat(request)]
    await engine.stop()
    text = "".join(event.text for event in events if isinstance(event, protocol.Text))
    calls = [event.name for event in events if isinstance(event, protocol.ToolCallStart)]
    assert calls == ([TURN_ON.name] if mode == "auto" else [])
    assert "tool_call" not in text
    assert bool(text) == (mode == "none")
