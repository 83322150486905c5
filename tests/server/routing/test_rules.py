"""The rules that choose a role, in their order, and the plans that come of them."""

from pathlib import Path
from typing import Any

import pytest

from zoe_server import protocol
from zoe_server.catalogue.engine_options import LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.routing.intent import bundled_classifier
from zoe_server.routing.question import RouteQuestion
from zoe_server.routing.router import RULES, Router
from zoe_server.routing.rules import Decision, decide, home_evidence, names_in

NANO = ModelSpec("zoe-nano", Path("n.gguf"), roles=("tools",))
CHAT = ModelSpec("llama", Path("a.gguf"), roles=("chat",), options=LlamaOptions(n_ctx_tokens=4096))
TOOLS = ModelSpec("qwen", Path("b.gguf"), roles=("tools",), options=LlamaOptions(n_ctx_tokens=8192))
EYES = ModelSpec("qwen-vl", Path("c.gguf"), roles=("vision",))
PLAIN = ModelSpec("plain", Path("d.gguf"))
ALL = [NANO, CHAT, TOOLS, EYES]
COMMAND = "turn on the kitchen light"
TALK = "tell me a joke about cats"
THOUGHT = "compare electric cars and petrol cars and analyse the pros and cons"


def chosen(question: RouteQuestion) -> tuple[str, str]:
    decision = decide(question, bundled_classifier())
    return decision.rule, decision.role


def request(*messages: dict[str, Any], **fields: Any) -> protocol.ChatRequest:  # noqa: ANN401 - of any field
    return protocol.ChatRequest("id", "zoe", messages, **fields)


def user(content: object) -> dict[str, Any]:
    return {"role": "user", "content": content}


@pytest.mark.parametrize(
    ("question", "rule", "role"),
    [
        (RouteQuestion(COMMAND), "automation", "tools"),
        (RouteQuestion("schalte das Licht im Wohnzimmer ein"), "automation", "tools"),
        (RouteQuestion("are the windows in the bedroom open?"), "automation", "tools"),
        (RouteQuestion(TALK), "chat", "chat"),
        (RouteQuestion("wer hat eigentlich das Rad erfunden?"), "chat", "chat"),
        (RouteQuestion(THOUGHT), "reasoning", "tools"),
        (RouteQuestion(""), "preparation", "tools"),
        (RouteQuestion(" ?! "), "preparation", "tools"),
        (RouteQuestion(TALK, is_preparation=True), "preparation", "tools"),
        (RouteQuestion(TALK, must_call=True), "required_call", "tools"),
        (RouteQuestion(COMMAND, has_images=True), "vision", "vision"),
        (RouteQuestion(TALK, has_images=True, has_tool_results=True), "vision", "vision"),
        (RouteQuestion(COMMAND, has_tool_results=True), "tool_results", "tools"),
        (RouteQuestion(TALK, has_tool_results=True), "tool_results", "chat"),
    ],
)
def test_the_first_rule_that_applies_decides(question: RouteQuestion, rule: str, role: str) -> None:
    assert chosen(question) == (rule, role)


@pytest.mark.parametrize("text", [COMMAND, TALK, THOUGHT])
def test_a_tool_s_result_goes_where_its_call_came_from(text: str) -> None:
    router = Router(ALL)
    before = router.route("zoe", RouteQuestion(text))
    caller = before.handover or before
    assert router.route("zoe", RouteQuestion(text, has_tool_results=True)).candidates == caller.candidates


def test_the_names_of_this_home_tip_the_scale() -> None:
    text = "how is Gertrude doing?"
    assert chosen(RouteQuestion(text)) == ("chat", "chat")
    assert chosen(RouteQuestion(text, devices=("Gertrude",), places=("Office",))) == ("automation", "tools")


@pytest.mark.parametrize(
    ("text", "names", "found"),
    [
        ("is the Kitchen Light on", ["kitchen light", "Kitchen"], ["kitchen light", "Kitchen"]),
        ("avaa keittiön ikkuna", ["keittiö", "ikkuna"], ["keittiö", "ikkuna"]),
        ("打开客厅的灯", ["客厅", "卧室"], ["客厅"]),
        ("거실에 불 켜줘", ["거실"], ["거실"]),
        ("what a delight", ["light"], []),
        ("turn it on", ["", "it", "!"], []),
    ],
)
def test_names_are_found_whatever_ending_they_have(text: str, names: list[str], found: list[str]) -> None:
    assert names_in(text, names) == found


def test_a_question_that_names_a_device_counts_more_than_talk_about_it() -> None:
    names = {"devices": ("Desk lamp",), "places": ("Office",)}
    scores = [
        home_evidence(RouteQuestion(text, **names)) for text in ("hello", "the office", "desk lamp", "desk lamp?")
    ]
    assert scores == sorted(set(scores))
    assert scores[0] == 0


