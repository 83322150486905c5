"""Prompts that are computed before there is a sentence: while somebody speaks, at the start, and after every change.

The server computes a prompt once and shares it. A prompt of a home has thousands of tokens, a sentence has ten; what
is left to do when the sentence is there is the sentence. Nothing here may fail a turn: what goes wrong is logged
once, and the turn computes the prompt itself. One prompt of an agent is computed at a time, and whoever is speaking
goes first: a request that is abandoned ends on the server, which keeps what it has computed.

A prompt changes with what is exposed, how it is called, where it is, and which tools there are (`prompt_changes.py`).
What cannot be seen here: what a user's own prompt template reads. The request takes the way of the real one
(`async_provide_prompt`, `request.chat_request`), with a chat log that is a copy, so both have the same bytes up to
the sentence.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, cast

from homeassistant.components import conversation
from homeassistant.components.conversation.chat_log import DATA_CHAT_LOGS
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import (
    CONF_LLM_HASS_API,
    CONF_PROMPT,
    EVENT_HOMEASSISTANT_STOP,
)
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers import llm
from homeassistant.helpers.debounce import Debouncer
from homeassistant.helpers.json import json_bytes
from homeassistant.helpers.start import async_at_started

from .api.client import ZoeClient
from .api.errors import ZoeError
from .const import LOGGER
from .memory import Memory, async_load_memory
from .options import AgentOptions
from .prompt_changes import PromptChanges
from .speaker import Satellite, Satellites, Speaker, current_speaker
from .turn.history import ContextBudget
from .turn.request import RequestKind, chat_request
from .turn.stats import RequestStats

COOLDOWN_S: Final = 5.0
"""Changes come in bursts: a renamed area is one, its hundred entities are others."""
SPEECH_TIMEOUT_S: Final = 30.0
"""By then the sentence is there, and its own request goes on with what was computed."""
SWEEP_TIMEOUT_S: Final = 300.0
"""A small machine takes minutes for the first prompt; nobody waits for it."""


class Primer:
    """Computes the prompts of one agent ahead of time; `budget` tells what is known of how long a request may be."""

    def __init__(
        self,
        hass: HomeAssistant,
        subentry: ConfigSubentry,
        budget: Callable[[], ContextBudget],
        client: ZoeClient,
        satellites: Satellites,
    ) -> None:
        self._hass = hass
        self._subentry = subentry
        self._budget = budget
        self._client = client
        self._satellites = satellites
        self._one = asyncio.Lock()
        self._sweep: asyncio.Task[None] | None = None
        self._computed: set[bytes] = set()
        self._failing = False
        self._changes = PromptChanges(hass, self.async_schedule, self._devices)
        self._debouncer = Debouncer(
            hass, LOGGER, cooldown=COOLDOWN_S, immediate=False, function=self._start_sweep, background=True
        )

    @callback
    def async_start(self, memory: Memory) -> CALLBACK_TYPE:
        """Begin to keep the prompts computed, with what is in `memory`; returns what ends it."""
        hass, schedule = self._hass, self.async_schedule

        @callback
        def started(_: HomeAssistant) -> None:
            schedule()

        @callback
        def stopping(_: Event) -> None:
            self._stop()

        ends = [
            async_at_started(hass, started),
            self._changes.async_start(),
            memory.async_listen(schedule),
            hass.bus.async_listen(EVENT_HOMEASSISTANT_STOP, stopping),
        ]

        @callback
        def end() -> None:
            for one in ends:
                one()
            self._stop()

        return end

    @callback
    def async_schedule(self) -> None:
        """Compute, soon, those prompts that have changed."""
        self._debouncer.async_schedule_call()

    @callback
    def async_recompute(self) -> None:
        """Compute, soon, all prompts: the server may have lost them."""
        self._computed.clear()
        self.async_schedule()

    @callback
    def async_see(self, device_id: str | None, language: str) -> None:
        """Take note of a device that a sentence came from: its prompt is worth keeping computed."""
        known = self._devices()
        self._satellites.see(self._subentry.subentry_id, Satellite(device_id, language))
        if self._devices() != known:
            self._changes.async_look()

    async def async_prepare(self, language: str | None) -> None:
        """Compute the prompt of what is being said right now."""
        speaker = current_speaker(self._hass, language)
        interrupted = self._stop_sweep()
        try:
            async with self._one:
                await self._prime(speaker, SPEECH_TIMEOUT_S)
        finally:
            if interrupted:
                self.async_schedule()

    def _devices(self) -> set[str]:
        satellites = self._satellites.seen(self._subentry.subentry_id)
        return {one.device_id for one in satellites if one.device_id}

    @callback
    def _start_sweep(self) -> None:
        self._stop_sweep()
        self._changes.async_look()
        self._sweep = self._hass.async_create_background_task(
            self._async_sweep(), f"compute prompts of {self._subentry.title}"
        )

    async def _async_sweep(self) -> None:
        """Compute a prompt for each kind of satellite; the kinds that share one are one."""
        computed, self._computed = self._computed, set()
        async with self._one:
            for speaker in self._speakers():
                digest = await self._prime(speaker, SWEEP_TIMEOUT_S, computed | self._computed)
                if digest is not None:
                    self._computed.add(digest)

    def _speakers(self) -> list[Speaker]:
        devices = dr.async_get(self._hass)
        satellites = self._satellites.seen(self._subentry.subentry_id)
        there = [one for one in satellites if one.device_id is None or devices.async_get(one.device_id)]
        known = there or [Satellite(None, self._hass.config.language)]
        return [Speaker(language, device_id) for device_id, language in known]

    async def _prime(self, speaker: Speaker, timeout_s: float, computed: Collection[bytes] = ()) -> bytes | None:
        """Have a prompt computed unless it is among `computed`; return what tells it from others, None if it failed."""
        try:
            async with asyncio.timeout(timeout_s):
                request = await async_upcoming_request(self._hass, self._subentry.data, speaker, self._budget())
                digest = sha256(json_bytes({**request, "zoe": None})).digest()  # which is not a part of the prompt
                if digest not in computed:
                    await self._compute(request)
        except TimeoutError:
            LOGGER.debug("The prompt of %s was not computed within %s s", self._subentry.title, timeout_s)
            return None
        except (HomeAssistantError, ZoeError) as err:
            self._complain(str(err))
            return None
        except Exception as err:  # noqa: BLE001 (others' tools and templates take part, and nothing here may fail a turn)
            self._complain(repr(err))
            return None
        return digest

    async def _compute(self, request: dict[str, Any]) -> None:
        stats = RequestStats()
        async with self._client.async_chat(request) as answer:
            async for chunk in answer.chunks:
                stats.read_chunk(chunk)
        self._failing = False
        LOGGER.debug(
            "The prompt of %s is computed; %s of its %s tokens were known",
            self._subentry.title,
            stats.cached_tokens,
            stats.prompt_tokens,
        )

    def _complain(self, reason: str) -> None:
        """Log why a prompt could not be computed; as a warning only once, until it works again."""
        level = LOGGER.debug if self._failing else LOGGER.warning
        level("The prompt of %s could not be computed ahead: %s", self._subentry.title, reason)
        self._failing = True
        self._computed.clear()  # a server that comes back may have lost what it had

    def _stop_sweep(self) -> bool:
        """Abandon what is being computed for later; returns whether there was anything."""
        sweep, self._sweep = self._sweep, None
        return sweep is not None and sweep.cancel()

    @callback
    def _stop(self) -> None:
        self._debouncer.async_shutdown()
        self._stop_sweep()


_CONVERSATION: Final = "zoe-prefill"


@dataclass(frozen=True)
class _PromptWithFacts(conversation.SystemContent):
    """A system prompt with what the household wants its agents to know, which may be other facts with the next turn."""

    bare: str = ""


async def async_provide_prompt(
    chat_log: conversation.ChatLog,
    agent: Mapping[str, Any],
    llm_context: llm.LLMContext,
    extra_prompt: str | None = None,
) -> None:
    """Put the system prompt and the tools of a turn into its chat log; `agent` is the data of a subentry.

    Raises:
        ConverseError: Home Assistant cannot make them.
    """
    await chat_log.async_provide_llm_data(
        llm_context, agent.get(CONF_LLM_HASS_API), agent.get(CONF_PROMPT), extra_prompt
    )
    prompt = cast("conversation.SystemContent", chat_log.content[0])  # which every chat log begins with
    # Home Assistant 2026.11 keeps the prompt of a conversation: then it is the one that we made in an earlier turn.
    bare = prompt.bare if isinstance(prompt, _PromptWithFacts) else prompt.content
    facts = (await async_load_memory(chat_log.hass)).as_prompt()
    chat_log.content[0] = _PromptWithFacts(f"{bare}\n{facts}", bare) if facts else conversation.SystemContent(bare)


async def async_upcoming_request(
    hass: HomeAssistant, agent: Mapping[str, Any], speaker: Speaker, budget: ContextBudget | None = None
) -> dict[str, Any]:
    """Return the request that computes the prompt of what `speaker` says next to an agent, and nothing more.

    `agent` is the data of its subentry, `budget` what it has learned about the length of requests.

    Raises:
        ConverseError: Home Assistant cannot make the prompt.
    """
    chat_log = _private_log(hass, speaker.conversation_id)
    await async_provide_prompt(chat_log, agent, speaker.as_llm_context())
    # Without the sentence to come, the history might be cut elsewhere, and some chat templates would refuse.
    chat_log.content.append(conversation.UserContent(""))
    kind = RequestKind(speaker.language, priority="background")
    body = chat_request(hass, chat_log, AgentOptions.from_data(agent), budget or ContextBudget(), kind, {}).body
    *before, _ = body["messages"]
    return {**body, "messages": [*before, {"role": "user", "content": ""}], "max_tokens": 0}


def _private_log(hass: HomeAssistant, conversation_id: str | None) -> conversation.ChatLog:
    """Return a chat log that nobody else sees, with what was said in a conversation so far."""
    chat_log = conversation.ChatLog(hass, _CONVERSATION)
    known = hass.data.get(DATA_CHAT_LOGS, {}).get(conversation_id or "")
    if known is not None:
        chat_log.content = known.content.copy()
        chat_log.extra_system_prompt = known.extra_system_prompt
    return chat_log
