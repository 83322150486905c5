"""GET /: a page for browsers, with the key only, and the sign of life that Ollama's clients look for."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoe_server.engines.base import Health, Loading
from zoe_server.fleet.model_state import ModelState, ModelStatus
from zoe_server.gateway import status_view
from zoe_server.gateway.status_page import render
from zoe_server.metrics.state import GpuReading, ServerReading

if TYPE_CHECKING:
    from tests.server.gateway.conftest import Gateway, Start

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
GIB = 1 << 30


class Words(HTMLParser):
    """The words of a page, without scripts and styles; every element has to be closed in its turn."""

    EMPTY = frozenset({"meta", "rect", "polyline"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.EMPTY

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style") and data.strip():
            self.words.append(" ".join(data.split()))


async def page(gateway: Gateway) -> str:
    response = await gateway.client.get("/", headers=BROWSER)
    assert (response.status, response.content_type) == (200, "text/html")
    return await response.text()


async def test_the_page_shows_models_and_requests(gateway: Gateway) -> None:
    assert "Nobody is asking anything." in Words(await page(gateway)).words
    assert (await gateway.chat("hi")).status == 200
    held = await gateway.chat("hold after text", stream=True)
    await held.content.readline()
    words = Words(await page(gateway)).words
    assert {"Zoe", "ready", "m", "In work", "decode", "Last requests", "stop", "1 → 2"} <= set(words)
    assert any(word.endswith("to the first word") for word in words)
    held.close()


@pytest.mark.parametrize(
    ("loading", "words", "width"),
    [
        (Loading("model", 0.42), "42 % of the model loaded", "42.00"),
        (Loading("warmup"), "warming up", "100.00"),
    ],
)
def test_how_far_a_load_is_is_a_bar(loading: Loading, words: str, width: str) -> None:
    status = ModelStatus("m", ModelState.LOADING, "", 0, 0.0, 0, Health(alive=False), None, loading=loading)
    text = render(status_view.page("1", ServerReading(1.0), [status], [], []), "n")
    assert words in Words(text).words
    assert f'width="{width}"' in text


def test_what_comes_from_elsewhere_is_no_markup() -> None:
    status = ModelStatus("m", ModelState.FAILED, "<b>&\"'</b>", 0, 0.0, 0, Health(alive=False), None)
    text = render(status_view.page("1", ServerReading(1.0), [status], [], []), "n")
    assert "<b>" not in text
    assert "<b>&\"'</b>" in Words(text).words


async def test_nothing_in_the_page_comes_from_elsewhere(gateway: Gateway) -> None:
    response = await gateway.client.get("/", headers=BROWSER)
    policy, text = response.headers["Content-Security-Policy"], await response.text()
    nonces = set(re.findall(r'nonce="([^"]+)"', text))
    assert len(nonces) == 1
    assert f"script-src 'nonce-{nonces.pop()}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not re.search(r'(src|href)\s*=|https?://|style="|\son\w+="', text)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_ollama_s_clients_get_their_sign_of_life(start: Start, accept: str) -> None:
    gateway = await start(api_key="k")
    response = await gateway.client.get("/", headers={"Accept": accept})
    assert (response.status, await response.text()) == (200, "Ollama is running")
    assert (await gateway.client.head("/")).status == 200


async def test_browsers_ask_people_for_the_key(start: Start) -> None:
    gateway = await start(api_key="schlüssel")
    refused = await gateway.client.get("/", headers=BROWSER)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert "m" not in (await refused.text()).split()
    for login, status in (
        (aiohttp.encode_basic_auth("anybody", "schlüssel", "utf-8"), 200),
        (aiohttp.encode_basic_auth("schlüssel", "", "utf-8"), 401),
        ("Basic !", 401),
        ("Basic /w==", 401),
        ("Bearer schlüssel", 200),
    ):
        assert (await gateway.client.get("/", headers={**BROWSER, "Authorization": login})).status == status


async def test_who_is_vouched_for_needs_no_key_for_the_page_alone(start: Start) -> None:
    gateway = await start(api_key="key", status_page_from=["127.0.0.1"])
    page = await gateway.client.get("/", headers=BROWSER)
    assert page.status == 200
    assert "frame-ancestors 'self'" in page.headers["Content-Security-Policy"]
    assert (await gateway.client.get("/admin/status")).status == 401
    elsewhere = await start(api_key="key", status_page_from=["172.30.32.2"])
    assert (await elsewhere.client.get("/", headers=BROWSER)).status == 401


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60))
def test_a_chart_stays_within_its_frame(values: list[float]) -> None:
    places = [tuple(map(float, point.split(","))) for point in status_view.points(values).split()]
    assert len(places) == max(2, len(values))
    assert all(0 <= x <= status_view.CHART_WIDTH and 0 <= y <= status_view.CHART_HEIGHT for x, y in places)
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    if max(values) > 0:
        heights = [y for _, y in places][: len(values)]
        assert heights[values.index(max(values))] == min(heights)


def test_no_values_are_no_line() -> None:
    assert status_view.points([]) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (0.0123, "12 ms"),
        (12.34, "12.3 s"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (3661, "1 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_times_in_words(seconds: float | None, words: str) -> None:
    assert status_view.duration(seconds) == words


def test_memory_and_gpus_in_bars() -> None:
    now = ServerReading(
        1.0,
        {"server": GIB, "engines": 3 * GIB},
        memory_total_bytes=16 * GIB,
        memory_available_bytes=8 * GIB,
        unified=True,
        gpus=(GpuReading("Orin", load=0.5, temperature_c=48.2), GpuReading("RTX", 12 * GIB, 9 * GIB, 0.25, 40.0)),
    )
    memory, orin, rtx = status_view.page("1", now, [], [], []).bars
    assert (memory.title, memory.text) == ("Memory, shared with the GPU", "8.0 GiB of 16.0 GiB available")
    assert [(tone, percent) for tone, percent, _ in memory.parts] == [("models", 25.0), ("others", 25.0)]
    assert (orin.text, orin.parts[0][1]) == ("50% busy · 48 °C", 50.0)
    assert (rtx.text, rtx.parts[0][1]) == ("3.0 GiB of 12.0 GiB · 25% busy · 40 °C", 25.0)


@pytest.mark.parametrize(
    ("states", "tone"),
    [
        ((ModelState.READY,), "good"),
        ((ModelState.READY, ModelState.LOADING), "busy"),
        ((ModelState.RESTARTING, ModelState.READY), "busy"),
        ((ModelState.LOADING, ModelState.FAILED), "bad"),
        ((ModelState.READY, ModelState.QUARANTINED), "bad"),
        ((ModelState.READY, ModelState.UNLOADED), "good"),
    ],
)
def test_the_worst_state_counts(states: tuple[ModelState, ...], tone: str) -> None:
    statuses = [ModelStatus(f"m{n}", state, "", 0, 0.0, 0, Health(alive=True), None) for n, state in enumerate(states)]
    assert status_view.page("1", ServerReading(1.0), statuses, [], []).tone == tone


def test_the_template_is_part_of_the_package() -> None:
    assert (Path(status_view.__file__).parent / "status_page.html").is_file()
