"""Configuration: where values come from, what wins, and what is refused."""

import json
from pathlib import Path

import pytest

import tests.fixtures.scripted_engine  # noqa: F401 - which makes it a kind of engine
from tests.fixtures.random_gguf import write_random_gguf
from tests.fixtures.random_projector_gguf import write_random_projector
from zoe_server import settings
from zoe_server.catalogue.engine_options import Adapter, LlamaOptions
from zoe_server.engines.local import engine_config
from zoe_server.llama.config import EngineConfig
from zoe_server.settings import SettingsError


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of this machine takes part."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ZOE_API_KEY", "ZOE_SERVER__PORT", "ZOE_SERVER__HOST", "ZOE_SERVER__MODELS_FOLDER", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_configuration_the_bundled_model_is_served_on_loopback() -> None:
    chosen = settings.load()
    assert (chosen.server.host, chosen.server.port, chosen.key) == ("127.0.0.1", 11434, None)
    (spec,) = chosen.specs()
    assert (spec.name, spec.engine, spec.n_ctx_tokens, spec.roles) == ("zoe-nano", "llama", 4096, ("tools",))
    assert spec.options.sampling.model_dump(exclude_none=True) == {"temperature": 0.0}
    assert spec.path.parts[-3:] == ("zoe_server", "catalogue", "zoe-nano.gguf")


def test_models_keep_their_order_and_their_values(tmp_path: Path) -> None:
    write(
        tmp_path / "zoe.toml",
        """
        [models.big]
        path = "models/big.gguf"
        aliases = ["qwen2.5:7b"]
        roles = ["tools"]
        context_tokens = 8192
        slots = 2
        dialect = "functionary-v3.2"
        sampling = { temperature = 0.5, top_k = 40 }
        [models.zoe-nano]
        """,
    )
    big, nano = settings.load().specs()
    assert (big.name, big.path, big.aliases) == ("big", tmp_path / "models" / "big.gguf", ("qwen2.5:7b",))
    assert (big.n_ctx_tokens, big.n_slots, big.options.sampling.model_dump(exclude_none=True)) == (
        8192,
        2,
        {"temperature": 0.5, "top_k": 40},
    )
    assert (big.options.dialect, nano.options.dialect) == ("functionary-v3.2", None)
    assert nano.path.name == "zoe-nano.gguf"


def test_the_file_is_found_in_the_usual_places_in_order(tmp_path: Path) -> None:
    write(tmp_path / "home" / ".config" / "zoe" / "zoe.toml", "server = { port = 1001 }")
    assert settings.load().server.port == 1001
    write(tmp_path / "zoe.toml", "server = { port = 1002 }")
    assert settings.load().server.port == 1002
    assert settings.load(write(tmp_path / "other.toml", "server = { port = 1003 }")).server.port == 1003


def test_environment_wins_over_the_file_and_the_command_line_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "zoe.toml", 'server = { port = 1, host = "127.0.0.2", queue_limit = 3 }')
    monkeypatch.setenv("ZOE_SERVER__PORT", "2")
    assert (settings.load().server.port, settings.load().server.host) == (2, "127.0.0.2")
    chosen = settings.load(port=3, host="127.0.0.3")
    assert (chosen.server.port, chosen.server.host, chosen.server.queue_limit) == (3, "127.0.0.3", 3)


@pytest.mark.parametrize("text", ['api_key = "k1"', '[server]\napi_key = "k1"'])
def test_the_key_may_stand_in_either_place(tmp_path: Path, text: str) -> None:
    assert settings.load(write(tmp_path / "zoe.toml", text)).key == "k1"


def test_the_key_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOE_API_KEY", "from-env")
    assert settings.load().key == "from-env"


