from typing import Any

import pytest

from zoe_eval.sentences import Sentence, color_name, faults, load_sentences, occurs

BEFORE: dict[str, dict[str, Any]] = {
    "light.a": {"state": "off"},
    "light.b": {"state": "on", "brightness_pct": 50},
    "todo.list": {"items": ["Milk"], "completed": []},
}


def after(**changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {**BEFORE, **{key.replace("__", "."): values for key, values in changes.items()}}


def test_the_expected_change_and_nothing_else_is_right() -> None:
    sentence = Sentence("a on", expect={"light.a": {"state": "on"}})
    assert faults(sentence, BEFORE, after(light__a={"state": "on", "brightness_pct": 3}), "") == []


def test_no_change_is_a_fault() -> None:
    assert len(faults(Sentence("a on", expect={"light.a": {"state": "on"}}), BEFORE, BEFORE, "")) == 1


def test_a_change_elsewhere_is_a_fault() -> None:
    changed = after(light__b={"state": "on", "brightness_pct": 51})
    assert len(faults(Sentence("hello"), BEFORE, changed, "")) == 1


@pytest.mark.parametrize(("actual", "right"), [(39, True), (40, True), (41, True), (42, False), (None, False)])
def test_percentages_may_be_off_by_one(actual: int | None, right: bool) -> None:
    sentence = Sentence("b to 40", expect={"light.b": {"brightness_pct": 40}})
    values = {"state": "on"} if actual is None else {"state": "on", "brightness_pct": actual}
    assert (faults(sentence, BEFORE, after(light__b=values), "") == []) is right


def test_items_compare_in_any_order_and_case() -> None:
    sentence = Sentence("eggs", expect={"todo.list": {"items": ["eggs", "milk"]}})
    assert faults(sentence, BEFORE, after(todo__list={"items": ["Milk", "Eggs"], "completed": []}), "") == []
    assert faults(sentence, BEFORE, after(todo__list={"items": ["Milk", "Eggs", "x"], "completed": []}), "") != []


def test_a_list_of_states_means_any_of_them() -> None:
    sentence = Sentence("x", expect={"light.a": {"state": ["on", "off"]}})
    assert faults(sentence, BEFORE, BEFORE, "") == []


@pytest.mark.parametrize(
    ("text", "reply", "found"),
    [
        ("locked", "Yes, it is locked.", True),
        ("locked", "It is unlocked.", False),
        ("21.5", "It is 21.5 degrees", True),
        ("21", "It is 121 degrees", False),
        ("can't", "I can\N{RIGHT SINGLE QUOTATION MARK}t do that", True),
    ],
)
def test_replies_are_searched_for_whole_words(text: str, reply: str, found: bool) -> None:
    assert occurs(text, reply) is found


@pytest.mark.parametrize(
    ("hue", "saturation", "name"),
    [(0, 100, "red"), (359, 90, "red"), (350, 30, "pink"), (330, 80, "pink"), (30, 100, "orange"), (60, 100, "yellow"),
     (120, 100, "green"), (240, 100, "blue"), (280, 100, "purple"), (10, 5, "white")],
)  # fmt: skip
def test_colour_names(hue: float, saturation: float, name: str) -> None:
    assert color_name(hue, saturation) == name


def test_an_unknown_key_is_refused(tmp_path) -> None:  # noqa: ANN001
    path = tmp_path / "sentences.yaml"
    path.write_text("- {say: hello, expects: {}}\n")
    with pytest.raises(TypeError, match="expects"):
        load_sentences(path)
