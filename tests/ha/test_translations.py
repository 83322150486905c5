"""What Home Assistant's own checker asks of texts: every key has one, none is left over, all languages are alike."""

import re
from itertools import chain

import pytest
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.generated.languages import LANGUAGES as KNOWN_LANGUAGES
from homeassistant.helpers import entity_registry as er
from homeassistant.helpers.translation import async_get_translations

from custom_components.zoe.api import errors
from custom_components.zoe.const import DOMAIN
from tests.ha.package_source import (
    LANGUAGES,
    MODULES,
    Json,
    Vocabulary,
    actions,
    argument,
    attributes,
    branches,
    calls,
    flattened,
    functions,
    keywords,
    placeholders,
    read_json,
    translations,
)

ENGLISH = translations("en")
# What a category may hold, as in Home Assistant's documentation; `*` is a name of ours.
SHAPES = [
    "title",
    "common.*",
    "config.(flow_title|(abort|error|progress|create_entry).*)",
    "config.step.*.(title|description|submit|(data|data_description|menu_options|menu_option_descriptions).*)",
    "config.step.*.sections.*.(name|description|(data|data_description).*)",
    "options.(abort|error|progress).*",
    "options.step.*.(title|description|submit|(data|data_description|menu_options).*)",
    "config_subentries.*.(entry_type|initiate_flow.(user|reconfigure|reauth)|(abort|error|progress|create_entry).*)",
    "config_subentries.*.step.*.(title|description|submit|(data|data_description|menu_options).*)",
    "config_subentries.*.step.*.sections.*.(name|description|(data|data_description).*)",
    "device.*.name",
    "device_automation.(action_type|condition_type|trigger_type|trigger_subtype|extra_fields).*",
    "entity.*.*.(name|unit_of_measurement|state.*|state_attributes.*.(name|state.*))",
    "exceptions.*.message",
    "issues.*.(title|description)",
    "issues.*.fix_flow.((abort|error|progress).*|step.*.(title|description|submit|(data|data_description|menu_options).*))",
    "selector.*.(options.*|unit_of_measurement.*|fields.*.(name|description))",
    "services.*.(name|description|fields.*.(name|description)|sections.*.(name|description))",
    "system_health.info.*",
]
NAME = r"[a-z0-9]+(?:_[a-z0-9]+)*"
SHAPE = re.compile("|".join(shape.replace(".", r"\.").replace("*", NAME) for shape in SHAPES))

FLOWS = ("config", "options", "config_subentries.*", "issues.*.fix_flow")
# What Home Assistant's own methods end a dialog with, and the methods.
IMPLIED = {
    "already_configured": "_abort_if_unique_id_configured",
    "unique_id_mismatch": "_abort_if_unique_id_mismatch",
    "reconfigure_successful": "async_update_and_abort",
}
BINARY_STATES = {"on", "off"}
SAID = [
    *(f"{flow}.{group}.*" for flow in FLOWS for group in ("abort", "error", "progress", "step.*.data")),
    *(f"{flow}.step.*.sections.*" for flow in FLOWS),
    *(f"{flow}.step.*.sections.*.data.*" for flow in FLOWS),
    *("common.*", "config_subentries.*", "device.*", "entity.*", "entity.*.*", "entity.*.*.state.*", "exceptions.*"),
    *("issues.*", "selector.*", "selector.*.options.*", "services.*", "services.*.fields.*", "system_health.info.*"),
]

every_language = pytest.mark.parametrize("language", LANGUAGES)
every_other_language = pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])


def keys(pattern: str, tree: Json = ENGLISH) -> set[str]:
    """Return the last parts of the paths that match."""
    return {path.rpartition(".")[2] for path in branches(tree, pattern)}


@every_language
def test_every_text_is_where_home_assistant_looks_for_it(language: str) -> None:
    assert language in KNOWN_LANGUAGES
    assert [path for path in flattened(translations(language)) if not SHAPE.fullmatch(path)] == []


@every_language
def test_texts_are_plain(language: str) -> None:
    for path, text in flattened(translations(language)).items():
        assert text, path
        assert text == text.strip(), path
        assert not re.search(r"</?[a-zA-Z][^>]*>", text), f"{path}: HTML is shown as it is written"
        assert "[%key:" not in text, f"{path}: references are resolved in Home Assistant's own repository only"
        assert not re.search(r"https?://", text), f"{path}: an address belongs in a placeholder"
        assert not re.search(r"'\{\w+\}'", text), f"{path}: a placeholder in single quotes is not replaced"
        if path.startswith("exceptions."):
            assert not text.endswith("."), f"{path}: the dot of an exception's message is removed"


