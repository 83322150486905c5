"""The models folder: what is there, what belongs together, and what may be deleted."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoe_server.catalogue.entry import Entry
from zoe_server.catalogue.known import shipped
from zoe_server.catalogue.store import FileState, Receipt, Store, model_name, parts_of

VISION = shipped()["qwen2-vl-7b"]
WEIGHTS, PROJECTOR = VISION.files


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "models").mkdir()
    return Store(tmp_path / "models")


def put(store: Store, *names: str) -> None:
    for name in names:
        (store.folder / name).parent.mkdir(exist_ok=True)
        (store.folder / name).write_bytes(b"12345678")


def test_the_states_of_a_model(store: Store) -> None:
    assert store.state(shipped()["zoe-nano"]) is FileState.BUNDLED
    assert store.state(VISION) is FileState.ABSENT
    put(store, ".zoe/" + store.partial_path(WEIGHTS, "etag").name)
    assert store.state(VISION) is FileState.PARTLY
    put(store, WEIGHTS.name)
    assert store.state(VISION) is FileState.PARTLY
    put(store, PROJECTOR.name)
    assert (store.state(VISION), store.size_bytes(VISION)) == (FileState.PULLED, 16)
    assert len(store.files_of(VISION)) == 3


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "nowhere")
    assert (store.extras([VISION]), store.named("x"), store.files_of(VISION)) == ((), None, [])
    assert store.state(VISION) is FileState.ABSENT


def test_other_files_are_models_of_their_own(store: Store) -> None:
    put(store, WEIGHTS.name, "b.gguf", "a.gguf", "notes.txt", "s-00001-of-00002.gguf", "s-00002-of-00002.gguf")
    assert [path.name for path in store.extras([VISION])] == ["a.gguf", "b.gguf", "s-00001-of-00002.gguf"]
    split = store.named("s")
    assert split is not None
    assert (model_name(split), len(parts_of(split)), len(parts_of(store.folder / "a.gguf"))) == ("s", 2, 1)
    assert store.named("notes") is None


def test_a_receipt_is_kept_and_a_broken_one_is_none(store: Store) -> None:
    receipt = Receipt(WEIGHTS.repository, WEIGHTS.file, "main", 8, "0" * 64, True)
    store.keep(WEIGHTS.name, receipt)
    assert store.receipt(WEIGHTS.name) == receipt
    assert not store.whole(WEIGHTS)
    put(store, WEIGHTS.name)
    assert store.whole(WEIGHTS)
    assert not store.whole(WEIGHTS.model_copy(update={"sha256": "1" * 64}))
    assert not store.whole(WEIGHTS.model_copy(update={"repository": "other/repository"}))
    (store.folder / WEIGHTS.name).write_bytes(b"longer than it was")
    assert not store.whole(WEIGHTS)
    for broken in ("", "[]", "{}", '{"repository": 1}'):
        (store.folder / ".zoe" / f"{WEIGHTS.name}.json").write_text(broken)
        assert store.receipt(WEIGHTS.name) is None


def test_only_what_lies_in_the_folder_is_deleted(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside.gguf"
    outside.write_bytes(b"mine")
    (store.folder / "link.gguf").symlink_to(outside)
    for path in (outside, store.folder / ".." / "outside.gguf", store.folder / ".zoe"):
        with pytest.raises(ValueError, match="is not in the models folder"):
            store.remove(path)
    store.remove(store.folder / "link.gguf")
    assert (outside.exists(), (store.folder / "link.gguf").is_symlink()) == (True, False)


def test_a_models_folder_may_be_a_link_to_another_disk(store: Store, tmp_path: Path) -> None:
    put(store, "a.gguf")
    (tmp_path / "link").symlink_to(store.folder)
    linked = Store(tmp_path / "link")
    linked.remove(linked.folder / "a.gguf")
    assert not (store.folder / "a.gguf").exists()


def test_a_deleted_file_leaves_no_receipt(store: Store) -> None:
    put(store, WEIGHTS.name)
    store.keep(WEIGHTS.name, Receipt(WEIGHTS.repository, WEIGHTS.file, "main", 8, "0" * 64, True))
    store.remove(store.path(WEIGHTS))
    assert store.receipt(WEIGHTS.name) is None


def test_a_strange_name_is_only_a_name(store: Store) -> None:
    entry = Entry.model_validate(
        {"name": "x", "roles": ["chat"], "weights": {"repository": "a/b", "file": "sub/my model+1.gguf"}}
    )
    put(store, ".zoe/my model+1.gguf.0123.part", ".zoe/my modelX1.gguf.0123.part")
    assert [path.name for path in store.unfinished(entry.files[0])] == ["my model+1.gguf.0123.part"]
