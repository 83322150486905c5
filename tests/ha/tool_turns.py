"""What tests of turns with tools share: tools to call, and what came of the calls."""

import json
from dataclasses import dataclass
from typing import Any

import probatio
from homeassistant.components import conversation
from homeassistant.core import Event, HomeAssistant
from homeassistant.helpers import llm
from pytest_homeassistant_custom_component.common import MockConfigEntry

from tests.ha.fake_zoe import FakeZoe

TURN_ON = "intent__HassTurnOn"
TURN_OFF = "intent__HassTurnOff"
LIVE = "homeassistant__GetLiveContext"


def speech(result: conversation.ConversationResult) -> str:
    return str(result.response.speech["plain"]["speech"])


def tool_results(zoe: FakeZoe, request: int = -1) -> list[dict[str, Any]]:
    """What the model was told about its last calls."""
    messages = zoe.requests[request]["messages"]
    return [json.loads(message["content"]) for message in messages if message["role"] == "tool"]


def repairs(turns: list[Event]) -> dict[str, int]:
    counted: dict[str, int] = turns[-1].data["repairs"]
    return counted


async def options(hass: HomeAssistant, entry: MockConfigEntry, **data: object) -> None:
    subentry = next(iter(entry.subentries.values()))
    hass.config_entries.async_update_subentry(entry, subentry, data={**subentry.data, **data})
    await hass.async_block_till_done()


@dataclass(frozen=True)
class Judged:
    """A server that judges every sentence and every answer alike."""

    order: float = 0.0
    question: float = 0.0
    state: float = 0.0
    admits: float = 0.0

    def said(self, request: dict[str, Any]) -> dict[str, float]:
        return {"order": self.order, "question": self.question, "state": self.state}

    def denies(self, answer: str) -> float:
        return self.admits


ORDER = Judged(order=1.0)
ADMITTED = Judged(order=1.0, admits=1.0)
QUESTION = Judged(question=1.0, state=1.0)


class EchoTool(llm.Tool):
    """Takes note of its calls, and answers them or fails."""

    name = "test__tool"
    description = "Tests."
    integration = "test"
    parameters = probatio.Schema({probatio.Optional("name"): str})

    def __init__(self, fail: Exception | None = None) -> None:
        self.fail = fail
        self.calls: list[dict[str, Any]] = []

    async def async_call(
        self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext
    ) -> llm.ToolResult:
        self.calls.append(tool_input.tool_args)
        if self.fail:
            raise self.fail
        return llm.ToolResult(data={"answer": 42})


class ToolsAPI(llm.API):
    """An API with tools of our own."""

    def __init__(self, hass: HomeAssistant, *tools: llm.Tool) -> None:
        super().__init__(hass=hass, id="test", name="Test")
        self.tools = tools

    async def async_get_api_instance(self, llm_context: llm.LLMContext) -> llm.APIInstance:
        return llm.APIInstance(self, "", llm_context, list(self.tools))