def test_a_blank_key_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOE_API_KEY", "  ")
    assert settings.load().key is None


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("colour = 1", "colour: unknown key"),
        ("[server]\nprot = 1", "server.prot: unknown key"),
        ('[models.a]\npath = "a.gguf"\ncontext = 1', "models.a.context: unknown key"),
        ('[models.a]\npath = "a.gguf"\nsampling = { temprature = 1 }', "models.a.sampling.temprature: unknown key"),
        ("[server]\nport = 70000", "server.port"),
        ('[models.a]\npath = "a.gguf"\nslots = 0', "models.a.slots"),
        ('[models.a]\npath = "a.gguf"\nengine = "abacus"', "models.a.engine"),
        (
            '[models.a]\npath = "a.gguf"\ndialect = "klingon"',
            "models.a.dialect: no dialect is called 'klingon'; there are hermes, llama3, mistral",
        ),
        ("[models.a]", "models.a.path"),
        ("[models.a]\n[models.b]", "models.b.path: missing; say where the model's file is"),
        ("[models.llama-3.2-3b]", "models.llama-3.2-3b.path: its file is not here; get it with `zoe models pull llama"),
        ("[models.'qwen2.5:7b']", "get it with `zoe models pull qwen2.5-coder-7b`"),
        ("[catalogue.mine]\nroles = ['chat']", "catalogue.mine: weights are missing"),
        (
            "[catalogue.mine]\nroles = ['vision']\nweights = { repository = 'a/b', file = 'c.gguf' }",
            'catalogue.mine: a model with the role "vision" sees with a second file; add projector',
        ),
        ("[catalogue.mine]\nname = 'other'", "catalogue: mine.name: unknown key"),
        ("[catalogue.zoe-nano]\nlicense = 'mine'", "catalogue.zoe-nano.license: unknown key"),
        ("[catalogue.llama-3.2-3b]\nscores = { tools = 101 }", "catalogue.llama-3.2-3b.scores.tools"),
        ("[catalogue.qwen2-vl-7b]\nfallback = 'nobody'", "catalogue.qwen2-vl-7b.fallback: no model is called 'nobody'"),
        ("[catalogue]\nzoe-nano = 1", "catalogue.zoe-nano"),
        ("catalogue = 1", "catalogue"),
        ("models = {}", "models"),
        ('[models.zoe]\npath = "a.gguf"', "models.zoe"),
        ('[models.a]\npath = "a"\naliases = ["b"]\n[models.b]\npath = "b"', "already used by model 'a'"),
        ('[models."bad name"]\npath = "a.gguf"', "models.bad name"),
        ('[models.a]\npath = "a"\nadapters."b:c" = "d"', "models.a.adapters.b:c"),
        ('[models.a]\npath = "a"\nadapters.latest = "b"', "models.a.adapters: 'latest' is what Ollama's clients"),
        ('[models.a]\npath = "a"\nadapters.b = 1', "models.a.adapters.b"),
        ('[models.a]\npath = "a"\nadapters = "b"', "models.a.adapters"),
        ("[models.a]\npath = 'a'\nadapters.b = { scale = 2 }", "models.a.adapters.b.path"),
        ("[models.a]\npath = 'a'\nadapters.b = { path = 'b', scale = nan }", "models.a.adapters.b.scale"),
        ("[models.a]\npath = 'a'\nadapters.b = { path = 'b', size = 2 }", "models.a.adapters.b.size: unknown key"),
        (
            "[models.a]\npath = 'a'\nroles = ['embeddings']\nadapters.b = 'b'",
            "models.a.adapters: a model with the role 'embeddings' takes none",
        ),
        (
            "[models.a]\npath = 'a'\nengine = 'scripted'\nadapters.b = 'b'",
            "models.a.adapters: a model with the engine 'scripted' takes none",
        ),
        ("[models.a]\npath = 'a'\nengine = 'steam'", "models.a.engine: there is no engine 'steam', only"),
        ("[models.a]\npath = 'a'\nload = 'never'", "models.a.load"),
        ("[models.a]\npath = 'a'\nkeep_alive_s = -1", "models.a.keep_alive_s"),
        ("[models.a]\npath = 'a'\nkeep_alive_s = inf", "models.a.keep_alive_s"),
        (
            "[models.a]\npath = 'a'\nkeep_alive_s = 5\npinned = true",
            "models.a.keep_alive_s: a pinned model never leaves memory",
        ),
        (
            "[models.a]\npath = 'a'\nfallback = 'nobody'",
            "models.a.fallback: no model here is called 'nobody'; there are a",
        ),
        ("[models.a]\npath = 'a'\nfallback = 'b:c'\n[models.b]\npath = 'b'\nadapters.c = 'c'", "models.a.fallback: no"),
        ("[models.a]\npath = 'a'\naliases = ['b']\nfallback = 'b'", "models.a.fallback: 'a' falls back on 'a' itself"),
        (
            "[models]\na = {path='a', fallback='b'}\nb = {path='b', fallback='c'}\nc = {path='c', fallback='b'}",
            "models.b.fallback: 'c' falls back on 'b' itself",
        ),
        (
            "[models.a]\npath = 'a'\nfallback = 'b'\n[models.b]\npath = 'b'\nroles = ['embeddings']",
            "models.a.fallback: vectors of different models have nothing in common",
        ),
        ("[server]\nmemory_budget_bytes = 0", "server.memory_budget_bytes"),
        ("[server]\nmemory_budget_bytes = '4 GB'", "server.memory_budget_bytes"),
        (
            "[models.a]\npath = 'a'\nadapters.b = 'b'\n[models.c]\npath = 'c'\naliases = ['a:b']",
            "models.c: the name 'a:b' is already used by model 'a'",
        ),
    ],
)
def test_mistakes_are_named_by_their_path(tmp_path: Path, text: str, path: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(write(tmp_path / "zoe.toml", text))
    assert path in str(caught.value)
    assert "zoe.toml" in str(caught.value)


@pytest.mark.parametrize("name", ["ZOE_SERVER__PROT", "ZOE_SEVER__PORT"])
def test_unknown_environment_variables_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError, match=name.removeprefix("ZOE_").lower().split("__")[0]):
        settings.load()


