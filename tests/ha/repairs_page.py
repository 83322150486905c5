"""The page Repairs, as a browser asks for it."""

from datetime import timedelta
from http import HTTPStatus
from typing import Any

from aiohttp.test_utils import TestClient
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.helpers import issue_registry as ir
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import async_fire_time_changed
from pytest_homeassistant_custom_component.typing import ClientSessionGenerator


class Repairs:
    """The page Repairs, over HTTP."""

    def __init__(self, hass: HomeAssistant, client: TestClient[Any, Any]) -> None:
        self._hass, self._client = hass, client

    def issues(self) -> dict[str, ir.IssueEntry]:
        ours = [issue for (domain, _), issue in ir.async_get(self._hass).issues.items() if domain == "zoe"]
        return {str(issue.translation_key): issue for issue in ours if issue.active}

    async def start(self, kind: str) -> dict[str, Any]:
        issue_id = self.issues()[kind].issue_id
        return await self._post("", {"handler": "zoe", "issue_id": issue_id})

    async def submit(
        self, form: dict[str, Any], data: dict[str, Any] | None = None, *, wait: bool = True
    ) -> dict[str, Any]:
        """Send the form; `wait` for what it begins in the background."""
        return await self._post(f"/{form['flow_id']}", data or {}, wait=wait)

    async def look(self, form: dict[str, Any]) -> dict[str, Any]:
        response = await self._client.get(f"/api/repairs/issues/fix/{form['flow_id']}")
        assert response.status == HTTPStatus.OK, await response.text()
        result: dict[str, Any] = await response.json()
        return result

    async def close(self, form: dict[str, Any]) -> None:
        response = await self._client.delete(f"/api/repairs/issues/fix/{form['flow_id']}")
        assert response.status == HTTPStatus.OK, await response.text()

    async def _post(self, path: str, data: dict[str, Any], *, wait: bool = True) -> dict[str, Any]:
        response = await self._client.post(f"/api/repairs/issues/fix{path}", json=data)
        assert response.status == HTTPStatus.OK, await response.text()
        result: dict[str, Any] = await response.json()
        await self._hass.async_block_till_done(wait_background_tasks=wait)
        return result


async def open_repairs(hass: HomeAssistant, hass_client: ClientSessionGenerator) -> Repairs:
    for component in ("conversation", "media_source", "repairs"):  # a client freezes the routes
        assert await async_setup_component(hass, component, {})
    return Repairs(hass, await hass_client())


async def poll(hass: HomeAssistant, freezer: FrozenDateTimeFactory) -> None:
    freezer.tick(timedelta(seconds=31))
    async_fire_time_changed(hass)
    await hass.async_block_till_done(wait_background_tasks=True)
