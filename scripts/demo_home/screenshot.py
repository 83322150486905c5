"""`./scripts/screenshot`: a person's first minute as pictures: log in, say a sentence in Assist, look at the server."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from demo_home.browser import log_in, open_page, say
from demo_home.config_folder import ROOT
from demo_home.errors import DemoError
from demo_home.stage import Options, Stage, stage


async def take_pictures(home: Stage, sentence: str, path: Path, status_path: Path) -> None:
    """Say `sentence` in the Assist dialog and write a PNG of the page with the answer to `path`.

    Then do the same with the server's own page.
    """
    async with open_page() as page:
        await log_in(page, home.home_assistant.url)
        await say(page, sentence)
        await page.screenshot(path=path)
        await page.goto(home.zoe_url)
        await page.get_by_text("to the first word").wait_for()
        await page.screenshot(path=status_path)


async def run(options: argparse.Namespace) -> None:
    """Set the stage, take the picture, leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="zoe-demo-") as folder:
        wanted = Options(Path(folder), options.port_ha, options.port_zoe, options.model)
        async with stage(wanted, lambda text: print(text, file=sys.stderr, flush=True)) as home:
            await home.while_alive(take_pictures(home, options.say, options.output, options.status_output))


def main() -> int:
    """Take the picture and return the exit code."""
    parser = argparse.ArgumentParser(prog="./scripts/screenshot", description=__doc__)
    parser.add_argument("--say", default="turn on the kitchen light", metavar="SENTENCE")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images" / "assist.png", metavar="PNG")
    parser.add_argument("--status-output", type=Path, default=ROOT / "docs" / "images" / "status.png", metavar="PNG")
    parser.add_argument("--port-ha", type=int, default=8123, metavar="PORT")
    parser.add_argument("--port-zoe", type=int, default=11434, metavar="PORT")
    parser.add_argument("--model", type=Path, metavar="GGUF", help="a model file instead of zoe-nano")
    try:
        asyncio.run(run(parser.parse_args()))
    except DemoError as error:
        print(f"No picture: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
