"""One model on several servers: who answers, who answers instead, and who comes back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from tests.server.engines.conftest import Ask, Collect
from tests.server.engines.openai_server import HELLO, OpenAIServer, delta, refused, stream
from zoe_server import errors, protocol
from zoe_server.catalogue.engine_options import OpenAIOptions
from zoe_server.catalogue.spec import ModelSpec
from zoe_server.engines.openai_engine import OpenAIEngine
from zoe_server.engines.upstreams import Upstreams, rank

LOOK_S = 0.05


class Household:
    """Three servers and the engine that asks them."""

    def __init__(self, servers: Sequence[OpenAIServer], urls: Sequence[str]) -> None:
        self.servers = servers
        self.urls = urls
        self.engine = self.engine_of(urls)

    def engine_of(self, urls: Sequence[str], look_s: float = LOOK_S) -> Upstreams:
        options = OpenAIOptions(urls=urls, silence_s=5.0, tools=True, schemas=True, pictures=False)
        spec = ModelSpec("m", Path("unused"), engine="openai", options=options)
        return Upstreams(spec, urls, lambda spec, url: OpenAIEngine(spec, url, look_s), look_s)

    def forget(self) -> None:
        for server in self.servers:
            server.bodies.clear()

    def asked(self) -> list[int]:
        """Return how many requests each server got since."""
        return [len(server.bodies) for server in self.servers]


@pytest.fixture
async def household() -> AsyncGenerator[Household]:
    played = [OpenAIServer() for _ in range(3)]
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(TestServer(one.app)) for one in played]
        home = Household(played, [f"http://127.0.0.1:{server.port}/v1" for server in servers])
        await home.engine.start()
        home.forget()
        yield home
        await home.engine.stop()


def of_home(ask: Ask, home: str, text: str = "on") -> protocol.ChatRequest:
    request = ask(text)
    messages = ({"role": "system", "content": home}, *request.messages)
    return protocol.ChatRequest(request.id, request.model, messages)


async def test_a_home_is_answered_by_one_server(household: Household, ask: Ask, collect: Collect) -> None:
    for text in ("on", "off", "what is on?"):
        assert isinstance((await collect(household.engine, of_home(ask, "a home", text)))[-1], protocol.Finish)
    assert sorted(household.asked()) == [0, 0, 3]


async def test_homes_are_spread(household: Household, ask: Ask, collect: Collect) -> None:
    for number in range(40):
        await collect(household.engine, of_home(ask, f"home {number}"))
    assert min(household.asked()) >= 4


@given(st.sets(st.text(min_size=1), min_size=2, max_size=6), st.text())
def test_a_server_that_goes_changes_the_order_of_no_other(urls: set[str], beginning: str) -> None:
    order = sorted(urls, key=lambda url: rank(beginning, url))
    gone = order[0]
    assert sorted(urls - {gone}, key=lambda url: rank(beginning, url)) == order[1:]


def test_every_server_is_the_first_of_its_share() -> None:
    urls = [f"http://10.0.0.{number}/v1" for number in range(4)]
    first = Counter(max(urls, key=lambda url: rank(f"home {number}", url)) for number in range(4000))
    assert all(850 < n < 1150 for n in first.values()), first


async def test_a_server_with_more_than_its_share_is_passed_over(
    household: Household, ask: Ask, collect: Collect
) -> None:
    async def holds(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
        response = await stream(request, delta(content="so"), done=False)
        await asyncio.Event().wait()
        return response

    for server in household.servers:
        server.answer = holds
    async with AsyncExitStack() as stack:
        for _ in range(9):
            events = await stack.enter_async_context(aclosing(household.engine.chat(of_home(ask, "a home"))))
            async for event in events:
                if isinstance(event, protocol.Text):
                    break
        assert sorted(household.asked()) == [1, 4, 4]
        assert household.engine.health.running == 9


@pytest.mark.parametrize("answer", [refused(503, "loading"), refused(429, "slow down")])
async def test_another_one_answers_instead(household: Household, ask: Ask, collect: Collect, answer: Any) -> None:  # noqa: ANN401
    await collect(household.engine, of_home(ask, "a home"))
    first = household.asked().index(1)
    household.servers[first].answer = answer
    events = await collect(household.engine, of_home(ask, "a home"))
    assert [type(event) for event in events[:2]] == [protocol.Started, protocol.Text]
    assert isinstance(events[-1], protocol.Finish)
    assert sorted(household.asked()) == [0, 1, 2]


async def test_what_is_the_requests_fault_is_asked_once(household: Household, ask: Ask, collect: Collect) -> None:
    for server in household.servers:
        server.answer = refused(400, "temperature is odd")
    failure = (await collect(household.engine, ask()))[-1]
    assert isinstance(failure, protocol.Failure)
    assert isinstance(failure.error, errors.InvalidRequestError)
    assert sum(household.asked()) == 1


async def test_what_was_said_is_not_said_again(household: Household, ask: Ask, collect: Collect) -> None:
    for server in household.servers:
        server.answer = lambda request, _: stream(request, delta(content="so"), done=False)
    events = await collect(household.engine, ask())
    assert [type(event) for event in events] == [protocol.Started, protocol.Text, protocol.Failure]


async def test_who_cannot_is_asked_last_until_it_is_seen(household: Household, ask: Ask, collect: Collect) -> None:
    await household.engine.stop()
    engine = household.engine_of(household.urls, look_s=60.0)
    await engine.start()
    household.forget()
    await collect(engine, of_home(ask, "a home"))
    first = household.asked().index(1)
    household.servers[first].answer = refused(503, "loading")
    for _ in range(3):
        await collect(engine, of_home(ask, "a home"))
    assert household.asked()[first] == 2
    await engine.stop()


async def test_a_server_that_goes_and_one_that_comes(ask: Ask, collect: Collect) -> None:
    played = [OpenAIServer(), OpenAIServer()]
    async with TestServer(played[0].app) as stays:
        goes = TestServer(played[1].app)
        await goes.start_server()
        port = goes.port
        urls = [f"http://127.0.0.1:{stays.port}/v1", f"http://127.0.0.1:{port}/v1"]
        engine = Household(played, urls).engine
        await engine.start()
        await goes.close()
        for number in range(8):
            assert isinstance((await collect(engine, of_home(ask, f"home {number}")))[-1], protocol.Finish)
        back = OpenAIServer()
        async with TestServer(back.app, port=port), asyncio.timeout(20):
            while not any(body.get("max_tokens") is None for body in back.bodies):
                await collect(engine, of_home(ask, f"home {len(played[0].bodies)}"))
        assert engine.health.alive
        await engine.stop()


async def test_without_any_server_there_is_no_model(household: Household, ask: Ask, collect: Collect) -> None:
    nobody = household.engine_of(["http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"])
    with pytest.raises(errors.EngineUnavailableError, match=r"none of its servers answers: .*127\.0\.0\.1:9.*:10"):
        await nobody.start()
    assert not nobody.health.alive


async def test_all_can_do_what_is_said(household: Household) -> None:
    household.servers[1].models = [{"id": "far", "max_model_len": 1024}]
    household.servers[2].answer = refused_with_logprobs
    engine = household.engine_of(household.urls)
    await engine.start()
    assert engine.info.n_ctx_tokens == 1024
    assert (engine.info.capabilities.logprobs, engine.info.capabilities.tools) == (False, True)
    await engine.stop()


async def refused_with_logprobs(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if "logprobs" in body:
        return await refused(400, "no logprobs")(request, body)
    return await stream(request, *HELLO)
