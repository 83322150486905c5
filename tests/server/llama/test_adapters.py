"""LoRA adapters on the real library: each request gets what its adapter answers alone, whoever runs beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
import pytest

from tests.fixtures.random_embedder_gguf import write_random_embedder_gguf
from tests.fixtures.random_gguf import whole_words, write_random_gguf
from tests.fixtures.random_lora_gguf import write_random_lora_gguf
from zoe_server.codec import decode_request, encode_request
from zoe_server.errors import InvalidRequestError
from zoe_server.llama.config import EngineConfig
from zoe_server.llama.model_file import ModelLoadError
from zoe_server.llama.runner import Runner
from zoe_server.llama.worker import open_worker
from zoe_server.protocol import ChatRequest

if TYPE_CHECKING:
    from conftest import Engine

pytestmark = pytest.mark.timeout(300)
Make = Callable[..., "Engine"]
Configs = dict[str, dict[str, object]]
HOME = " ".join(whole_words()[:150]) + " "
NAMES = (None, "jokes", "rhymes")


def test_answers_among_others_are_those_that_each_gets_alone(make_engine: Make, adapters: Configs) -> None:
    together, alone = make_engine(adapters=adapters, n_batch_tokens=64), make_engine(adapters=adapters)
    asked = {
        f"{adapter} {i}": (HOME + f"{word} please", adapter)
        for i, word in enumerate(whole_words()[120:123])
        for adapter in NAMES
    }
    for name, (text, adapter) in asked.items():
        together.ask(name, text, adapter=adapter, max_tokens=24)
        together.step()
    together.run()
    for name, (text, adapter) in asked.items():
        assert together.text(name) == alone.answer(name, text, adapter=adapter, max_tokens=24)
    for i in range(3):
        assert len({together.text(f"{adapter} {i}") for adapter in NAMES}) == 3


def test_an_adapter_answers_as_a_process_without_the_others(make_engine: Make, adapters: Configs) -> None:
    both, one, none = (make_engine(adapters=chosen) for chosen in (adapters, {"jokes": adapters["jokes"]}, {}))
    answers = [both.answer(str(name), "turn on the light", adapter=name) for name in ("jokes", None)]
    assert answers == [one.answer("a", "turn on the light", adapter="jokes"), none.answer("a", "turn on the light")]


def test_the_same_prompt_is_computed_anew_for_each_adapter(make_engine: Make, adapters: Configs) -> None:
    engine = make_engine(adapters=adapters)
    for adapter in NAMES:
        engine.answer(f"first {adapter}", HOME, adapter=adapter)
        assert engine.finish(f"first {adapter}").usage.cached_tokens == 0
    for adapter in NAMES:
        answer = engine.answer(f"second {adapter}", HOME, adapter=adapter)
        usage = engine.finish(f"second {adapter}").usage
        assert usage.cached_tokens == usage.prompt_tokens - 1
        assert answer == engine.text(f"first {adapter}")


def test_the_scale_counts(make_engine: Make, adapters: Configs) -> None:
    path = adapters["jokes"]["path"]
    scaled = {"full": {"path": path}, "half": {"path": path, "scale": 0.5}, "nothing": {"path": path, "scale": 0.0}}
    engine = make_engine(adapters=scaled)
    answers = {name: engine.answer(str(name), "turn on the light", adapter=name) for name in (*scaled, None)}
    assert answers["nothing"] == answers[None]
    assert len(set(answers.values())) == 3


def test_the_library_is_told_of_changes_only(
    make_engine: Make, adapters: Configs, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = llama_cpp.llama_set_adapters_lora

    def count(*arguments: object) -> int:
        calls.append(1)
        return int(real(*arguments))

    monkeypatch.setattr(llama_cpp, "llama_set_adapters_lora", count)
    engine = make_engine(adapters=adapters)
    engine.runner.warm_up()
    assert len(calls) == 3
    engine.answer("a", "hello")
    assert len(calls) == 3
    engine.answer("b", "hello", adapter="jokes")
    engine.answer("c", "hello again", adapter="jokes")
    assert len(calls) == 4
    assert engine.answer("d", "hello") == engine.text("a")
    assert len(calls) == 5


def test_what_is_kept_on_disk_comes_back_for_its_adapter_only(
    make_engine: Make, adapters: Configs, tmp_path: Path
) -> None:
    first = make_engine(adapters=adapters, prefix_folder=tmp_path)
    for adapter in ("jokes", None):
        for name, question in (("a", "turn on the light"), ("b", "what is the temperature")):
            first.answer(f"{name} {adapter}", HOME + question, adapter=adapter)
        first.loop._rest()
    first.saved_prefixes.close()
    n_shared = first.finish("b jokes").usage.cached_tokens
    again = make_engine(adapters=adapters, prefix_folder=tmp_path)
    assert again.saved_prefixes.restore() == 2 * n_shared > 280
    text = HOME + "close the blinds"
    for adapter in NAMES:
        again.ask(f"c {adapter}", text, adapter=adapter)
        first.answer(f"c {adapter}", text, adapter=adapter)
    again.run()
    assert again.finish("c rhymes").usage.cached_tokens == 0
    for adapter in NAMES:
        assert (again.finish(f"c {adapter}").usage.cached_tokens >= n_shared) == (adapter != "rhymes")
        assert again.text(f"c {adapter}") == first.text(f"c {adapter}")


@pytest.mark.parametrize("change", ["renamed", "another file", "newer", "another scale"])
def test_what_another_adapter_left_on_disk_is_left_alone(
    make_engine: Make, adapters: Configs, tmp_path: Path, change: str
) -> None:
    path = Path(shutil.copy(str(adapters["jokes"]["path"]), tmp_path / "mine.gguf"))
    folder = tmp_path / "prefixes"
    engine = make_engine(adapters={"mine": {"path": path}}, prefix_folder=folder)
    engine.ask("prime", HOME, max_tokens=0, priority="background", adapter="mine")
    engine.run()
    engine.loop._rest()
    engine.saved_prefixes.close()
    assert len(list(folder.iterdir())) == 1
    if change == "renamed":
        path = path.rename(tmp_path / "other.gguf")
    elif change == "another file":
        shutil.copy(str(adapters["rhymes"]["path"]), path)
    elif change == "newer":
        os.utime(path, ns=(1, 1))
    changed = {"path": path, "scale": 0.5 if change == "another scale" else 1.0}
    assert make_engine(adapters={"mine": changed}, prefix_folder=folder).saved_prefixes.restore() == 0
    assert len(list(folder.iterdir())) == 1


def load(model: Path, adapter: Path) -> Runner:
    socket_path = model.with_suffix(".sock")
    return Runner(EngineConfig(model_path=model, socket_path=socket_path, adapters={"mine": {"path": adapter}}))


def test_a_missing_file_is_named(tiny_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"the adapter 'mine' \(.*nothing\.gguf\) .*no such file"):
        load(tiny_gguf, tmp_path / "nothing.gguf")


@pytest.mark.parametrize("broken", ["empty", "cut", "a model", "for another model", "for another architecture"])
def test_a_file_that_cannot_be_used_is_named_with_the_reason(
    tiny_gguf: Path, adapters: Configs, tmp_path: Path, broken: str
) -> None:
    path = tmp_path / "bad.gguf"
    good = Path(str(adapters["jokes"]["path"]))
    if broken == "empty":
        path.touch()
    elif broken == "cut":
        path.write_bytes(good.read_bytes()[:-100])
    elif broken == "a model":
        path = tiny_gguf
    else:
        architecture, width = ("qwen2", 64) if "architecture" in broken else ("llama", 128)
        other = write_random_gguf(tmp_path / "other.gguf", width=width, architecture=architecture)
        write_random_lora_gguf(path, other)
    with pytest.raises(
        ModelLoadError, match=rf"the adapter 'mine' \(.*{path.name}\) .*this model: (?!llama.cpp gives)"
    ):
        load(tiny_gguf, path)


def test_an_activated_adapter_is_refused(tiny_gguf: Path, tmp_path: Path) -> None:
    path = write_random_lora_gguf(tmp_path / "late.gguf", tiny_gguf, invocation=[5, 6])
    with pytest.raises(ModelLoadError, match=r"the adapter 'mine' \(.*late\.gguf\) is an activated LoRA"):
        load(tiny_gguf, path)


def test_a_model_for_embeddings_takes_no_adapters(adapters: Configs, tmp_path: Path) -> None:
    model = write_random_embedder_gguf(tmp_path / "embedder.gguf")
    config = EngineConfig(model_path=model, socket_path=tmp_path / "e.sock", adapters=adapters)
    with pytest.raises(ModelLoadError, match="takes no adapters"):
        open_worker(config, lambda *_: None, lambda _: None)


def test_an_adapter_that_is_not_there_is_refused(make_engine: Make, adapters: Configs) -> None:
    engine = make_engine(adapters=adapters)
    with pytest.raises(InvalidRequestError, match="'poems'"):
        engine.prepare("a", "hello", adapter="poems")


def test_the_adapter_goes_over_the_wire() -> None:
    request = ChatRequest("r", "m:jokes", (), adapter="jokes")
    assert decode_request(encode_request(request)) == request
