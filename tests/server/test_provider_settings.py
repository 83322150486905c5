"""Who runs a model, as the configuration says: tables of models elsewhere and of vLLM, and whose models come first."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.server.test_settings import bare_environment, write
from zoe_server import settings
from zoe_server.catalogue.engine_options import OllamaOptions, OpenAIOptions, VllmOptions
from zoe_server.routing.router import Router

__all__ = ["bare_environment"]


def test_a_model_on_another_server_needs_no_file(tmp_path: Path) -> None:
    write(
        tmp_path / "zoe.toml",
        "[models.far]\nengine = 'openai'\nurl = 'http://nas:8080'\nkey = 'secret'\nmodel = 'x'\nslots = 3\n"
        "roles = ['chat', 'vision']",
    )
    chosen = settings.load()
    (spec,) = chosen.specs()
    assert isinstance(spec.options, OpenAIOptions)
    assert (spec.options.urls, spec.options.model, spec.n_slots) == (("http://nas:8080",), "x", 3)
    assert (spec.roles, chosen.shortcomings()) == (("chat", "vision"), [])
    assert spec.options.api_key is not None
    assert spec.options.api_key.get_secret_value() == "secret"
    assert "secret" not in repr(chosen)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("engine = 'openai'", "it has a url, and no path"),
        ("engine = 'openai'\nurl = 'http://nas'\npath = 'a.gguf'", "it has a url, and no path"),
        ("engine = 'openai'\nurl = 'nas:8080'", "must be the address of a server, such as http://nas:8080"),
        ("engine = 'openai'\nurl = ['http://a', 'http://a/']", "each server is to be there once"),
        (
            "engine = 'ollama'\nurl = 'http://nas'\ntools = true",
            "tools: no options of a model with the engine 'ollama'",
        ),
        ("engine = 'vllm'", "vLLM needs a path"),
        ("engine = 'vllm'\npath = 'a'\nmodel = 'b/c'", "vLLM needs a path"),
        ("engine = 'openai'\nurl = 'http://nas'\ngpu_layers = 3", "gpu_layers: no options of a model with the engine"),
        ("path = 'a.gguf'\nurl = 'http://nas'", "url: no options of a model with the engine 'llama'"),
    ],
)
def test_options_of_another_engine_are_refused(tmp_path: Path, table: str, message: str) -> None:
    write(tmp_path / "zoe.toml", f"[models.far]\n{table}")
    with pytest.raises(settings.SettingsError, match=re.escape(message)):
        settings.load()


def test_models_of_every_provider(tmp_path: Path) -> None:
    write(
        tmp_path / "zoe.toml",
        "[models.both]\nengine = 'openai'\nurl = ['http://a:1/v1/', 'http://b:1']\n"
        "[models.cat]\nengine = 'ollama'\nurl = 'http://nas:11434'\nmodel = 'qwen3:4b'\npull = false\n"
        "[models.fast]\nengine = 'vllm'\nmodel = 'Qwen/Qwen2.5-3B-Instruct-AWQ'\n"
        "memory_share = 0.15\ncontext_tokens = 4096\n"
        "[models.tuned]\nengine = 'vllm'\npath = 'tuned'\n",
    )
    both, cat, fast, tuned = settings.load().specs()
    assert isinstance(both.options, OpenAIOptions)
    assert both.options.urls == ("http://a:1/v1", "http://b:1")
    assert isinstance(cat.options, OllamaOptions)
    assert (cat.options.model, cat.options.pull) == ("qwen3:4b", False)
    assert isinstance(fast.options, VllmOptions)
    assert (fast.options.memory_share, fast.n_ctx_tokens) == (0.15, 4096)
    assert tuned.path == tmp_path / "tuned"
    assert fast.capabilities.tools


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, "near"),
        ({"ZOE_PROVIDER": "openai"}, "far"),
        ({"LLM_PROVIDER": "openai"}, "far"),
        ({"LLM_PROVIDER": "openai", "ZOE_PROVIDER": "llamacpp"}, "near"),
    ],
)
def test_whose_models_answer_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], first: str
) -> None:
    (tmp_path / "a.gguf").touch()
    write(
        tmp_path / "zoe.toml",
        "[models.near]\npath = 'a.gguf'\nroles = ['tools']\n"
        "[models.far]\nengine = 'openai'\nurl = 'http://nas'\nroles = ['tools']\n",
    )
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    chosen = settings.load()
    router = Router(chosen.specs(), chosen.preferred_engine)
    assert router.default == first
    assert set(router.route("zoe").candidates) == {"near", "far"}


def test_a_provider_without_models_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "zoe.toml", "provider = 'ollama'")
    with pytest.raises(settings.SettingsError, match="no model here is run by 'ollama'; add one"):
        settings.load()
    monkeypatch.setenv("ZOE_PROVIDER", "clippy")
    with pytest.raises(settings.SettingsError, match="provider"):
        settings.load()
