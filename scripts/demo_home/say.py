"""One sentence to the home: what Zoe answered, what she called, what changed, and how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from demo_home.home_assistant import Json, Socket

_TURN = "zoe_turn"
_STATE_CHANGED = "state_changed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one sentence; the fields of `--json`, and whether it ended in an error."""

    sentence: str
    reply: str
    model: str | None
    tool_calls: list[Json]
    changes: list[Json]
    ttft_ms: float | None
    total_ms: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    failed: bool


async def listen(socket: Socket) -> None:
    """Ask for the events that `say` needs; once per socket."""
    for event in (_TURN, _STATE_CHANGED):
        await socket.command("subscribe_events", event_type=event)


async def say(socket: Socket, agent: str, sentence: str) -> Outcome:
    """Send `sentence` to `agent` in a conversation of its own, and wait for the end of the turn.

    Raises:
        DemoError: Home Assistant did not answer.
    """
    socket.events.clear()
    result = await socket.command("conversation/process", text=sentence, language="en", agent_id=agent)
    await socket.drain()
    turn: Json = next((event["data"] for event in socket.events if event["event_type"] == _TURN), {})
    return read_outcome(sentence, result["response"], turn, socket.events)


def read_outcome(sentence: str, response: Json, turn: Json, events: Iterable[Json]) -> Outcome:
    """Put together Home Assistant's response, the figures of `zoe_turn` (none after an error) and the state changes."""
    return Outcome(
        sentence=sentence,
        reply=response["speech"].get("plain", {}).get("speech", ""),
        model=turn.get("model"),
        tool_calls=turn.get("tool_calls", []),
        changes=list_changes(events),
        ttft_ms=turn.get("ttft_ms"),
        total_ms=turn.get("total_ms"),
        prompt_tokens=turn.get("prompt_tokens"),
        cached_tokens=turn.get("cached_tokens"),
        failed=response["response_type"] == "error",
    )


def list_changes(events: Iterable[Json]) -> list[Json]:
    """Return one change per entity, from its first old state to its last new one, unless the two are equal."""
    first: dict[str, Json | None] = {}
    last: dict[str, Json | None] = {}
    for event in events:
        data = event["data"]
        # The agent's own state is the time of its last conversation.
        if event["event_type"] == _STATE_CHANGED and not _is_zoe(data["entity_id"]):
            first.setdefault(data["entity_id"], data["old_state"])
            last[data["entity_id"]] = data["new_state"]
    changes = (_change(entity_id, first[entity_id], last[entity_id]) for entity_id in first)
    return [change for change in changes if change["from"] != change["to"] or change["attributes"]]


def _is_zoe(entity_id: str) -> bool:
    """Return whether an entity is part of Zoe, which tells how it does, and not of the home."""
    domain, _, name = entity_id.partition(".")
    return domain == "conversation" or name.startswith("zoe_server_")


def _change(entity_id: str, old: Json | None, new: Json | None) -> Json:
    before: dict[str, Any] = old["attributes"] if old else {}
    after: dict[str, Any] = new["attributes"] if new else {}
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return {
        "entity_id": entity_id,
        "from": old["state"] if old else None,
        "to": new["state"] if new else None,
        "attributes": {name: {"from": before.get(name), "to": after.get(name)} for name in names},
    }
