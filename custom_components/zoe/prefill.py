"""Prompts that are computed before there is a sentence: while somebody speaks, at the start, and after every change.

The server computes a prompt once and shares it. A prompt of a home has thousands of tokens, a sentence has ten; what is
left to do when the sentence is there is the sentence. Nothing here may fail a turn: what goes wrong is logged once, and
the turn computes the prompt itself. One prompt of an agent is computed at a time, and whoever is speaking goes first:
a request that is abandoned ends on the server, which keeps what it has computed.
"""

import asyncio
from collections.abc import Collection
from contextlib import aclosing
from hashlib import sha256
from typing import Any, Final

from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import EVENT_HOMEASSISTANT_STOP
from homeassistant.core import CALLBACK_TYPE, Event, HomeAssistant, callback
from homeassistant.exceptions import HomeAssistantError
from homeassistant.helpers import device_registry as dr
from homeassistant.helpers.debounce import Debouncer
from homeassistant.helpers.json import json_bytes
from homeassistant.helpers.start import async_at_started

from .client import ZoeClient
from .const import LOGGER
from .errors import ZoeError
from .history import ContextBudget
from .memory import Memory
from .prompt_changes import async_listen_prompt_changes
from .satellites import Satellite, Satellites
from .speaker import Speaker, current_speaker
from .turn import RequestStats
from .upcoming import async_upcoming_request

COOLDOWN_S: Final = 5.0
"""Changes come in bursts: a renamed area is one, its hundred entities are others."""
SPEECH_TIMEOUT_S: Final = 30.0
"""By then the sentence is there, and its own request goes on with what was computed."""
SWEEP_TIMEOUT_S: Final = 300.0
"""A small machine takes minutes for the first prompt; nobody waits for it."""


class Primer:
    """Computes the prompts of one agent ahead of time; `budget` is what it learns about the length of requests."""

    def __init__(
        self,
        hass: HomeAssistant,
        subentry: ConfigSubentry,
        budget: ContextBudget,
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
            async_listen_prompt_changes(hass, schedule),
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
        self._satellites.see(self._subentry.subentry_id, Satellite(device_id, language))

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

    @callback
    def _start_sweep(self) -> None:
        self._stop_sweep()
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
                request = await async_upcoming_request(self._hass, self._subentry.data, speaker, self._budget)
                digest = sha256(json_bytes(request)).digest()
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
        async with aclosing(self._client.async_chat(request)) as chunks:
            async for chunk in chunks:
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
