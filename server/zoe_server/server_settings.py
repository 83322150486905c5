"""The table `[server]` of the configuration: where the server listens, who may ask, and what it may take.

This module knows no engine and no file.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, IPvAnyAddress, field_validator

from zoe_server.model_settings import Section
from zoe_server.settings_file import SettingsError

_HOST_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def _origin(text: str) -> str:
    """Return `text` as a browser writes an origin: in small letters, without the port that goes without saying."""
    url = urlsplit(text.rstrip("/").lower())
    if not (url.scheme and url.netloc) or "*" in text or url.geturl() != f"{url.scheme}://{url.netloc}":
        raise ValueError(f"{text!r} is not an origin; write it as https://home.example:8123")
    if url.port is not None and url.port == _DEFAULT_PORTS.get(url.scheme):
        return f"{url.scheme}://{url.netloc.rpartition(':')[0]}"
    return url.geturl()


def _host_name(text: str) -> str:
    """Return `text` as a host's name is compared: in small letters, without the dot that may end it."""
    name = text.lower().removesuffix(".")
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{text!r} is not the name of a host; write it as zoe.example, without scheme and port")
    return name


_HostName = Annotated[str, AfterValidator(_host_name)]
_Origin = Annotated[str, AfterValidator(_origin)]


class ServerSettings(Section):
    """The table `[server]`."""

    host: str | tuple[str, ...] = "127.0.0.1"
    """The address to listen on, or several, as `["127.0.0.1", "::1"]`; `::` is IPv6 and IPv4."""
    port: int = Field(default=11434, ge=0, le=65_535)
    announce: bool = True
    """Tell the local network by multicast DNS where the server is, if others can reach it."""
    api_key: str | None = None
    models_folder: Path | None = None
    """Where pulled models lie, and any other GGUF file; None is the folder `zoe/models` of the user's data."""
    allowed_origins: tuple[_Origin, ...] = ()
    """The web pages that may use the server from a browser, as `https://home.example:8123`; others are refused."""
    allowed_hosts: tuple[_HostName, ...] = ()
    """The names, as `zoe.example`, by which a server without a key may be called besides those of the local network."""
    status_page_from: tuple[IPvAnyAddress, ...] = ()
    """Addresses that have asked who wants to see the status page, as Home Assistant does for its apps: no key then."""
    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=1024, le=1024**3)
    queue_limit: int = Field(default=64, ge=1, le=100_000)
    saved_prefix_bytes: int = Field(default=2 * 1024**3, ge=0)
    """How much of what requests begin with is kept on disk through a restart; 0 keeps nothing."""
    memory_budget_bytes: int | None = Field(default=None, ge=1)
    """How much memory all models may take together; None is what the hardware's policy says."""
    stuck_after_s: float = Field(default=120.0, ge=10, le=3600)
    """How long an engine with work may make no progress before it is restarted; longer than any single step takes."""
    stuck_load_after_s: float = Field(default=1800.0, ge=60, le=86_400)
    """How long a model that is being loaded may come no further, though it computes, before that is given up."""
    keep_alive_interval_s: float = Field(default=10.0, gt=0, le=3600)
    client_timeout_s: float = Field(default=60.0, gt=0, le=3600)
    """How long a client may take to send what it asks, and to read on where an answer waits for it."""
    idle_timeout_s: float = Field(default=75.0, gt=0, le=86_400)
    """How long a connection may bring no whole head of a request; longer than a reverse proxy keeps idle ones."""
    max_connections: int = Field(default=512, ge=1, le=1_000_000)
    """How many may be open at once."""
    ready_wait_s: float = Field(default=30.0, ge=0, le=3600)
    shutdown_grace_s: float = Field(default=15.0, ge=0, le=3600)
    log_requests: bool = False
    """Write a line of JSON to the log for each request."""
    log_prompts: bool = False
    """Keep the end of prompts with requests: in that line, and in what /stats and /admin/requests tell."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The addresses to listen on, at least one."""
        return (self.host,) if isinstance(self.host, str) else self.host

    @field_validator("host")
    @classmethod
    def _listens_somewhere(cls, host: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not host:
            raise ValueError("there must be an address to listen on")
        return host

    @field_validator("models_folder")
    @classmethod
    def _folder_is_absolute(cls, folder: Path | None) -> Path | None:
        return None if folder is None else folder.expanduser().absolute()

    @field_validator("api_key")
    @classmethod
    def _blank_is_no_key(cls, key: str | None) -> str | None:
        return (key or "").strip() or None


def check_bind(host: str, key: str | None) -> None:
    """Refuse to serve other machines without a key.

    Raises:
        SettingsError: `host` is reachable from outside and there is no API key.
    """
    if key is None and not is_loopback(host):
        raise SettingsError(
            f"refusing to listen on {host} without an API key: everybody on the network could use this server. "
            "Set one with ZOE_API_KEY=... (or `api_key` in zoe.toml), or listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`; a name other than localhost counts as reachable from outside."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
