"""Says sentences to a real Home Assistant with Zoe and judges what happened: `python -m zoe_eval FILE`.

Needs Home Assistant (Python 3.14), the integration's folder, and a running server.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from zoe_eval.judged_home import Turn, judged_home
from zoe_eval.sentences import Sentence, faults, load_sentences

DEMO_HOME: Final = Path(__file__).parent / "homes" / "demo.yaml"


@dataclass(frozen=True)
class Verdict:
    """A sentence, what came of it, and what is wrong with that."""

    sentence: Sentence
    turn: Turn
    faults: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON data."""
        return {
            "kind": self.sentence.kind,
            "sentence": self.sentence.say,
            "reply": self.turn.reply,
            "tool_calls": self.turn.figures.get("tool_calls", []),
            "faults": self.faults,
        }


async def evaluate(
    sentences: list[Sentence], inventory: dict[str, Any], zoe: Path, url: str, api_key: str | None = None
) -> list[Verdict]:
    """Say every sentence to a freshly reset home and judge it."""
    verdicts = []
    async with judged_home(inventory, zoe, url, api_key) as home:
        for sentence in track(sentences, "Sentences", console=Console(stderr=True)):
            await home.reset(sentence.setup)
            before = await home.values()
            turn = await home.say(sentence.say)
            wrong = faults(sentence, before, await home.values(), turn.reply)
            verdicts.append(Verdict(sentence, turn, [*wrong, *(["the turn failed"] if turn.error else [])]))
    return verdicts


def report(verdicts: list[Verdict], console: Console) -> None:
    """Print what failed, and a line for each kind."""
    for verdict in verdicts:
        if verdict.faults:
            console.print(
                f"[red]✗[/] {verdict.sentence.say}\n  {verdict.turn.reply}\n  {verdict.as_dict()['tool_calls']}",
                highlight=False,
            )
            for fault in verdict.faults:
                console.print(f"    {fault}", highlight=False)
    table = Table("Kind", "Right", "Of")
    right = Counter(v.sentence.kind for v in verdicts if not v.faults)
    for kind, total in Counter(v.sentence.kind for v in verdicts).items():
        table.add_row(kind, str(right[kind]), str(total))
    table.add_row("all", str(right.total()), f"{len(verdicts)} ({right.total() / len(verdicts):.1%})")
    console.print(table)


def main(
    file: Path,
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:11434",
    api_key: Annotated[str | None, typer.Option(help="The server's key.")] = None,
    home: Annotated[Path, typer.Option(help="Inventory of the home.")] = DEMO_HOME,
    zoe: Annotated[Path, typer.Option(help="Folder of the integration.")] = Path("custom_components/zoe"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each sentence.")] = False,
) -> None:
    """Judge a model by the state of the home after each sentence."""
    logging.disable(logging.WARNING)
    inventory = yaml.safe_load(home.read_text(encoding="utf-8"))
    verdicts = asyncio.run(evaluate(load_sentences(file), inventory, zoe.resolve(), url, api_key))
    if as_json:
        for verdict in verdicts:
            typer.echo(json.dumps(verdict.as_dict(), ensure_ascii=False))
    else:
        report(verdicts, Console())


if __name__ == "__main__":
    typer.run(main)
