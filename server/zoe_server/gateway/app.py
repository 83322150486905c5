"""The web application: which path is answered by whom."""

from __future__ import annotations

from aiohttp import web

from zoe_server.gateway.chat import chat_completions
from zoe_server.gateway.completions import completions
from zoe_server.gateway.embeddings import embeddings
from zoe_server.gateway.health import health
from zoe_server.gateway.middleware import count_requests, report_errors, require_key
from zoe_server.gateway.models import list_models, one_model
from zoe_server.gateway.ollama_chat import chat, generate
from zoe_server.gateway.ollama_embed import embed, embed_prompt
from zoe_server.gateway.ollama_models import alive, list_running, list_tags, show, version
from zoe_server.gateway.responses import responses
from zoe_server.gateway.services import SERVICES, Services
from zoe_server.gateway.tokens import detokenize, tokenize


def create_app(state: Services) -> web.Application:
    """Return the application that answers with the parts in `state`; it neither starts nor stops them."""
    app = web.Application(
        middlewares=[report_errors, require_key, count_requests], client_max_size=state.settings.max_body_bytes
    )
    app[SERVICES] = state
    app.on_response_prepare.append(_hide_versions)
    app.router.add_get("/health", health)
    app.router.add_get("/v1/models", list_models)
    app.router.add_get("/v1/models/{id:.+}", one_model)
    app.router.add_post("/v1/chat/completions", chat_completions)
    app.router.add_post("/v1/completions", completions)
    app.router.add_post("/v1/embeddings", embeddings)
    app.router.add_post("/v1/responses", responses)
    app.router.add_post("/tokenize", tokenize)
    app.router.add_post("/detokenize", detokenize)
    _add_ollama(app.router)
    return app


def _add_ollama(router: web.UrlDispatcher) -> None:
    router.add_get("/", alive)
    router.add_get("/api/version", version)
    router.add_get("/api/tags", list_tags)
    router.add_get("/api/ps", list_running)
    router.add_post("/api/show", show)
    router.add_post("/api/chat", chat)
    router.add_post("/api/generate", generate)
    router.add_post("/api/embed", embed)
    router.add_post("/api/embeddings", embed_prompt)


async def _hide_versions(_request: web.Request, response: web.StreamResponse) -> None:
    """Say who we are, but not, as the framework would, what we are built with."""
    response.headers["Server"] = "zoe"