def test_an_environment_variable_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOE_MODELS", "{")
    with pytest.raises(SettingsError, match="models"):
        settings.load()


def test_a_missing_or_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        settings.load(tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match="not valid TOML"):
        settings.load(write(tmp_path / "zoe.toml", "server = ["))


def test_the_limits_of_the_server_are_those_of_every_model(tmp_path: Path) -> None:
    write(tmp_path / "zoe.toml", "server = { queue_limit = 3, stuck_load_after_s = 60 }\n[models.zoe-nano]")
    (spec,) = settings.load().specs()
    assert (spec.queue_limit, spec.stuck_load_s) == (3, 60.0)


def test_one_model_file_replaces_all_others(tmp_path: Path) -> None:
    write(tmp_path / "zoe.toml", "server = { port = 5 }\n[models.zoe-nano]")
    chosen = settings.load(model=Path("My Model.gguf"))
    (spec,) = chosen.specs()
    assert (spec.name, spec.path, chosen.server.port) == ("My-Model", tmp_path / "My Model.gguf", 5)
    assert settings.load(model=Path("zoe.gguf")).specs()[0].name == "zoe-model"
    assert settings.load(model=Path("grüße-7b.gguf")).specs()[0].name == "gr--e-7b"
    assert settings.load(model=Path("x" * 200 + ".gguf")).specs()[0].name == "x" * 128


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing is bound, this is what is refused
        ("::", False),
        ("192.168.1.2", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_only_loopback_may_be_served_without_a_key(host: str, loopback: bool) -> None:
    assert settings.is_loopback(host) is loopback
    settings.check_bind(host, "a key")
    if loopback:
        settings.check_bind(host, None)
    else:
        with pytest.raises(SettingsError, match="ZOE_API_KEY"):
            settings.check_bind(host, None)


def test_adapters_have_paths_as_models_have(tmp_path: Path) -> None:
    write(
        tmp_path / "zoe.toml",
        """
        [models.big]
        path = "big.gguf"
        adapters.jokes = "loras/jokes.gguf"
        [models.big.adapters."home/v1.2"]
        path = "/far/home.gguf"
        scale = 0.5
        """,
    )
    (big,) = settings.load().specs()
    assert big.adapters == {
        "jokes": Adapter(path=tmp_path / "loras" / "jokes.gguf"),
        "home/v1.2": Adapter(path=Path("/far/home.gguf"), scale=0.5),
    }


def test_a_model_for_embeddings_has_no_other_role(tmp_path: Path) -> None:
    path = tmp_path / "zoe.toml"
    path.write_text("[models.e]\npath = 'e.gguf'\nroles = ['embeddings']", encoding="utf-8")
    assert settings.load(path).specs()[0].roles == ("embeddings",)
    path.write_text("[models.e]\npath = 'e.gguf'\nroles = ['embeddings', 'tools']", encoding="utf-8")
    with pytest.raises(SettingsError, match=r"models\.e\.roles.*'embeddings' cannot have another"):
        settings.load(path)


def pulled(folder: Path, *names: str) -> None:
    for name in names:
        write(folder / name, "not looked at")


def test_a_model_of_the_catalogue_needs_no_path_once_it_was_pulled(tmp_path: Path) -> None:
    pulled(tmp_path / "home/.local/share/zoe/models", "Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf")
    write(tmp_path / "zoe.toml", "[models.qwen2.5-coder-7b]\n[models.zoe-nano]")
    coder, _ = settings.load().specs()
    assert coder.name == "qwen2.5-coder-7b"
    assert coder.path == tmp_path / "home/.local/share/zoe/models/Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf"
    assert (coder.roles, coder.n_ctx_tokens, coder.options.dialect) == (("tools",), 8192, "hermes")
    assert coder.aliases == ("hermes3:8b", "qwen2.5:7b")


def test_what_the_configuration_says_wins_over_the_catalogue(tmp_path: Path) -> None:
    pulled(tmp_path / "gguf", "Llama-3.2-3B-Instruct-Q4_K_M.gguf")
    write(
        tmp_path / "zoe.toml",
        """
        [server]
        models_folder = "gguf"
        [models.'llama3.2']
        context_tokens = 1024
        roles = ["tools", "chat"]
        [models.zoe-nano]
        aliases = ["phi3:mini"]
        sampling = { temperature = 0.5 }
        """,
    )
    llama, nano = settings.load().specs()
    assert (llama.name, llama.n_ctx_tokens, llama.roles) == ("llama3.2", 1024, ("tools", "chat"))
    assert llama.path == tmp_path / "gguf" / "Llama-3.2-3B-Instruct-Q4_K_M.gguf"
    assert llama.aliases == ("llama-3.2-3b", "llama3.2:latest")  # phi3:mini was given to another
    assert nano.options.sampling.model_dump(exclude_none=True) == {"temperature": 0.5}


def test_a_file_of_ones_own_takes_nothing_but_its_name_from_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path / "zoe.toml", "[models.llama-3.2-3b]\npath = 'x.gguf'\n[models.'llama3.2']\npath = 'y.gguf'")
    llama, own = settings.load().specs()
    assert (llama.path, llama.roles, llama.aliases) == (
        tmp_path / "x.gguf",
        ("chat",),
        ("phi3:mini", "llama3.2:latest"),
    )
    assert (own.path, own.roles, own.aliases) == (tmp_path / "y.gguf", (), ())


def test_a_file_in_the_models_folder_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    write_random_gguf(tmp_path / "models" / "My-1.5B-Q8.gguf", merges=20, context=1024)
    monkeypatch.setenv("ZOE_SERVER__MODELS_FOLDER", str(tmp_path / "models"))
    write(tmp_path / "zoe.toml", "[models.My-1.5B-Q8]")
    (spec,) = settings.load().specs()
    assert (spec.name, spec.path.parent) == ("My-1.5B-Q8", tmp_path / "models")
    assert (spec.roles, spec.n_ctx_tokens) == (("tools", "chat"), 1024)
    assert [spec.name for spec in settings.load(write(tmp_path / "empty.toml", "")).specs()] == ["zoe-nano"]


def test_a_broken_file_in_the_models_folder_is_named(tmp_path: Path) -> None:
    pulled(tmp_path / "models", "mine.gguf")
    write(tmp_path / "zoe.toml", "server = { models_folder = 'models' }\n[models.mine]")
    with pytest.raises(SettingsError, match=r"models\.mine\.path: .*mine\.gguf is not a readable GGUF file"):
        settings.load().specs()


def test_the_configuration_can_be_read_before_its_models_are_here(tmp_path: Path) -> None:
    write(tmp_path / "zoe.toml", "[models.llama-3.2-3b]\n[catalogue.llama-3.2-3b]\nlicence = 'mine'")
    chosen = settings.read()
    assert chosen.catalogue["llama-3.2-3b"].licence == "mine"
    assert chosen.catalogue["llama-3.2-3b"].context_tokens == 4096
    assert len(chosen.missing_models()) == 1
    with pytest.raises(SettingsError, match=r"models\.llama-3\.2-3b\.path"):
        settings.load()


EYES = ("Qwen2-VL-7B-Instruct-Q4_K_M.gguf", "mmproj-Qwen2-VL-7B-Instruct-f16.gguf")


def test_a_model_that_sees_is_served_with_its_projector(tmp_path: Path) -> None:
    pulled(tmp_path / "models", *EYES)
    write(tmp_path / "zoe.toml", "server = { models_folder = 'models' }\n[models.qwen2-vl-7b]")
    chosen = settings.load()
    (eyes,) = chosen.specs()
    assert (eyes.path, eyes.options.projector_path) == (tmp_path / "models" / EYES[0], tmp_path / "models" / EYES[1])
    assert (eyes.roles, eyes.load, chosen.shortcomings()) == (("vision",), "demand", [])
    write(
        tmp_path / "zoe.toml", "server = { models_folder = 'models' }\nmodels.qwen2-vl-7b = { projector = 'own.gguf' }"
    )
    assert settings.load().specs()[0].options.projector_path == tmp_path / "own.gguf"


def test_without_its_projector_it_is_served_but_not_for_pictures(tmp_path: Path) -> None:
    pulled(tmp_path / "models", EYES[0])
    write(tmp_path / "zoe.toml", "server = { models_folder = 'models' }\n[models.qwen2-vl-7b]")
    chosen = settings.load()
    (eyes,) = chosen.specs()
    assert (eyes.roles, eyes.load, eyes.options.projector_path) == ((), "demand", None)
    (problem,) = chosen.shortcomings()
    assert problem.startswith(
        "models.qwen2-vl-7b.projector: missing, so the model sees no pictures; its projector mmproj"
    )
    assert problem.endswith(f"{EYES[1]} is not here; get it with `zoe models pull qwen2-vl-7b`")


def test_a_model_of_ones_own_that_is_to_see_needs_a_projector_too(tmp_path: Path) -> None:
    write(tmp_path / "zoe.toml", "[models.a]\npath = 'a.gguf'\nroles = ['chat', 'vision']")
    chosen = settings.load()
    assert chosen.specs()[0].roles == ("chat",)
    (problem,) = chosen.shortcomings()
    assert problem.startswith("models.a.projector: missing, so the model sees no pictures; say where")
    write(tmp_path / "zoe.toml", "[models.a]\npath = 'a.gguf'\nroles = ['vision']\nengine = 'scripted'")
    assert (settings.load().specs()[0].roles, settings.load().shortcomings()) == (("vision",), [])


def test_a_model_of_the_folder_gets_the_projector_beside_it(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    write_random_gguf(tmp_path / "models" / "Eyes-Q8_0.gguf", merges=20)
    projector = write_random_projector(tmp_path / "models" / "mmproj-Eyes-f16.gguf")
    write(tmp_path / "zoe.toml", "server = { models_folder = 'models' }\n[models.Eyes-Q8_0]")
    (eyes,) = settings.load().specs()
    assert (eyes.roles, eyes.options.projector_path, eyes.load) == (("tools", "chat", "vision"), projector, "start")
    write(tmp_path / "zoe.toml", "server = { models_folder = 'models' }\n[models.mmproj-Eyes-f16]")
    for act in (settings.Settings.specs, settings.Settings.shortcomings):
        with pytest.raises(SettingsError, match=r"models\.mmproj-Eyes-f16\.path: .* is no model but lets one see"):
            act(settings.load())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[models.a.sampling]", ["a"]),
        ("[models.a1.5]\npath = 'x'\n[models.a1.7.b]\npath = 'y'", ["a1.5", "a1.7.b"]),
        ("[models.'a1.5']\npath = 'x'\n[models.'a1.5'.sampling]", ["a1.5"]),
        ("[models.a1.5]\npath = 'x'\n[models.a1.5.sampling]", ["a1.5"]),
    ],
)
def test_names_with_dots_need_no_quotes(tmp_path: Path, text: str, names: list[str]) -> None:
    if names == ["a"]:
        text = f"[models.a]\npath = 'x'\n{text}"
    assert list(settings.load(write(tmp_path / "zoe.toml", text)).models) == names


