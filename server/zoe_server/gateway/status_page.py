"""GET /: for people, a page that says how the server is doing; for everything else, Ollama's sign of life.

The page is made here, whole, and works without scripts; with them, it stays fresh. Nothing in it comes from elsewhere.
"""

from __future__ import annotations

import functools
import secrets
from importlib import resources
from typing import Final

from aiohttp import web
from jinja2 import Environment, Template

from zoe_server import __version__, errors
from zoe_server.gateway import status_view
from zoe_server.gateway.middleware import is_authorized
from zoe_server.gateway.ollama.models import alive
from zoe_server.gateway.services import services

HTML: Final = "text/html"
_TEMPLATE: Final = "status_page.html"
_ASK_FOR_KEY: Final = 'Basic realm="Zoe: any user name, the API key as password", charset="UTF-8"'


async def index(request: web.Request) -> web.Response:
    """Answer a browser with the page, if it has the key, and everybody else with a sign of life."""
    if HTML not in request.headers.get("Accept", ""):
        return await alive(request)
    is_vouched_for = str(request.remote) in map(str, services(request).settings.status_page_from)
    if not (is_vouched_for or is_authorized(request)):
        error = errors.AuthenticationError("the API key is the password of this page; the user name can be anything")
        return web.Response(status=error.status, text=error.message, headers={"WWW-Authenticate": _ASK_FOR_KEY})
    return await _page(request, "'self'" if is_vouched_for else "'none'")


async def _page(request: web.Request, frames: str) -> web.Response:
    """Return the page; `frames` says who may show it within a page of theirs."""
    state = services(request)
    page = status_view.page(
        __version__,
        await state.read_state(),
        state.fleet.status(),
        [request_record.record() for request_record in state.tracker.running],
        state.tracker.ended,
        {spec.name: state.fleet.log(spec.name) for spec in state.fleet.specs},
    )
    nonce = secrets.token_urlsafe(16)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors {frames}"
    )
    text = render(page, nonce)
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return web.Response(text=text, content_type=HTML, headers=headers)


def render(page: status_view.Page, nonce: str) -> str:
    """Return the page as HTML; `nonce` marks what is our own in it."""
    return _template().render(page=page, chart=(status_view.CHART_WIDTH, status_view.CHART_HEIGHT), nonce=nonce)


@functools.cache
def _template() -> Template:
    source = (resources.files("zoe_server.gateway") / _TEMPLATE).read_text(encoding="utf-8")
    return _ENVIRONMENT.from_string(source)


_ENVIRONMENT: Final = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
