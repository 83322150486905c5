"""Between the model and Home Assistant: every tool call is made what it was meant to be, refused, or made.

The chat log calls it like the API instance it stands for. A call goes through these steps, and each of them may refuse
it with a result that tells the model what to do (`refusal.py`):

    1. the tool        a name without its prefix, or with a wrong one (`tool_name.py`)
    2. the arguments   blank, nested, wrapped, almost JSON (`repair.py`)
    3. the names       of things and places that exist (`names.py`)
    4. the question    a sentence that only asks changes nothing (`question.py`)
    5. repetition      the same call, though nothing has changed since
    6. the consent     for what opens or guards the home, if the user wants to be asked (`risk.py`)

Steps 1 to 4 see nothing but the call; 5 and 6 remember the turn. Everything is counted and traced.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, override

import probatio
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import llm
from homeassistant.helpers.json import json_dumps_sorted

from . import refusal
from .const import LOGGER
from .intervention import Intervention
from .naming import Grounding
from .outcome import Outcome
from .question import only_asks
from .refusal import ConsentError, RefusalError
from .repair import Repair, repaired
from .risk import guarded_names
from .stream import WrittenCall
from .tool_name import resolve_tool, similar_tools
from .turn import TurnStats

type Signature = tuple[str, str]
type Trace = Callable[[dict[str, Any]], None]

MAX_STRIKES: Final = 2
"""So many rounds with unknown tools, or with repeated calls, end a turn."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the user said, in which language (a tag), whether consent is wanted, and the calls it was given for."""

    sentence: str
    language: str
    ask_consent: bool = False
    consented: frozenset[Signature] = frozenset()


@dataclass(slots=True)
class _Record:
    """A call of this turn: in which round it was made, and its result once there is one."""

    round: int
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    result: llm.ToolResult | None = None


def signature(tool: str, arguments: dict[str, Any]) -> Signature:
    """Return what two calls have in common that are the same."""
    return tool, json_dumps_sorted(arguments)


