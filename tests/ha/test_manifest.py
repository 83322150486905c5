"""What Home Assistant's own checker asks of a manifest, of icons, of actions and of pictures."""

import ast
import json
import re
import struct
from typing import Any

import pytest
from awesomeversion import AwesomeVersion
from homeassistant.components.brands.const import ALLOWED_IMAGES
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.helpers.icon import async_get_icons
from homeassistant.helpers.selector import selector
from homeassistant.helpers.service import async_get_all_descriptions
from homeassistant.loader import async_get_integration

from custom_components.zoe.const import DOMAIN
from tests.ha.package_source import (
    MODULES,
    PACKAGE,
    actions,
    branches,
    calls,
    flattened,
    functions,
    read_json,
    syntax,
    translations,
)

MANIFEST = read_json("manifest.json")
REQUIRED = {
    "domain",
    "name",
    "codeowners",
    "documentation",
    "integration_type",
    "iot_class",
    "issue_tracker",
    "version",
}
OPTIONAL = {"after_dependencies", "config_flow", "dependencies", "loggers", "requirements", "zeroconf"}
# Parts of Home Assistant that are always there, or are set up because an integration has a module for them.
ALWAYS_THERE = {"homeassistant", "diagnostics", "repairs", "system_health"} | {platform.value for platform in Platform}
BRAND = sorted(path.name for path in (PACKAGE / "brand").iterdir())
ICON_SIZES = {"icon.png": 256, "icon@2x.png": 512}
LOGO_HEIGHTS = {"logo.png": (128, 256), "logo@2x.png": (256, 512)}


def test_manifest_has_the_keys_of_a_custom_integration_in_their_order() -> None:
    assert REQUIRED <= set(MANIFEST) <= REQUIRED | OPTIONAL
    assert list(MANIFEST)[:2] == ["domain", "name"]
    assert list(MANIFEST)[2:] == sorted(list(MANIFEST)[2:])


def test_manifest_values() -> None:
    assert MANIFEST["domain"] == PACKAGE.name == DOMAIN
    assert MANIFEST["integration_type"] in ("device", "entity", "hardware", "helper", "hub", "service", "system")
    assert MANIFEST["iot_class"] in ("calculated", "local_polling", "local_push", "cloud_polling", "cloud_push")
    assert AwesomeVersion(MANIFEST["version"]).valid
    assert MANIFEST["config_flow"] is (PACKAGE / "config_flow.py").exists()
    for key in ("documentation", "issue_tracker"):
        assert MANIFEST[key].startswith("https://")
    assert all(owner.startswith("@") for owner in MANIFEST["codeowners"])
    assert all("==" in requirement for requirement in MANIFEST["requirements"])
    # Home Assistant compares what is announced in lower case.
    announced = json.dumps(MANIFEST.get("zeroconf", []))
    assert announced == announced.lower()
    assert all(re.fullmatch(r"_[a-z0-9-]+\._(tcp|udp)\.local\.", kind) for kind in MANIFEST["zeroconf"])
    assert ("async_step_zeroconf" in functions()) is bool(MANIFEST["zeroconf"])


async def test_what_is_imported_is_depended_on(hass: HomeAssistant) -> None:
    integration = await async_get_integration(hass, DOMAIN)
    there = await integration.resolve_dependencies()
    assert there is not None
    allowed = there | set(integration.after_dependencies) | ALWAYS_THERE
    assert {component for module in MODULES for component in _components(module)} - allowed == set()


def _components(module: str) -> set[str]:
    """Return which of Home Assistant's components a module imports."""
    found = set()
    for node in ast.walk(syntax(module)):
        if isinstance(node, ast.ImportFrom) and node.module == "homeassistant.components":
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("homeassistant.components."):
            found.add(node.module.split(".")[2])
    return found


def test_actions_are_set_up_without_an_entry() -> None:
    """`async_setup` needs a schema, or Home Assistant takes `zoe:` in YAML without a word."""
    if "async_setup" in {node.name for node in syntax("__init__").body if isinstance(node, ast.AsyncFunctionDef)}:
        assert "CONFIG_SCHEMA" in (PACKAGE / "__init__.py").read_text(encoding="utf-8")


async def test_actions_are_declared_named_and_have_icons(hass: HomeAssistant, agent: str) -> None:
    texts, icons = translations("en").get("services", {}), read_json("icons.json").get("services", {})
    registered = set(hass.services.async_services_for_domain(DOMAIN))
    assert registered == set(actions()) == set(texts) == set(icons)
    described = (await async_get_all_descriptions(hass)).get(DOMAIN, {})
    for name, action in actions().items():
        fields = action.get("fields", {})
        assert set(fields) == set(texts[name].get("fields", {})) == set(described[name]["fields"]), name
        for text in (texts[name], *texts[name].get("fields", {}).values()):
            assert text["name"]
            assert text["description"]
        assert all(selector(field["selector"]) for field in fields.values())


async def test_icons_are_named_and_belong_to_something(hass: HomeAssistant) -> None:
    icons = read_json("icons.json")
    assert set(icons) <= {"entity", "services"}
    for path, icon in flattened(icons).items():
        assert re.fullmatch(r"mdi:[a-z0-9]+(-[a-z0-9]+)*", icon), path
    for path, entity in branches(icons, "entity.*.*").items():
        assert entity["default"], path
        assert entity["default"] not in entity.get("state", {}).values(), path
    modules = {Platform(platform).value for platform in icons["entity"]}
    assert modules <= set(MODULES)
    loaded: dict[str, Any] = await async_get_icons(hass, "entity", {DOMAIN})
    assert loaded[DOMAIN] == icons["entity"]


def size_of(name: str) -> tuple[int, int]:
    """Return width and height of a PNG."""
    header = (PACKAGE / "brand" / name).read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:24])
    return width, height


@pytest.mark.parametrize("name", BRAND)
def test_brand_images_have_the_sizes_that_are_asked_for(name: str) -> None:
    assert name in ALLOWED_IMAGES
    width, height = size_of(name)
    plain = name.removeprefix("dark_")
    if plain in ICON_SIZES:
        assert width == height == ICON_SIZES[plain]
    else:
        low, high = LOGO_HEIGHTS[plain]
        assert low <= min(width, height) <= high


def test_there_is_an_icon() -> None:
    assert set(ICON_SIZES) <= set(BRAND)


def test_exceptions_are_raised_with_a_key() -> None:
    """A message in English only would be shown to everybody."""
    names = (
        "HomeAssistantError",
        "ServiceValidationError",
        "ConfigEntryNotReady",
        "ConfigEntryAuthFailed",
        "UpdateFailed",
    )
    for module in MODULES:
        for call in calls(module, *names):
            assert {"translation_domain", "translation_key"} <= {word.arg for word in call.keywords}, module
