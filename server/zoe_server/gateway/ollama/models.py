"""What Ollama's clients ask before they chat: is somebody there, which models are there, what can they do?

Asking never loads a model. What is known comes from its engine, which has read the model's file; of one that was never
ready, lists say little, and details are what the file's header says.

POST /api/pull brings a model of the catalogue here and serves it:

    {"model": "llama-3.2-3b"}
    {"status": "pulling manifest"}
    {"status": "pulling 6a0746a1ec1a", "digest": "sha256:6a07...", "total": 2019377696, "completed": 734003200} ...
    {"status": "verifying sha256 digest", "total": 2019377696, "completed": 2019377696} ...
    {"status": "writing manifest"}
    {"status": "loading model"}
    {"status": "success"}

An error after the first record comes as `{"error": "..."}` and ends the answer.
Source: Ollama, `docs/api.md`, `api/types.go`, and `server/images.go` for the order of a pull.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from zoe_server import errors
from zoe_server.catalogue.model_info import Capabilities, ModelInfo
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE, TOOLS_ROLE, VISION_ROLE, ModelSpec
from zoe_server.fleet.model_state import ModelState
from zoe_server.gateway.body import parse_json, validated
from zoe_server.gateway.driver import RECORDS, Stream, record
from zoe_server.gateway.middleware import ollama_error_body
from zoe_server.gateway.ollama.answers import timestamp
from zoe_server.gateway.ollama.body import PullBody, ShowBody
from zoe_server.gateway.services import services
from zoe_server.gateway.tracking import record_of, track
from zoe_server.routing.router import LATEST

if TYPE_CHECKING:
    from zoe_server.gateway.pull import Pull

API_VERSION: Final = "0.12.6"
"""The version of Ollama whose API this is: clients compare it with the one that first had what they need."""

_ALIVE: Final = "Ollama is running"  # some clients look for these very words
_SUCCESS: Final = {"status": "success"}
_NEVER: Final = datetime(2300, 1, 1, tzinfo=UTC)  # clients move it to their time zone
_UNITS: Final = ((10**9, "B", 1), (10**6, "M", 2), (10**3, "K", 0))


async def alive(_request: web.Request) -> web.Response:
    """Say that the server runs; open to everybody, so it tells nothing else."""
    return web.Response(text=_ALIVE)


async def version(_request: web.Request) -> web.Response:
    """Answer with the version of the API."""
    return web.json_response({"version": API_VERSION})


async def list_tags(request: web.Request) -> web.Response:
    """Answer with the automatic choice and every name of every configured model and adapter."""
    state = services(request)
    specs = {spec.name: spec for spec in state.fleet.specs}
    status = {model.name: model for model in state.fleet.status()}
    plans = {_tagged(name): state.router.route(name) for name in state.router.names}
    listed = []
    for tagged, plan in plans.items():
        name = plan.candidates[0]
        listed.append(_listed(tagged, specs[name], status[name].info or ModelInfo(), state.started_at, plan.adapter))
    return web.json_response({"models": listed})


async def list_running(request: web.Request) -> web.Response:
    """Answer with the models that are loaded."""
    state = services(request)
    both = zip(state.fleet.specs, state.fleet.status(), strict=True)
    running = [
        _running(spec, status.info or ModelInfo(), state.started_at)
        for spec, status in both
        if status.state is ModelState.READY
    ]
    return web.json_response({"models": running})


async def show(request: web.Request) -> web.Response:
    """Answer with all that is known of one model.

    Raises:
        errors.ModelNotFoundError: there is none of that name.
        errors.EngineUnavailableError: it cannot be loaded.
    """
    state = services(request)
    plan = state.router.route(validated(ShowBody, parse_json(await request.read())).wanted)
    spec = next(spec for spec in state.fleet.specs if spec.name == plan.candidates[0])
    status = next(status for status in state.fleet.status() if status.name == spec.name)
    if status.state is ModelState.FAILED and status.info is None:
        raise errors.EngineUnavailableError(f"the model {spec.name!r} cannot be loaded: {status.reason}")
    info = await asyncio.to_thread(_header, spec) if status.info is None else status.info
    return web.json_response(_shown(spec, info, state.started_at, plan.adapter))


async def pull(request: web.Request) -> web.StreamResponse:
    """Answer when the model is served; a client that leaves before ends nothing.

    Raises:
        errors.ModelNotFoundError: the catalogue has none of that name.
        errors.InvalidRequestError: it could not be served here.
        errors.DownloadFailedError: it cannot be had.
    """
    state = services(request)
    body = validated(PullBody, parse_json(await request.read()))
    track(request, body.wanted)
    if state.pulls is None:
        raise errors.InvalidRequestError(
            "this server was started for one model file only; start it without --model to pull others"
        )
    under_way = state.pulls.pull(state.pulls.find(body.wanted))
    interval_s = state.settings.keep_alive_interval_s
    if body.streamed:
        return await _stream_steps(request, under_way, interval_s)
    async with aclosing(under_way.follow(interval_s)) as steps:
        async for _ in steps:
            pass
    return web.json_response(_SUCCESS)


async def _stream_steps(request: web.Request, under_way: Pull, interval_s: float) -> web.StreamResponse:
    stream = Stream(request, RECORDS, {})
    try:
        async with aclosing(under_way.follow(interval_s)) as steps:
            async for step in steps:
                await stream.write(record(step.to_json()))
        return await stream.end(record(_SUCCESS))
    except errors.ZoeError as error:
        if not stream.begun:
            raise
        record_of(request).failed(error)
        return await stream.end(record(ollama_error_body(error)))


def _header(spec: ModelSpec) -> ModelInfo:
    """Return what the model's file says of itself, in an engine's words; nothing if it cannot be read."""
    from zoe_server.catalogue import gguf_file, proposal  # noqa: PLC0415 -- they are slow to import

    try:
        facts, file = gguf_file.read(spec.path), spec.path.stat()
    except (gguf_file.GgufError, OSError):
        return ModelInfo()
    roles = proposal.roles(facts, sees=spec.capabilities.pictures)
    told = {"general.architecture": facts.architecture, f"{facts.architecture}.context_length": facts.context_tokens}
    return ModelInfo(
        architecture=facts.architecture,
        file_bytes=file.st_size,
        file_modified_s=int(file.st_mtime),
        quantization=facts.quantization,
        chat_template=facts.template or "",
        header={key: value for key, value in told.items() if value is not None},
        capabilities=Capabilities(
            tools=TOOLS_ROLE in roles, pictures=VISION_ROLE in roles, embeddings=EMBEDDINGS_ROLE in roles
        ),
    )


def _tagged(name: str) -> str:
    return name if ":" in name else name + LATEST


def _listed(name: str, spec: ModelSpec, info: ModelInfo, started_at: int, adapter: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": _modified_at(info, started_at),
        "size": info.file_bytes or 0,
        "digest": _digest(spec, info, adapter),
        "details": _details(spec, info, adapter),
    }


def _running(spec: ModelSpec, info: ModelInfo, started_at: int) -> dict[str, Any]:
    return {
        **_listed(_tagged(spec.name), spec, info, started_at),
        "size": info.weights_bytes,
        "size_vram": round(info.weights_bytes * info.gpu_share),
        "expires_at": timestamp(_NEVER),
        "context_length": info.n_ctx_tokens or spec.n_ctx_tokens,
    }


def _shown(spec: ModelSpec, info: ModelInfo, started_at: int, adapter: str | None) -> dict[str, Any]:
    parameters = {"num_ctx": info.n_ctx_tokens or spec.n_ctx_tokens, **info.sampling}
    model_info = dict(info.header)
    if info.n_parameters is not None:
        model_info["general.parameter_count"] = info.n_parameters
    return {
        "parameters": "\n".join(f"{name:<30} {value}" for name, value in parameters.items()),
        "template": info.chat_template,
        "details": _details(spec, info, adapter),
        "model_info": model_info,
        "capabilities": ["embedding"] if info.capabilities.embeddings else ["completion", *info.abilities],
        "modified_at": _modified_at(info, started_at),
    }


def _details(spec: ModelSpec, info: ModelInfo, adapter: str | None) -> dict[str, Any]:
    family = info.architecture
    return {
        "parent_model": "" if adapter is None else spec.name,
        "format": "gguf",
        "family": family or "",
        "families": [family] if family else [],
        "parameter_size": "" if info.n_parameters is None else _human(info.n_parameters),
        "quantization_level": info.quantization or "",
    }


def _modified_at(info: ModelInfo, started_at: int) -> str:
    return timestamp(datetime.fromtimestamp(started_at if info.file_modified_s is None else info.file_modified_s, UTC))


def _digest(spec: ModelSpec, info: ModelInfo, adapter: str | None) -> str:
    """Return what changes when the model does: a digest of what is known of the file, which is too long to read."""
    known = [spec.name, adapter, info.file_bytes, info.file_modified_s, dict(info.header) or None]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _human(count: int) -> str:
    """Return a number as Ollama writes it: 8B, 3.2B, 5.05M."""
    for size, letter, n_digits in _UNITS:
        if count >= size:
            return f"{count / size:.{0 if count % size == 0 else n_digits}f}{letter}"
    return str(count)
