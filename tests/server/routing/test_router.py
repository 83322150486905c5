"""Which model answers to which name."""

from pathlib import Path

import pytest

from zoe_server import errors
from zoe_server.catalogue.engine_options import Adapter, LlamaOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.routing.router import Router

CHAT = ModelSpec("llama-3.2-3b", Path("a.gguf"), aliases=("llama3.2", "phi3:mini"), roles=("chat",))
TOOLS = ModelSpec("qwen", Path("b.gguf"), roles=("chat", "tools"))
PLAIN = ModelSpec("plain", Path("c.gguf"))
TUNED = ModelSpec(
    "tuned",
    Path("e.gguf"),
    aliases=("t", "old:name"),
    options=LlamaOptions(adapters={"jokes": Adapter(path=Path("jokes.gguf"))}),
)
VECTORS = ModelSpec("bge", Path("d.gguf"), aliases=("embedder",), roles=("embeddings",))


@pytest.mark.parametrize("asked", [None, "zoe"])
def test_the_automatic_choice_is_the_first_model_for_tools(asked: str | None) -> None:
    assert Router([PLAIN, CHAT, TOOLS]).route(asked).candidates == ("qwen", "plain", "llama-3.2-3b")


def test_without_a_model_for_tools_the_first_model_answers() -> None:
    assert Router([CHAT, PLAIN]).route("zoe").candidates == ("llama-3.2-3b", "plain")


@pytest.mark.parametrize(
    ("asked", "answers"), [("llama-3.2-3b", "llama-3.2-3b"), ("phi3:mini", "llama-3.2-3b"), ("qwen", "qwen")]
)
def test_names_and_aliases_are_exact(asked: str, answers: str) -> None:
    assert Router([CHAT, TOOLS]).route(asked).candidates == (answers,)


@pytest.mark.parametrize(
    ("asked", "answers"), [("zoe:latest", "qwen"), ("qwen:latest", "qwen"), ("llama3.2:latest", "llama-3.2-3b")]
)
def test_the_tag_latest_changes_nothing(asked: str, answers: str) -> None:
    assert Router([CHAT, TOOLS]).route(asked).candidates[0] == answers


def test_a_name_with_the_tag_latest_answers_without_it() -> None:
    tagged = ModelSpec("tagged:latest", Path("d.gguf"))
    assert Router([CHAT, tagged]).route("tagged").candidates == ("tagged:latest",)


def test_an_exact_name_wins_over_the_tag_latest() -> None:
    tagged = ModelSpec("qwen:latest", Path("d.gguf"))
    router = Router([TOOLS, tagged])
    assert [router.route(name).candidates for name in ("qwen", "qwen:latest")] == [("qwen",), ("qwen:latest",)]


@pytest.mark.parametrize("asked", ["", "ZOE", ":latest", "phi3:latest", "zoe:mini", "qwen ", "gpt-4", "x" * 100_000])
def test_an_unknown_model_is_refused_with_the_list_of_those_that_exist(asked: str) -> None:
    with pytest.raises(errors.ModelNotFoundError) as caught:
        Router([CHAT, TOOLS]).route(asked)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert "zoe, llama-3.2-3b, llama3.2, phi3:mini, qwen" in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("asked", ["tuned:jokes", "t:jokes", "tuned:jokes:latest", "old:name:jokes"])
def test_an_adapter_is_chosen_behind_any_name_of_its_model(asked: str) -> None:
    plan = Router([CHAT, TUNED]).route(asked)
    assert (plan.candidates, plan.adapter, plan.model) == (("tuned",), "jokes", "tuned:jokes")
    assert plan.why == ("named by the request" if asked == "tuned:jokes" else "alias of tuned:jokes")


def test_without_an_adapter_the_model_answers_as_it_is() -> None:
    router = Router([TUNED, CHAT])
    assert [router.route(name).adapter for name in ("tuned", "t", "zoe", None)] == [None] * 4
    assert router.route("t").model == "tuned"


@pytest.mark.parametrize("asked", ["tuned:poems", "zoe:jokes", "phi3:mini:jokes", "jokes", "tuned:", "tuned:jokes:x"])
def test_an_adapter_that_a_model_does_not_have_is_refused(asked: str) -> None:
    with pytest.raises(errors.ModelNotFoundError, match="available: zoe, tuned, tuned:jokes, t, t:jokes"):
        Router([TUNED, CHAT]).route(asked)


def test_every_plan_says_why_in_a_form_that_fits_a_header() -> None:
    router = Router([CHAT, TOOLS])
    for name in (None, *router.names):
        why = router.route(name).why
        assert why
        assert why.isascii()
        assert why.isprintable()


def test_a_model_for_embeddings_is_not_chosen_to_write() -> None:
    assert Router([VECTORS, PLAIN]).route("zoe").candidates == ("plain",)
    assert Router([VECTORS, PLAIN, TOOLS]).default == "qwen"
    assert Router([VECTORS]).default == "bge"


@pytest.mark.parametrize(
    ("asked", "answers"), [(None, "bge"), ("zoe:latest", "bge"), ("embedder", "bge"), ("qwen", "qwen")]
)
def test_embeddings_are_made_by_the_first_model_for_them(asked: str | None, answers: str) -> None:
    other = ModelSpec("other", Path("e.gguf"), roles=("embeddings",))
    assert Router([TOOLS, VECTORS, other]).route_embeddings(asked).candidates == (answers,)


@pytest.mark.parametrize("asked", [None, "zoe", "bge"])
def test_without_a_model_for_embeddings_none_is_found(asked: str | None) -> None:
    with pytest.raises(errors.ModelNotFoundError):
        Router([TOOLS]).route_embeddings(asked)


def test_a_router_without_models_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Router([])