def test_when_models_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path / "zoe.toml",
        """
        server = { memory_budget_bytes = 6_000_000_000 }
        [models.a]
        path = "a.gguf"
        pinned = true
        [models.b]
        path = "b.gguf"
        load = "demand"
        keep_alive_s = 300
        [models.zoe-nano]
        """,
    )
    chosen = settings.load()
    assert [(spec.load, spec.pinned, spec.keep_alive_s) for spec in chosen.specs()] == [
        ("start", True, None),
        ("demand", False, 300.0),
        ("start", False, None),
    ]
    assert (settings.ServerSettings().memory_budget_bytes, chosen.server.memory_budget_bytes) == (None, 6_000_000_000)
    monkeypatch.setenv("ZOE_SERVER__MEMORY_BUDGET_BYTES", "5")
    assert settings.load().server.memory_budget_bytes == 5


@pytest.mark.parametrize(
    ("table", "load"),
    [
        ("roles = ['vision']", "demand"),
        ("roles = ['vision']\nload = 'start'", "start"),
        ("roles = ['vision', 'chat']", "start"),
    ],
)
def test_a_model_that_only_sees_is_loaded_when_it_is_asked_for(tmp_path: Path, table: str, load: str) -> None:
    write(tmp_path / "zoe.toml", f"[models.eyes]\npath = 'e.gguf'\nprojector = 'p.gguf'\n{table}")
    (spec,) = settings.load().specs()
    assert (spec.load, spec.options.projector_path) == (load, tmp_path / "p.gguf")
    assert "vision" in spec.roles


