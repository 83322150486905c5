"""Prefixes that outlive the process: their files, and a second engine that begins where the first one was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import llama_cpp
import numpy as np
import pytest

from tests.fixtures.random_gguf import whole_words
from zoe_server.llama.cache.prefix_store import PrefixStore

if TYPE_CHECKING:
    from conftest import Engine

pytestmark = pytest.mark.timeout(60)
HOME = " ".join(whole_words()[:150]) + " "
MODEL = {"model": "a.gguf", "model_bytes": 1}
STATE = np.arange(1000, dtype=np.uint8)


def store(folder: Path, limit_bytes: int = 1 << 20, **identity: object) -> PrefixStore:
    return PrefixStore(folder, {**MODEL, **identity}, limit_bytes)


def saved_tokens(folder: Path) -> list[list[int]]:
    return [saved.tokens for saved in store(folder).load()]


def test_what_is_saved_comes_back_newest_first(tmp_path: Path) -> None:
    for number, tokens in enumerate(([1, 2], [3], [4, 5, 6])):
        store(tmp_path).save(tokens, STATE + number)
        os.utime(next(tmp_path.glob("*.npz")), ns=(number, number))
    for number, path in enumerate(sorted(tmp_path.glob("*.npz"))):
        os.utime(path, ns=(number, number))
    store(tmp_path).touch([3])
    assert saved_tokens(tmp_path)[0] == [3]
    assert {tuple(tokens) for tokens in saved_tokens(tmp_path)} == {(1, 2), (3,), (4, 5, 6)}
    assert np.array_equal(next(store(tmp_path).load()).state, STATE + 1)


def test_files_of_another_model_are_left_alone(tmp_path: Path) -> None:
    store(tmp_path, library="1").save([1], STATE)
    assert saved_tokens(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "empty", "one byte", "no archive", "another prefix's name", "half written"])
def test_a_broken_file_is_removed_with_a_warning(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store(tmp_path).save([1, 2, 3], STATE)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(content[:-40])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "one byte":
        content[content.index(bytes(range(50, 60)))] ^= 1
        path.write_bytes(content)
    elif damage == "no archive":
        path.write_bytes(b"hello")
    elif damage == "another prefix's name":
        path.rename(path.with_name(f"{path.name[:-10]}000000.npz"))
    else:
        path.rename(path.with_suffix(".part"))
    assert saved_tokens(tmp_path) == []
    assert not list(tmp_path.iterdir())
    assert ("unusable" in caplog.text) == (damage != "half written")


def test_the_folder_keeps_its_limit_and_drops_what_was_of_no_use_for_longest(tmp_path: Path) -> None:
    small = store(tmp_path, limit_bytes=5000)
    for number in range(6):
        small.save([number], STATE)
        for path in tmp_path.glob("*.npz"):
            os.utime(path, ns=(path.stat().st_mtime_ns // 2,) * 2)
    assert [5] in saved_tokens(tmp_path)
    assert 1 < len(saved_tokens(tmp_path)) < 4


def use(engine: Engine) -> None:
    """Ask two things of one home, and let the engine rest."""
    for name, question in (("a", "turn on the light"), ("b", "what is the temperature")):
        engine.answer(name, HOME + question)
    engine.loop._rest()
    engine.saved_prefixes._writer.submit(int).result()


def test_a_second_engine_begins_with_the_prefix_of_the_first(
    make_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    first = make_engine(prefix_folder=tmp_path)
    use(first)
    n_shared = first.finish("b").usage.cached_tokens
    second, fresh = make_engine(prefix_folder=tmp_path), make_engine(prefix_cache=False)
    assert second.saved_prefixes.restore() == n_shared > 140
    assert second.audit() == []
    text = HOME + "close the blinds"
    assert second.answer("c", text, max_tokens=40) == fresh.answer("c", text, max_tokens=40)
    assert second.finish("c").usage.cached_tokens >= n_shared
    second.loop._rest()
    second.saved_prefixes.close()
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_a_primed_prompt_is_kept(make_engine: Callable[..., Engine], tmp_path: Path) -> None:
    engine = make_engine(prefix_folder=tmp_path)
    engine.ask("prime", HOME, max_tokens=0, priority="background")
    engine.run()
    engine.loop._rest()
    engine.saved_prefixes.close()
    again = make_engine(prefix_folder=tmp_path)
    assert again.saved_prefixes.restore() == engine.finish("prime").usage.prompt_tokens


def test_short_beginnings_and_repeated_sentences_are_not_worth_a_file(
    make_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = make_engine(prefix_folder=tmp_path)
    for name, text in (("a", "turn on the light"), ("b", "turn on the lamp"), ("c", "turn on the lamp")):
        engine.answer(name, text)
        engine.loop._rest()
    engine.saved_prefixes.close()
    assert not list(tmp_path.iterdir())


def test_a_state_that_the_library_refuses_is_computed_anew(
    make_engine: Callable[..., Engine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make_engine(prefix_folder=tmp_path)
    use(first)
    identity = first.runner.identity()
    (saved,) = PrefixStore(tmp_path, identity, 1 << 30).load()
    PrefixStore(tmp_path, identity, 1 << 30).save(saved.tokens, saved.state[: len(saved.state) // 2])
    second = make_engine(prefix_folder=tmp_path)
    assert second.saved_prefixes.restore() == 0
    assert "does not take" in caplog.text
    assert second.answer("b", HOME + "what is the temperature") == first.text("b")


def test_an_unwritable_folder_costs_a_warning_and_nothing_else(
    make_engine: Callable[..., Engine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    engine = make_engine(prefix_folder=tmp_path / "file")
    assert engine.saved_prefixes.restore() == 0
    now_s = 0.0
    engine.saved_prefixes._clock = lambda: now_s
    use(engine)
    assert "cannot be saved" in caplog.text
    assert engine.finish("b").reason == "length"
    n_written = count_writes(engine)
    rest(engine)
    assert n_written == []  # not at every rest
    now_s = 1000.0
    rest(engine)
    assert len(n_written) == 1
    assert caplog.text.count("cannot be saved") == 1
    (tmp_path / "file").unlink()
    now_s = 2000.0
    rest(engine)
    assert list(tmp_path.glob("file/*.npz"))


def count_writes(engine: Engine) -> list[int]:
    """Return a list that gets the length of each prefix whose state is read."""
    lengths: list[int] = []
    read_state = engine.runner.read_state
    engine.runner.read_state = lambda slot, length, limit: (lengths.append(length), read_state(slot, length, limit))[1]
    return lengths


def rest(engine: Engine) -> None:
    """Let the engine rest as after work, until its writer has nothing to do."""
    engine.saved_prefixes.keep(engine.scheduler.shared_prefix)
    engine.saved_prefixes._writer.submit(int).result()


def spare_length(engine: Engine) -> int:
    """Return how much the library still has of what was to be read."""
    return llama_cpp.llama_memory_seq_pos_max(engine.runner._memory, engine.config.n_slots) + 1


def test_what_was_deleted_for_others_is_saved_again_when_it_is_used_again(
    make_engine: Callable[..., Engine], tmp_path: Path
) -> None:
    engine = make_engine(prefix_folder=tmp_path)
    use(engine)
    (path,) = tmp_path.glob("*.npz")
    path.unlink()
    rest(engine)
    rest(engine)
    assert list(tmp_path.glob("*.npz")) == [path]
    n_written = count_writes(engine)
    rest(engine)
    assert n_written == []


def test_one_prefix_at_a_time_is_written(make_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """A disk that does not answer keeps no more than that one's state in memory, and stops nobody."""
    engine = make_engine(prefix_folder=tmp_path)
    answered = threading.Event()
    engine.saved_prefixes._writer.submit(answered.wait)
    n_written = count_writes(engine)
    for name, home in (("a", HOME), ("b", f"light {HOME}"), ("c", f"lamp {HOME}")):
        engine.ask(name, home, max_tokens=0, priority="background")
        engine.run()
        engine.loop._rest()
    assert len(n_written) == 1
    answered.set()
    rest(engine)
    rest(engine)
    engine.saved_prefixes.close()
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_a_state_that_is_too_large_is_asked_for_once_and_never_copied(
    make_engine: Callable[..., Engine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    copied: list[int] = []
    monkeypatch.setattr(llama_cpp, "llama_state_seq_get_data", lambda *_: copied.append(1))
    engine = make_engine(prefix_folder=tmp_path, prefix_limit_bytes=1000)
    n_asked = count_writes(engine)
    use(engine)
    rest(engine)
    assert (len(n_asked), copied) == (1, [])
    assert spare_length(engine) == 0
    assert caplog.text.count("bytes that may be saved") == 1


def test_no_memory_for_a_state_costs_nothing_but_its_file(
    make_engine: Callable[..., Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(prefix_folder=tmp_path)
    monkeypatch.setattr(np, "empty", lambda *_, **__: (_ for _ in ()).throw(MemoryError))
    use(engine)
    assert not list(tmp_path.glob("*.npz"))
    assert spare_length(engine) == 0
    assert engine.finish("b").reason == "length"


def test_a_folder_that_cannot_be_cleaned_is_no_reason_not_to_start(
    make_engine: Callable[..., Engine], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = make_engine(prefix_folder=tmp_path)
    use(engine)
    (path,) = tmp_path.glob("*.npz")
    path.with_suffix(".part").mkdir()
    assert make_engine(prefix_folder=tmp_path).saved_prefixes.restore() == 0
    assert "cannot be read" in caplog.text
