"""Between the model and Home Assistant: every tool call is made what it was meant to be, refused, or made.

The chat log calls it like the API instance it stands for. A call goes through these steps, and each of them may refuse
it with a result that tells the model what to do (`outcome.py`):

    1. the tool        a name without its prefix, or with a wrong one
    2. the arguments   blank, nested, wrapped, almost JSON (`arguments.py`)
    3. the names       of things and places that exist (`grounding.py`)
    4. the guard       what may be done of it, given what was said (`guard.py`)
    5. repetition      the same call, though nothing has changed since

Everything is counted and traced, without words of the household.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final, override

import probatio
from homeassistant.core import HomeAssistant
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import intent, llm
from homeassistant.util import dt as dt_util

from ..const import LOGGER
from ..home import Inventory, Kinds, argument_values, inventory
from .arguments import Repair, repaired
from .effects import Direction, Effects, Judge, unwrapped
from .grounding import Grounding
from .guard import Allowed, Guard, Rules, Signature, signature
from .outcome import (
    ConsentError,
    Intervention,
    Outcome,
    RefusalError,
    broken_arguments,
    repeated_call,
    unknown_tool,
)
from .reach import Reach, Sentence
from .stats import TurnStats
from .stream import WrittenCall

type Trace = Callable[[dict[str, Any]], None]

MAX_STRIKES: Final = 2
"""So many rounds with unknown tools, or with repeated calls, end a turn."""
MAX_REPEATED_ROUNDS: Final = 3
"""In so many rounds the same call may be made that does something again each time."""
MAX_REPEATS: Final = 20
MAX_CANDIDATES: Final = 5

_PREFIX: Final = re.compile(r".*(?:__|[.:/])")
_SIGNS: Final = re.compile(r"[\W_]+")
_SHORTEST_SUFFIX: Final = 4
_UNCHANGED: Final = "unchanged"
_LEFT_OUT: Final = "left_out"


@dataclass(frozen=True, slots=True)
class Order:
    """What a turn is about: what was said, what may be done of it, and how the home calls its kinds of things."""

    sentence: Sentence
    rules: Rules
    kinds: Kinds
    marked: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Record:
    """A call of this turn: in which round it was made, and its result once there is one."""

    round: int
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    result: llm.ToolResult | None = None


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
        self._rounds_of: dict[Signature, set[int]] = {}
        self._times: Counter[Signature] = Counter()
        self._made: list[Outcome] = []
        self._refusals: list[tuple[int, Outcome]] = []
        self.strikes: dict[Intervention, set[int]] = {}
        self.questions: dict[str, tuple[str, ...]] = {}
        """The sentences that ask for consent, each with the names for it."""
        self.asks_about_later = False
        self.left_out: list[str] = []
        """What a call of a whole area or kind did not touch, because it guards the home and was not named."""
        self.refused: RefusalError | None = None
        """The last refusal that there is a sentence for."""

    @property
    def outcomes(self) -> list[Outcome]:
        """What came of the calls so far; without refusals that the model mended, as far as that can be told."""
        return [*self._made, *(outcome for _, outcome in self._refusals)]

    @property
    def has_read(self) -> bool:
        """Whether a call of this turn has read something."""
        return any(outcome.ok and not outcome.changes for outcome in self._made)

    @cached_property
    def reach(self) -> Reach:
        """What of the home a call may be about; looked up when a call is made, or an answer judged."""
        judge = Judge(self._hass, self.llm_context, self._order.kinds, self._order.marked)
        return Reach(self._hass, self.llm_context, self._order.sentence, self._inventory, judge)

    @cached_property
    def _inventory(self) -> Inventory:
        return inventory(self._hass, self.llm_context.assistant)

    @cached_property
    def _grounding(self) -> Grounding:
        values = argument_values(self._hass, self.llm_context.assistant, self.tools)
        return Grounding(self._inventory, values, self.reach.judge)

    @cached_property
    def guard(self) -> Guard:
        """What judges the calls."""
        return Guard(self.tools, self.reach, self._order.rules)

    def begin_round(self) -> None:
        """Take note that the model is asked again: what it calls from now on, it calls knowing the results so far."""
        self._round += 1

    def note(self, kind: str, **details: object) -> None:
        """Count something that was put right, and trace where; nothing that anybody said is traced."""
        self._turn.repairs[kind] += 1
        public = {key: value for key, value in details.items() if key in ("tool", "argument", "reason", "verdict")}
        self._trace({"repair": {"kind": str(kind), **public}})

    @override
    async def async_call_tool(self, tool_input: llm.ToolInput) -> llm.ToolResult:
        """Make the call, or return a result that says why not."""
        tool: llm.Tool | None = None
        try:
            tool = self._tool(tool_input.tool_name)
            arguments = await self._arguments(tool, tool_input)
            allowed = await self.guard.async_check(tool, arguments)
            return await self._once(tool, arguments, allowed, tool_input.id)
        except RefusalError as err:
            return self._refused(err, tool, tool_input)

    def _refused(self, err: RefusalError, tool: llm.Tool | None, call: llm.ToolInput) -> llm.ToolResult:
        self.note(err.kind, tool=call.tool_name)
        if err.kind in (Intervention.UNKNOWN_TOOL, Intervention.REPEATED_CALL):
            self.strikes.setdefault(err.kind, set()).add(self._round)
        else:
            failed = (err.target,) if err.target else ()
            changes = tool is not None and not tool.annotations.read_only
            outcome = Outcome(call.tool_name, changes, ok=False, failed=failed)
            self._refusals.append((self._round, outcome))
        if err.spoken:
            self.refused = err
        if isinstance(err, ConsentError):
            self.asks_about_later = self.asks_about_later or err.later
            for key, names in err.questions.items():
                self.questions[key] = tuple(dict.fromkeys((*self.questions.get(key, ()), *names)))
            return err.waiting(dt_util.utcnow(), self.llm_context.device_id)
        return err.as_result()

    def _tool(self, said: str) -> llm.Tool:
        tools = {tool.name: tool for tool in self.tools}
        name = resolve_tool(said, tools)
        if name is None:
            raise unknown_tool(said, similar_tools(said, tools))
        if name != said:
            self.note(Intervention.TOOL_NAME, tool=name)
        return tools[name]

    async def _arguments(self, tool: llm.Tool, call: llm.ToolInput) -> dict[str, Any]:
        """Return the arguments of a call that may be made as far as the call itself tells."""
        if isinstance(call, WrittenCall):
            if call.problem:
                raise broken_arguments(tool.name, call.problem)
            self.note(Repair.TEXT, tool=tool.name)
        serializer = self.custom_serializer or llm.selector_serializer
        schema = probatio.to_openapi(tool.parameters, custom_serializer=serializer, openapi_version="3.1.0")
        colors = (await self.reach.async_phrases()).colors if "color" in call.tool_args else {}
        arguments, repairs = repaired(call.tool_args, schema, colors)
        for repair in repairs:
            self.note(repair, tool=tool.name)
        return await self._grounding.async_resolved(tool, arguments, self.note)

    async def _once(self, tool: llm.Tool, arguments: dict[str, Any], allowed: Allowed, call_id: str) -> llm.ToolResult:
        """Make the call unless it was made before; the same call twice in one answer is made once.

        Calls that do something again each time are made as often as they are called, but not for ever.
        """
        key = signature(tool.name, arguments)
        if _does_more_each_time(tool, allowed.effects):
            self._count(key)
        elif record := self._records.get(key):
            await record.finished.wait()
            if record.round == self._round and record.result is not None:
                self.note(Intervention.REPEATED_CALL, tool=tool.name)
                return record.result
            raise repeated_call(record.result)
        record = self._records[key] = _Record(self._round)
        try:
            record.result = await self._make_all(tool, allowed, call_id)
        finally:
            record.finished.set()
        self._remember(Outcome.of(tool, record.result, _named(arguments)), key)
        return record.result

    def _count(self, key: Signature) -> None:
        self._times[key] += 1
        rounds = self._rounds_of.setdefault(key, set())
        rounds.add(self._round)
        if self._times[key] > MAX_REPEATS or len(rounds) > MAX_REPEATED_ROUNDS:
            raise repeated_call(None)

    async def _make_all(self, tool: llm.Tool, allowed: Allowed, call_id: str) -> llm.ToolResult:
        """Return the result of all calls that stand for one, with what else the model has to tell of it."""
        calls = [llm.ToolInput(tool.name, arguments, call_id) for arguments in allowed.calls]
        results = [await self._make(call) for call in calls]
        result = results[0] if len(results) == 1 else _merged(results)
        told: dict[str, Any] = {}
        if allowed.left_out:
            self.note(Intervention.LEFT_OUT, tool=tool.name)
            self.left_out += [name for name in allowed.left_out if name not in self.left_out]
            told[_LEFT_OUT] = {"names": list(allowed.left_out), "reason": "these are only operated when named"}
        if not result.error and (so := [effect.name for effect in allowed.effects.each if effect.satisfied]):
            told[_UNCHANGED] = {"names": so, "reason": "these were so already"}
        if told and isinstance(result.data, dict):
            result.data.update(told)
        return result

    async def _make(self, call: llm.ToolInput) -> llm.ToolResult:
        """Return the result of a call, whatever happens in the tool."""
        try:
            return await super().async_call_tool(call)
        except intent.MatchFailedError as err:
            return _failure(err, _message(err), sorted(state.name for state in err.result.states))
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


def _does_more_each_time(tool: llm.Tool, effects: Effects) -> bool:
    """Return whether a call that is made twice does more than one that is made once.

    Turning on is annotated so because of buttons; where nothing is pressed or run, it is not.
    """
    if tool.annotations.read_only or tool.annotations.idempotent:
        return False
    tool = unwrapped(tool)
    if isinstance(tool, llm.IntentTool) and tool.intent_type == intent.INTENT_TURN_ON:
        return any(effect.direction is Direction.RUN for effect in effects.each)
    return True


def _named(arguments: Mapping[str, Any]) -> str | None:
    """Return what a call names, for an outcome that names nothing itself."""
    value = arguments.get("name") or arguments.get("area") or arguments.get("floor")
    return value if isinstance(value, str) else None


def _message(err: BaseException) -> str:
    """Return what an error says, and why; Home Assistant's cannot always say it when an argument is of an odd type."""
    try:
        said = str(err)
    except TypeError as problem:
        return f"An argument has the wrong type: {problem}"
    cause = str(err.__cause__) if isinstance(err.__cause__, Exception) else ""
    return f"{said}: {cause}" if cause and cause not in said else said