def test_fallbacks_are_named_by_any_name_of_a_model(tmp_path: Path) -> None:
    pulled(tmp_path / "models", "Llama-3.2-3B-Instruct-Q4_K_M.gguf")
    write(
        tmp_path / "zoe.toml",
        """
        server = { models_folder = "models" }
        [models.a]
        path = "a.gguf"
        fallback = "other-b"
        [models.b]
        path = "b.gguf"
        aliases = ["other-b"]
        fallback = "phi3:mini"
        [models."llama3.2"]
        """,
    )
    assert [spec.fallback for spec in settings.load().specs()] == ["b", "llama3.2", None]


@pytest.mark.parametrize(
    ("tables", "fallbacks"),
    [
        ("[models.qwen2.5-coder-7b]\n[models.zoe-nano]", [None, None]),
        ("[models.qwen2.5-coder-7b]\n[models.llama-3.2-3b]", ["llama-3.2-3b", None]),
        ("[models.'qwen2.5:7b']\n[models.'llama3.2']", ["llama3.2", None]),
        ("[models.qwen2.5-coder-7b]\n[models.'llama3.2']\npath = 'mine.gguf'", [None, None]),
        ("[models.qwen2.5-coder-7b]\nfallback = 'zoe-nano'\n[models.zoe-nano]", ["zoe-nano", None]),
        (
            "[models.qwen2.5-coder-7b]\n[models.llama-3.2-3b]\nfallback = 'qwen2.5-coder-7b'",
            [None, "qwen2.5-coder-7b"],
        ),
        (
            "[models.qwen2.5-coder-7b]\n[models.zoe-nano]\n[catalogue.llama-3.2-3b]\nfallback = 'zoe-nano'",
            ["zoe-nano", None],
        ),
    ],
)
def test_the_catalogue_s_fallbacks_hold_among_the_models_that_are_served(
    tmp_path: Path, tables: str, fallbacks: list[str | None]
) -> None:
    pulled(tmp_path / "models", "Llama-3.2-3B-Instruct-Q4_K_M.gguf", "Qwen2.5-Coder-7B-Instruct-Q4_K_M.gguf")
    write(tmp_path / "zoe.toml", f"server = {{ models_folder = 'models' }}\n{tables}")
    assert [spec.fallback for spec in settings.load().specs()] == fallbacks


