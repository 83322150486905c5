"""What guards the home is opened only for somebody who said so: `shared/cases/integration.md`, "At the door".

The home is that of the corpus; its intents and the server's classifier are real, the model is a script.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Self

import pytest
from homeassistant.components import ai_task, conversation
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.components.intent.const import TIMER_DATA
from homeassistant.config_entries import ConfigSubentry
from homeassistant.const import EVENT_CALL_SERVICE
from homeassistant.core import Context, Event, HomeAssistant
from homeassistant.helpers import llm
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    async_capture_events,
    async_mock_service,
)

from tests.ha.conftest import AGENT
from tests.ha.corpus_home import CorpusHome
from tests.ha.fake_zoe import FakeZoe
from tests.ha.test_corpus import Classifier
from tests.ha.tool_turns import TURN_OFF, TURN_ON, options, speech, tool_results

pytestmark = pytest.mark.usefixtures("agent")

TIMER: Final = "intent__HassStartTimer"
POSITION: Final = "intent__HassSetPosition"
STOP: Final = "intent__HassStopMoving"
TOGGLE: Final = "intent__HassToggle"

type Call = tuple[str, dict[str, Any]]
type Things = Mapping[str, Mapping[str, Any]]


def thing(name: str, area: str | None = None, state: str = "off", **more: object) -> dict[str, Any]:
    """A thing as the corpus has them, of one name in every language."""
    return {"names": dict.fromkeys(("en", "de", "fr", "es", "nl", "it"), name), "area": area, "state": state, **more}


@dataclass
class House:
    """The home of the corpus with more things, or without some rooms, that is talked to. `done` is what came of it."""

    home: CorpusHome
    zoe: FakeZoe
    calls: list[Event]

    @classmethod
    async def async_move_in(
        cls,
        hass: HomeAssistant,
        zoe: FakeZoe,
        language: str = "en",
        things: Things | None = None,
        without: Iterable[str] = (),
    ) -> Self:
        home = CorpusHome(hass, language)
        entities: dict[str, Any] = {**home.data["entities"], **(things or {})}
        home.data["entities"] = {key: one for key, one in entities.items() if one["area"] not in without}
        for area in without:
            del home.data["areas"][area]
        await home.async_set_up()
        for domain, service in (("button", "press"), ("script", "turn_on"), ("input_boolean", "turn_on")):
            async_mock_service(hass, domain, service)
        zoe.judge = Classifier()
        return cls(home, zoe, async_capture_events(hass, EVENT_CALL_SERVICE))

    async def say(
        self, text: str, *calls: Call, answer: str = "OK.", satellite: str | None = None, talk: str | None = None
    ) -> str:
        """Say something to a model that makes these calls together, after its script, and then answers."""
        self.zoe.afterwards = answer
        self.calls.clear()
        if calls:
            self.zoe.calls(*calls)
        hass, device_id = self.home.hass, self.home.devices[satellite] if satellite else None
        language = self.home.language
        result = await conversation.async_converse(hass, text, talk, Context(), language, AGENT, device_id=device_id)
        await hass.async_block_till_done()
        self.zoe.script.clear()
        return speech(result)

    @property
    def done(self) -> list[str]:
        return sorted(f"{event.data['service']} {event.data['service_data'].get('entity_id')}" for event in self.calls)


@pytest.mark.parametrize(
    ("language", "said", "call", "question"),
    [
        ("en", "lock the back door", (TURN_OFF, {"name": "Back door"}), "Unlock Back door?"),
        ("de", "Schließ die Hintertür ab", (TURN_OFF, {"name": "Hintertür"}), "Hintertür aufschließen?"),
        ("en", "close the garage door", (TURN_ON, {"name": "Garage door"}), "Open Garage door?"),
        ("en", "shut off the water main", (TURN_ON, {"name": "Water main"}), "Open Water main?"),
        ("nl", "doe de tuinpoort dicht", (POSITION, {"name": "Tuinpoort", "position": 100}), "Tuinpoort openen?"),
    ],
)
async def test_the_question_names_what_will_be_done(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, call: Call, question: str
) -> None:
    """An order to lock never ends in an unlock without that."""
    house = await House.async_move_in(hass, zoe, language)
    assert await house.say(said, call, answer="The back door is locked.") == question
    assert house.done == []


UNLOCK: Final = {
    "en": ("unlock the front door", "Front door"),
    "de": ("Schließ die Haustür auf", "Haustür"),
    "fr": ("déverrouille la porte d'entrée", "Porte d'entrée"),
    "es": ("desbloquea la puerta principal", "Puerta principal"),
    "nl": ("ontgrendel de voordeur", "Voordeur"),
    "it": ("sblocca la porta d'ingresso", "Porta d'ingresso"),
}


NO_CONSENT: Final = {
    "en": ("Yes?", "OK, thanks", "yes, what did you say?", "yeah right", "yes I heard you", "is it locked"),
    "de": ("Bitte?", "Sicher?", "Ja, ja, schon gut", "ja nein vielleicht", "Na klar, und die Erde ist flach"),
    "fr": ("oui mais plus tard", "Oui, c'est qui ?"),
    "es": ("¿Sí?", "sí que hace frío"),
    "nl": ("ja maar nu niet", "Oké"),
    "it": ("sì, anzi no", "Prego?"),
}


@pytest.mark.parametrize("language", NO_CONSENT)
async def test_asking_back_is_no_yes(hass: HomeAssistant, zoe: FakeZoe, language: str) -> None:
    house = await House.async_move_in(hass, zoe, language)
    said, name = UNLOCK[language]
    call = (TURN_OFF, {"name": name})
    for reply in NO_CONSENT[language]:
        assert (await house.say(said, call, talk=reply)).endswith("?")
        await house.say(reply, talk=reply)
        assert house.done == [], reply
        await house.say(said, call, talk=reply)
        await house.say(reply, call, talk=reply)
        assert house.done == [], reply


UNKNOWN_YES: Final = {"sv": "nej, absolut inte", "pt": "sim", "ru": "Да", "da": "ja", "ja": "はい"}


async def test_without_words_for_yes_there_is_no_consent(hass: HomeAssistant, zoe: FakeZoe) -> None:
    house = await House.async_move_in(hass, zoe)
    call = (TURN_OFF, {"name": "Front door"})
    for house.home.language, reply in UNKNOWN_YES.items():
        await house.say("Front door", call, talk=reply)
        await house.say(reply, call, talk=reply)
        assert house.done == [], reply


@pytest.mark.parametrize(
    ("language", "said", "command", "name"),
    [
        ("en", "unlock the front door in five seconds", "unlock the front door", "Front door"),
        ("en", "in ten minutes open the garage door", "open the garage door", "Garage door"),
        ("de", "öffne in zehn Minuten das Garagentor", "öffne das Garagentor", "Garagentor"),
        ("fr", "ouvre le portail dans deux minutes", "ouvre le portail", "Portail du jardin"),
        ("en", "let the postman in in a minute", "let the postman in by the front door", "Front door"),
        ("en", "open the gate in the garden in a minute", "open the gate in the garden", "Garden gate"),
        (
            "en",
            "in a minute set a timer that unlocks the front door",
            "unlock the front door in 5 seconds",
            "Front door",
        ),
    ],
)
async def test_a_delayed_command_is_judged_by_what_it_will_do(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, command: str, name: str
) -> None:
    house = await House.async_move_in(hass, zoe, language)
    asked = await house.say(said, (TIMER, {"seconds": 5, "conversation_command": command}), satellite="hallway")
    assert name in asked
    assert asked.endswith("?")
    assert not hass.data[TIMER_DATA].timers


@pytest.mark.parametrize(
    "command", ["turn off the floor lamp", "lock the front door", "close the garden gate", "close the garage door"]
)
async def test_a_delayed_command_that_opens_nothing_is_not_asked_about(
    hass: HomeAssistant, zoe: FakeZoe, command: str
) -> None:
    house = await House.async_move_in(hass, zoe)
    call = (TIMER, {"minutes": 5, "conversation_command": command})
    assert await house.say(f"{command} in five minutes", call, satellite="hallway") == "OK."
    (timer,) = hass.data[TIMER_DATA].timers
    hass.data[TIMER_DATA].cancel_timer(timer)


@pytest.mark.parametrize(
    ("language", "said", "entity_id", "more"),
    [
        ("en", "open the garage", "cover.garage_door", {}),
        ("en", "open the gate", "button.gate", thing("Open gate", "garden")),
        ("en", "open the garage", "cover.hormann", thing("Hörmann", "garage", "closed")),
        ("en", "trigger the garage opener", "switch.opener", thing("Garage opener", "garage")),
        ("en", "activate the gate pulse", "scene.gate", thing("Gate pulse", "garden", "unknown")),
        ("en", "press the door buzzer", "input_button.buzzer", thing("Door buzzer", "hallway")),
        ("de", "Betätige den Türöffner", "switch.tueroeffner", thing("Türöffner", "hallway")),
        ("de", "Drück auf Hoftor", "button.hoftor", thing("Hoftor", "garden")),
        ("de", "Mach die Einfahrt auf", "cover.einfahrt", thing("Einfahrt", "garden", "closed")),
        ("fr", "ouvre la gâche de la porte", "switch.gache", thing("Gâche porte", "hallway")),
        ("es", "pulsa el abrepuertas", "button.abre", thing("Abrepuertas", "hallway")),
        ("it", "attiva l'apriporta", "switch.apri", thing("Apriporta", "hallway")),
        ("nl", "bedien de deuropener", "switch.deur", thing("Deuropener", "hallway")),
        ("en", "open the skylight", "cover.skylight", thing("Skylight", "bedroom", "closed", device_class="window")),
    ],
)
async def test_what_is_like_a_door_is_asked_about(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, entity_id: str, more: dict[str, Any]
) -> None:
    house = await House.async_move_in(hass, zoe, language, {entity_id: more} if more else None)
    name = house.home.data["entities"][entity_id]["names"][language]
    asked = await house.say(said, (TURN_ON, {"name": name}))
    assert name in asked
    assert asked.endswith("?")
    assert house.done == []


@pytest.mark.parametrize(
    ("language", "said", "call", "done"),
    [
        ("en", "stop the garage door", (STOP, {"name": "Garage door"}), "stop_cover cover.garage_door"),
        ("en", "lock the back door", (TURN_ON, {"name": "Back door"}), "lock lock.back_door"),
        ("en", "close the garden gate", (TURN_OFF, {"name": "Garden gate"}), "close_cover cover.garden_gate"),
        ("en", "shut the water main", (TURN_OFF, {"name": "Water main"}), "close_valve valve.water_main"),
        ("de", "Halt das Garagentor an", (STOP, {"name": "Garagentor"}), "stop_cover cover.garage_door"),
        ("de", "Schließ die Haustür ab", (TURN_ON, {"name": "Haustür"}), "lock lock.front_door"),
        (
            "fr",
            "ferme la porte de garage",
            (POSITION, {"name": "Porte de garage", "position": 0}),
            "set_cover_position cover.garage_door",
        ),
        ("en", "lock every door", (TURN_ON, {"domain": ["lock"]}), "lock lock.back_door"),
        ("en", "turn off the alarm siren", (TURN_OFF, {"name": "Alarm siren"}), "turn_off siren.alarm_siren"),
    ],
)
@pytest.mark.parametrize("confirm", ["opening", "everything"])
async def test_what_closes_never_waits(
    hass: HomeAssistant,
    zoe: FakeZoe,
    entry: MockConfigEntry,
    language: str,
    said: str,
    call: Call,
    done: str,
    confirm: str,
) -> None:
    await options(hass, entry, confirm=confirm)
    house = await House.async_move_in(hass, zoe, language)
    assert await house.say(said, call) == "OK."
    assert done in house.done


KITCHEN_OFF: Final = [
    "turn_off light.kitchen_ceiling",
    "turn_off light.kitchen_counter",
    "turn_off media_player.kitchen_radio",
    "turn_off switch.coffee_machine",
]


@pytest.mark.parametrize(
    ("language", "said", "call", "done"),
    [
        ("en", "turn off everything in the kitchen", (TURN_OFF, {"area": "Kitchen"}), KITCHEN_OFF),
        ("de", "Mach in der Küche alles aus", (TURN_OFF, {"area": "Küche"}), KITCHEN_OFF),
        ("en", "turn off everything in the kitchen", (TURN_OFF, {"area": "Kitchen", "name": "all"}), KITCHEN_OFF),
        ("it", "apri tutto in giardino", (TURN_ON, {"area": "Giardino"}), []),
        ("en", "turn on everything in the hallway", (TURN_ON, {"area": "Hallway"}), []),
        ("en", "turn off everything in the hallway", (TURN_OFF, {"area": "Hallway"}), []),
        (
            "en",
            "turn off everything in the kitchen",
            (TURN_OFF, {"area": "Kitchen", "domain": ["light", "switch", "lock"]}),
            [one for one in KITCHEN_OFF if "radio" not in one],
        ),
        ("fr", "éteins tout dans le garage", (TURN_OFF, {"area": "Garage"}), []),
    ],
)
async def test_what_guards_the_home_is_no_part_of_everything(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, language: str, said: str, call: Call, done: list[str]
) -> None:
    await options(hass, entry, confirm="never")
    things = {"cover.kitchen_blind": thing("Blind", "kitchen", "open", device_class="blind")}
    house = await House.async_move_in(hass, zoe, language, things)
    await house.say(said, call)
    assert house.done == done


@pytest.mark.parametrize(
    "call",
    [
        (TURN_OFF, {"name": "Front door"}),
        (TURN_ON, {"name": "Garage door"}),
        (POSITION, {"name": "Garden gate", "position": 100}),
        (TURN_ON, {"name": "Open gate"}),
        (TOGGLE, {"name": "Back door"}),
        (TIMER, {"seconds": 5, "conversation_command": "unlock the front door"}),
    ],
)
async def test_a_task_never_opens_the_home(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, call: Call
) -> None:
    things = {"button.gate": thing("Open gate", "garden")}
    house = await House.async_move_in(hass, zoe, things=things)
    for entity_id in house.home.data["entities"]:
        async_expose_entity(hass, "ai_task", entity_id, True)
    task = ConfigSubentry(data=MappingProxyType({}), subentry_type="ai_task_data", title="Clerk", unique_id=None)
    hass.config_entries.async_add_subentry(entry, task)
    await hass.async_block_till_done()
    zoe.calls(call)
    zoe.afterwards = "Done."
    (api,) = (one for one in llm.async_get_apis(hass) if one.id == llm.LLM_API_ASSIST)
    await ai_task.async_generate_data(
        hass, task_name="t", entity_id="ai_task.clerk", instructions="Open up for the guests.", llm_api=api
    )
    assert house.done == []
    (result,) = tool_results(zoe)
    assert result["error"]
