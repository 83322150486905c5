"""Downloads with the real library, from a hub on loopback that misbehaves in every way we could think of."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from tests.server.catalogue.local_hub import COMMIT, LocalHub
from zoe_server.catalogue.download import DownloadError, pull
from zoe_server.catalogue.entry import HubFile
from zoe_server.catalogue.hub import Hub
from zoe_server.catalogue.store import Store

CONTENT = bytes(range(256)) * 64
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FILE = HubFile(repository="somebody/Model-GGUF", file="model-q4.gguf")
KEY = "somebody/Model-GGUF/model-q4.gguf"


class Steps:
    """What was reported: for each step the numbers of bytes."""

    def __init__(self) -> None:
        self.seen: dict[str, list[int]] = {"fetch": [], "check": []}
        self.totals: set[int | None] = set()

    def __call__(self, step: str, name: str, done_bytes: int, total_bytes: int | None) -> None:
        assert name == FILE.name
        self.seen[step].append(done_bytes)
        self.totals.add(total_bytes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


@pytest.fixture
def hub(hub: LocalHub) -> LocalHub:
    hub.files[KEY] = CONTENT
    return hub


def fetch(store: Store, hub: LocalHub, file: HubFile = FILE) -> Steps:
    steps = Steps()
    pull([file], store, Hub(hub.url, chunk_bytes=100, retry_wait_s=0), steps)
    return steps


def failure(store: Store, hub: LocalHub, file: HubFile = FILE) -> str:
    with pytest.raises(DownloadError) as caught:
        fetch(store, hub, file)
    assert not store.path(file).exists()
    message = str(caught.value)
    assert "\n" not in message
    return message


def interrupted(store: Store, hub: LocalHub, n_bytes: int) -> str:
    """Let the connection break after `n_bytes`, and at once whenever it is tried again."""
    hub.cuts = [n_bytes, *[0] * 20]
    message = failure(store, hub)
    hub.cuts.clear()
    hub.requests.clear()
    return message


def test_a_file_arrives_whole_and_is_checked(store: Store, hub: LocalHub) -> None:
    steps = fetch(store, hub)
    assert store.path(FILE).read_bytes() == CONTENT
    assert steps.seen["fetch"][-1] == steps.seen["check"][-1] == len(CONTENT)
    assert steps.totals == {len(CONTENT)}
    receipt = store.receipt(FILE.name)
    assert receipt is not None
    assert (receipt.sha256, receipt.size_bytes, receipt.revision, receipt.promised) == (
        SHA256,
        len(CONTENT),
        COMMIT,
        True,
    )
    assert store.unfinished(FILE) == []


def test_what_is_here_is_not_asked_for_again(store: Store, hub: LocalHub) -> None:
    fetch(store, hub)
    n_requests = len(hub.requests)
    fetch(store, hub)
    assert len(hub.requests) == n_requests


def test_nothing_is_told_but_the_program_and_the_token(
    store: Store, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(store, hub)
    assert {request.token for request in hub.requests} == {"Bearer hf_secret"}
    assert all(request.user_agent.startswith("zoe/") for request in hub.requests)
    assert all("/resolve/" in request.path for request in hub.requests)


def test_the_token_stays_with_the_hub(store: Store, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with LocalHub(files=hub.files) as other:
        hub.cdn = other.url
        fetch(store, hub)
        assert store.path(FILE).read_bytes() == CONTENT
        assert [request.token for request in other.requests] == [None]


def test_a_cut_connection_goes_on_where_it_ended(store: Store, hub: LocalHub) -> None:
    hub.cuts = [1000, 500]
    steps = fetch(store, hub)
    assert store.path(FILE).read_bytes() == CONTENT
    assert hub.gets() == [0, 1000, 1500]
    assert steps.seen["fetch"][-1] == len(CONTENT)


def test_a_reset_connection_is_tried_as_long_as_it_gets_further(store: Store, hub: LocalHub) -> None:
    hub.cuts, hub.resets = [*[0] * 4, 1000, *[0] * 4, 1000, *[0] * 4], True
    fetch(store, hub)
    assert store.path(FILE).read_bytes() == CONTENT
    assert len(hub.gets()) == 15


@pytest.mark.parametrize("ignores_ranges", [False, True])
def test_a_connection_that_gets_no_further_is_given_up(store: Store, hub: LocalHub, ignores_ranges: bool) -> None:
    """A server that cannot continue sends the same beginning again and again."""
    hub.cuts, hub.resets, hub.ignores_ranges = (
        [1000] * 40 if ignores_ranges else [1000, *[0] * 40],
        True,
        ignores_ranges,
    )
    assert "what has arrived is kept" in failure(store, hub)
    assert len(hub.gets()) == 6
    assert [path.stat().st_size for path in store.unfinished(FILE)] == [1000]


def test_a_line_that_breaks_hundreds_of_times_brings_a_file_in_the_end(store: Store, hub: LocalHub) -> None:
    """The library calls itself for each such break, and Python bounds that."""
    hub.files[KEY] = bytes(60_000)
    hub.cuts = [100] * 590
    fetch(store, hub)
    assert store.path(FILE).stat().st_size == 60_000


def test_more_than_was_promised_ends_a_transfer(store: Store, hub: LocalHub) -> None:
    hub.surplus = bytes(100_000)
    assert "more than the 16,384 bytes" in failure(store, hub)
    assert sum(path.stat().st_size for path in store.unfinished(FILE)) < 2 * len(CONTENT)


def test_a_later_pull_goes_on_where_an_earlier_one_ended(store: Store, hub: LocalHub) -> None:
    assert "what has arrived is kept" in interrupted(store, hub, 1000)
    assert [path.stat().st_size for path in store.unfinished(FILE)] == [1000]
    fetch(store, hub)
    assert hub.gets() == [1000]
    assert store.path(FILE).read_bytes() == CONTENT


def test_a_server_that_cannot_continue_sends_everything_again(store: Store, hub: LocalHub) -> None:
    hub.cuts, hub.ignores_ranges = [1000], True
    fetch(store, hub)
    assert store.path(FILE).read_bytes() == CONTENT


def test_the_beginning_of_another_version_is_not_continued(store: Store, hub: LocalHub) -> None:
    interrupted(store, hub, 1000)
    hub.files[KEY] = CONTENT[::-1]
    fetch(store, hub)
    assert hub.gets() == [0]
    assert store.path(FILE).read_bytes() == CONTENT[::-1]


def test_a_file_with_too_many_bytes_begins_anew(store: Store, hub: LocalHub) -> None:
    partial = store.partial_path(FILE, SHA256)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(CONTENT + b"more")
    fetch(store, hub)
    assert store.path(FILE).read_bytes() == CONTENT


def test_a_damaged_file_is_deleted_and_said_so(store: Store, hub: LocalHub) -> None:
    hub.corrupt = True
    message = failure(store, hub)
    assert "damaged and was deleted" in message
    assert SHA256 in message
    assert store.unfinished(FILE) == []
    hub.corrupt = False
    fetch(store, hub)
    assert store.path(FILE).read_bytes() == CONTENT


def test_the_sum_of_the_catalogue_wins(store: Store, hub: LocalHub) -> None:
    known = FILE.model_copy(update={"sha256": "0" * 64})
    assert "another model-q4.gguf than the catalogue knows" in failure(store, hub, known)
    assert hub.gets() == []
    hub.tells_sums = False
    assert "damaged and was deleted" in failure(store, hub, known)


def test_without_any_sum_the_size_must_do_and_the_receipt_says_so(store: Store, hub: LocalHub) -> None:
    hub.tells_sums = False
    fetch(store, hub)
    receipt = store.receipt(FILE.name)
    assert receipt is not None
    assert (receipt.promised, receipt.sha256) == (False, SHA256)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", ("accept", "licence", "HF_TOKEN")),
        (403, "GatedRepo", ("accept", "licence", "HF_TOKEN")),
        (401, "RepoNotFound", ("refuses access", "HF_TOKEN")),
        (403, "", ("refuses access", "HF_TOKEN")),
        (404, "EntryNotFound", ("model-q4.gguf", "does not exist")),
        (404, "RevisionNotFound", ("revision main", "does not exist")),
        (404, "", ("does not exist",)),
        (500, "", ("status 500", "later")),
        (429, "", ("status 429", "later")),
    ],
)
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_every_refusal_is_explained(
    store: Store, hub: LocalHub, method: str, status: int, code: str, words: tuple[str, ...]
) -> None:
    hub.refusals[method] = (status, code)
    message = failure(store, hub)
    assert [word for word in words if word not in message] == []


def test_a_token_that_does_not_do_is_named(store: Store, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.refusals["HEAD"] = (403, "GatedRepo")
    message = failure(store, hub)
    assert "does not do" in message
    assert "hf_secret" not in message


def test_no_network_is_explained(store: Store, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert f"cannot reach {url}" in failure(store, LocalHub(url=url))


@pytest.mark.parametrize("url", ["ftp://models.example", "nonsense", "http://[broken"])
def test_a_wrong_endpoint_is_explained(store: Store, url: str) -> None:
    assert "HF_ENDPOINT" in failure(store, LocalHub(url=url))


def test_too_little_room_is_seen_before(store: Store, hub: LocalHub) -> None:
    store.folder.mkdir()
    hub.claimed_size = shutil.disk_usage(store.folder).free
    assert "not enough room" in failure(store, hub)
    assert hub.gets() == []


def test_what_is_here_already_needs_no_room(store: Store, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(store, hub, 10_000)
    usage = namedtuple("usage", "free")  # noqa: PYI024 -- the standard library's own is made like this
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage((64 << 20) + len(CONTENT) - 10_000))
    fetch(store, hub)


def test_a_disk_that_runs_full_is_explained(store: Store, hub: LocalHub) -> None:
    partial = store.partial_path(FILE, SHA256)
    partial.parent.mkdir(parents=True)
    partial.symlink_to("/dev/full")
    assert "disk" in failure(store, hub)
    assert "full" in failure(store, hub)


def test_a_folder_that_cannot_be_made_is_explained(hub: LocalHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="Not a directory"):
        fetch(Store(tmp_path / "file" / "models"), hub)


def test_two_pulls_of_one_file_do_not_write_into_each_other(store: Store, hub: LocalHub) -> None:
    partial = store.partial_path(FILE, SHA256)
    partial.parent.mkdir(parents=True)
    with partial.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process" in failure(store, hub)


def test_a_file_that_somebody_put_there_is_compared(store: Store, hub: LocalHub) -> None:
    store.folder.mkdir()
    store.path(FILE).write_bytes(CONTENT)
    fetch(store, hub)
    assert (hub.gets(), store.whole(FILE)) == ([], True)
    store.remove(store.path(FILE))
    store.path(FILE).write_bytes(b"something else")
    with pytest.raises(DownloadError, match="is there already"):
        fetch(store, hub)
    assert store.path(FILE).read_bytes() == b"something else"


def test_all_parts_of_a_split_file_are_fetched(store: Store, hub: LocalHub) -> None:
    split = HubFile(repository="somebody/Model-GGUF", file="big/model-00001-of-00002.gguf")
    for part in split.parts:
        hub.files[f"somebody/Model-GGUF/{part.file}"] = part.file.encode()
    pull(split.parts, store, Hub(hub.url), lambda *_: None)
    assert [path.name for path in sorted(store.folder.glob("*.gguf"))] == [
        "model-00001-of-00002.gguf",
        "model-00002-of-00002.gguf",
    ]
