"""`./scripts/demo` as a person uses it: real server, real model, real Home Assistant."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.fixtures.random_gguf import write_random_gguf

FIELDS = [
    "sentence",
    "reply",
    "model",
    "tool_calls",
    "changes",
    "ttft_ms",
    "total_ms",
    "prompt_tokens",
    "cached_tokens",
]


class Said(NamedTuple):
    code: int
    outcomes: list[dict[str, Any]]
    errors: str
    left: list[str]


@pytest.fixture(scope="module")
def said(start_demo: Callable[..., Any]) -> Said:
    """Two sentences, one after the other, as JSON."""
    demo = start_demo("--say", "turn on the kitchen light", "--say", "turn off the ceiling light", "--json")
    code, out, err = demo.finish()
    return Said(code, [json.loads(line) for line in out.splitlines()], err, demo.processes())


def test_a_sentence_turns_on_a_light(said: Said) -> None:
    assert said.code == 0, said.errors
    outcome = said.outcomes[0]
    assert [call["name"] for call in outcome["tool_calls"]] == ["intent__HassTurnOn"]
    light = next(change for change in outcome["changes"] if change["entity_id"] == "light.kitchen_light")
    assert (light["from"], light["to"]) == ("off", "on")
    assert outcome["reply"]


def test_nothing_else_changes(said: Said) -> None:
    changed = [{change["entity_id"] for change in outcome["changes"]} for outcome in said.outcomes]
    assert changed == [{"light.kitchen_light"}, {"light.ceiling_light"}]


def test_json_has_the_promised_fields(said: Said) -> None:
    for outcome in said.outcomes:
        assert list(outcome) == FIELDS
        assert outcome["model"] == "zoe-nano"
        assert 0 < outcome["ttft_ms"] <= outcome["total_ms"]
        assert 0 <= outcome["cached_tokens"] <= outcome["prompt_tokens"]


def test_the_second_sentence_reuses_the_prompt_of_the_first(said: Said) -> None:
    second = said.outcomes[1]
    assert second["cached_tokens"] > second["prompt_tokens"] / 2


def test_nothing_is_left_after_the_last_sentence(said: Said) -> None:
    assert said.left == []


def test_ctrl_c_stops_everything(start_demo: Callable[..., Any]) -> None:
    demo = start_demo()
    demo.wait_for_line("Ctrl-C stops everything", "stdout")
    with urllib.request.urlopen(f"http://127.0.0.1:{demo.port_ha}/manifest.json", timeout=10) as response:
        assert json.load(response)["name"] == "Home Assistant"
    assert len(demo.processes()) >= 3  # the demo, the server and Home Assistant at least

    demo.interrupt(signal.SIGINT)
    code, _, errors = demo.finish()

    assert code == 0, errors
    assert demo.processes() == []


def test_a_signal_in_the_middle_of_the_start_stops_everything(start_demo: Callable[..., Any]) -> None:
    demo = start_demo("--say", "turn on the kitchen light")
    demo.wait_for_line("Starting", "stderr")

    demo.interrupt(signal.SIGTERM)
    code, out, _ = demo.finish()

    assert code == 128 + signal.SIGTERM
    assert out == ""
    assert demo.processes() == []


def test_a_sentence_that_fails_gives_exit_code_1(start_demo: Callable[..., Any], tmp_path: Path) -> None:
    """A model whose context is too small for this home refuses every sentence."""
    model = write_random_gguf(tmp_path / "small.gguf", context=512)
    demo = start_demo("--model", str(model), "--say", "turn on the kitchen light", "--json")
    code, out, errors = demo.finish()

    assert code == 1, errors
    outcome = json.loads(out)
    assert list(outcome) == FIELDS
    assert outcome["reply"] == "That's more than I can take in at once."
    assert outcome["changes"] == []


def test_a_taken_port_is_named_with_the_option_that_changes_it(start_demo: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, errors = start_demo("--port-zoe", str(port)).finish()
    assert code == 1
    assert f"port {port} cannot be used" in errors
    assert "--port-zoe" in errors
