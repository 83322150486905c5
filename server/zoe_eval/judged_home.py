"""A demo home in a core of its own that Zoe speaks for: reset, talk to, look at. Needs Home Assistant (Python 3.14)."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from homeassistant.components import conversation
from homeassistant.components.homeassistant.exposed_entities import async_should_expose
from homeassistant.config_entries import ConfigEntry
from homeassistant.core import Context, Event, HomeAssistant, State, callback
from homeassistant.data_entry_flow import FlowResultType

from zoe_eval.core import home_assistant, load_home, unload_home
from zoe_eval.sentences import Values

AGENT: Final = "conversation.zoe"
EVENT_TURN: Final = "zoe_turn"
_COLOR_HUES: Final = {"red": 0, "orange": 30, "yellow": 60, "green": 120, "blue": 240, "purple": 280, "pink": 330}


@dataclass(frozen=True)
class Turn:
    """What came of one sentence: the words, and the integration's figures and tool calls."""

    reply: str
    error: bool
    figures: Mapping[str, Any]


class JudgedHome:
    """Resets the home before each sentence, and reads its state."""

    def __init__(self, hass: HomeAssistant, inventory: dict[str, Any]) -> None:
        self._hass = hass
        self._inventory = inventory
        self._entry: Any = None
        self._turns: list[Mapping[str, Any]] = []
        hass.bus.async_listen(EVENT_TURN, self._remember)

    @callback
    def _remember(self, event: Event) -> None:
        self._turns.append(event.data)

    async def reset(self, setup: Mapping[str, Values]) -> None:
        """Bring the home into its initial state, changed by `setup`."""
        if self._entry is not None:
            await unload_home(self._hass, self._entry)
        inventory = copy.deepcopy(self._inventory)
        for entity in inventory["entities"]:
            entity.update(_as_options(setup.get(entity["id"], {})))
        self._entry = await load_home(self._hass, inventory)
        await self._hass.async_block_till_done()

    async def say(self, sentence: str) -> Turn:
        """Say a sentence to Zoe, in a conversation of its own."""
        self._turns.clear()
        result = await conversation.async_converse(self._hass, sentence, None, Context(), "en", agent_id=AGENT)
        await self._hass.async_block_till_done()
        response = result.response.as_dict()
        speech = response["speech"].get("plain", {}).get("speech", "")
        return Turn(speech, response["response_type"] == "error", self._turns[-1] if self._turns else {})

    async def values(self) -> dict[str, Values]:
        """Return what is known of every exposed entity."""
        return {
            state.entity_id: await self._values(state)
            for state in self._hass.states.async_all()
            if async_should_expose(self._hass, "conversation", state.entity_id) and state.domain != "conversation"
        }

    async def _values(self, state: State) -> Values:
        if state.domain == "todo":
            return await self._items(state.entity_id)
        a = state.attributes
        values: dict[str, Any] = {"state": state.state}
        if (brightness := a.get("brightness")) is not None:
            values["brightness_pct"] = round(brightness / 2.55)
        if (color := a.get("hs_color")) is not None:
            values |= {"hue": color[0], "saturation": color[1]}
        if (volume := a.get("volume_level")) is not None:
            values["volume_pct"] = round(volume * 100)
        for key, attribute in (
            ("percentage", "percentage"),
            ("position", "current_position"),
            ("temperature", "temperature"),
        ):
            if (value := a.get(attribute)) is not None:
                values[key] = value
        return values

    async def _items(self, entity_id: str) -> Values:
        response = await self._hass.services.async_call(
            "todo", "get_items", {"entity_id": entity_id}, blocking=True, return_response=True
        )
        items: Any = (response or {}).get(entity_id, {})
        by_status: dict[str, list[str]] = {"items": [], "completed": []}
        for item in items.get("items", ()):
            by_status["completed" if item["status"] == "completed" else "items"].append(item["summary"])
        return by_status


def _as_options(values: Values) -> dict[str, Any]:
    """Return the inventory's words for the schema's values."""
    options = {key: value for key, value in values.items() if key not in ("volume_pct", "color_name")}
    if "volume_pct" in values:
        options["volume"] = values["volume_pct"] / 100
    if name := values.get("color_name"):
        options["hs_color"] = [0, 0] if name == "white" else [_COLOR_HUES[name], 100]
    return options


@asynccontextmanager
async def judged_home(
    inventory: dict[str, Any], zoe: Path, url: str, api_key: str | None = None
) -> AsyncIterator[JudgedHome]:
    """Run a core with the integration at `zoe` (its folder), set up through its own dialog for the server at `url`.

    Raises:
        RuntimeError: the dialog refused the server.
    """
    async with home_assistant({"zoe": zoe}) as hass:
        home = JudgedHome(hass, inventory)
        await home.reset({})
        entry = await connect(hass, url, api_key)
        (agent,) = entry.get_subentries_of_type("conversation")
        # Each sentence is a conversation of its own, so nobody says yes.
        hass.config_entries.async_update_subentry(entry, agent, data={**agent.data, "confirm": "never"})
        await hass.async_block_till_done()
        yield home


async def connect(hass: HomeAssistant, url: str, api_key: str | None = None) -> ConfigEntry:
    """Set up the server at `url` through the integration's dialog; the outcome of its check is taken as it is.

    Raises:
        RuntimeError: the dialog refused the server.
    """
    flows = hass.config_entries.flow
    result = await flows.async_init("zoe", context={"source": "user"})
    unanswered: dict[str, dict[str, str]] = {"checked": {}, "no_tool_calls": {}, "too_long": {}}
    unanswered |= {"user": {"url": url}, "api_key": {"api_key": api_key or ""}}
    while result["type"] is not FlowResultType.CREATE_ENTRY:
        if result["type"] is FlowResultType.SHOW_PROGRESS:
            await hass.async_block_till_done()
            result = await flows.async_configure(result["flow_id"])
        elif result["type"] is FlowResultType.FORM and result["step_id"] in unanswered:
            result = await flows.async_configure(result["flow_id"], unanswered.pop(result["step_id"]))
        else:
            said = result.get("errors") or result.get("reason") or result.get("description_placeholders")
            raise RuntimeError(f"Zoe's set-up dialog did not accept {url}: {said}")
    return result["result"]
