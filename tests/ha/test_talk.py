"""What is promised, read, heard and left unspoken: `shared/cases/integration.md`, "Claims and facts" and "Talk".

The home is that of the corpus; its intents and the server's classifier are real, the model is a script.
"""

from typing import Final

import pytest
from homeassistant.components import conversation
from homeassistant.core import Context, HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from tests.ha.conftest import AGENT
from tests.ha.fake_zoe import FakeZoe
from tests.ha.test_door import Call, House
from tests.ha.tool_turns import LIVE, TURN_OFF, TURN_ON, options

pytestmark = pytest.mark.usefixtures("agent")

NEXT: Final = "media_player__HassMediaNext"


@pytest.mark.parametrize(
    ("language", "said", "call", "answer"),
    [
        (
            "en",
            "turn off the desk lamp in ten minutes",
            (TURN_OFF, {"name": "Desk lamp"}),
            "The desk lamp will be turned off in ten minutes.",
        ),
        (
            "en",
            "in half an hour turn off the coffee machine",
            (TURN_OFF, {"name": "Coffee machine"}),
            "I will turn off the coffee machine in half an hour.",
        ),
        (
            "de",
            "Schalte in zehn Minuten die Schreibtischlampe aus",
            (TURN_OFF, {"name": "Schreibtischlampe"}),
            "In zehn Minuten wird die Schreibtischlampe ausgeschaltet.",
        ),
        (
            "fr",
            "éteins la lampe de bureau dans dix minutes",
            (TURN_OFF, {"name": "Lampe de bureau"}),
            "La lampe de bureau sera éteinte dans dix minutes.",
        ),
        (
            "it",
            "spegni la lampada da scrivania tra dieci minuti",
            (TURN_OFF, {"name": "Lampada da scrivania"}),
            "La lampada da scrivania si spegnerà tra dieci minuti.",
        ),
    ],
)
@pytest.mark.parametrize("calls", [True, False], ids=["does it now", "promises it"])
async def test_where_no_timer_can_be_nothing_is_done_and_nothing_promised(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, call: Call, answer: str, calls: bool
) -> None:
    house = await House.async_move_in(hass, zoe, language)
    told = await house.say(said, *((call,) if calls else ()), answer=answer)
    assert house.done == []
    assert answer not in told


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("turn off the desk lamp", (TURN_OFF, {"name": "Desk lamp"})),
        ("set the floor lamp to ten percent", ("light__HassLightSet", {"name": "Floor lamp", "brightness": 10})),
        ("turn on the desk lamp for ten minutes", (TURN_ON, {"name": "Desk lamp"})),
    ],
)
async def test_an_order_with_a_number_is_done_now(hass: HomeAssistant, zoe: FakeZoe, said: str, call: Call) -> None:
    house = await House.async_move_in(hass, zoe)
    assert await house.say(said, call) == "OK."
    assert len(house.done) == 1


@pytest.mark.parametrize(
    ("language", "said", "answer"),
    [
        ("en", "what is the humidity in the bathroom", "It is 45 percent."),
        ("en", "what is the humidity", "It is 45 percent."),
        ("en", "how warm is it in the living room", "[value from static context]"),
        ("en", "is the front door locked", "Yes, the front door is locked."),
        ("en", "which lights are on", "Only the desk lamp is on."),
        ("de", "Wie warm ist es im Wohnzimmer?", "Im Wohnzimmer sind es 19 Grad."),
        ("de", "Ist das Küchenfenster zu?", "Ja, das Küchenfenster ist geschlossen."),
        ("fr", "quelle est l'humidité dans la salle de bain", "Elle est de 45 %."),
        ("es", "¿está cerrada la verja del jardín?", "Sí, está cerrada."),
        ("it", "la lavatrice ha finito?", "Sì, la lavatrice ha finito."),
    ],
)
async def test_a_state_is_told_from_a_reading(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, answer: str
) -> None:
    """The model is asked once more, to look; if it does not, what it made up is not spoken."""
    house = await House.async_move_in(hass, zoe, language)
    told = await house.say(said, answer=answer)
    assert answer not in told
    assert told
    assert len(zoe.requests) == 2
    assert zoe.requests[-1]["tool_choice"] == {"type": "function", "function": {"name": LIVE}}
    zoe.requests.clear()
    assert await house.say(said, (LIVE, {}), answer="It is 58.") == "It is 58."
    assert len(zoe.requests) == 2


