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
from demo_home.stage import Options, Stage, stage
from playwright.async_api import Page, expect

from tests.e2e.conftest import ROOT, free_port

SETTINGS = "/config"
SLOW_MS = 60_000

type Picture = Callable[[str], Coroutine[None, None, None]]


@pytest.fixture(scope="module")
def chromium() -> None:
    """Get a browser the way `./scripts/screenshot` does; only where there is none to be had, nothing is tested."""
    script = "source scripts/setup.d/progress.sh; source scripts/setup.d/chromium.sh; need_chromium"
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
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
        folder.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=folder / f"{name}.png")

    return take
