"""The configuration folder of the demo's Home Assistant: YAML, links to the integrations, onboarding already done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from zoe_eval.http_settings import http_settings

ROOT = Path(__file__).resolve().parents[2]
EVALUATION = ROOT / "server" / "zoe_eval"
DEMO_HOME = EVALUATION / "homes" / "demo.yaml"
_INTEGRATIONS = {
    "zoe": ROOT / "custom_components" / "zoe",
    "virtual_home": EVALUATION / "virtual_home",
}
_CONFIGURATION = """\
homeassistant:
  name: Demo home
  latitude: 52.37
  longitude: 4.9
  elevation: 0
  unit_system: metric
  time_zone: Europe/Amsterdam
  country: NL
  currency: EUR
  internal_url: {url}
  external_url: {url}
logger:
  default: warning
frontend:
assist_pipeline:
virtual_home:
  inventory: {inventory}
"""


def write_config_folder(folder: Path, port: int, *, discovery: bool = False) -> None:
    """Fill `folder`; a folder from an earlier demo keeps its users and only gets the new port.

    With `discovery`, Home Assistant looks for servers on the network, and tells it of itself.
    """
    storage = folder / ".storage"
    storage.mkdir(parents=True, exist_ok=True)
    url = f"http://127.0.0.1:{port}"
    text = _CONFIGURATION.format(url=url, inventory=json.dumps(str(DEMO_HOME))) + discovery * "zeroconf:\n"
    (folder / "configuration.yaml").write_text(text, encoding="utf-8")
    _link_integrations(folder / "custom_components")
    _write_store(storage / "http", 2, 2, http_settings(port))
    if not (storage / "onboarding").exists():
        # Only the user is left to be made. The step `core_config` would start integrations that need the internet.
        _write_store(storage / "onboarding", 4, 1, {"done": ["core_config", "analytics", "integration"]})


def area_names() -> list[str]:
    """Return the areas of the demo home."""
    home = yaml.safe_load(DEMO_HOME.read_text(encoding="utf-8"))
    return [area["name"] for area in home["areas"]]


def _link_integrations(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for domain, source in _INTEGRATIONS.items():
        link = folder / domain
        link.unlink(missing_ok=True)
        link.symlink_to(source, target_is_directory=True)


def _write_store(path: Path, version: int, minor_version: int, data: dict[str, Any]) -> None:
    store = {"version": version, "minor_version": minor_version, "key": path.name, "data": data}
    path.write_text(json.dumps(store), encoding="utf-8")