def test_a_question_is_read_from_the_request() -> None:
    question = RouteQuestion.of(
        request(
            {"role": "system", "content": "turn on"},
            user("hello"),
            {"role": "assistant", "content": "hi"},
            user("lamp on"),
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "content": "done", "tool_call_id": "1"},
            tool_choice=protocol.ToolChoice("required"),
            max_tokens=0,
            argument_values={"name": ("Lamp",), "light.name": ("Lamp", "Spot"), "area": ("Hall",), "floor": None},
        )
    )
    assert question == RouteQuestion(
        "lamp on",
        has_tool_results=True,
        must_call=True,
        is_preparation=True,
        devices=("Lamp", "Spot"),
        places=("Hall",),
    )


def test_pictures_and_texts_in_parts_are_seen() -> None:
    parts = [
        {"type": "text", "text": "what is"},
        {"type": "picture", "data": "", "path": "messages[0].content[1].image_url"},
        {"type": "text", "text": "it"},
    ]
    question = RouteQuestion.of(request(user(parts), {"role": "assistant", "content": "a cat"}, user("sure?")))
    assert question == RouteQuestion("sure?", has_images=True)
    assert RouteQuestion.of(request(user(parts))).text == "what is  it"


def test_a_prompt_is_a_text_and_tokens_are_none() -> None:
    assert RouteQuestion.of(request(prompt=COMMAND)).text == COMMAND
    assert RouteQuestion.of(request(prompt=(1, 2))).text == ""


@pytest.mark.parametrize(
    ("question", "candidates"),
    [
        (None, ("zoe-nano", "qwen", "llama", "qwen-vl")),
        (RouteQuestion(COMMAND), ("zoe-nano", "qwen", "llama", "qwen-vl")),
        (RouteQuestion(THOUGHT), ("qwen", "zoe-nano", "llama", "qwen-vl")),
        (RouteQuestion(TALK), ("llama", "zoe-nano", "qwen", "qwen-vl")),
        (RouteQuestion(TALK, has_images=True), ("qwen-vl", "zoe-nano", "llama", "qwen")),
    ],
)
def test_the_role_comes_first_and_the_others_stand_by(
    question: RouteQuestion | None, candidates: tuple[str, ...]
) -> None:
    assert Router(ALL).route("zoe", question).candidates == candidates


def test_a_picture_prefers_a_model_that_sees_to_one_that_does_not() -> None:
    seeing = ModelSpec("seeing", Path("e.gguf"), roles=("chat",), options=LlamaOptions(projector_path=Path("p.gguf")))
    question = RouteQuestion(TALK, has_images=True)
    assert Router([NANO, CHAT, seeing]).route("zoe", question).candidates == ("seeing", "zoe-nano", "llama")
    assert Router([NANO, seeing, EYES]).route("zoe", question).candidates == ("qwen-vl", "seeing", "zoe-nano")


@pytest.mark.parametrize("text", [COMMAND, TALK, THOUGHT, ""])
def test_a_model_that_is_alone_gets_everything(text: str) -> None:
    for has_images in (True, False):
        assert Router([NANO]).route("zoe", RouteQuestion(text, has_images=has_images)).candidates == ("zoe-nano",)


def test_talk_prefers_a_model_without_roles_to_the_one_for_tools() -> None:
    assert Router([NANO, PLAIN]).route(None, RouteQuestion(TALK)).candidates == ("plain", "zoe-nano")


@pytest.mark.parametrize("name", ["qwen", "qwen:latest"])
def test_a_model_that_is_named_answers_whatever_is_said(name: str) -> None:
    plan = Router(ALL).route(name, RouteQuestion(TALK, has_images=True))
    assert (plan.candidates, plan.rule) == (("qwen",), "named")


def test_every_plan_names_a_rule_that_can_be_counted() -> None:
    router = Router([*ALL, ModelSpec("bge", Path("e.gguf"), roles=("embeddings",))])
    plans = [router.route(None), router.route("llama"), router.route_embeddings(None)]
    questions = [RouteQuestion(text) for text in (COMMAND, TALK, THOUGHT, "")]
    questions += [RouteQuestion(TALK, has_images=True), RouteQuestion(TALK, must_call=True)]
    questions += [RouteQuestion(TALK, has_tool_results=True)]
    plans += [router.route("zoe", question) for question in questions]
    plans += [plan.handover for plan in plans if plan.handover is not None]
    assert {plan.rule for plan in plans} == set(RULES)
    assert all(plan.why and plan.why.isascii() and plan.why.isprintable() for plan in plans)


def test_the_same_question_is_always_routed_alike() -> None:
    decisions = [decide(RouteQuestion(TALK), bundled_classifier()) for _ in range(3)]
    assert isinstance(decisions[0], Decision)
    assert decisions[0] == decisions[1] == decisions[2]
