"""What a real server and a real engine tell of their work: line 34 (asking wakes nobody), the metrics, the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import aiohttp

    from tests.conformance.conftest import Client, ZoeProcess

ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"}


async def scraped(url: str, http: aiohttp.ClientSession) -> dict[str, float]:
    """Return the values that the model `random` has, by name and the other labels' values."""
    async with http.get(f"{url}/metrics", headers=ACCEPT) as response:
        families = list(text_string_to_metric_families(await response.text()))
    return {
        " ".join([sample.name, *(value for label, value in sample.labels.items() if label != "model")]): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("model", "random") == "random"
    }


async def test_what_a_real_engine_did_is_measured_and_logged(
    serve: Callable[..., Any],
    configure: Callable[..., Path],
    connect: Callable[[ZoeProcess], Client],
    http: aiohttp.ClientSession,
) -> None:
    with serve(configure(), "--log-requests") as process:
        before = await scraped(process.url, http)
        answers = [await connect(process).chat("Tell me about the lamp") for _ in range(2)]
        prompt_tokens = answers[0]["usage"]["prompt_tokens"]
        after = await scraped(process.url, http)
        assert (before["zoe_model_loaded"], before["zoe_prompt_tokens_total computed"]) == (1, 0)
        assert after["zoe_prompt_tokens_total computed"] + after["zoe_prompt_tokens_total reused"] == 2 * prompt_tokens
        assert after["zoe_prompt_tokens_total reused"] >= prompt_tokens - 1
        assert after["zoe_completion_tokens_total"] == 16
        assert after["zoe_time_to_first_token_seconds_count"] == after["zoe_time_per_output_token_seconds_count"] == 2
        assert after["zoe_time_per_output_token_seconds_sum"] > 0
        assert after["zoe_requests_total /v1/chat/completions ok"] == 2
        assert after["zoe_process_memory_bytes engines"] > 10_000_000
        assert after["zoe_model_last_health_check_timestamp_seconds"] > 1_700_000_000
        lines = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    assert [(line["model"], line["completion_tokens"], line["finish"]) for line in lines] == [
        ("random", 8, "length")
    ] * 2
    assert lines[1]["cached_tokens"] == prompt_tokens - 1
    assert "lamp" not in json.dumps(lines)
