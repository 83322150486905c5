"""Virtual media players."""

from __future__ import annotations

from typing import TYPE_CHECKING, override

from homeassistant.components.media_player import MediaPlayerEntity, MediaPlayerEntityFeature, MediaPlayerState

from .entity import VirtualEntity
from .inventory import Device

if TYPE_CHECKING:
    from homeassistant.core import HomeAssistant
    from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

    from . import VirtualHomeEntry


async def async_setup_entry(
    hass: HomeAssistant, entry: VirtualHomeEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Create the media_player entities of the inventory."""
    async_add_entities(VirtualMediaPlayer(device) for device in entry.runtime_data.of_domain("media_player"))


class VirtualMediaPlayer(VirtualEntity, MediaPlayerEntity):
    """A player with a volume (0 to 1) and a numbered track."""

    _attr_supported_features = (
        MediaPlayerEntityFeature.PAUSE
        | MediaPlayerEntityFeature.PLAY
        | MediaPlayerEntityFeature.STOP
        | MediaPlayerEntityFeature.NEXT_TRACK
        | MediaPlayerEntityFeature.PREVIOUS_TRACK
        | MediaPlayerEntityFeature.VOLUME_SET
        | MediaPlayerEntityFeature.VOLUME_STEP
        | MediaPlayerEntityFeature.VOLUME_MUTE
        | MediaPlayerEntityFeature.TURN_ON
        | MediaPlayerEntityFeature.TURN_OFF
    )

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._attr_state = MediaPlayerState(device.state or "off")
        self._attr_volume_level = float(device.options.get("volume", 0.5))
        self._attr_is_volume_muted = bool(device.options.get("muted", False))
        self._attr_media_track = int(device.options.get("track", 3))

    def _become(self, state: MediaPlayerState) -> None:
        self._attr_state = state
        self.async_write_ha_state()

    @override
    async def async_turn_on(self) -> None:
        """Switch on."""
        self._become(MediaPlayerState.ON)

    @override
    async def async_turn_off(self) -> None:
        """Switch off."""
        self._become(MediaPlayerState.OFF)

    @override
    async def async_media_play(self) -> None:
        """Play."""
        self._become(MediaPlayerState.PLAYING)

    @override
    async def async_media_pause(self) -> None:
        """Pause."""
        self._become(MediaPlayerState.PAUSED)

    @override
    async def async_media_stop(self) -> None:
        """Stop."""
        self._become(MediaPlayerState.IDLE)

    def _skip(self, tracks: int) -> None:
        self._attr_media_track = (self._attr_media_track or 1) + tracks
        self.async_write_ha_state()

    @override
    async def async_media_next_track(self) -> None:
        """Go to the next track."""
        self._skip(1)

    @override
    async def async_media_previous_track(self) -> None:
        """Go to the previous track."""
        self._skip(-1)

    @override
    async def async_set_volume_level(self, volume: float) -> None:
        """Set the volume, 0 to 1."""
        self._attr_volume_level = volume
        self.async_write_ha_state()

    @override
    async def async_mute_volume(self, mute: bool) -> None:
        """Mute or unmute."""
        self._attr_is_volume_muted = mute
        self.async_write_ha_state()
