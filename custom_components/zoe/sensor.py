"""What the server does, and with what: its models, memory, speed, and the last choice of a model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, override

from homeassistant.components.sensor import (
    SensorDeviceClass,
    SensorEntity,
    SensorEntityDescription,
    SensorStateClass,
)
from homeassistant.const import PERCENTAGE, UnitOfInformation, UnitOfTemperature, UnitOfTime
from homeassistant.core import HomeAssistant
from homeassistant.helpers.entity import Entity
from homeassistant.helpers.entity_platform import AddConfigEntryEntitiesCallback

from .const import ROLES
from .coordinator import ZoeCoordinator
from .models import ZoeConfigEntry
from .server_entity import ZoeServerEntity, async_add_as_they_appear
from .server_status import Gpu, ServerStatus

PARALLEL_UPDATES = 0

RULES: Final = (
    "named",
    "default",
    "vision",
    "required_call",
    "preparation",
    "automation",
    "reasoning",
    "chat",
    "use_home",
)
"""The server's rules that there are words for; a newer one is shown as unknown, and its name is in the attributes."""


@dataclass(frozen=True, kw_only=True)
class ZoeSensorDescription(SensorEntityDescription):
    """A figure of the server."""

    value: Callable[[ServerStatus], float | None]


@dataclass(frozen=True, kw_only=True)
class ZoeGpuDescription(SensorEntityDescription):
    """A figure of one GPU."""

    value: Callable[[Gpu], float | None]


SENSORS: Final = (
    ZoeSensorDescription(
        key="memory_used",
        translation_key="memory_used",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.GIBIBYTES,
        suggested_display_precision=1,
        value=lambda status: status.metrics.memory_used_bytes,
    ),
    ZoeSensorDescription(
        key="first_token",
        translation_key="first_token",
        device_class=SensorDeviceClass.DURATION,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTime.MILLISECONDS,
        suggested_display_precision=0,
        value=lambda status: status.speed.first_token_ms,
    ),
    ZoeSensorDescription(
        key="decode_rate",
        translation_key="decode_rate",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement="tokens/s",
        suggested_display_precision=1,
        value=lambda status: status.speed.tokens_per_s,
    ),
    ZoeSensorDescription(
        key="prompt_reuse",
        translation_key="prompt_reuse",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=PERCENTAGE,
        suggested_display_precision=0,
        value=lambda status: status.speed.reuse_percent,
    ),
    ZoeSensorDescription(
        key="requests",
        translation_key="requests",
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_registry_enabled_default=False,
        value=lambda status: status.metrics.requests,
    ),
    ZoeSensorDescription(
        key="failures",
        translation_key="failures",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value=lambda status: status.metrics.failures,
    ),
)
GPU_SENSORS: Final = (
    ZoeGpuDescription(
        key="gpu_temperature",
        translation_key="gpu_temperature",
        device_class=SensorDeviceClass.TEMPERATURE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTemperature.CELSIUS,
        suggested_display_precision=0,
        value=lambda gpu: gpu.temperature_c,
    ),
    ZoeGpuDescription(
        key="gpu_utilization",
        translation_key="gpu_utilization",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=PERCENTAGE,
        suggested_display_precision=0,
        entity_registry_enabled_default=False,
        value=lambda gpu: None if gpu.utilization is None else 100 * gpu.utilization,
    ),
    ZoeGpuDescription(
        key="gpu_memory_used",
        translation_key="gpu_memory_used",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.GIBIBYTES,
        suggested_display_precision=1,
        value=lambda gpu: gpu.memory_used_bytes,
    ),
)
ROLE_SENSORS: Final = {
    role: SensorEntityDescription(
        key=f"{role}_model", translation_key=f"{role}_model", entity_registry_enabled_default=role != "embeddings"
    )
    for role in ROLES
}
LAST_ROUTE: Final = SensorEntityDescription(
    key="last_route", translation_key="last_route", device_class=SensorDeviceClass.ENUM, options=list(RULES)
)


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the sensors; those of roles and GPUs when there are any."""
    coordinator = entry.runtime_data.coordinator
    async_add_entities([ZoeSensor(coordinator, description) for description in SENSORS])
    async_add_entities([ZoeLastRoute(coordinator, LAST_ROUTE)])
    async_add_as_they_appear(coordinator, async_add_entities, partial(_present, coordinator))


def _present(coordinator: ZoeCoordinator) -> Iterator[tuple[str, Callable[[], Entity]]]:
    """Yield the sensors of what the server has at the moment; what a GPU does not tell has none."""
    status = coordinator.data
    for role in ROLES:
        if role in status.roles:
            yield role, partial(ZoeRoleModel, coordinator, role)
    for gpu in status.metrics.gpus:
        for description in GPU_SENSORS:
            if description.value(gpu) is not None:
                make = partial(ZoeGpuSensor, coordinator, description, gpu.index)
                yield f"{description.key}_{gpu.index}", make


class ZoeSensor(ZoeServerEntity, SensorEntity):
    """A figure of the server."""

    entity_description: ZoeSensorDescription

    @property
    @override
    def native_value(self) -> float | None:
        """Return the figure; None where it is not known yet."""
        return self.entity_description.value(self.coordinator.data)


class ZoeGpuSensor(ZoeServerEntity, SensorEntity):
    """A figure of one GPU."""

    entity_description: ZoeGpuDescription

    def __init__(self, coordinator: ZoeCoordinator, description: ZoeGpuDescription, index: int) -> None:
        super().__init__(coordinator, description, str(index))
        self._index = index

    @property
    @override
    def native_value(self) -> float | None:
        """Return the figure; None where the GPU does not tell it now, or is gone."""
        gpus = {gpu.index: gpu for gpu in self.coordinator.data.metrics.gpus}
        gpu = gpus.get(self._index)
        return None if gpu is None else self.entity_description.value(gpu)


class ZoeRoleModel(ZoeServerEntity, SensorEntity):
    """The model in memory that does what a role is about."""

    def __init__(self, coordinator: ZoeCoordinator, role: str) -> None:
        super().__init__(coordinator, ROLE_SENSORS[role])
        self._role = role

    @property
    @override
    def native_value(self) -> str | None:
        """Return its name; None while there is none in memory."""
        return self.coordinator.data.model_for(self._role)


class ZoeLastRoute(ZoeServerEntity, SensorEntity):
    """By which rule the server chose the model of our last request."""

    @property
    @override
    def native_value(self) -> str | None:
        """Return the rule; None before the first request, and for rules that there are no words for."""
        route = self.coordinator.route
        return route.rule if route is not None and route.rule in RULES else None

    @property
    @override
    def extra_state_attributes(self) -> dict[str, Any] | None:
        """Return the choice."""
        route = self.coordinator.route
        return None if route is None else {"rule": route.rule, "model": route.model, "candidates": route.candidates}
