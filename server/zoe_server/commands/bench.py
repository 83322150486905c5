"""`zoe bench URL...`: any servers that speak OpenAI's API side by side, on a household's work.

Each gets the same home, the same tools and the same sentences, one at a time and several at once. What is measured is
what somebody who speaks to a home notices: when the first word comes, when the answer is whole, and whether the call
names what there is. `household.json` is the work; it is none of the sets that models are judged by.
"""

from __future__ import annotations

import asyncio
import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.commands.console import ERR, OUT, CommandError, print_json, reported
from zoe_server.engines.openai_engine import OpenAIEngine

_CONCURRENCIES: Final = (1, 4, 8)
_MAX_TOKENS: Final = 96
_UNITS: Final = {"first_token_p50_ms": "first token p50, ms", "first_token_p95_ms": "p95, ms",
                 "answer_p50_ms": "answer p50, ms", "tokens_per_s": "tokens/s", "requests_per_s": "requests/s",
                 "valid_calls_percent": "valid calls, %", "right_calls_percent": "right calls, %"}  # fmt: skip

_Urls = Annotated[list[str], typer.Argument(metavar="URL...", help="Base URLs, as http://127.0.0.1:11434/v1.")]
_Model = Annotated[list[str] | None, typer.Option("--model", help="The model of each server, in their order.")]
_Key = Annotated[str | None, typer.Option("--key", help="The API key, for all of them.", envvar="ZOE_BENCH_KEY")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Plot = Annotated[Path | None, typer.Option("--plot", help="Draw the first tokens into this file (.svg, .png).")]
_Rounds = Annotated[int, typer.Option("--rounds", min=1, max=100, help="How often all sentences are said.")]


@dataclass(frozen=True, slots=True)
class Household:
    """The work: what requests begin with, the tools, what exists, and what is said, with the call that is right."""

    system: str
    tools: tuple[protocol.Tool, ...]
    values: Mapping[str, frozenset[str]]
    sentences: tuple[Mapping[str, Any], ...]

    @classmethod
    def bundled(cls) -> Household:
        """Return the one that is part of this package."""
        text = (resources.files("zoe_server.commands") / "household.json").read_text(encoding="utf-8")
        data = json.loads(text)
        tools = tuple(
            protocol.Tool(one["function"]["name"], one["function"]["description"], one["function"]["parameters"])
            for one in data["tools"]
        )
        known = {"name": data["names"], "area": data["areas"]}
        values = {argument: frozenset(value.casefold() for value in listed) for argument, listed in known.items()}
        return cls(data["system"], tools, values, tuple(data["sentences"]))

    def request(self, number: int, model: str) -> protocol.ChatRequest:
        """Return the request of the sentence with this number; they begin anew at the end."""
        said = self.sentences[number % len(self.sentences)]["say"]
        messages = ({"role": "system", "content": self.system}, {"role": "user", "content": said})
        return protocol.ChatRequest(
            f"bench-{number}", model, messages, tools=self.tools, max_tokens=_MAX_TOKENS,
            sampling=protocol.Sampling(temperature=0.0),
        )  # fmt: skip

    def is_valid(self, name: str, arguments: str) -> bool:
        """Whether a call is one of a tool that there is, with arguments that it has and values that exist."""
        tool = next((tool for tool in self.tools if tool.name == name), None)
        given = _object(arguments)
        if tool is None or given is None or not given.keys() <= tool.parameters["properties"].keys():
            return False
        return all(str(given[key]).casefold() in known for key, known in self.values.items() if key in given)

    def is_right(self, number: int, calls: Sequence[tuple[str, str]]) -> bool:
        """Whether the calls for this sentence are the one that it asks for, with at least its arguments."""
        wanted = self.sentences[number % len(self.sentences)]
        if len(calls) != 1 or calls[0][0] != wanted["tool"]:
            return False
        given = _object(calls[0][1]) or {}
        return all(
            str(given.get(key)).casefold() == str(value).casefold() for key, value in wanted["arguments"].items()
        )


@dataclass(slots=True)
class Answer:
    """What came of one request; times in seconds since it was sent. `failure` says why nothing came."""

    number: int
    first_s: float | None = None
    whole_s: float = 0.0
    n_tokens: int = 0
    calls: dict[int, tuple[str, str]] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one server at one concurrency, by the names in `_UNITS`."""

    url: str
    model: str
    n_at_once: int
    figures: Mapping[str, float | None]
    failures: tuple[str, ...]


def bench(
    urls: _Urls, model: _Model = None, key: _Key = None, rounds: _Rounds = 1, as_json: _Json = False, plot: _Plot = None
) -> None:
    """Compare servers that speak OpenAI's API on a household's work."""
    with reported(errors.ZoeError, ValidationError):
        household = Household.bundled()
        models = [*(model or ()), *[None] * len(urls)]
        n_requests = rounds * len(household.sentences)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        results: list[Result] = []
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            for url, wanted in zip(urls, models, strict=False):
                bar = progress.add_task(escape(url), total=n_requests * len(_CONCURRENCIES))
                advance = functools.partial(progress.advance, bar)
                results += asyncio.run(_measure(url, wanted, key, household, n_requests, advance))
        if plot is not None:
            _draw(results, plot)
        if as_json:
            print_json([{"url": one.url, "model": one.model, "at_once": one.n_at_once, **one.figures,
                         "failures": list(one.failures)} for one in results])  # fmt: skip
        else:
            OUT.print(_table(results))
        failed = [failure for one in results for failure in one.failures]
        if failed:
            ERR.print(f"{len(failed)} requests failed, such as: {escape(failed[0])}", soft_wrap=True)


async def _measure(
    url: str, model: str | None, key: str | None, household: Household, n_requests: int, advance: Callable[[], None]
) -> list[Result]:
    """Return a result for each concurrency; the prompt of the home is computed before, as at home."""
    options = OpenAIOptions(
        urls=(url,),
        model=model,
        api_key=None if key is None else SecretStr(key),
        tools=True,
        schemas=True,
        pictures=False,
    )
    engine = OpenAIEngine(ModelSpec("bench", Path("unused"), engine="openai", options=options), options.urls[0])
    await engine.start()
    try:
        await _ask(engine, household, 0)
        found = []
        for n_at_once in _CONCURRENCIES:
            numbers = iter(range(n_requests))
            answers: list[Answer] = []

            async def work(numbers: Any = numbers, answers: list[Answer] = answers) -> None:  # noqa: ANN401 -- an iterator
                for number in numbers:
                    answers.append(await _ask(engine, household, number))
                    advance()

            began_s = time.perf_counter()
            await asyncio.gather(*(work() for _ in range(n_at_once)))
            took_s = time.perf_counter() - began_s
            failures = tuple(answer.failure for answer in answers if answer.failure is not None)
            figures = _figures(household, [answer for answer in answers if answer.failure is None], took_s)
            found.append(Result(url, engine.info.name, n_at_once, figures, failures))
        return found
    finally:
        await engine.stop()


async def _ask(engine: OpenAIEngine, household: Household, number: int) -> Answer:
    answer = Answer(number)
    began_s = time.perf_counter()
    async for event in engine.chat(household.request(number, "bench")):
        if answer.first_s is None and not isinstance(event, protocol.Started):
            answer.first_s = time.perf_counter() - began_s
        match event:
            case protocol.ToolCallStart(index, _, name):
                answer.calls[index] = (name, "")
            case protocol.ToolCallArguments(index, text):
                answer.calls[index] = (answer.calls[index][0], answer.calls[index][1] + text)
            case protocol.Finish():
                answer.n_tokens = event.usage.completion_tokens
            case protocol.Failure(error):
                answer.failure = error.message
    answer.whole_s = time.perf_counter() - began_s
    return answer


def _figures(household: Household, answers: Sequence[Answer], took_s: float) -> dict[str, float | None]:
    if not answers:
        return dict.fromkeys(_UNITS)
    first_ms = sorted(1000 * (answer.first_s or answer.whole_s) for answer in answers)
    calls = [call for answer in answers for call in answer.calls.values()]
    orders = [one for one in answers if "tool" in household.sentences[one.number % len(household.sentences)]]
    right = [household.is_right(one.number, list(one.calls.values())) for one in orders]
    valid = [household.is_valid(*call) for call in calls]
    return {
        "first_token_p50_ms": statistics.median(first_ms),
        "first_token_p95_ms": first_ms[min(len(first_ms) - 1, int(0.95 * len(first_ms)))],
        "answer_p50_ms": statistics.median(1000 * answer.whole_s for answer in answers),
        "tokens_per_s": sum(answer.n_tokens for answer in answers) / took_s,
        "requests_per_s": len(answers) / took_s,
        "valid_calls_percent": 100 * sum(valid) / len(valid) if valid else None,
        "right_calls_percent": 100 * sum(right) / len(right) if right else None,
    }


def _table(results: Sequence[Result]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("server")
    for heading in ("at once", *_UNITS.values()):
        table.add_column(heading, justify="right")
    for one in results:
        server = f"{one.url} ({one.model})" if one.n_at_once == _CONCURRENCIES[0] else ""
        numbers = ("-" if number is None else f"{number:,.1f}" for number in one.figures.values())
        table.add_row(escape(server), str(one.n_at_once), *numbers)
    return table


def _draw(results: Sequence[Result], path: Path) -> None:
    """Draw the first tokens over the concurrency.

    Raises:
        CommandError: there is nothing to draw with.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 -- not everybody has it
    except ImportError as error:
        raise CommandError("--plot needs matplotlib: pip install matplotlib") from error
    picture = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = picture.subplots()
    for url in dict.fromkeys(one.url for one in results):
        own = [one for one in results if one.url == url]
        axes.plot(
            [one.n_at_once for one in own],
            [one.figures["first_token_p50_ms"] or 0.0 for one in own],
            marker="o",
            label=url,
        )
    axes.set_xlabel("requests at once")
    axes.set_ylabel("first token, p50, ms")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    picture.savefig(path)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
