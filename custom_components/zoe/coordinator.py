"""Polls the server: what its entities show, and the issues that can be told from it."""

from collections.abc import Callable
from typing import override

from homeassistant.core import CALLBACK_TYPE, HomeAssistant, callback
from homeassistant.exceptions import ConfigEntryAuthFailed
from homeassistant.helpers.update_coordinator import DataUpdateCoordinator, UpdateFailed

from .client import ZoeClient
from .const import DOMAIN, LOGGER, POLL_INTERVAL
from .errors import ZoeError, ZoeUnauthorizedError
from .issues import async_note_failure, async_note_status
from .models import ZoeConfigEntry
from .route import RULE_TOOL_RESULTS, Route
from .server_status import ServerStatus, Speed


class ZoeCoordinator(DataUpdateCoordinator[ServerStatus]):
    """Keeps the latest status of the server, and its latest choice of a model."""

    config_entry: ZoeConfigEntry

    def __init__(self, hass: HomeAssistant, entry: ZoeConfigEntry, client: ZoeClient) -> None:
        super().__init__(hass, LOGGER, config_entry=entry, name=entry.title, update_interval=POLL_INTERVAL)
        self.client = client
        self.route: Route | None = None
        self._polling = False
        self._last: ServerStatus | None = None
        client.on_route = self._async_note_route
        client.on_lost = self._async_look_again

    @override
    async def _async_update_data(self) -> ServerStatus:
        """Ask the server.

        Raises:
            ConfigEntryAuthFailed: it does not take the key; Home Assistant asks for another one, and polls no more.
            UpdateFailed: it does not answer, or not as it should; at the start also if it will be ready soon.
        """
        self._polling = True
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
        finally:
            self._polling = False
        async_note_status(self.hass, self.config_entry, status)
        return status

    async def _async_read(self) -> ServerStatus:
        health = await self.client.async_health()
        health.raise_if_outdated()
        if self._last is None and health.will_change:
            health.raise_if_not_ready()
        metrics = await self.client.async_metrics()
        models = await self.client.async_status()
        last = self._last
        speed = Speed.until(metrics) if last is None else last.speed.after(last.metrics, metrics)
        self._last = ServerStatus(health, tuple(models), metrics, speed)
        return self._last

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
        """Show the server's latest choice at once; going on with a tool's result is none of its own."""
        if route.rule != RULE_TOOL_RESULTS:
            self.route = route
            self.async_update_listeners()

    @callback
    def _async_look_again(self) -> None:
        """Find out whether the server is gone as soon as a request meets it so, and not with the next poll."""
        if self.last_update_success and not self._polling:
            self.config_entry.async_create_task(self.hass, self.async_request_refresh(), "look for the server")
