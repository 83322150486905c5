"""A person's browser, without a window: Chromium, and what every visit to Home Assistant begins with."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import HttpCredentials, Locator, Page, ViewportSize, async_playwright, expect

from demo_home.home_assistant import PASSWORD, USER

CHROMIUM = Path("/usr/bin/chromium")
# Quiet on a network without internet, and at home in a container.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_SIZE_PX: ViewportSize = {"width": 1100, "height": 760}
_ANSWER_TIMEOUT_MS = 180_000  # a model of some size on few cores


@asynccontextmanager
async def open_page(credentials: HttpCredentials | None = None) -> AsyncIterator[Page]:
    """Open an empty page in a browser of its own; `credentials` are for sites that ask for them by HTTP."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=list(_FLAGS))
        yield await browser.new_page(viewport=_SIZE_PX, device_scale_factor=1.5, http_credentials=credentials)
        await browser.close()


async def log_in(page: Page, url: str) -> None:
    """Log in to the Home Assistant at `url` and wait for the dashboard."""
    await page.goto(url)
    await page.get_by_label("Username").fill(USER)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.keyboard.press("Enter")
    await _dashboard(page)


async def open_dashboard(page: Page, url: str) -> None:
    """Open the dashboard of the Home Assistant at `url`, which is logged in to already."""
    await page.goto(url)
    await _dashboard(page)


async def _dashboard(page: Page) -> None:
    await page.get_by_text("Ground floor").wait_for()  # the dashboard shows the home


async def say(page: Page, sentence: str) -> None:
    """Say `sentence` in a new Assist dialog and wait for the whole answer; the dialog stays open."""
    await page.keyboard.press("a")  # Home Assistant's shortcut for the Assist dialog
    await expect(_answers(page)).to_have_count(1, timeout=_ANSWER_TIMEOUT_MS)  # the greeting
    await say_next(page, sentence)


async def say_next(page: Page, sentence: str) -> None:
    """Say `sentence` in the open Assist dialog and wait for the whole answer."""
    answers = _answers(page)
    before = await answers.count()
    field = _assist(page).locator("input")
    await field.fill(sentence)
    await field.press("Enter")
    await expect(answers).to_have_count(before + 1, timeout=_ANSWER_TIMEOUT_MS)
    # An answer that still grows ends with an ellipsis, or with nothing while tools are called.
    await expect(answers.last).to_have_text(re.compile(r"[.!?]\s*$"), timeout=_ANSWER_TIMEOUT_MS)


def _assist(page: Page) -> Locator:
    return page.locator("ha-voice-command-dialog")


def _answers(page: Page) -> Locator:
    return _assist(page).locator(".message.hass")
