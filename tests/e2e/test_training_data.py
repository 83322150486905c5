"""The training data comes from a real Home Assistant core: these tests run one."""

import json
import random
import re
from pathlib import Path
from types import ModuleType

import gguf
import pytest

import zoe_server.catalogue
from zoe_train.homes import random_home
from zoe_train.references import Home
from zoe_train.rendering import TEMPLATE_PATH, chat_template, render

# Home Assistant and its libraries use what Python 3.14 deprecates; it is imported inside the tests for this to count.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def conversations() -> ModuleType:
    from zoe_train import conversations  # noqa: PLC0415 -- see above

    return conversations


@pytest.fixture(scope="module")
async def dialogues(conversations: ModuleType) -> list:
    from zoe_eval.core import home_assistant  # noqa: PLC0415 -- see above

    async with home_assistant() as hass:
        return [await conversations.make_dialogue(hass, seed, 40) for seed in (1_000_001, 1_000_002, 1_000_003)]


def test_equal_seeds_make_equal_commands(conversations: ModuleType) -> None:
    def texts(seed: int) -> list[str]:
        rng = random.Random(seed)
        home = Home(random_home(rng, seed))
        return [conversations.make_command(rng, home).text for _ in range(50)]

    assert texts(7) == texts(7)
    assert texts(7) != texts(8)


def test_nearly_every_call_succeeds_in_home_assistant(dialogues: list) -> None:
    results = [
        json.loads(message["content"])
        for dialogue in dialogues
        for exchange in dialogue.exchanges
        for message in exchange
        if message["role"] == "tool"
    ]
    assert len(results) > 80
    assert sum(result["error"] for result in results) <= len(results) * 0.08


def test_an_exchange_is_a_sentence_then_calls_and_results_then_an_answer(dialogues: list) -> None:
    for exchange in (exchange for dialogue in dialogues for exchange in dialogue.exchanges):
        roles = [message["role"] for message in exchange]
        assert roles[0] == "user"
        assert roles[-1] == "assistant"
        assert exchange[-1]["content"]
        calls = exchange[1].get("tool_calls", [])
        assert roles[2:-1] == ["tool"] * len(calls) if calls else roles == ["user", "assistant"]


def test_calls_are_of_offered_tools_and_names_of_the_home(dialogues: list) -> None:
    for dialogue in dialogues:
        tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in dialogue.tools}
        for exchange in dialogue.exchanges:
            for call in exchange[1].get("tool_calls", []):
                arguments = json.loads(call["function"]["arguments"])
                properties = list(tools[call["function"]["name"]]["properties"])
                assert [name for name in properties if name in arguments] == list(arguments)
                if "name" in arguments:
                    assert f"- names: {arguments['name']}" in dialogue.system["content"].replace("'", "").replace(
                        arguments["name"].replace("'", ""), arguments["name"]
                    )


def test_the_template_keeps_the_overview_the_area_and_a_line_for_each_tool(
    dialogues: list, conversations: ModuleType
) -> None:
    for dialogue in dialogues:
        text = render(chat_template(), json.loads(conversations.as_json(dialogue)))
        lines = text.prefix.split("\n")
        system = dialogue.system["content"]
        devices = [line for line in lines if line.startswith(" ") and not line.startswith((" area ", " here="))]
        assert len(devices) == system.count("- names: ")
        areas = {line.partition('"')[2].removesuffix('"') for line in lines if line.startswith(" area ")}
        for line in devices:
            heard, name, _ = re.fullmatch(r' (.+?)="(.+?)" (\w+)', line).groups()
            assert heard in {name.lower(), *(f"{name} in {area}".lower() for area in areas)}
            assert f"- names: {name}\n" in system.replace("'", "") or "'" in name
        tools = [line.partition("(")[0] for line in lines if line.endswith(")") and not line.startswith(" ")]
        assert tools == [tool["function"]["name"] for tool in dialogue.tools]
        assert (' here="' in text.prefix) == ("You are in area" in system)
        assert len(text.prefix) < len(system + json.dumps(dialogue.tools)) / 4
        assert len(text.exchanges) == len(dialogue.exchanges)


def test_the_model_in_the_repository_carries_this_very_template() -> None:
    path = Path(zoe_server.catalogue.__file__).with_name("zoe-nano.gguf")
    field = gguf.GGUFReader(path).get_field("tokenizer.chat_template")
    assert field is not None
    assert field.contents() == TEMPLATE_PATH.read_text(encoding="utf-8")
