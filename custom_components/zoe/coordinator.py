"""Polls the server: what its entities show, and the issues that can be told from it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, override

from homeassistant.config_entries import ConfigEntry
from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryAuthFailed
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed

from .api.client import RULE_TOOL_RESULTS, ChatStream, Route
from .api.errors import ZoeCannotConnectError, ZoeError, ZoeStreamBrokenError, ZoeUnauthorizedError
from .api.openai_client import client_for
from .api.status import ServerStatus, Speed
from .const import DOMAIN, LOGGER, POLL_INTERVAL
from .issues import async_note_failure, async_note_status

type ZoeConfigEntry = ConfigEntry[ZoeCoordinator]


class ZoeCoordinator(DataUpdateCoordinator[ServerStatus]):
    """Keeps the door to the server, its latest status, and its latest choice of a model.

    `model_names` are those that a request could ask for when the entry was set up.
    """

    config_entry: ZoeConfigEntry

    def __init__(self, hass: HomeAssistant, entry: ZoeConfigEntry) -> None:
        super().__init__(hass, LOGGER, config_entry=entry, name=entry.title, update_interval=POLL_INTERVAL)
        self.client = client_for(hass, entry.data)
        self.model_names: list[str] = []
        self.route: Route | None = None
        self._last: ServerStatus | None = None

    @override
    async def _async_update_data(self) -> ServerStatus:
        """Ask the server.

        Raises:
            ConfigEntryAuthFailed: it does not take the key; Home Assistant asks for another one, and polls no more.
            UpdateFailed: it does not answer, or not as it should; at the start also if it will be ready soon.
        """
        try:
            status = await self._async_read()
        except ZoeError as err:
            async_note_failure(self.hass, self.config_entry, err)
            kind = ConfigEntryAuthFailed if isinstance(err, ZoeUnauthorizedError) else UpdateFailed
            raise kind(
                translation_domain=DOMAIN,
                translation_key=err.translation_key,
                translation_placeholders=err.placeholders,
            ) from err
        async_note_status(self.hass, self.config_entry, status)
        return status

    async def _async_read(self) -> ServerStatus:
        health = await self.client.async_health()
        health.raise_if_outdated()
        last = self._last
        if last is None:
            if health.will_change:
                health.raise_if_not_ready()
            self.model_names = await self.client.async_models()
        metrics = await self.client.async_metrics()
        models = await self.client.async_status()
        speed = Speed.until(metrics) if last is None else last.speed.after(last.metrics, metrics)
        self._last = ServerStatus(health, tuple(models), metrics, speed)
        return self._last

    @asynccontextmanager
    async def async_chat(self, body: dict[str, Any], within_s: float | None = None) -> AsyncIterator[ChatStream]:
        """Send a chat request of the household, see `ZoeClient.async_chat`.

        The server's choice is shown at once, and whether it has gone, or come back, is found out before the next poll.

        Raises:
            ZoeError: the server or the model fails.
        """
        try:
            async with self.client.async_chat(body, within_s) as answer:
                self._async_note_route(answer.route)
                yield answer
        except ZoeCannotConnectError, ZoeStreamBrokenError:
            self._async_look_again(if_answered=True)
            raise
        self._async_look_again(if_answered=False)

    @callback
    def async_listen_return(self, listener: Callable[[], None]) -> CALLBACK_TYPE:
        """Call `listener` whenever a server that could not be used can be used again; returns what ends it."""
        usable = self.usable

        @callback
        def updated() -> None:
            nonlocal usable
            before, usable = usable, self.usable
            if usable and not before:
                listener()

        return self.async_add_listener(updated)

    @property
    def usable(self) -> bool:
        """Whether the server answers, and is ready to answer more than that."""
        return self.last_update_success and self.data.health.ready

    @callback
    def _async_note_route(self, route: Route) -> None:
        """Show a choice; going on with a tool's result is none of its own."""
        if route.rule != RULE_TOOL_RESULTS:
            self.route = route
            self.async_update_listeners()

    @callback
    def _async_look_again(self, *, if_answered: bool) -> None:
        """Poll the server now if the last poll found it there, or did not, and a request has met it otherwise."""
        if self.last_update_success == if_answered:
            self.config_entry.async_create_task(self.hass, self.async_request_refresh(), "look for the server")
