"""A person with a browser: adds the server by clicks, lets Assist ask it, says a sentence, and sees the light go on.

`ZOE_TEST_SCREENSHOTS` names a folder for the pictures of each step; without it they are thrown away.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from demo_home.browser import log_in, open_dashboard, open_page, say, say_next
from demo_home.clicks import (
    Look,
    add_by_address,
    add_discovered,
    finish,
    let_assist_ask_zoe,
    look_at_options,
    look_at_server,
    open_light,
)
from demo_home.home_assistant import Socket
from demo_home.say import listen
from demo_home.stage import Options, Stage, stage
from playwright.async_api import Locator, Page, expect

from tests.e2e.conftest import ROOT, free_port

SLOW_MS = 60_000
DOOR = "lock.front_door"
CHECKED = re.compile(
    r"zoe-nano answers, and calls tools; its first word came after [\d,]+ ms\.\s+"
    r"Your 20 devices need (?P<tokens>[\d,]+) of 4,096 tokens\."
)


@pytest.fixture(scope="module")
def chromium() -> None:
    """Get a browser the way `./scripts/screenshot` does; only where there is none to be had, nothing is tested."""
    script = "source scripts/setup.d/progress.sh; source scripts/setup.d/chromium.sh; need_chromium"
    command = ["bash", "-euo", "pipefail", "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip(f"no Chromium: {result.stderr.strip()}")


@pytest.fixture(params=["address", "discovery"])
async def home(request: pytest.FixtureRequest, tmp_path: Path, chromium: None) -> AsyncIterator[Stage]:
    """A server and a Home Assistant that do not know each other; only one with a key is announced, and found."""
    api_key = secrets.token_urlsafe() if request.param == "discovery" else None
    options = Options(tmp_path, free_port(), free_port(), model=None, connected=False, api_key=api_key)
    async with stage(options, progress=lambda _: None) as home:
        yield home


@pytest.fixture
async def page(home: Stage) -> AsyncIterator[Page]:
    async with open_page() as page:
        page.set_default_timeout(SLOW_MS)
        expect.set_options(timeout=SLOW_MS)
        yield page


@pytest.fixture
def look(request: pytest.FixtureRequest, page: Page, tmp_path: Path) -> Look:
    folder = Path(os.environ.get("ZOE_TEST_SCREENSHOTS", tmp_path)) / request.node.callspec.id
    numbers = count(1)

    async def take(name: str, part: Locator) -> None:
        await expect(part).to_be_visible()
        await page.screenshot(path=folder / f"{next(numbers):02}-{name}.png", animations="disabled")

    return take


async def test_from_the_first_click_to_the_light(home: Stage, page: Page, look: Look, tmp_path: Path) -> None:
    url = home.home_assistant.url
    await log_in(page, url)
    await add(home, page, look)
    checked = CHECKED.search(await finish(page, look))
    assert checked is not None
    await let_assist_ask_zoe(page, look)
    light = await open_light(page, url)
    await expect(light).to_contain_text("Off")

    async with home.home_assistant.socket() as socket:
        await listen(socket)
        await say(page, "turn on the kitchen light")
        assist = page.locator("ha-voice-command-dialog dialog")
        await look("answer", assist)
        await page.keyboard.press("Escape")
        await expect(assist).to_be_hidden()
        await expect(light).to_contain_text("100%")
        await look("light", light)
        await socket.drain()
        assert await prompt_tokens(socket) == int(checked["tokens"].replace(",", ""))
    turns = [event["data"] for event in socket.events if event["event_type"] == "zoe_turn"]
    assert [(turn["model"], [call["name"] for call in turn["tool_calls"]]) for turn in turns] == [
        ("zoe-nano", ["intent__HassTurnOn"])
    ]
    await unlock_after_a_yes(home, page, look)
    await look_at_server(page, url, look)
    await look_at_options(page, url, look)
    assert complaints_about_zoe(tmp_path / "hass.log") == []


async def add(home: Stage, page: Page, look: Look) -> None:
    """Connect the server the way it can be found."""
    options = home.options
    if options.api_key is None:
        await add_by_address(page, home.zoe_url, look)
    else:
        await add_discovered(page, await home.discovery_flow(), options.port_zoe, options.api_key, look)


async def unlock_after_a_yes(home: Stage, page: Page, look: Look) -> None:
    """Ask for a door that is locked; only after a yes it is not."""
    assist = page.locator("ha-voice-command-dialog dialog")
    answers = page.locator("ha-voice-command-dialog .message.hass")
    door = f"/api/states/{DOOR}"
    await open_dashboard(page, home.home_assistant.url)
    await say(page, "unlock the front door")
    await expect(answers.last).to_contain_text("Unlock Front door?")
    assert (await home.home_assistant.get(door))["state"] == "locked"
    await say_next(page, "yes")
    await expect(answers.last).to_contain_text("Done: Front door.")
    assert (await home.home_assistant.get(door))["state"] == "unlocked"
    await look("consent", assist)
    await page.keyboard.press("Escape")


async def prompt_tokens(socket: Socket) -> int:
    """Return what Zoe's agent needs now, after it was set up."""
    result = await socket.command("call_service", domain="zoe", service="prime", return_response=True)
    (agent,) = result["response"]["agents"]
    tokens: int = agent["prompt_tokens"]
    return tokens


def complaints_about_zoe(log: Path) -> list[str]:
    """Return what Home Assistant has against the integration, other than that it is a custom one."""
    lines = log.read_text(encoding="utf-8").splitlines()
    about = [line for line in lines if "custom_components/zoe" in line or "custom_components.zoe" in line]
    deprecated = [line for line in lines if "Detected that custom integration" in line]
    return about + deprecated
