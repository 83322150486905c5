"""How a server is found: it announces itself in the network, or Home Assistant's own app of it tells where it is.

zeroconf ─┬─> discovery_confirm ─> api_key, as for a server whose address was entered (`config_flow`)
hassio ───┘
"""

from abc import abstractmethod
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final, override

from homeassistant.config_entries import ConfigEntry, ConfigFlow, ConfigFlowResult
from homeassistant.const import CONF_API_KEY, CONF_URL
from homeassistant.data_entry_flow import AbortFlow
from homeassistant.helpers.service_info.hassio import HassioServiceInfo
from homeassistant.helpers.service_info.zeroconf import ZeroconfServiceInfo

from .api.client import normalised_url
from .api.errors import ZoeError
from .api.openai_client import client_for
from .connection import async_reach, form_errors, is_loopback

_ANNOUNCED: Final = "Zoe on "
"""What servers announce themselves as, with the name of their machine behind it."""


class DiscoveryFlow(ConfigFlow):
    """Offers servers that were found; `_data` becomes the data of the entry, `_where` is the machine of the server."""

    def __init__(self) -> None:
        self._data: dict[str, Any] = {}
        self._where = ""

    @abstractmethod
    async def async_step_api_key(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Go on with a server that is to be connected."""

    @override
    async def async_step_zeroconf(self, discovery_info: ZeroconfServiceInfo) -> ConfigFlowResult:
        """Offer a server that announces itself; one that is known already and has moved gets its new address."""
        server_id = str(discovery_info.properties.get("id") or "")
        if not server_id:
            return self.async_abort(reason="not_zoe")
        await self.async_set_unique_id(server_id)
        if (entry := self._configured(server_id)) is not None and await self._async_stays(entry, server_id):
            return self.async_abort(reason="already_configured")
        url = await self._async_find(discovery_info, server_id)
        self._abort_if_unique_id_configured(updates={CONF_URL: url})
        self._data = {CONF_URL: url}
        name = discovery_info.name.partition(".")[0]
        self._where = name.removeprefix(_ANNOUNCED)
        self.context["title_placeholders"] = {"name": name}
        return await self.async_step_discovery_confirm()

    @override
    async def async_step_hassio(self, discovery_info: HassioServiceInfo) -> ConfigFlowResult:
        """Offer the server of Home Assistant's app, which tells its key as well; a known one gets both anew."""
        config = discovery_info.config
        url = normalised_url(f"http://{config['host']}:{config['port']}")
        self._data = {CONF_URL: url, CONF_API_KEY: str(config["api_key"])}
        await self.async_set_unique_id(str(config["id"]))
        self._abort_if_unique_id_configured(updates=self._data)
        self.context["title_placeholders"] = {"name": discovery_info.name}
        return await self.async_step_discovery_confirm()

    def _configured(self, server_id: str) -> ConfigEntry | None:
        return self.hass.config_entries.async_entry_for_domain_unique_id(self.handler, server_id)

    async def _async_stays(self, entry: ConfigEntry, server_id: str) -> bool:
        """Return whether an entry keeps its address: announcements are anybody's, and would get the key with it.

        One on this very machine always does, any other while the server is still there.
        """
        if is_loopback(entry.data[CONF_URL]):
            return True
        with suppress(ZoeError):
            return (await client_for(self.hass, {CONF_URL: entry.data[CONF_URL]}).async_health()).server_id == server_id
        return False

    async def _async_find(self, discovery_info: ZeroconfServiceInfo, server_id: str) -> str:
        """Return the first of the announced addresses at which the announced server answers.

        Raises:
            AbortFlow: there is none.
        """
        path = str(discovery_info.properties.get("path") or "")
        for address in (discovery_info.ip_address, *discovery_info.ip_addresses):
            with suppress(ZoeError):
                url = normalised_url(f"http://{_host(address)}:{discovery_info.port}{path}")
                if (await client_for(self.hass, {CONF_URL: url}).async_health()).server_id == server_id:
                    return url
        raise AbortFlow("cannot_connect")

    async def async_step_discovery_confirm(self, user_input: dict[str, Any] | None = None) -> ConfigFlowResult:
        """Ask whether a server that was found is to be connected."""
        errors: dict[str, str] = {}
        if user_input is not None:
            try:
                await async_reach(self.hass, self._data[CONF_URL])
            except ZoeError as err:
                errors = form_errors(err)
            else:
                return await self.async_step_api_key()
        return self.async_show_form(
            step_id="discovery_confirm",
            errors=errors,
            description_placeholders={**self.context["title_placeholders"], "url": self._data[CONF_URL]},
        )


def _host(address: IPv4Address | IPv6Address) -> str:
    return f"[{address}]" if isinstance(address, IPv6Address) else str(address)
