"""How Home Assistant stores the settings of its web server; in YAML they would only be a trial."""

from __future__ import annotations

from typing import Any


def http_settings(port: int) -> dict[str, Any]:
    """Return the `data` of `.storage/http` (version 2.2): listen on `port` of the loopback interface only."""
    stable = {
        "server_host": ["127.0.0.1"],
        "server_port": port,
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": True,
        "ssl_profile": "modern",
        "use_x_frame_options": True,
        "created_at": "2026-01-01T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    return {"pending": None, "yaml_migration_done": True, "stable": stable}
