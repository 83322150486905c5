"""Which path is answered by whom: one line for each, read by the application and by /openapi.json alike."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from zoe_server.gateway import admin, offers, ollama_wire, openai_wire
from zoe_server.gateway.chat import chat_completions
from zoe_server.gateway.completions import completions
from zoe_server.gateway.completions_wire import CompletionBody
from zoe_server.gateway.embeddings import embeddings
from zoe_server.gateway.embeddings_wire import EmbeddingsBody
from zoe_server.gateway.health import health
from zoe_server.gateway.models import list_models, one_model
from zoe_server.gateway.monitoring import metrics, metrics_json, metrics_prometheus, recent_requests, stats
from zoe_server.gateway.ollama_chat import chat, generate
from zoe_server.gateway.ollama_embed import embed, embed_prompt
from zoe_server.gateway.ollama_models import list_running, list_tags, show, version
from zoe_server.gateway.ollama_pull import pull
from zoe_server.gateway.openapi import EVENTS, JSON, RECORDS, TEXT, Route, document
from zoe_server.gateway.responses import responses
from zoe_server.gateway.responses_wire import ResponseBody
from zoe_server.gateway.services import services
from zoe_server.gateway.status_page import HTML, front_door
from zoe_server.gateway.tokens import DetokenizeBody, TokenizeBody, detokenize, tokenize


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
    Route("GET", "/admin/catalogue", offers.catalogue, "The models that could be served, too"),
    Route("POST", "/admin/route", admin.explain_route, "Which model would answer, and why", admin.RouteBody),
    Route("POST", "/admin/models/{id:.+}/load", admin.load, "Bring a model into memory"),
    Route("POST", "/admin/models/{id:.+}/unload", admin.unload, "Take a model out of memory", admin.UnloadBody),
    Route("GET", "/admin/models/{id:.+}/log", admin.log, "The last lines that a model's engines wrote"),
    Route("GET", "/v1/models", list_models, "The models"),
    Route("GET", "/v1/models/{id:.+}", one_model, "One model"),
    Route("POST", "/v1/chat/completions", chat_completions, "A chat's answer", openai_wire.ChatBody, (JSON, EVENTS)),
    Route("POST", "/v1/completions", completions, "A prompt's continuation", CompletionBody, (JSON, EVENTS)),
    Route("POST", "/v1/embeddings", embeddings, "Vectors of texts", EmbeddingsBody),
    Route("POST", "/v1/responses", responses, "A response", ResponseBody, (JSON, EVENTS)),
    Route("POST", "/tokenize", tokenize, "A text's tokens", TokenizeBody),
    Route("POST", "/detokenize", detokenize, "The text of tokens", DetokenizeBody),
    Route(
        "GET",
        "/",
        front_door,
        "How the server is doing, for people; for Ollama's clients, a sign of life",
        answers=(TEXT, HTML),
    ),
    Route("GET", "/api/version", version, "Ollama: the version of its API"),
    Route("GET", "/api/tags", list_tags, "Ollama: the models"),
    Route("GET", "/api/ps", list_running, "Ollama: the models that are loaded"),
    Route("POST", "/api/show", show, "Ollama: one model", ollama_wire.ShowBody),
    Route("POST", "/api/pull", pull, "Ollama: download and serve a model", ollama_wire.PullBody, (JSON, RECORDS)),
    Route("POST", "/api/chat", chat, "Ollama: a chat's answer", ollama_wire.ChatBody, (JSON, RECORDS)),
    Route("POST", "/api/generate", generate, "Ollama: a prompt's answer", ollama_wire.GenerateBody, (JSON, RECORDS)),
    Route("POST", "/api/embed", embed, "Ollama: vectors of texts", ollama_wire.EmbedBody),
    Route("POST", "/api/embeddings", embed_prompt, "Ollama: the vector of a text", ollama_wire.EmbedPromptBody),
)
