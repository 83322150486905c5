"""Commands about media players."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from zoe_train.commands import Command, action, lead, order, pick
from zoe_train.numbers import percentage
from zoe_train.references import Home, device_target

_DONE: Final = {
    "HassMediaPause": "Paused {x}.",
    "HassMediaUnpause": "Resumed {x}.",
    "HassMediaNext": "Skipped to the next track on {x}.",
    "HassMediaPrevious": "Went back to the previous track on {x}.",
    "HassMediaPlayerMute": "Muted {x}.",
    "HassMediaPlayerUnmute": "Unmuted {x}.",
}
_PREPARED: Final = 0.95
"""How often a player is in the state that a command asks to end; otherwise Home Assistant reports an error."""


def media(rng: random.Random, home: Home) -> Command | None:
    """Pause, resume, skip, go back, mute, unmute."""
    device = pick(rng, home, "media_player")
    if device is None:
        return None
    target = device_target(rng, home, device)
    intent = rng.choices(list(_DONE), (4, 4, 2, 1.5, 1.5, 1))[0]
    text = order(rng, intent, x=target.words)
    if len(home.by_domain["media_player"]) == 1 and rng.random() < 0.3:
        text = text.removesuffix(f" on {target.words}")
    service = "media_pause" if intent == "HassMediaUnpause" else "media_play"
    prepare = (("media_player", service, device["id"]),) if rng.random() < _PREPARED else ()
    command = action(
        lead(rng, text), f"media_player__{intent}", target.arguments, _DONE[intent].format(x=target.spoken)
    )
    return replace(command, prepare=prepare)


def volume(rng: random.Random, home: Home) -> Command | None:
    """Set the volume, or turn it up or down."""
    device = pick(rng, home, "media_player")
    if device is None:
        return None
    target = device_target(rng, home, device)
    if rng.random() < 0.3:
        step = rng.choice(("up", "down"))
        arguments = {"volume_step": step, **target.arguments}
        text, tool = order(rng, f"volume_{step}", x=target.words), "media_player__HassSetVolumeRelative"
        done = f"Turned {target.spoken} {step}."
    else:
        number, value = percentage(rng)
        arguments = {**target.arguments, "volume_level": number}
        text, tool = order(rng, "volume", x=target.words, v=value), "media_player__HassSetVolume"
        done = f"Set the volume of {target.spoken} to {number} percent."
    return replace(
        action(lead(rng, text), tool, arguments, done), prepare=(("media_player", "media_play", device["id"]),)
    )
