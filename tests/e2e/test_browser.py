"""A person with a browser: adds the server by clicks, lets Assist ask it, says a sentence, and sees the light go on.

`ZOE_TEST_SCREENSHOTS` names a folder for the pictures of each step; without it they are thrown away.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest
from demo_home.browser import log_in, open_page, say
from demo_home.say import listen
from demo_home.stage import Options, Stage, stage
from playwright.async_api import Locator, Page, expect

from tests.e2e.conftest import ROOT, free_port

SLOW_MS = 60_000

type Picture = Callable[[str], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def chromium() -> None:
    """Get a browser the way `./scripts/screenshot` does; only where there is none to be had, nothing is tested."""
    script = "source scripts/setup.d/progress.sh; source scripts/setup.d/chromium.sh; need_chromium"
    command = ["bash", "-euo", "pipefail", "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        pytest.skip(f"no Chromium: {result.stderr.strip()}")


@pytest.fixture
async def home(tmp_path: Path, chromium: None) -> AsyncIterator[Stage]:
    """A server and a Home Assistant that do not know each other."""
    options = Options(tmp_path, free_port(), free_port(), model=None, connected=False)
    async with stage(options, progress=lambda _: None) as home:
        yield home


@pytest.fixture
async def page(home: Stage) -> AsyncIterator[Page]:
    async with open_page() as page:
        page.set_default_timeout(SLOW_MS)
        expect.set_options(timeout=SLOW_MS)
        yield page


@pytest.fixture
def picture(page: Page, tmp_path: Path) -> Picture:
    folder = Path(os.environ.get("ZOE_TEST_SCREENSHOTS", tmp_path))

    async def take(name: str) -> None:
        await page.screenshot(path=folder / f"{name}.png")

    return take


async def test_from_the_first_click_to_the_light(home: Stage, page: Page, picture: Picture, tmp_path: Path) -> None:
    await log_in(page, home.home_assistant.url)
    await add_integration(page)
    await enter_address(page, home.zoe_url, picture)
    await ask_zoe(page, picture)
    light = await look_at_light(page, home.home_assistant.url)
    await expect(light).to_contain_text("Off")
    await picture("4-off")

    async with home.home_assistant.socket() as socket:
        await listen(socket)
        await say(page, "turn on the kitchen light")
        await picture("5-answer")
        await page.keyboard.press("Escape")
        await expect(light).to_contain_text("100%")
        await picture("6-on")
        await socket.drain()
    turns = [event["data"] for event in socket.events if event["event_type"] == "zoe_turn"]
    assert [(turn["model"], [call["name"] for call in turn["tool_calls"]]) for turn in turns] == [
        ("zoe-nano", ["intent__HassTurnOn"])
    ]
    assert complaints_about_zoe(tmp_path / "hass.log") == []


async def add_integration(page: Page) -> None:
    """Find Zoe in the list of integrations; where a server was discovered, its own *Add* leads to the same dialog."""
    await page.get_by_text("Settings", exact=True).click()
    await page.get_by_text("Devices & services", exact=True).click()
    await page.get_by_role("button", name="Add integration").first.click()
    choice = page.locator("dialog-add-integration")
    await choice.locator("input").first.fill("Zoe")
    await choice.get_by_role("listitem").filter(has_text="Zoe").click()


async def enter_address(page: Page, url: str, picture: Picture) -> None:
    """Answer the dialog of the set-up until it is closed."""
    flow = page.locator("dialog-data-entry-flow")
    submit, finish = (flow.get_by_role("button", name=name) for name in ("Submit", "Skip and finish"))
    await flow.locator("ha-selector").filter(has_text="Address").locator("input").fill(url)
    await picture("1-address")
    await submit.click()
    await finish.wait_for()
    await picture("2-connected")
    await finish.click()
    await finish.wait_for(state="hidden")


async def ask_zoe(page: Page, picture: Picture) -> None:
    """Let the assistant that everybody begins with ask Zoe."""
    await page.get_by_text("Settings", exact=True).click()
    await page.get_by_text("Voice assistants", exact=True).click()
    await page.get_by_role("listitem").filter(has_text="Home Assistant").first.click()
    assistant = page.locator("dialog-voice-assistant-pipeline-detail")
    agents = assistant.locator("ha-conversation-agent-picker")
    await agents.get_by_role("listitem").click()
    await agents.get_by_role("menuitem").filter(has_text="Zoe").click()
    await expect(agents.locator("ha-picker-field span", has_text="Zoe")).to_be_visible()
    await picture("3-assistant")
    update = assistant.get_by_role("button", name="Update")
    await update.click()
    await update.wait_for(state="hidden")


async def look_at_light(page: Page, url: str) -> Locator:
    """Open the kitchen on the dashboard and return the card of its light, which is called by its kind there."""
    await page.goto(url)
    await page.locator("hui-area-card").filter(has_text="Kitchen").click()
    return page.locator("hui-tile-card").filter(has=page.get_by_text("Light", exact=True))


def complaints_about_zoe(log: Path) -> list[str]:
    """Return what Home Assistant has against the integration, other than that it is a custom one."""
    lines = log.read_text(encoding="utf-8").splitlines()
    about = [line for line in lines if "custom_components/zoe" in line or "custom_components.zoe" in line]
    deprecated = [line for line in lines if "Detected that custom integration" in line]
    return about + deprecated
