"""`Hub`: the one door to the hub that models come from, https://huggingface.co or a mirror of it (`HF_ENDPOINT`).

Plain HTTP only, so that every mirror will do. The library's `hf_hub_download` begins a file anew in every process, so
this uses the two functions below it: the question what a file is, and the transfer, which resumes. `HF_TOKEN` is
honoured by the library; nothing about this machine is told.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import httpx2
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # it is documented

from zoe_server import __version__
from zoe_server.catalogue.entry import HubFile

_LIBRARY: Final = "zoe"
_MAX_TRIES: Final = 5  # in a row without getting further
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404

Report = Callable[[int], None]
"""Told how many bytes of the file are here, as they arrive."""


class HubError(Exception):
    """A file cannot be had; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub has it now; `sha256` None means that the server does not tell."""

    file: HubFile
    url: str
    revision: str
    etag: str
    size_bytes: int | None
    sha256: str | None


class Hub:
    """The hub at `endpoint`, by default the one that `HF_ENDPOINT` names.

    What arrives is written every `chunk_bytes`; as many may be lost when a connection breaks. It is tried again after
    `retry_wait_s`.
    """

    def __init__(self, endpoint: str | None = None, chunk_bytes: int = 1 << 20, retry_wait_s: float = 1.0) -> None:
        self._retry_wait_s = retry_wait_s
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        constants.DOWNLOAD_CHUNK_SIZE = chunk_bytes
        constants.HF_HUB_DISABLE_TELEMETRY = True
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)

    def describe(self, file: HubFile) -> RemoteFile:
        """Ask what `file` is now.

        Raises:
            HubError: it does not exist, may not be had, or the hub cannot be reached.
        """
        with self._explained(file):
            url = hf_hub_url(file.repository, file.file, revision=file.revision, endpoint=self.endpoint)
            found = get_hf_file_metadata(
                url, library_name=_LIBRARY, library_version=__version__, endpoint=self.endpoint
            )
            revision = found.commit_hash or file.revision
            url = hf_hub_url(file.repository, file.file, revision=revision, endpoint=self.endpoint)
        etag = found.etag or ""
        return RemoteFile(
            file=file,
            url=url,
            revision=revision,
            etag=etag,
            size_bytes=found.size,
            sha256=etag if _SHA256.fullmatch(etag) else None,
        )

    def fetch(self, remote: RemoteFile, target: BinaryIO, report: Report) -> None:
        """Append to `target` what it lacks of `remote`; it holds the beginning already, or nothing.

        Raises:
            HubError: the transfer ended early; what has arrived is in `target`.
            OSError: `target` cannot be written.
        """
        with self._explained(remote.file):
            furthest, tries_left = target.tell(), _MAX_TRIES
            while tries_left:
                tries_left -= 1
                try:
                    self._transfer(remote, target, target.tell(), report)
                except (httpx2.ReadError, RecursionError):  # the library calls itself for each break of another kind
                    if target.tell() > furthest:  # a server that cannot continue begins anew, and may never get further
                        furthest, tries_left = target.tell(), _MAX_TRIES
                    if not tries_left:
                        raise
                    time.sleep(self._retry_wait_s)
                else:
                    return

    def _transfer(self, remote: RemoteFile, target: BinaryIO, begin: int, report: Report) -> None:
        http_get(
            remote.url,
            target,
            resume_size=begin,
            headers=build_hf_headers(library_name=_LIBRARY, library_version=__version__),
            expected_size=remote.size_bytes,
            tqdm_class=cast("Any", _progress_bar(report, remote.size_bytes)),
        )

    @contextmanager
    def _explained(self, file: HubFile) -> Iterator[None]:
        """Turn what the library raises into a `HubError`; trouble with the disk stays an OSError with its number."""
        try:
            yield
        except HfHubHTTPError as error:
            raise HubError(self._refusal(error, file)) from error
        except OfflineModeIsEnabled as error:
            raise HubError("HF_HUB_OFFLINE is set, so nothing can be downloaded; unset it") from error
        except httpx2.TimeoutException as error:
            raise HubError(f"{self.endpoint} does not answer; what has arrived is kept, try again") from error
        except (httpx2.NetworkError, httpx2.RemoteProtocolError) as error:
            raise HubError(
                f"cannot reach {self.endpoint} ({error}); what has arrived is kept. Check the network and try again, "
                "or set HF_ENDPOINT to a mirror"
            ) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, HFValidationError) as error:
            raise HubError(f"{self.endpoint}: {error}; check HF_ENDPOINT and the proxy settings") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise HubError(f"the transfer ended early; try again ({error})") from error

    def _refusal(self, error: HfHubHTTPError, file: HubFile) -> str:
        status = error.response.status_code
        page = f"{self.endpoint}/{file.repository}"
        if isinstance(error, GatedRepoError):
            return (
                f"{file.repository} asks you to accept its licence first: log in at {page}, accept it, and set "
                f"HF_TOKEN to a token of that account{_token_hint()}"
            )
        if status in (_UNAUTHORIZED, _FORBIDDEN):
            return (
                f"{self.endpoint} refuses access to {file.repository} (status {status}): it does not exist, is private "
                f"or its licence must be accepted at {page}; set HF_TOKEN to a token that may read it{_token_hint()}"
            )
        if status == _NOT_FOUND:
            return f"{file.file} (revision {file.revision}) does not exist in {page}; correct the catalogue's entry"
        return f"{self.endpoint} answered with status {status}; what has arrived is kept, try again later"


def _token_hint() -> str:
    return " (the one that is set does not do)" if os.environ.get("HF_TOKEN") else ""


def _progress_bar(report: Report, size_bytes: int | None) -> type:
    """Return what the library takes for a progress bar of tqdm; it tells `report` and prints nothing.

    It ends a transfer with a `HubError` when more comes than the `size_bytes` that were promised.
    """

    class Bar:
        def __init__(self, *, initial: int = 0, **_: object) -> None:
            self._done = initial
            report(initial)

        def update(self, n: int) -> None:
            self._done += n
            if size_bytes is not None and self._done > size_bytes:
                raise HubError(f"the server sends more than the {size_bytes:,} bytes that it promised; try a mirror")
            report(self._done)

        def __enter__(self) -> Bar:  # noqa: PYI034 -- nobody derives from it
            return self

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None:
            pass

    return Bar
