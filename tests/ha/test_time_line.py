"""The time moves behind what was said, so that what comes before it stays as it was."""

from datetime import UTC, datetime, timedelta

import pytest
from freezegun.api import FrozenDateTimeFactory
from homeassistant.core import HomeAssistant
from homeassistant.util import dt as dt_util
from pytest_homeassistant_custom_component.common import MockConfigEntry

from custom_components.zoe.turn.messages import language_line, with_time, without_time
from tests.ha.conftest import Say
from tests.ha.fake_zoe import FakeZoe

LINE = "Current time is 09:05:00. Today's date is 2026-11-21."


@pytest.mark.parametrize(
    ("prompt", "rest", "found"),
    [
        (f"Be brief.\n{LINE}", "Be brief.", True),
        (f"Be brief.\n\n{LINE}\n", "Be brief.", True),
        (f"Be brief.\n{LINE}\nThe door rang.", "Be brief.\nThe door rang.", True),
        ("Be brief.", "Be brief.", False),
        (f"Never say: {LINE} Never.", f"Never say: {LINE} Never.", False),
    ],
)
def test_without_time(prompt: str, rest: str, found: bool) -> None:
    assert without_time(prompt) == (rest, found)


async def test_with_time(hass: HomeAssistant) -> None:
    await hass.config.async_set_time_zone("Europe/Berlin")
    assert with_time("Hi", datetime(2026, 11, 21, 8, 5, tzinfo=UTC)) == f"Hi\n\n{LINE[:-1]}, a Saturday."


async def test_a_conversation_without_tools_keeps_its_beginning(
    home: HomeAssistant, zoe: FakeZoe, entry: MockConfigEntry, agent: str, say: Say, freezer: FrozenDateTimeFactory
) -> None:
    subentry = next(iter(entry.subentries.values()))
    home.config_entries.async_update_subentry(entry, subentry, data={})
    await home.async_block_till_done()
    for index in range(2):
        zoe.says("Fine.")
        await say(f"How are you {index}?", "talk")
        freezer.tick(timedelta(seconds=70))
    first, second = (request["messages"] for request in zoe.requests)
    assert "Current time" not in first[0]["content"]
    assert first[-1]["content"].startswith("How are you 0?\n\nCurrent time is ")
    assert first[-1]["content"].endswith(f"a {dt_util.now():%A}.")
    assert second[: len(first)] == first
    assert second[-1]["content"].partition("\n\n")[2] != first[-1]["content"].partition("\n\n")[2]


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("de-CH", "Answer in German."),
        ("fr", "Answer in French."),
        ("tlh", 'Answer in the language with the code "tlh".'),
        ("en-GB", ""),
        ("*", ""),
        (None, ""),
    ],
)
def test_language_line(language: str | None, line: str) -> None:
    assert language_line(language) == line


async def test_answers_are_in_the_language_of_the_pipeline(home: HomeAssistant, zoe: FakeZoe, say: Say) -> None:
    zoe.says("Hallo.")
    await say("hallo", language="de")
    zoe.says("Hello.")
    await say("hello")
    (shared, german, _), (same, english, _) = (request["messages"] for request in zoe.requests)
    assert shared == same
    assert german["content"] == f"{english['content']}\nAnswer in German."
