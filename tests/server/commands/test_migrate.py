"""`zoe migrate ollama`, on a folder as Ollama makes it, with a real model file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from zoe_server import settings
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.cli import app

Zoe = Callable[..., Result]
IMAGE = "application/vnd.ollama.image."


class OllamaFolder:
    """Makes what `ollama pull` makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs").mkdir(parents=True)

    def blob(self, content: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.root / "blobs" / f"sha256-{digest}").write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content)}

    def model(self, path: str, **layers: bytes) -> None:
        listed = [{"mediaType": IMAGE + kind, **self.blob(content)} for kind, content in layers.items()]
        manifest = self.root / "manifests" / "registry.ollama.ai" / path
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text(json.dumps({"schemaVersion": 2, "layers": listed}), encoding="utf-8")


@pytest.fixture
def weights(tmp_path: Path) -> bytes:
    return write_random_gguf(tmp_path / "weights.gguf", merges=20).read_bytes()


@pytest.fixture
def ollama(tmp_path: Path) -> OllamaFolder:
    return OllamaFolder(tmp_path / "ollama")


@pytest.fixture
def zoe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoe:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOE_SERVER__MODELS_FOLDER", str(tmp_path / "models"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))

    def run(*arguments: str, code: int = 0, answer: str = "") -> Result:
        result = CliRunner().invoke(app, ("migrate", "ollama", *arguments), input=answer, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


def test_models_are_served_under_the_names_that_clients_use(
    zoe: Zoe, ollama: OllamaFolder, weights: bytes, tmp_path: Path
) -> None:
    parameters = {"num_ctx": 2048, "num_gpu": 0, "temperature": 0.5, "top_k": 20, "stop": ["<|im_end|>"]}
    ollama.model("library/qwen3/4b", model=weights, params=json.dumps(parameters).encode(), template=b"{{ .Prompt }}")
    ollama.model("library/llama3.2/latest", model=weights, system=b"You are a pirate.")
    said = zoe("--config", "new.toml", "--yes").output
    assert "qwen3:4b: its template stays behind" in said
    assert "qwen3:4b: set per request, or not at all: stop" in said
    assert "llama3.2:latest: its system prompt stays behind" in said
    assert "Ollama listens where Zoe does" in said
    llama, qwen = settings.load(tmp_path / "new.toml").specs()
    assert (llama.name, llama.aliases) == ("llama3.2", ("llama3.2:latest",))
    assert (qwen.name, qwen.aliases, qwen.roles) == ("qwen3-4b", ("qwen3:4b",), ("tools", "chat"))
    assert isinstance(qwen.options, LlamaOptions)
    assert (qwen.options.n_ctx_tokens, qwen.options.n_gpu_layers) == (2048, 0)
    assert (qwen.options.sampling.temperature, qwen.options.sampling.top_k) == (0.5, 20)
    assert qwen.path.is_symlink()
    assert qwen.path.read_bytes() == weights


def test_a_model_that_sees_brings_its_projector(zoe: Zoe, ollama: OllamaFolder, weights: bytes, tmp_path: Path) -> None:
    eyes = write_random_projector(tmp_path / "eyes.gguf").read_bytes()
    ollama.model("library/llava/7b", model=weights, projector=eyes)
    zoe("--config", "new.toml", "--yes")
    (spec,) = settings.load(tmp_path / "new.toml").specs()
    assert "vision" in spec.roles
    assert spec.capabilities.pictures


def test_what_cannot_be_served_stays(zoe: Zoe, ollama: OllamaFolder, weights: bytes) -> None:
    ollama.model("library/good/1b", model=weights)
    ollama.model("library/gpt-oss/120b-cloud", license=b"terms")
    ollama.model("library/broken/1b", model=b"no model at all")
    ollama.model("library/lost/1b", model=b"gone")
    (ollama.root / "blobs" / f"sha256-{hashlib.sha256(b'gone').hexdigest()}").unlink()
    said = zoe("--config", "new.toml", "--yes").output
    assert "gpt-oss:120b-cloud stays with Ollama: it has no weights here" in said
    assert "broken:1b stays with Ollama" in said
    assert "lost:1b stays with Ollama" in said
    assert [spec.name for spec in settings.load(Path("new.toml")).specs()] == ["good-1b"]


def test_nothing_is_changed_without_a_yes(zoe: Zoe, ollama: OllamaFolder, weights: bytes, tmp_path: Path) -> None:
    ollama.model("library/good/1b", model=weights)
    assert "nothing was changed" in zoe("--config", "new.toml", answer="n\n").output
    assert not (tmp_path / "new.toml").exists()
    assert not (tmp_path / "models").exists()


def test_a_file_of_the_users_own_stays_as_it_is(zoe: Zoe, ollama: OllamaFolder, weights: bytes, tmp_path: Path) -> None:
    ollama.model("library/good/1b", model=weights)
    (tmp_path / "zoe.toml").write_text("# mine\n", encoding="utf-8")
    said = zoe("--yes").output
    assert '[models."good-1b"]' in said
    assert (tmp_path / "zoe.toml").read_text(encoding="utf-8") == "# mine\n"
    zoe("--yes")  # a second time, nothing is in the way
    (tmp_path / "models" / "good-1b.gguf").unlink()
    (tmp_path / "models" / "good-1b.gguf").write_bytes(b"mine")
    assert "exists and is another file" in zoe("--yes", code=1).output


def test_without_ollama_it_says_where_it_looked(zoe: Zoe, tmp_path: Path) -> None:
    assert "no models of Ollama in" in zoe(code=1).output
    assert str(tmp_path / "empty") in zoe("--from", str(tmp_path / "empty"), code=1).output.replace("\n", "")