def _failure(err: Exception, text: str, candidates: Collection[str] = ()) -> llm.ToolResult:
    data: dict[str, Any] = {"error": type(err).__name__}
    if text:
        data["error_text"] = text
    if candidates:
        data["candidates"] = list(candidates)
    return llm.ToolResult(data=data, error=True)


def _merged(results: list[llm.ToolResult]) -> llm.ToolResult:
    """Return one result of several calls of the same intent: what was reached and what not."""
    responses = [getattr(result.data, "original", None) for result in results]
    done = [response for response in responses if isinstance(response, intent.IntentResponse)]
    if not done:
        return results[0]
    first, *others = done
    success = [target for response in done for target in response.success_results]
    failed = [target for response in done for target in response.failed_results]
    first.async_set_results(success_results=success, failed_results=failed)
    first.async_set_states([*first.matched_states, *(state for other in others for state in other.matched_states)])
    return llm.ToolResult(data=llm.IntentResponseDict(first))


def resolve_tool(said: str, names: Collection[str]) -> str | None:
    """Return which of `names` is meant, or None if it is none of them, or more than one."""
    if said in names:
        return said
    action = _letters(_PREFIX.sub("", said))
    same = [name for name in names if action and _letters(_PREFIX.sub("", name)) == action]
    ending = [name for name in names if len(action) >= _SHORTEST_SUFFIX and _letters(name).endswith(action)]
    found = same or ending
    return found[0] if len(found) == 1 else None


def similar_tools(said: str, names: Collection[str]) -> list[str]:
    """Return the names that are most like `said`."""
    actions = {_letters(_PREFIX.sub("", name)): name for name in names}
    close = get_close_matches(_letters(_PREFIX.sub("", said)), actions, MAX_CANDIDATES, cutoff=0.3)
    return [actions[action] for action in close] or sorted(names)[:MAX_CANDIDATES]


def _letters(text: str) -> str:
    return _SIGNS.sub("", text).casefold()
