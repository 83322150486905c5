"""Results that are too long keep what was asked for, and say what they leave out."""

import json
from typing import Any

import pytest
from homeassistant.components.homeassistant.exposed_entities import async_expose_entity
from homeassistant.core import HomeAssistant
from homeassistant.helpers import area_registry as ar
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.json import json_dumps
from hypothesis import given
from hypothesis import strategies as st

from custom_components.zoe.turn.history import MIN_RESULT_CHARS, shortened
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe, error_response
from tests.ha.test_conversation import speech

LOOK = ("homeassistant__GetLiveContext", dict[str, Any]())


def entry(name: str, area: str = "Hall", extra: str = "") -> str:
    attributes = f"  attributes:\n    device_class: temperature\n    unit_of_measurement: °C\n{extra}"
    return f"- names: {name}\n  domain: sensor\n  state: '21'\n  areas: {area}\n{attributes}"


HOME = "Live Context: An overview:\n" + "".join(
    entry(f"Thing {number}", "Kitchen" if number == 70 else f"Room {number % 7}") for number in range(100)
)


def result(data: object) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "1", "content": json_dumps({"data": data, "error": False})}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def call(**arguments: object) -> dict[str, Any]:
    function = {"name": "t", "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": function}]}


def shortened_to(room: int, data: object, *asking: dict[str, Any]) -> Any:  # noqa: ANN401 (JSON)
    message = result(data)
    *before, after = shortened([*asking, message], len(message["content"]) - room)
    assert before == list(asking)
    assert len(after["content"]) <= max(room, MIN_RESULT_CHARS)
    assert after == shortened([*asking, message], len(message["content"]) - room)[-1]
    told = json.loads(after["content"])
    assert told["error"] is False
    return told["data"]


def test_what_fits_stays() -> None:
    assert shortened_to(100_000, {"result": HOME}, user("hi")) == {"result": HOME}


def test_first_go_the_attributes_of_what_nobody_named() -> None:
    room = len(result({"result": HOME})["content"]) - 3000
    text = shortened_to(room, {"result": HOME}, user("how warm is it in the kitchen?"))["result"]
    assert text.count("- names") == 100
    assert entry("Thing 70", "Kitchen") in text
    assert text.count("attributes") == 1


def test_then_the_rest_of_the_home() -> None:
    text = shortened_to(1500, {"result": HOME}, user("how warm is it in the kitchen?"))["result"]
    assert text.startswith("Live Context: An overview:\n- names: Thing 0\n")
    assert entry("Thing 70", "Kitchen") in text
    left_out = 100 - text.count("- names")
    assert text.endswith(f"- ({left_out} more; ask for an area, a domain or a name)\n")


def test_the_call_tells_too_what_is_wanted() -> None:
    text = shortened_to(1000, {"result": HOME}, user("und dort?"), call(area="Kitchen"))["result"]
    assert "names: Thing 70" in text
    assert "names: Thing 99" not in text


def test_in_a_script_without_spaces() -> None:
    home = "Live Context:\n" + "".join(
        entry(f"装置{number}", "台所" if number == 50 else "居間") for number in range(80)
    )
    text = shortened_to(1000, {"result": home}, user("台所の温度は?"))["result"]
    assert "装置50\n" in text


def test_what_was_asked_for_can_be_too_long_itself() -> None:
    text = shortened_to(1200, {"result": HOME}, user("which things are there in room 3?"))["result"]
    assert "attributes" not in text
    assert text.count("Room 3") > 5


def test_lists_and_objects_of_other_tools() -> None:
    items = [{"summary": f"Item {number}", "status": "needs_action"} for number in range(80)]
    items[60]["summary"] = "Buy oat milk"
    told = shortened_to(900, {"items": items}, user("is oat milk on the list?"))["items"]
    assert items[60] in told
    assert told[0] == items[0]
    assert told[-1] == f"({81 - len(told)} more)"
    many = {f"sensor.thing_{number}": {"state": number} for number in range(200)}
    told = shortened_to(900, many, user("thing_150"))
    assert told["sensor.thing_150"] == {"state": 150}
    assert told["more"] == 201 - len(told)


def test_a_long_text_ends_with_how_much_is_missing() -> None:
    told = shortened_to(800, {"text": 'He said: "Hello."\n' * 200, "page": 1}, user("read it"))
    assert told["page"] == 1
    assert told["text"].startswith('He said: "Hello."\n')
    assert told["text"].endswith("more characters)")


@pytest.mark.parametrize("data", [7, None, True, "x" * 900, ["x" * 900], {"a": {"b": ["x" * 900, "y"]}}])
def test_whatever_there_is(data: object) -> None:
    shortened_to(500, data, user("hi"))


def test_the_longest_results_give_most() -> None:
    messages = [user("hi"), result("x" * 5000), result("y" * 1000), result("z" * 900)]
    lengths = [len(message["content"]) for message in shortened(messages, 3000)]
    assert lengths[2:] == [len(message["content"]) for message in messages[2:]]
    assert sum(lengths[1:]) <= 6900 - 3000 + 100
    pictured = {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {}}]}
    assert shortened([pictured], 10) == [pictured]
    odd = {"role": "tool", "tool_call_id": "1", "content": json.dumps(["x" * 900, "y"])}
    assert len(shortened([odd], 400)[0]["content"]) <= 510


@given(st.lists(st.text(max_size=2000), max_size=4), st.integers(0, 5000), st.text())
def test_results_never_grow(texts: list[str], excess: int, said: str) -> None:
    messages = [user(said), *(result({"text": text, "list": text.split()}) for text in texts)]
    before = [len(json.dumps(message)) for message in messages]
    after = [len(json.dumps(message)) for message in shortened(messages, excess)]
    limit = 6 * MIN_RESULT_CHARS
    assert all(new <= max(old, limit) for old, new in zip(before, after, strict=True))


async def test_a_look_at_a_large_home_ends_in_an_answer(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    attic = ar.async_get(home).async_create("Attic")
    for number in range(120):
        registered = er.async_get(home).async_get_or_create(
            "sensor", "test", str(number), original_name=f"Probe {number}"
        )
        home.states.async_set(
            registered.entity_id, "21", {"friendly_name": f"Probe {number}", "device_class": "temperature"}
        )
        async_expose_entity(home, "conversation", registered.entity_id, True)
    er.async_get(home).async_update_entity("sensor.test_77", area_id=attic.id)
    zoe.calls(LOOK)
    zoe.script.append(error_response(400, "exceed_context_size_error", "too long", n_prompt_tokens=6300, n_ctx=5300))
    zoe.says("It is 21 degrees.")
    assert speech(await say("how warm is it in the attic?")) == "It is 21 degrees."
    _, refused, sent = zoe.requests
    assert refused["messages"][:-1] == sent["messages"][:-1]
    text = json.loads(sent["messages"][-1]["content"])["data"]["result"]
    assert len(text) < len(json.loads(refused["messages"][-1]["content"])["data"]["result"])
    assert "- names: Probe 77\n  domain: sensor\n  state: '21'\n  areas: Attic\n  attributes:" in text


async def test_what_does_not_fit_even_so_is_an_error(
    home: HomeAssistant, zoe: FakeZoe, say: Say, caplog: pytest.LogCaptureFixture
) -> None:
    zoe.calls(LOOK)
    for _ in range(9):
        zoe.script.append(error_response(400, "exceed_context_size_error", "too long", n_prompt_tokens=9000, n_ctx=100))
    assert speech(await say("how warm is it in the attic?")) == "That's more than I can take in at once."
    assert "could not answer: too long" in caplog.text
    assert len(zoe.requests) <= 4
