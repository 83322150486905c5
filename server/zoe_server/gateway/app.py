"""The web application: which path is answered by whom, and what stands around every handler.

The routes are read by /openapi.json, too: one line for each.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from zoe_server.gateway import admin
from zoe_server.gateway.catalogue import catalogue
from zoe_server.gateway.driver import EVENTS, RECORDS
from zoe_server.gateway.health import health
from zoe_server.gateway.middleware import count_requests, receive_body, report_errors, require_key, track_requests
from zoe_server.gateway.monitoring import metrics, metrics_json, metrics_prometheus, recent_requests, stats
from zoe_server.gateway.ollama import body as ollama_body
from zoe_server.gateway.ollama.answers import chat, embed, embed_prompt, generate
from zoe_server.gateway.ollama.models import list_running, list_tags, pull, show, version
from zoe_server.gateway.openai.chat import ChatBody, chat_completions
from zoe_server.gateway.openai.completions import CompletionBody, completions
from zoe_server.gateway.openai.embeddings import EmbeddingsBody, embeddings
from zoe_server.gateway.openai.models import list_models, one_model
from zoe_server.gateway.openai.responses import ResponseBody, responses
from zoe_server.gateway.openapi import JSON, TEXT, Route, document
from zoe_server.gateway.origins import allow_origin, check_host, check_origin
from zoe_server.gateway.services import SERVICES, Services, services
from zoe_server.gateway.status_page import HTML, index
from zoe_server.gateway.tokens import DetokenizeBody, TokenizeBody, detokenize, tokenize
from zoe_server.gateway.tracking import name_request


async def openapi(request: web.Request) -> web.Response:
    """Answer with the document that describes the routes."""
    return web.json_response(document(ROUTES, needs_key=services(request).api_key is not None))


ROUTES: Final = (
    Route("GET", "/health", health, "May requests come?"),
    Route("GET", "/openapi.json", openapi, "This document"),
    Route("GET", "/metrics", metrics, "How the server is doing; Prometheus gets its own format", answers=(JSON, TEXT)),
    Route("GET", "/metrics/prometheus", metrics_prometheus, "The same, as Prometheus reads it", answers=(TEXT,)),
    Route("GET", "/metrics/json", metrics_json, "The same, as JSON"),
    Route("GET", "/stats", stats, "The requests in work"),
    Route("GET", "/admin/requests", recent_requests, "The last requests"),
    Route("GET", "/admin/status", admin.status, "The server and its models"),
    Route("GET", "/admin/catalogue", catalogue, "The models that could be served, too"),
    Route("GET", "/admin/provider", admin.provider, "Whose models answer first"),
    Route("POST", "/admin/provider", admin.prefer, "Have another provider's models answer first", admin.ProviderBody),
    Route("POST", "/admin/route", admin.explain_route, "Which model would answer, and why", admin.RouteBody),
    Route("POST", "/admin/models/{id:.+}/load", admin.load, "Bring a model into memory"),
    Route("POST", "/admin/models/{id:.+}/unload", admin.unload, "Take a model out of memory", admin.UnloadBody),
    Route("GET", "/admin/models/{id:.+}/log", admin.log, "The last lines that a model's engines wrote"),
    Route("GET", "/v1/models", list_models, "The models"),
    Route("GET", "/v1/models/{id:.+}", one_model, "One model"),
    Route("POST", "/v1/chat/completions", chat_completions, "A chat's answer", ChatBody, (JSON, EVENTS)),
    Route("POST", "/v1/completions", completions, "A prompt's continuation", CompletionBody, (JSON, EVENTS)),
    Route("POST", "/v1/embeddings", embeddings, "Vectors of texts", EmbeddingsBody),
    Route("POST", "/v1/responses", responses, "A response", ResponseBody, (JSON, EVENTS)),
    Route("POST", "/tokenize", tokenize, "A text's tokens", TokenizeBody),
    Route("POST", "/detokenize", detokenize, "The text of tokens", DetokenizeBody),
    Route(
        "GET",
        "/",
        index,
        "How the server is doing, for people; for Ollama's clients, a sign of life",
        answers=(TEXT, HTML),
    ),
    Route("GET", "/api/version", version, "Ollama: the version of its API"),
    Route("GET", "/api/tags", list_tags, "Ollama: the models"),
    Route("GET", "/api/ps", list_running, "Ollama: the models that are loaded"),
    Route("POST", "/api/show", show, "Ollama: one model", ollama_body.ShowBody),
    Route("POST", "/api/pull", pull, "Ollama: download and serve a model", ollama_body.PullBody, (JSON, RECORDS)),
    Route("POST", "/api/chat", chat, "Ollama: a chat's answer", ollama_body.ChatBody, (JSON, RECORDS)),
    Route("POST", "/api/generate", generate, "Ollama: a prompt's answer", ollama_body.GenerateBody, (JSON, RECORDS)),
    Route("POST", "/api/embed", embed, "Ollama: vectors of texts", ollama_body.EmbedBody),
    Route("POST", "/api/embeddings", embed_prompt, "Ollama: the vector of a text", ollama_body.EmbedPromptBody),
)


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
