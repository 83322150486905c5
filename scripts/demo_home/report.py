"""Outcomes as text for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json

from demo_home.home_assistant import Json
from demo_home.say import Outcome


def as_json(outcome: Outcome) -> str:
    """Return one line of JSON."""
    data = dataclasses.asdict(outcome)
    del data["failed"]  # the exit code says it
    return json.dumps(data, ensure_ascii=False)


def as_text(outcome: Outcome) -> str:
    """Return a few lines: sentence, reply, tool calls, state changes, figures."""
    lines = [f"> {outcome.sentence}", f"{'ERROR' if outcome.failed else 'Zoe'}: {outcome.reply}"]
    lines += [f"    tool    {_call(call)}" for call in outcome.tool_calls]
    lines += [f"    change  {_change(change)}" for change in outcome.changes]
    if outcome.model is not None:
        lines.append(f"    figures {_figures(outcome)}")
    return "\n".join(lines)


def _call(call: Json) -> str:
    return f"{call['name']}({', '.join(call['arguments'])})"


def _change(change: Json) -> str:
    attributes = ", ".join(f"{name}: {item['from']} -> {item['to']}" for name, item in change["attributes"].items())
    state = f"{change['from']} -> {change['to']}" if change["from"] != change["to"] else str(change["to"])
    return f"{change['entity_id']}: {state}" + (f" ({attributes})" if attributes else "")


def _figures(outcome: Outcome) -> str:
    return (
        f"{outcome.model}, first token {outcome.ttft_ms:.0f} ms, total {outcome.total_ms:.0f} ms, "
        f"{outcome.prompt_tokens} prompt tokens, {outcome.cached_tokens} of them cached"
    )
