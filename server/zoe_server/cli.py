"""The command `zoe`."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.logging import RichHandler
from rich.markup import escape

from zoe_server import __version__, doctor, settings
from zoe_server.commands import migrate, models
from zoe_server.commands.bench import bench
from zoe_server.commands.console import ERR, OUT, reported
from zoe_server.commands.models import Config
from zoe_server.commands.setup import setup
from zoe_server.engines.local import LOADING_LOG
from zoe_server.fleet.fleet import Fleet
from zoe_server.fleet.model_state import ModelState
from zoe_server.gateway.server import serve as serve_gateway
from zoe_server.gateway.tracking import REQUEST_LOG
from zoe_server.routing import rules
from zoe_server.routing.intent import bundled_classifier
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import AUTOMATIC, Router
from zoe_server.routing.said import bundled_said

app = typer.Typer(help="Zoe, a private voice brain for Home Assistant.", no_args_is_help=True, add_completion=False)
app.add_typer(models.app, name="models")
app.add_typer(migrate.app, name="migrate")
app.command()(setup)
app.command()(bench)

_Host = Annotated[str | None, typer.Option(help="Address to listen on; anything but loopback needs an API key.")]
_Port = Annotated[int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 lets the system choose.")]
_Model = Annotated[Path | None, typer.Option(help="Serve only this GGUF file.")]
_LogRequests = Annotated[bool, typer.Option("--log-requests", help="Write a line of JSON to stderr for each request.")]
_Sentence = Annotated[str, typer.Argument(help="What the user says.")]
_Devices = Annotated[list[str] | None, typer.Option("--device", help="A device of the home; may be repeated.")]
_Places = Annotated[list[str] | None, typer.Option("--area", help="An area of the home; may be repeated.")]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what the engines say, too.")]


@app.command()
def serve(
    config: Config = None,
    host: _Host = None,
    port: _Port = None,
    model: _Model = None,
    log_requests: _LogRequests = False,
    verbose: _Verbose = False,
) -> None:
    """Serve the configured models, by default zoe-nano on http://127.0.0.1:11434."""
    _log_to_stderr(verbose)
    with reported(settings.SettingsError):
        chosen = settings.load(config, host=host, port=port, model=model)
        if log_requests or chosen.server.log_requests:
            _log_requests_to_stderr()
        asyncio.run(serve_gateway(chosen, _listening, _settled))


@app.command(name="doctor")
def doctor_command(config: Config = None, host: _Host = None, port: _Port = None, model: _Model = None) -> None:
    """Check the llama.cpp library, the models, the memory and the port, and say what to do."""
    with reported(settings.SettingsError):
        chosen = settings.load(config, host=host, port=port, model=model)
        findings = asyncio.run(doctor.examine(chosen))
    healthy = True
    for finding in findings:
        healthy = healthy and finding.ok
        mark = "[green]ok[/]  " if finding.ok else "[bold red]FAIL[/]"
        OUT.print(f"{mark} {finding.subject}: {escape(finding.text)}", soft_wrap=True)
    raise typer.Exit(0 if healthy else 1)


@app.command()
def route(
    sentence: _Sentence, config: Config = None, device: _Devices = None, area: _Places = None, model: _Model = None
) -> None:
    """Explain which model would answer a sentence, and why."""
    with reported(settings.SettingsError):
        chosen = settings.load(config, model=model)
        specs = chosen.specs()
    question = RouteQuestion(sentence, devices=tuple(device or ()), places=tuple(area or ()))
    plan = Router(specs, chosen.preferred_engine).route(AUTOMATIC, question)
    intent = bundled_classifier().judge(sentence)
    named = rules.names_in(sentence, (*question.devices, *question.places))
    said = rules.said(question, bundled_said()).to_json()
    for what, text in (
        ("rule", f"{plan.rule} ({plan.why})"),
        ("model", plan.candidates[0]),
        ("candidates", ", ".join(plan.candidates)),
        ("classifier", f"log odds of automation {intent.automation:+.2f}, of reasoning {intent.reasoning:+.2f}"),
        ("said", ", ".join(f"{kind} {share:.3f}" for kind, share in said.items())),
        ("names", f"{', '.join(named) or 'none'} ({rules.home_evidence(question):+.2f})"),
    ):
        OUT.print(f"[bold]{what + ':':<12}[/]{escape(text)}", soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    OUT.print(__version__)


def _listening(url: str, fleet: Fleet) -> None:
    names = ", ".join(spec.name for spec in fleet.specs if spec.load == "start") or "nothing yet"
    OUT.print(f"[bold]Zoe {__version__}[/]  {url}  loading {names} ...", soft_wrap=True)


def _settled(url: str, fleet: Fleet) -> None:
    for status in fleet.status():
        if status.state is ModelState.READY:
            OUT.print(f"[green]ready[/]   {status.name}  loaded in {status.load_s:.1f} s  {url}/v1", soft_wrap=True)
        elif status.state is ModelState.UNLOADED:
            OUT.print(f"[bold]waits[/]   {status.name}: {escape(status.reason)}", soft_wrap=True)
        else:
            OUT.print(f"[bold red]failed[/]  {status.name}: {escape(status.reason)}", soft_wrap=True)


def _log_to_stderr(verbose: bool) -> None:
    handler = RichHandler(console=ERR, show_path=False, rich_tracebacks=False)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger(LOADING_LOG).setLevel(logging.DEBUG if verbose else logging.INFO)


def _log_requests_to_stderr() -> None:
    """Show the lines of requests as they are, for programs to read."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(REQUEST_LOG)
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False


if __name__ == "__main__":
    app()
