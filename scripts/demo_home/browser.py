"""A person's browser, without a window: Chromium, and what every visit to Home Assistant begins with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import HttpCredentials, Page, ViewportSize, async_playwright, expect

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
_ANSWER_TIMEOUT_MS = 60_000


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
    """Say `sentence` in the Assist dialog and wait for the whole answer; the dialog stays open."""
    await page.keyboard.press("a")  # Home Assistant's shortcut for the Assist dialog
    dialog = page.locator("ha-voice-command-dialog")
    field = dialog.locator("input")
    await field.fill(sentence)
    await field.press("Enter")
    answers = dialog.locator(".message.hass")
    # The first message is the greeting; an answer that still grows ends with an ellipsis.
    await expect(answers).to_have_count(2, timeout=_ANSWER_TIMEOUT_MS)
    await expect(answers.last).not_to_contain_text("…", timeout=_ANSWER_TIMEOUT_MS)
