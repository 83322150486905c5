"""The web application: the routes, and what stands around every handler."""

from __future__ import annotations

from aiohttp import web

from zoe_server.gateway.middleware import count_requests, receive_body, report_errors, require_key, track_requests
from zoe_server.gateway.origins import allow_origin, check_host, check_origin
from zoe_server.gateway.routes import ROUTES
from zoe_server.gateway.services import SERVICES, Services
from zoe_server.gateway.tracking import name_request


def create_app(state: Services) -> web.Application:
    """Return the application that answers with the parts in `state`; it neither starts nor stops them."""
    app = web.Application(
        middlewares=[
            track_requests,
            report_errors,
            check_host,
            check_origin,
            require_key,
            count_requests,
            receive_body,
        ],
        client_max_size=state.settings.max_body_bytes,
    )
    app[SERVICES] = state
    app.on_response_prepare.append(_hide_versions)
    app.on_response_prepare.append(allow_origin)
    app.on_response_prepare.append(name_request)
    for route in ROUTES:
        if route.method == "GET":
            app.router.add_get(route.path, route.handler)  # and HEAD with it
        else:
            app.router.add_post(route.path, route.handler)
    return app


async def _hide_versions(_request: web.Request, response: web.StreamResponse) -> None:
    """Say who we are, but not, as the framework would, what we are built with."""
    response.headers["Server"] = "zoe"