@every_other_language
def test_a_language_is_complete(language: str) -> None:
    english, other = flattened(ENGLISH), flattened(translations(language))
    assert set(english) - set(other) == set()
    assert set(other) - set(english) == set()


@every_other_language
def test_placeholders_are_those_of_the_english_text(language: str) -> None:
    other = flattened(translations(language))
    for path, text in flattened(ENGLISH).items():
        assert placeholders(other.get(path, text)) == placeholders(text), path


@pytest.mark.parametrize("flow", FLOWS)
def test_every_field_is_named_and_described(flow: str) -> None:
    for pattern in (f"{flow}.step.*", f"{flow}.step.*.sections.*"):
        for path, step in branches(ENGLISH, pattern).items():
            assert set(step.get("data", ())) == set(step.get("data_description", ())), path
    for path, section in branches(ENGLISH, f"{flow}.step.*.sections.*").items():
        assert section["name"], path


def described_keys(module: str) -> set[str]:
    """Return the keys of entity descriptions that are constants."""
    named = (call for call in calls(module) if not any(word.arg == "translation_domain" for word in call.keywords))
    return {key for call in named if (key := argument(call, "translation_key", module))}


def test_every_error_has_a_message() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.ZoeError)]
    used = {item.translation_key for item in classes if hasattr(item, "translation_key")}
    raised = chain.from_iterable(_exception_keys(module) for module in MODULES)
    assert used | set(raised) == keys("exceptions.*")


def _exception_keys(module: str) -> set[str]:
    names = ("HomeAssistantError", "ServiceValidationError", "ConfigEntryNotReady", "ConfigEntryAuthFailed")
    raised = calls(module, *names, "ConfigEntryError", "UpdateFailed")
    return {key for call in raised if (key := argument(call, "translation_key", module))}


def test_placeholders_of_messages_are_filled() -> None:
    """A placeholder that no code names would be shown as it is."""
    said, named = Vocabulary(), keywords()
    for path, text in flattened(ENGLISH).items():
        for name in placeholders(text):
            assert name in said or name in named, path


def test_every_way_out_of_a_dialog_has_a_text() -> None:
    known = set[str]().union(*(keys(f"{flow}.abort.*") for flow in FLOWS))
    used = {
        reason
        for module in MODULES
        for call in calls(module, "async_abort")
        if (reason := argument(call, "reason", module))
    }
    used |= {reason for reason, method in IMPLIED.items() if any(list(calls(module, method)) for module in MODULES)}
    assert used - known == set()


def test_every_step_has_a_title() -> None:
    steps = {path: step for flow in FLOWS for path, step in branches(ENGLISH, f"{flow}.step.*").items()}
    known = {path.rpartition(".")[2] for path in steps}
    shown = {
        step
        for module in MODULES
        for call in calls(module, "async_show_form", "async_show_menu")
        if (step := argument(call, "step_id", module))
    }
    assert shown - known == set()
    assert [path for path, step in steps.items() if not step.get("title")] == []
    assert {f"async_step_{step}" for step in known} <= functions()


def test_every_selector_has_its_options() -> None:
    for module in MODULES:
        for call in calls(module, "SelectSelectorConfig"):
            key = argument(call, "translation_key", module)
            assert key is None or key in keys("selector.*")


def test_every_entity_key_is_known() -> None:
    """A key gives a name, states or an icon; one that gives nothing is a mistake."""
    for platform in set(MODULES) & {platform.value for platform in Platform}:
        used = attributes(platform, "_attr_translation_key") | described_keys(platform)
        known = keys(f"entity.{platform}.*") | keys(f"entity.{platform}.*", read_json("icons.json"))
        assert used - known == set(), platform


def test_no_text_is_left_over() -> None:
    """Every key is a word that the code says, an action that is declared, or what Home Assistant ends a dialog with."""
    said = Vocabulary()
    known = set(actions()) | IMPLIED.keys() | BINARY_STATES
    for pattern in SAID:
        for path in branches(ENGLISH, pattern):
            key = path.rpartition(".")[2]
            assert key in said or key in known, path


async def test_entities_have_their_names(hass: HomeAssistant, agent: str) -> None:
    """What is set up for real shows a name: that of its device, or one of its own."""
    texts = await async_get_translations(hass, "en", "entity", {DOMAIN})
    entities = [entity for entity in er.async_get(hass).entities.values() if entity.platform == DOMAIN]
    assert entities
    for entity in entities:
        name = texts.get(f"component.{DOMAIN}.entity.{entity.domain}.{entity.translation_key}.name", "")
        pattern = re.sub(r"\\{\w+\\}", ".+", re.escape(name))
        assert re.fullmatch(pattern, entity.original_name or ""), entity.entity_id
