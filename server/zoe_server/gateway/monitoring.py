"""GET /metrics, /stats and /admin/requests: how the server is doing. Asking never loads a model."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from zoe_server import errors
from zoe_server.gateway.services import services
from zoe_server.metrics.prometheus import Format, asked_format, content_type, exposition
from zoe_server.metrics.snapshot import snapshot

_FORMATS: Final = ("json", "prometheus")


async def metrics(request: web.Request) -> web.Response:
    """Answer as Prometheus reads it if it asks as Prometheus does, or with `?format=prometheus`; else with JSON.

    Raises:
        errors.InvalidRequestError: there is no such format.
    """
    wanted = request.query.get("format")
    if wanted is not None and wanted not in _FORMATS:
        raise errors.InvalidRequestError(f"format: {wanted[:50]!r} is none of {', '.join(_FORMATS)}", param="format")
    accepted = asked_format(request.headers.get("Accept", ""))
    if wanted == "prometheus" or (wanted is None and accepted is not None):
        return await _text(request, accepted or "text")
    return await metrics_json(request)


async def metrics_prometheus(request: web.Request) -> web.Response:
    """Answer as Prometheus reads it, in the newer format if that is accepted."""
    return await _text(request, asked_format(request.headers.get("Accept", "")) or "text")


async def metrics_json(request: web.Request) -> web.Response:
    """Answer with the object that `metrics.snapshot` describes."""
    return web.json_response(snapshot(await services(request).read_metrics()))


async def stats(request: web.Request) -> web.Response:
    """Answer with the requests in work, the oldest first."""
    return web.json_response(
        {"requests": [request_record.record() for request_record in services(request).tracker.running]}
    )


async def recent_requests(request: web.Request) -> web.Response:
    """Answer with the last requests that ended, the latest first."""
    return web.json_response({"requests": services(request).tracker.ended})


async def _text(request: web.Request, form: Format) -> web.Response:
    body = exposition(await services(request).read_metrics(), form)
    return web.Response(body=body, headers={"Content-Type": content_type(form)})
