"""`./scripts/demo`: start everything, then talk to the home (`--say`) or leave it to a person with a browser."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from demo_home import report
from demo_home.errors import DemoError
from demo_home.home_assistant import PASSWORD, USER, zoe_agent
from demo_home.say import listen, say
from demo_home.stage import Options, Stage, stage

EXIT_FAILED = 1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument("--say", action="append", metavar="SENTENCE", default=[], help="say this and end; repeatable")
    parser.add_argument("--json", action="store_true", help="with --say: one JSON object per sentence")
    parser.add_argument("--port-ha", type=int, default=8123, metavar="PORT", help="Home Assistant's port")
    parser.add_argument("--port-zoe", type=int, default=11434, metavar="PORT", help="the port of zoe serve")
    parser.add_argument("--model", type=Path, metavar="GGUF", help="a model file instead of zoe-nano")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep Home Assistant's folder and the logs here")
    return parser.parse_args(arguments)


async def talk(home: Stage, sentences: Sequence[str], as_json: bool) -> int:
    """Say all sentences, print each outcome when it is there, and return the exit code."""
    failures = 0
    async with home.home_assistant.socket() as socket:
        agent = await zoe_agent(socket)
        await listen(socket)
        for sentence in sentences:
            outcome = await say(socket, agent, sentence)
            print(report.as_json(outcome) if as_json else report.as_text(outcome), flush=True)
            failures += outcome.failed
    return EXIT_FAILED if failures else 0


async def wait_for_visitor(home: Stage) -> int:
    """Say where the home is and wait until somebody stops the demo."""
    print(
        f"\nHome Assistant: {home.home_assistant.url}    user: {USER}    password: {PASSWORD}\n"
        f"Zoe:            {home.zoe_url}\n"
        f"Say something in the Assist dialog (press a on the dashboard), for example: turn on the kitchen light\n"
        "Ctrl-C stops everything.",
        flush=True,
    )
    await asyncio.Event().wait()
    return 0


async def run(options: argparse.Namespace) -> int:
    """Set the stage, do what the options say, and leave nothing behind."""
    started = time.monotonic()

    def progress(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f}s] {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="zoe-demo-") as temporary:
        folder = options.keep.absolute() if options.keep else Path(temporary)
        wanted = Options(folder, options.port_ha, options.port_zoe, options.model)
        async with stage(wanted, progress) as home:
            doing = talk(home, options.say, options.json) if options.say else wait_for_visitor(home)
            return await home.while_alive(doing)


async def run_until_signal(options: argparse.Namespace) -> int:
    """Run; a signal that asks to end cancels the run, which then cleans up."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(run(options))
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    with suppress(asyncio.CancelledError):
        return await task
    print("Stopped.", file=sys.stderr)
    # Ctrl-C is the way to end a visit; a demo that was to say something did not do so.
    return 0 if received == [signal.SIGINT] and not options.say else 128 + received[0]


def main() -> int:
    """Run the demo and return its exit code."""
    options = parse_arguments(sys.argv[1:])
    try:
        return asyncio.run(run_until_signal(options))
    except DemoError as error:
        print(f"\nThe demo cannot go on: {error}", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
