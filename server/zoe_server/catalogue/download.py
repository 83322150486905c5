"""Fetch the files of a model into the models folder: enough room, whole, and what was promised, or not at all.

A file arrives under a name of its own and gets the right one last. What arrived before an interruption is kept and
continued; what arrived and is wrong is deleted.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from zoe_server.catalogue.entry import HubFile
from zoe_server.catalogue.hub import Hub, HubError, RemoteFile, Report
from zoe_server.catalogue.store import Receipt, Store

_SPARE_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 4 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

Progress = Callable[[str, str, int, int | None], None]
"""Told what is being done (`fetch` or `check`), with which file, how many bytes are done, and of how many."""
Manifest = Callable[[Sequence[RemoteFile]], None]
"""Told which files are to come, before the first of them does."""


class DownloadError(Exception):
    """A model cannot be downloaded; the message says why and what to do."""


def pull(
    files: Sequence[HubFile], store: Store, hub: Hub, progress: Progress, manifest: Manifest = lambda _: None
) -> list[Receipt]:
    """Bring `files` into the folder of `store` and return their receipts; those that are there stay.

    What `progress` raises ends the download, which can be continued.

    Raises:
        DownloadError: the hub refuses or cannot be reached, the disk is too small, or a file is not what was promised.
    """
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        wanted = [hub.describe(file) for file in files if not store.whole(file)]
        manifest(wanted)
        _check_space(wanted, store)
        for remote in wanted:
            _pull_one(remote, store, hub, progress)
    except HubError as error:
        raise DownloadError(str(error)) from error
    except OSError as error:
        raise DownloadError(_disk_trouble(error, store)) from error
    receipts = [store.receipt(file.name) for file in files]
    return [receipt for receipt in receipts if receipt is not None]


def sha256_of(path: Path, report: Report) -> str:
    """Return the SHA-256 sum of the file in hexadecimal digits; `report` is told the bytes done.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            report(done)
    return digest.hexdigest()


def _disk_trouble(error: OSError, store: Store) -> str:
    if error.errno in _FULL:
        return f"the disk of {store.folder} is full; what has arrived is kept. Make room and pull again"
    return f"{error.filename or store.folder}: {error.strerror or error}"


def _check_space(wanted: Sequence[RemoteFile], store: Store) -> None:
    missing = (remote for remote in wanted if not store.path(remote.file).exists())
    needed = sum(_bytes_to_come(remote, store) for remote in missing)
    free = shutil.disk_usage(store.folder).free
    if needed and needed + _SPARE_BYTES > free:
        raise DownloadError(
            f"not enough room in {store.folder}: {needed / 1e9:.2f} GB are to come, {free / 1e9:.2f} GB are free; make "
            "room, or set another [server] models_folder"
        )


def _bytes_to_come(remote: RemoteFile, store: Store) -> int:
    partial = store.partial_path(remote.file, remote.etag)
    here = partial.stat().st_size if partial.is_file() else 0
    return max(0, (remote.size_bytes or 0) - here)


def _pull_one(remote: RemoteFile, store: Store, hub: Hub, progress: Progress) -> None:
    promised = _promised(remote)
    if store.path(remote.file).exists():
        _adopt(remote, promised, store, progress)
        return
    partial = store.partial_path(remote.file, remote.etag)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with _claimed(partial, remote) as target:
        _rewind(target, remote)
        hub.fetch(remote, target, lambda done: progress("fetch", remote.file.name, done, remote.size_bytes))
        target.flush()
        os.fsync(target.fileno())
        found = _sum(partial, remote, progress)
        if promised is not None and found != promised:
            partial.unlink()
            raise DownloadError(
                f"{remote.file.name} arrived damaged and was deleted (its sha256 is {found}, {promised} was promised); "
                "pull it again, and if that does not help use another mirror"
            )
        partial.replace(store.path(remote.file))
    _keep(remote, found, promised, store)


def _promised(remote: RemoteFile) -> str | None:
    """Return the sum that the file must have."""
    expected = remote.file.sha256
    if expected is not None and remote.sha256 is not None and expected != remote.sha256:
        raise DownloadError(
            f"{remote.file.repository} has another {remote.file.file} than the catalogue knows (sha256 {remote.sha256} "
            f"instead of {expected}); nothing was downloaded. If you trust it, say so with the new sum in zoe.toml"
        )
    return expected or remote.sha256


def _adopt(remote: RemoteFile, promised: str | None, store: Store, progress: Progress) -> None:
    """Make a file that somebody put there one that came from the hub, if it is the same."""
    path = store.path(remote.file)
    found = _sum(path, remote, progress)
    same = found == promised if promised else path.stat().st_size == remote.size_bytes
    if not same:
        raise DownloadError(f"{path} is there already and is not what the hub has; remove it, then pull again")
    _keep(remote, found, promised, store)


def _sum(path: Path, remote: RemoteFile, progress: Progress) -> str:
    size = path.stat().st_size
    return sha256_of(path, lambda done: progress("check", remote.file.name, done, size))


@contextmanager
def _claimed(partial: Path, remote: RemoteFile) -> Iterator[BinaryIO]:
    """Open the arriving file for this process alone, at its end."""
    with partial.open("ab") as target:
        try:
            fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DownloadError(f"{remote.file.name} is being pulled by another process already") from error
        yield target


def _rewind(target: BinaryIO, remote: RemoteFile) -> None:
    """Begin anew where what is there cannot be a beginning of the file."""
    if remote.size_bytes is None or target.tell() > remote.size_bytes:
        target.truncate(0)
        target.seek(0)


def _keep(remote: RemoteFile, found: str, promised: str | None, store: Store) -> None:
    size = store.path(remote.file).stat().st_size
    source = remote.file
    store.keep(source.name, Receipt(source.repository, source.file, remote.revision, size, found, promised is not None))
