"""`./scripts/screenshot`: the pictures of the documentation, taken while the server is discovered, added and asked."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.async_api import HttpCredentials, Locator, Page

from demo_home.browser import log_in, open_dashboard, open_page, say, say_next
from demo_home.clicks import add_discovered, finish, let_assist_ask_zoe, look_at_options, look_at_server
from demo_home.config_folder import ROOT
from demo_home.errors import DemoError
from demo_home.home_assistant import speak
from demo_home.stage import Options, Stage, stage

_PICTURES = frozenset({"discovered", "checked", "agent", "device"})
_SERVER_ENTITY = "sensor.zoe_server_last_route"
_SLOW_MS = 180_000  # a model of some size, checked on few cores
_DOOR = "lock.front_door"
_CONSENTS = {
    "en": ("Front door", ("The pizza is here, unlock the front door", "yes")),
    "de": ("Haustür", ("Bitte entriegle die Haustür", "ja")),
}


async def take_pictures(home: Stage, api_key: str, sentence: str, folder: Path, languages: Sequence[str]) -> None:
    """Connect the server, say `sentence`, look at what came of it, and write PNGs of all this to `folder`."""

    async def look(name: str, part: Locator) -> None:
        if name in _PICTURES:
            await part.screenshot(path=folder / f"{name}.png", animations="disabled")

    url = home.home_assistant.url
    async with open_page(HttpCredentials(username="zoe", password=api_key, origin=home.zoe_url)) as page:
        page.set_default_timeout(_SLOW_MS)
        await log_in(page, url)
        await add_discovered(page, await home.discovery_flow(), home.options.port_zoe, api_key, look)
        await finish(page, look)
        await let_assist_ask_zoe(page, look)
        await open_dashboard(page, url)
        await say(page, sentence)
        await page.screenshot(path=folder / "assist.png")
        await _poll_server(home)
        await look_at_server(page, url, look)
        await look_at_options(page, url, look)
        await _look_at_consent(home, page, folder, languages)
        await _look_at_status(page, home.zoe_url, folder)


async def _look_at_consent(home: Stage, page: Page, folder: Path, languages: Sequence[str]) -> None:
    """Ask for the front door to be unlocked, and say yes when asked back."""
    for language in languages:
        name, sentences = _CONSENTS[language]
        async with home.home_assistant.socket() as socket:
            await speak(socket, language, {_DOOR: name})
        await open_dashboard(page, home.home_assistant.url)
        first, *others = sentences
        await say(page, first)
        for sentence in others:
            await say_next(page, sentence)
        await page.locator("ha-voice-command-dialog dialog").screenshot(path=folder / f"consent-{language}.png")


async def _poll_server(home: Stage) -> None:
    """Let Home Assistant read the figures of the server now."""
    async with home.home_assistant.socket() as socket:
        target = {"entity_id": _SERVER_ENTITY}
        await socket.command("call_service", domain="homeassistant", service="update_entity", service_data=target)


async def _look_at_status(page: Page, zoe_url: str, folder: Path) -> None:
    await page.goto(zoe_url)
    await page.get_by_text("to the first word").wait_for()
    await page.screenshot(path=folder / "status.png")


async def run(options: argparse.Namespace) -> None:
    """Set the stage, take the pictures, leave nothing behind."""
    api_key = secrets.token_urlsafe()
    with tempfile.TemporaryDirectory(prefix="zoe-demo-") as folder:
        wanted = Options(Path(folder), options.port_ha, options.port_zoe, options.model, False, api_key)
        async with stage(wanted, lambda text: print(text, file=sys.stderr, flush=True)) as home:
            pictures = take_pictures(home, api_key, options.say, options.output, options.consent or ["en"])
            await home.while_alive(pictures)


def main() -> int:
    """Take the pictures and return the exit code."""
    parser = argparse.ArgumentParser(prog="./scripts/screenshot", description=__doc__)
    parser.add_argument("--say", default="turn on the kitchen light", metavar="SENTENCE")
    parser.add_argument(
        "--consent",
        action="append",
        choices=_CONSENTS,
        help="language of the consent; zoe-nano has English",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", metavar="FOLDER")
    parser.add_argument("--port-ha", type=int, default=8123, metavar="PORT")
    parser.add_argument("--port-zoe", type=int, default=11434, metavar="PORT")
    parser.add_argument("--model", type=Path, metavar="GGUF", help="a model file instead of zoe-nano")
    try:
        asyncio.run(run(parser.parse_args()))
    except DemoError as error:
        print(f"No pictures: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
