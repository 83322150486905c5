"""Commands and questions about to-do lists."""

from __future__ import annotations

import random
from typing import Any, Final

from zoe_train import words
from zoe_train.commands import Command, Results, action, ask, lead, pick
from zoe_train.phrases import phrase
from zoe_train.references import Home

_RARE: Final = 0.5
_LIST_WORDS = ("list", "tasks", "chores", "errands", "groceries")


def spoken_list(name: str) -> str:
    """Return a list's name so that one hears it is a list."""
    return name if name.lower().endswith(_LIST_WORDS) else f"{name} list"


def _my(name: str) -> str:
    spoken = spoken_list(name)
    return spoken if spoken.lower().startswith("my ") else f"your {spoken}"


def _heard(rng: random.Random, name: str) -> str:
    return rng.choice((spoken_list(name), name, spoken_list(name))).lower()


def todo(rng: random.Random, home: Home) -> Command | None:
    """Add, complete or remove an item of a list."""
    device = pick(rng, home, "todo")
    if device is None:
        return None
    style = rng.choices(("add", "complete", "remove"), (60, 25, 15))[0]
    if style == "add":
        return _add(rng, home, device)
    item = rng.choice(device.get("items") or words.ITEMS)
    if rng.random() < _RARE / 2:
        item = _rare_item(rng)
    text = phrase(rng, f"todo_{style}", i=item, l=_heard(rng, device["name"]))
    name = device["name"]
    done = f"Checked off {item} on {_my(name)}." if style == "complete" else f"Removed {item} from {_my(name)}."
    tool = "todo__HassListCompleteItem" if style == "complete" else "todo__HassListRemoveItem"
    return action(lead(rng, text), tool, {"item": item, "name": name}, done)


def _add(rng: random.Random, home: Home, device: dict[str, Any]) -> Command:
    name = device["name"]
    item = _rare_item(rng) if rng.random() < _RARE else rng.choice(words.ITEMS)
    if rng.random() < 0.15:
        item = phrase(rng, "todo_item", i=rng.choice(words.ITEMS[:40]))
    keys = ("todo_add", "todo_add_alone") if len(home.by_domain["todo"]) == 1 else ("todo_add",)
    text = phrase(rng, *keys, i=item, l=_heard(rng, name))
    return action(
        lead(rng, text), "todo__HassListAddItem", {"item": item, "name": name}, f"Added {item} to {_my(name)}."
    )


def list_question(rng: random.Random, home: Home) -> Command | None:
    """Ask what is on a list."""
    device = pick(rng, home, "todo")
    if device is None:
        return None
    keys = ("todo_read", "todo_read_alone") if len(home.by_domain["todo"]) == 1 else ("todo_read",)
    text = phrase(rng, *keys, l=_heard(rng, device["name"]))

    def answer(results: Results) -> str:
        items = None if results[0]["error"] else results[0]["data"].get("items")
        if items is None:
            return "Sorry, I could not find out."
        texts = [item["summary"] for item in items]
        spoken = join_spoken(texts) if texts else "The list is empty"
        return f"{spoken[:1].upper()}{spoken[1:]}."

    return Command(ask(rng, text), (("todo__get_items", {"todo_list": device["name"]}),), answer)


def _rare_item(rng: random.Random) -> str:
    """Return an item that is unlikely to be in any other home: what stands in the sentence has to be copied."""
    style = rng.random()
    if style < 0.2:
        return "".join(rng.choices(words.INVENTED_SYLLABLES, k=rng.randint(2, 3)))
    kind, thing = rng.choice(words.ITEM_KINDS), rng.choice(words.ITEM_THINGS)
    return thing if style < 0.4 else f"{kind} {thing}"


def join_spoken(parts: list[str]) -> str:
    """Join as one speaks: a, b and c."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
