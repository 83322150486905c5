"""What all guards of a tool call and of an answer cost a turn, in a home of 300 exposed entities.

Everything between the model's call and the tool counts: arguments, names, effects, reach, questions, consent; and the
judgement of an answer without a call. The tools themselves do nothing here. The baseline is Home Assistant's own search
for the targets of the same call, which the tool does as well. What is told is the time on the wall. As in a turn,
Home Assistant reads the sentence while the model would think; how long that takes is told apart.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final, override

from homeassistant.components import conversation
from homeassistant.core import HomeAssistant
from homeassistant.helpers import intent, llm

from bench.figure import Figure, Target
from bench.home import furnish
from custom_components.zoe.home import async_load_kinds
from custom_components.zoe.speaker import Speaker
from custom_components.zoe.speech.sentences import Sentences
from custom_components.zoe.turn.executor import Executor, Order
from custom_components.zoe.turn.guard import Rules
from custom_components.zoe.turn.reach import Sentence
from custom_components.zoe.turn.said import Said
from custom_components.zoe.turn.stats import TurnStats
from custom_components.zoe.turn.verdict import Answers
from zoe_eval.core import home_assistant

NAME = "guards"
N_ENTITIES: Final = 300
N_ROUNDS: Final = 20
TITLE = f"what the guards add to a turn, {N_ENTITIES} exposed entities"
LIMIT_MS: Final = 10.0
ON, OFF, LIGHT = "intent__HassTurnOn", "intent__HassTurnOff", "light__HassLightSet"
Advance = Callable[[int], None]

# What is said, and what the model calls: exactly, in other words, wrongly, of a room, of the whole house, of a door.
CALLS: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("turn on thing 10", ON, {"name": "Thing 10"}),
    ("turn on the second name 20", ON, {"name": "second name 20", "domain": "light"}),
    ("dim thing 30 to half", LIGHT, {"name": "Thing 30", "brightness": "50 percent"}),
    ("turn on the yellow elephant", ON, {"name": "Yellow elephant"}),
    ("turn off the lights in room 3", OFF, {"area": "Room 3", "domain": ["light"]}),
    ("turn off everything in room 6", OFF, {"area": "Room 6"}),
    ("turn all lights off", OFF, {"domain": ["light"]}),
    ("turn on the lights in the sauna", ON, {"domain": ["light"]}),
    ("unlock thing 6", OFF, {"name": "Thing 6"}),
    ("turn off the cooler", OFF, {"name": "Thing 11"}),
)
ANSWERS: Final = (
    ("turn on thing 10", "Thing 10 is on.", Said(order=1.0)),
    ("is thing 10 on", "Yes, it is on.", Said(question=1.0, state=1.0)),
    ("tell me a joke", "What do you call a lamp?", Said(talk=1.0)),
)
N_UNITS = N_ROUNDS


class IdleTool(llm.IntentTool):
    """An intent's tool that does nothing."""

    def __init__(self, tool: llm.IntentTool) -> None:
        self.__dict__.update(tool.__dict__)

    @override
    async def async_call(
        self, hass: HomeAssistant, tool_input: llm.ToolInput, llm_context: llm.LLMContext
    ) -> llm.ToolResult:
        """Do nothing."""
        return llm.ToolResult(data={"result": "idle"})


async def idle_api(hass: HomeAssistant) -> llm.APIInstance:
    """Return Assist with tools that do nothing."""
    api = await llm.async_get_api(hass, "assist", Speaker("en").as_llm_context())
    api.tools = [IdleTool(tool) if isinstance(tool, llm.IntentTool) else tool for tool in api.tools]
    return api


async def executor(hass: HomeAssistant, said: str) -> Executor:
    """Return what makes the calls of a turn in which `said` was said."""
    kinds = await async_load_kinds(hass, "en")
    order = Order(Sentence(said, "en"), Rules(), kinds)
    return Executor(hass, await idle_api(hass), order, TurnStats(time.monotonic), lambda _: None)


def match(hass: HomeAssistant, arguments: dict[str, Any]) -> None:
    """Search for the targets of a call, as the tool does."""
    constraints = intent.MatchTargetsConstraints(
        name=arguments.get("name"),
        area_name=arguments.get("area"),
        domains=arguments.get("domain"),
        assistant=conversation.DOMAIN,
    )
    intent.async_match_targets(hass, constraints)


async def run(advance: Advance) -> list[Figure]:
    """Measure; `advance` is called after every round."""
    call_ms: list[float] = []
    answer_ms: list[float] = []
    match_ms: list[float] = []
    reading_ms: list[float] = []
    async with home_assistant() as hass:
        await furnish(hass, N_ENTITIES)
        sentences = await Sentences.async_load(hass, "en")
        for n in range(N_ROUNDS + 1):
            for said, tool, arguments in CALLS:
                turn = await executor(hass, said)
                began_s = time.perf_counter()
                await turn.reach.async_reading()
                read_s, began_s = time.perf_counter() - began_s, time.perf_counter()
                await turn.async_call_tool(llm.ToolInput(tool, dict(arguments)))
                ended_s = time.perf_counter()
                match(hass, arguments)
                if n:  # the first round reads Home Assistant's sentences
                    call_ms.append((ended_s - began_s) * 1000)
                    reading_ms.append(read_s * 1000)
                    match_ms.append((time.perf_counter() - ended_s) * 1000)
            for said, answer, judged in ANSWERS:
                answers = Answers(hass, await executor(hass, said), sentences, Sentence(said, "en"))
                began_s = time.perf_counter()
                answers.heard(judged)
                await answers.async_holds()
                await answers.async_judged(answer, 0.0)
                if n:
                    answer_ms.append((time.perf_counter() - began_s) * 1000)
            advance(1)
    call_p95, answer_p95 = (statistics.quantiles(figures, n=20)[-1] for figures in (call_ms, answer_ms))
    call_median = statistics.median(call_ms)
    return [
        Figure("a call, 95 % of them within", call_p95, "ms", target=Target(LIMIT_MS)),
        Figure("an answer without a call, 95 % of them within", answer_p95, "ms", target=Target(LIMIT_MS)),
        Figure("a call over Home Assistant's own search", call_median, "ms", statistics.median(match_ms)),
        Figure("reading a sentence, 95 % of them within", statistics.quantiles(reading_ms, n=20)[-1], "ms"),
    ]