class Executor(llm.APIInstance):
    """The tools of one turn. `strikes` are the rounds in which the model did what should not go on."""

    def __init__(self, hass: HomeAssistant, api: llm.APIInstance, order: Order, turn: TurnStats, trace: Trace) -> None:
        super().__init__(api.api, api.api_prompt, api.llm_context, api.tools, api.custom_serializer)
        self._hass = hass
        self._order = order
        self._turn = turn
        self._trace = trace
        self._round = 0
        self._records: dict[Signature, _Record] = {}
        self._made: list[Outcome] = []
        self._refusals: list[tuple[int, Outcome]] = []
        self.strikes: dict[Intervention, set[int]] = {}
        self.awaiting_consent: list[str] = []

    @property
    def outcomes(self) -> list[Outcome]:
        """What came of the calls so far; without refusals that the model mended, as far as that can be told."""
        return [*self._made, *(outcome for _, outcome in self._refusals)]

    @cached_property
    def grounding(self) -> Grounding:
        """The things and places of the home, looked up when a call first names one."""
        return Grounding.of(self._hass, self)

    def begin_round(self) -> None:
        """Take note that the model is asked again: what it calls from now on, it calls knowing the results so far."""
        self._round += 1

    def note(self, kind: str, **details: object) -> None:
        """Count and trace something that was put right."""
        self._turn.repairs[kind] += 1
        self._trace({"repair": {"kind": str(kind), **details}})

    @override
    async def async_call_tool(self, tool_input: llm.ToolInput) -> llm.ToolResult:
        """Make the call, or return a result that says why not."""
        tool: llm.Tool | None = None
        try:
            tool = self._tool(tool_input.tool_name)
            arguments = self._arguments(tool, tool_input)
            return await self._once(tool, arguments, tool_input.id)
        except RefusalError as err:
            return self._refused(err, tool, tool_input)

    def _refused(self, err: RefusalError, tool: llm.Tool | None, call: llm.ToolInput) -> llm.ToolResult:
        self.note(err.kind, tool=call.tool_name, args=call.tool_args, candidates=err.candidates)
        if err.kind in (Intervention.UNKNOWN_TOOL, Intervention.REPEATED_CALL):
            self.strikes.setdefault(err.kind, set()).add(self._round)
        else:
            failed = (err.target,) if err.target else ()
            changes = tool is not None and not tool.annotations.read_only
            outcome = Outcome(call.tool_name, changes, ok=False, failed=failed)
            self._refusals.append((self._round, outcome))
        return err.as_result()

    def _tool(self, said: str) -> llm.Tool:
        tools = {tool.name: tool for tool in self.tools}
        name = resolve_tool(said, tools)
        if name is None:
            raise refusal.unknown_tool(said, similar_tools(said, tools))
        if name != said:
            self.note(Intervention.TOOL_NAME, said=said, tool=name)
        return tools[name]

    def _arguments(self, tool: llm.Tool, call: llm.ToolInput) -> dict[str, Any]:
        """Return the arguments of a call that may be made as far as the call itself tells."""
        if isinstance(call, WrittenCall):
            if call.problem:
                raise refusal.broken_arguments(tool.name, call.problem)
            self.note(Repair.TEXT, tool=tool.name)
        serializer = self.custom_serializer or llm.selector_serializer
        schema = probatio.to_openapi(tool.parameters, custom_serializer=serializer, openapi_version="3.1.0")
        arguments, repairs = repaired(call.tool_args, schema)
        for repair in repairs:
            self.note(repair, tool=tool.name, args=call.tool_args)
        arguments = self.grounding.resolved(tool, arguments, self.note)
        self._check_question(tool)
        return arguments

    def _check_question(self, tool: llm.Tool) -> None:
        """Refuse a change because of a question. A tool of the open world may be the way to its answer."""
        readers = [other.name for other in self.tools if other.annotations.read_only]
        changes_home = not tool.annotations.read_only and not tool.annotations.open_world
        if changes_home and readers and only_asks(self._order.sentence, self._order.language):
            raise refusal.question_only(readers)

    async def _once(self, tool: llm.Tool, arguments: dict[str, Any], call_id: str) -> llm.ToolResult:
        """Make the call unless it was made before; the same call twice in one answer is made once."""
        key = signature(tool.name, arguments)
        if record := self._records.get(key):
            await record.finished.wait()
            if record.round == self._round and record.result is not None:
                self.note(Intervention.REPEATED_CALL, tool=tool.name, args=arguments)
                return record.result
            raise refusal.repeated_call(record.result)
        self._check_consent(tool, arguments, key)
        record = self._records[key] = _Record(self._round)
        try:
            record.result = await self._make(llm.ToolInput(tool.name, arguments, call_id))
        finally:
            record.finished.set()
        self._remember(Outcome.of(tool, record.result, _named(arguments)), key)
        return record.result

    def _check_consent(self, tool: llm.Tool, arguments: dict[str, Any], key: Signature) -> None:
        if not self._order.ask_consent or key in self._order.consented:
            return
        if names := guarded_names(self._hass, tool, arguments, self.llm_context.assistant):
            self.awaiting_consent += names
            raise ConsentError(tool.name, arguments, names)

    async def _make(self, call: llm.ToolInput) -> llm.ToolResult:
        """Return the result of a call, whatever happens in the tool."""
        try:
            return await super().async_call_tool(call)
        except (HomeAssistantError, probatio.Invalid) as err:
            return _failure(err, _message(err))
        except Exception as err:  # noqa: BLE001 (a tool of anybody must not end the turn; the log has what it was)
            LOGGER.exception("The tool %s failed", call.tool_name)
            return _failure(err, "The tool failed unexpectedly; Home Assistant's log tells more.")

    def _remember(self, outcome: Outcome, key: Signature) -> None:
        """Note an outcome.

        After a change, calls of earlier rounds may have other results and may be made again; and what was refused in an
        earlier round counts as mended by it.
        """
        self._made.append(outcome)
        if outcome.changes and outcome.ok:
            self._refusals = [refused for refused in self._refusals if refused[0] == self._round]
            kept = {other: record for other, record in self._records.items() if record.round == self._round}
            self._records = {**kept, key: self._records[key]}


def _named(arguments: dict[str, Any]) -> str | None:
    """Return what a call names, for an outcome that names nothing itself."""
    value = arguments.get("name") or arguments.get("area") or arguments.get("floor")
    return value if isinstance(value, str) else None


def _message(err: Exception) -> str:
    """Return what an error says; Home Assistant's cannot always say it when an argument was of an odd type."""
    try:
        return str(err)
    except TypeError as problem:
        return f"An argument has the wrong type: {problem}"


def _failure(err: Exception, text: str) -> llm.ToolResult:
    data: dict[str, Any] = {"error": type(err).__name__}
    if text:
        data["error_text"] = text
    return llm.ToolResult(data=data, error=True)