@pytest.mark.parametrize(
    ("language", "said", "answer"),
    [
        ("en", "what is the capital of France", "It is Paris."),
        ("en", "what is the humidity", "I do not know the humidity."),
        ("de", "Erzähl mir einen Witz über Lampen", "Eine Lampe geht in eine Bar."),
        ("en", "what can you do", "I can switch lamps, for example."),
        ("en", "is the front door locked", "Which one do you mean?"),
    ],
)
async def test_what_needs_no_reading_is_answered(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, answer: str
) -> None:
    house = await House.async_move_in(hass, zoe, language)
    assert await house.say(said, answer=answer) == answer
    assert len(zoe.requests) == 1


@pytest.mark.parametrize(
    ("language", "said", "times"),
    [("en", "skip two songs", 2), ("en", "skip three songs", 3), ("de", "überspring zwei Lieder", 2)],
)
@pytest.mark.parametrize("together", [True, False], ids=["one answer", "rounds"])
async def test_what_does_more_each_time_is_done_each_time(
    hass: HomeAssistant, zoe: FakeZoe, language: str, said: str, times: int, together: bool
) -> None:
    house = await House.async_move_in(hass, zoe, language)
    for _ in range(1 if together else times):
        zoe.calls(*[(NEXT, {})] * (times if together else 1))
    assert await house.say(said, answer="Skipped.") == "Skipped."
    assert house.done == ["media_next_track media_player.tv"] * times


async def test_what_does_the_same_each_time_is_done_once(hass: HomeAssistant, zoe: FakeZoe) -> None:
    house = await House.async_move_in(hass, zoe)
    call: Call = (TURN_ON, {"name": "Desk lamp"})
    await house.say("turn on the desk lamp", call, call)
    assert house.done == ["turn_on light.desk"]


@pytest.mark.parametrize(
    "answer",
    [
        '{{"name": "intent__HassTurnOn", "arguments": {"name": "Desk lamp"}}}',
        '{"name": "HassTurnOn", "parameters": {"name": "Desk lamp"}}',
        '```json\n{"tool": "intent__HassTurnOn", "arguments": {"name": "Desk lamp"}}\n```',
        'intent__HassTurnOn(name="Desk lamp")',
        '<tool_call>{"name": "intent__HassTurnOn", "arguments": {"name": "Desk lamp"}}',
        "<function=intent__HassTurnOn><parameter=name>Desk lamp</parameter></function>",
    ],
)
async def test_a_printed_call_is_a_call_or_not_spoken(hass: HomeAssistant, zoe: FakeZoe, answer: str) -> None:
    house = await House.async_move_in(hass, zoe)
    zoe.says(*answer)
    told = await house.say("turn on the desk lamp", answer="Well.")
    assert "HassTurn" not in told
    assert "{" not in told
    assert house.done in ([], ["turn_on light.desk"])


async def test_a_printed_call_that_opens_is_asked_about(hass: HomeAssistant, zoe: FakeZoe) -> None:
    house = await House.async_move_in(hass, zoe)
    answer = '{"name": "intent__HassTurnOff", "arguments": {"name": "Front door"}}'
    assert await house.say("unlock the front door", answer=answer) == "Unlock Front door?"
    assert house.done == []


ASKS: Final = "The pasta is ready. Shall I remind you?"


@pytest.mark.parametrize("heard", ["The pasta is ready, shall I remind you?", "pasta is ready shall I remind you"])
async def test_an_echo_is_not_answered(hass: HomeAssistant, zoe: FakeZoe, heard: str) -> None:
    house = await House.async_move_in(hass, zoe)
    assert await house.say("how is the pasta", answer=ASKS, satellite="kitchen", talk="t") == ASKS
    zoe.requests.clear()
    assert await house.say(heard, answer=ASKS, satellite="kitchen", talk="t") == ""
    assert zoe.requests == []
    assert await house.say("yes please", answer="I will.", satellite="kitchen", talk="t") != ""


async def test_a_satellite_does_not_listen_for_ever(hass: HomeAssistant, zoe: FakeZoe) -> None:
    """Whoever it hears: not every noise is like the answer before it."""
    house = await House.async_move_in(hass, zoe)
    zoe.afterwards = "What did you say?"
    listened = []
    for number in range(12):
        result = await conversation.async_converse(
            hass, f"mumble {number}", "t", Context(), "en", AGENT, device_id=house.home.devices["kitchen"]
        )
        listened.append(result.continue_conversation)
    assert listened[0]
    assert not any(listened[8:])


@pytest.mark.parametrize("said", ["what day is it", "how many days until Friday"])
async def test_the_weekday_is_known_without_a_home(
    hass: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, said: str
) -> None:
    await options(hass, entry, llm_hass_api=[])
    house = await House.async_move_in(hass, zoe)
    await house.say(said)
    assert f"a {dt_util.now():%A}." in str(zoe.requests[0]["messages"])
