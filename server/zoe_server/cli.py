"""The command `zoe`."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.logging import RichHandler

from zoe_server import __version__, doctor, settings
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.process import State
from zoe_server.gateway.server import serve as serve_gateway
from zoe_server.routing import rules
from zoe_server.routing.intent import bundled_classifier
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, Router

app = typer.Typer(help="Zoe, a private voice brain for Home Assistant.", no_args_is_help=True, add_completion=False)

_OUT: Final = Console(highlight=False)
_ERR: Final = Console(stderr=True, highlight=False)

_Config = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration file (default: ./zoe.toml).")]
_Host = Annotated[str | None, typer.Option(help="Address to listen on; anything but loopback needs an API key.")]
_Port = Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 lets the system choose.")]
_Model = Annotated[Path | None, typer.Option(help="Serve only this GGUF file.")]
_Sentence = Annotated[str, typer.Argument(help="What the user says.")]
_Devices = Annotated[list[str] | None, typer.Option("--device", help="A device of the home; may be repeated.")]
_Places = Annotated[list[str] | None, typer.Option("--area", help="An area of the home; may be repeated.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what the engines say, too.")]


@app.command()
def serve(
    config: _Config = None,
    host: _Host = None,
    port: _Port = None,
    model: _Model = None,
    verbose: _Verbose = False,
) -> None:
    """Serve the configured models, by default zoe-nano on http://127.0.0.1:11434."""
    _log_to_stderr(verbose)
    try:
        chosen = settings.load(config, host=host, port=port, model=model)
        asyncio.run(serve_gateway(chosen, _listening, _settled))
    except settings.SettingsError as error:
        _ERR.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error


@app.command(name="doctor")
def doctor_command(config: _Config = None, host: _Host = None, port: _Port = None, model: _Model = None) -> None:
    """Check the llama.cpp library, the models, the memory and the port, and say what to do."""
    try:
        chosen = settings.load(config, host=host, port=port, model=model)
    except settings.SettingsError as error:
        _ERR.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
    healthy = True
    for finding in asyncio.run(doctor.examine(chosen)):
        healthy = healthy and finding.ok
        mark = "[green]ok[/]  " if finding.ok else "[bold red]FAIL[/]"
        _OUT.print(f"{mark} {finding.subject}: {_plain(finding.text)}", soft_wrap=True)
    raise typer.Exit(0 if healthy else 1)


@app.command()
def route(
    sentence: _Sentence, config: _Config = None, device: _Devices = None, area: _Places = None, model: _Model = None
) -> None:
    """Explain which model would answer a sentence, and why."""
    try:
        chosen = settings.load(config, model=model)
    except settings.SettingsError as error:
        _ERR.print(f"[bold red]error:[/] {_plain(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from error
    question = RouteQuestion(sentence, devices=tuple(device or ()), places=tuple(area or ()))
    plan = Router(chosen.specs()).route(AUTOMATIC, question)
    intent = bundled_classifier().judge(sentence)
    named = rules.names_in(sentence, (*question.devices, *question.places))
    for what, text in (
        ("rule", f"{plan.rule} ({plan.why})"),
        ("model", plan.candidates[0]),
        ("candidates", ", ".join(plan.candidates)),
        ("classifier", f"log odds of automation {intent.automation:+.2f}, of reasoning {intent.reasoning:+.2f}"),
        ("names", f"{', '.join(named) or 'none'} ({rules.home_evidence(question):+.2f})"),
    ):
        _OUT.print(f"[bold]{what + ':':<12}[/]{_plain(text)}", soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    _OUT.print(__version__)


def _listening(url: str, fleet: Fleet) -> None:
    names = ", ".join(spec.name for spec in fleet.specs)
    _OUT.print(f"[bold]Zoe {__version__}[/]  {url}  loading {names} ...", soft_wrap=True)


def _settled(url: str, fleet: Fleet) -> None:
    for status in fleet.status():
        if status.state is State.READY:
            _OUT.print(f"[green]ready[/]   {status.name}  loaded in {status.load_s:.1f} s  {url}/v1", soft_wrap=True)
        else:
            _OUT.print(f"[bold red]failed[/]  {status.name}: {_plain(status.reason)}", soft_wrap=True)


def _plain(text: str) -> str:
    """Return `text` so that rich takes no part of it for markup."""
    return text.replace("[", "\\[")


def _log_to_stderr(verbose: bool) -> None:
    handler = RichHandler(console=_ERR, show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)


if __name__ == "__main__":
    app()
