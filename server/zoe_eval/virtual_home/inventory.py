"""The inventory: what a virtual home consists of, as plain data read from YAML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DOMAIN = "virtual_home"


@dataclass(frozen=True)
class Floor:
    """A floor of the home."""

    name: str
    level: int | None = None


@dataclass(frozen=True)
class Area:
    """An area, on the floor of that name."""

    name: str
    floor: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Device:
    """One entity: `options` are what its platform reads, such as `volume` or `features`."""

    entity_id: str
    name: str
    area: str | None = None
    aliases: tuple[str, ...] = ()
    state: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def domain(self) -> str:
        """The entity's domain."""
        return self.entity_id.partition(".")[0]

    @property
    def features(self) -> frozenset[str]:
        """What a light, cover or fan can do beyond on and off."""
        return frozenset(self.options.get("features", ()))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Device:
        """Read one item of `entities`.

        Raises:
            KeyError: `id` or `name` is missing.
        """
        known = ("id", "name", "area", "aliases", "state")
        return cls(
            entity_id=data["id"],
            name=data["name"],
            area=data.get("area"),
            aliases=tuple(data.get("aliases", ())),
            state=data.get("state"),
            options={key: value for key, value in data.items() if key not in known},
        )


@dataclass(frozen=True)
class Inventory:
    """A whole home."""

    name: str
    floors: tuple[Floor, ...]
    areas: tuple[Area, ...]
    devices: tuple[Device, ...]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Inventory:
        """Read the YAML document.

        Raises:
            KeyError, TypeError: a part is missing or has an unknown key.
        """
        return cls(
            name=data.get("name", "Home"),
            floors=tuple(Floor(**floor) for floor in data.get("floors", ())),
            areas=tuple(Area(**{**area, "aliases": tuple(area.get("aliases", ()))}) for area in data.get("areas", ())),
            devices=tuple(Device.from_dict(entity) for entity in data.get("entities", ())),
        )

    def of_domain(self, domain: str) -> list[Device]:
        """Return the devices of one platform."""
        return [device for device in self.devices if device.domain == domain]
