"""POST /v1/embeddings: what is refused and where, and what comes back over HTTP."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from zoe_server import errors
from zoe_server.catalogue.spec import EMBEDDINGS_ROLE
from zoe_server.gateway.openai.embeddings import parse_embeddings, shortened

if TYPE_CHECKING:
    import aiohttp

    from tests.server.gateway.conftest import Gateway, Start
    from zoe_server.catalogue.spec import ModelSpec


@pytest.fixture
async def both(start: Start, spec: ModelSpec) -> Gateway:
    """A gateway to a model that writes and one for embeddings."""
    return await start(
        specs=[
            spec,
            replace(
                spec,
                name="e",
                aliases=(),
                roles=(EMBEDDINGS_ROLE,),
                options=spec.options.model_copy(update={"n_ctx_tokens": 256}),
            ),
        ]
    )


async def embed(gateway: Gateway, given: object = "lamp", **fields: object) -> aiohttp.ClientResponse:
    return await gateway.client.post("/v1/embeddings", json={"input": given, **fields})


async def answer(gateway: Gateway, given: object = "lamp", **fields: object) -> dict[str, Any]:
    response = await embed(gateway, given, **fields)
    body: dict[str, Any] = await response.json()
    assert response.status == 200, body
    return body


async def refusal(gateway: Gateway, given: object = "lamp", **fields: object) -> tuple[int, str]:
    response = await embed(gateway, given, **fields)
    return response.status, (await response.json())["error"]["param"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 7}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [[1], [2**31]]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"model": 1}, "model"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 1.5}, "dimensions"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields: dict[str, object], param: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        parse_embeddings({"input": "a", **fields})
    assert str(caught.value.param).startswith(param)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_inputs_are_text_or_tokens_one_or_several(given: object, inputs: tuple[object, ...]) -> None:
    assert parse_embeddings({"input": given, "user": "somebody"}).inputs == inputs


def test_shortened_vectors_have_length_one_again() -> None:
    short = shortened((0.5, 0.5, 0.5, 0.5), 2)
    assert short == struct.unpack("<2f", struct.pack("<2f", math.sqrt(0.5), math.sqrt(0.5)))
    assert shortened(short, 2) is shortened(short, None) is short
    for vector, dimensions in (((1.0, 0.0), 3), ((0.0, 1.0), 1)):
        with pytest.raises(errors.InvalidRequestError, match="dimensions"):
            shortened(vector, dimensions)


async def test_every_input_gets_its_vector(both: Gateway) -> None:
    body = await answer(both, ["lamp", "light"])
    assert (body["object"], body["model"]) == ("list", "e")
    assert [(item["object"], item["index"]) for item in body["data"]] == [("embedding", 0), ("embedding", 1)]
    assert [math.hypot(*item["embedding"]) for item in body["data"]] == pytest.approx([1.0, 1.0])
    assert body["usage"] == {"prompt_tokens": 9, "total_tokens": 9}
    alone = await answer(both, "light")
    assert alone["data"][0]["embedding"] == body["data"][1]["embedding"]
    assert (await answer(both, list(b"light")))["data"] == alone["data"]


async def test_base64_and_floats_are_the_same_numbers(both: Gateway) -> None:
    for fields in ({}, {"dimensions": 3}):
        numbers = (await answer(both, **fields))["data"][0]["embedding"]
        text = (await answer(both, encoding_format="base64", **fields))["data"][0]["embedding"]
        assert struct.unpack(f"<{len(numbers)}f", base64.b64decode(text)) == tuple(numbers)
    assert len(numbers) == 3


@pytest.mark.parametrize("model", [None, "zoe", "zoe:latest", "e"])
async def test_without_a_name_the_model_with_the_role_answers(both: Gateway, model: str | None) -> None:
    response = await embed(both, model=model)
    assert (await response.json())["model"] == "e"
    rule = "named" if model == "e" else "embeddings"
    assert response.headers["X-Zoe-Route"] == f"rule={rule}; model=e; candidates=e"


async def test_without_a_model_for_embeddings_there_is_none(gateway: Gateway) -> None:
    response = await embed(gateway)
    error = (await response.json())["error"]
    assert (response.status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert "embeddings" in error["message"]
    assert await refusal(gateway, model="nobody") == (404, "model")


async def test_a_model_of_the_wrong_kind_says_so(both: Gateway) -> None:
    assert await refusal(both, model="m") == (400, "model")
    response = await both.chat(model="e")
    assert (response.status, (await response.json())["error"]["code"]) == (400, "unsupported_model")
    assert (await both.chat(model="zoe")).status == 200


async def test_what_the_engine_refuses_names_the_input(both: Gateway) -> None:
    response = await embed(both, ["a", "b" * 300])
    error = (await response.json())["error"]
    assert (response.status, error["type"], error["param"]) == (400, "exceed_context_size_error", "input[1]")
    assert (error["n_prompt_tokens"], error["n_ctx"]) == (300, 256)
    assert await refusal(both, [[1], [300]]) == (400, "input[1]")
    assert await refusal(both, dimensions=9) == (400, "dimensions")


async def test_models_say_that_they_make_embeddings(both: Gateway) -> None:
    model = await (await both.client.get("/v1/models/e")).json()
    assert (model["roles"], model["abilities"]) == (["embeddings"], ["embeddings"])
    shown = await (await both.client.post("/api/show", json={"model": "e"})).json()
    assert shown["capabilities"] == ["embedding"]