OPTIONS = """
adapters.jokes = "jokes.gguf"
projector = "mmproj.gguf"
projector_gpu = false
picture_tokens = 512
context_tokens = 1024
slots = 3
batch_tokens = 128
threads = 2
gpu_layers = 7
flash_attention = true
prefix_cache = false
jump_forward = false
speculation = false
sampling = { temperature = 0.5, top_k = 40 }
chat_template = "{{ messages }}"
dialect = "json"
"""


def test_every_option_goes_from_the_table_to_the_engine_unchanged(tmp_path: Path) -> None:
    """All that a new option needs is its line in `LlamaOptions`, and a line here."""
    (tmp_path / "m.gguf").touch()
    (tmp_path / "zoe.toml").write_text(f"[models.m]\npath = 'm.gguf'\n{OPTIONS}", encoding="utf-8")
    (spec,) = settings.load(tmp_path / "zoe.toml").specs()
    assert spec.options.model_fields_set == set(LlamaOptions.model_fields)
    told = EngineConfig.model_validate_json(json.dumps(engine_config(spec, tmp_path / "socket")))
    assert {name: getattr(told, name) for name in LlamaOptions.model_fields} == dict(spec.options)
    assert spec.options.projector_path == tmp_path / "mmproj.gguf"
    assert spec.options.adapters["jokes"].path == tmp_path / "jokes.gguf"
    unchanged = {
        name for name, field in LlamaOptions.model_fields.items() if getattr(told, name) == field.get_default()
    }
    assert unchanged == set()
