"""What the server does, and with what: its models, memory, speed, and the last choice of a model."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
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
from homeassistant.helpers.typing import StateType

from .api.status import Gpu
from .const import ROLES
from .coordinator import ZoeConfigEntry, ZoeCoordinator
from .entity import ZoeServerEntity, async_add_as_they_appear

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
    """What is shown of the server, with what else is told about it; None where it is not known."""

    value_fn: Callable[[ZoeCoordinator], StateType]
    attributes_fn: Callable[[ZoeCoordinator], dict[str, Any] | None] = lambda _: None


def _model_for(role: str, server: ZoeCoordinator) -> str | None:
    """Return the model in memory that does what a role is about."""
    return server.data.model_for(role)


def _gpu_figure(index: int, figure: Callable[[Gpu], float | None], server: ZoeCoordinator) -> float | None:
    """Return a figure of one GPU, None if it does not tell it now or is gone."""
    return next((figure(gpu) for gpu in server.data.metrics.gpus if gpu.index == index), None)


def _rule(server: ZoeCoordinator) -> str | None:
    """Return the rule of the last choice, None before the first, and for rules that there are no words for."""
    return server.route.rule if server.route is not None and server.route.rule in RULES else None


def _choice(server: ZoeCoordinator) -> dict[str, Any] | None:
    return None if server.route is None else asdict(server.route)


SENSORS: Final = (
    ZoeSensorDescription(
        key="memory_used",
        translation_key="memory_used",
        device_class=SensorDeviceClass.DATA_SIZE,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfInformation.BYTES,
        suggested_unit_of_measurement=UnitOfInformation.GIBIBYTES,
        suggested_display_precision=1,
        value_fn=lambda server: server.data.metrics.memory_used_bytes,
    ),
    ZoeSensorDescription(
        key="first_token",
        translation_key="first_token",
        device_class=SensorDeviceClass.DURATION,
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=UnitOfTime.MILLISECONDS,
        suggested_display_precision=0,
        value_fn=lambda server: server.data.speed.first_token_ms,
    ),
    ZoeSensorDescription(
        key="decode_rate",
        translation_key="decode_rate",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement="tokens/s",
        suggested_display_precision=1,
        value_fn=lambda server: server.data.speed.tokens_per_s,
    ),
    ZoeSensorDescription(
        key="prompt_reuse",
        translation_key="prompt_reuse",
        state_class=SensorStateClass.MEASUREMENT,
        native_unit_of_measurement=PERCENTAGE,
        suggested_display_precision=0,
        value_fn=lambda server: server.data.speed.reuse_percent,
    ),
    ZoeSensorDescription(
        key="requests",
        translation_key="requests",
        state_class=SensorStateClass.TOTAL_INCREASING,
        entity_registry_enabled_default=False,
        value_fn=lambda server: server.data.metrics.requests,
    ),
    ZoeSensorDescription(
        key="failures",
        translation_key="failures",
        state_class=SensorStateClass.TOTAL_INCREASING,
        value_fn=lambda server: server.data.metrics.failures,
    ),
    ZoeSensorDescription(
        key="last_route",
        translation_key="last_route",
        device_class=SensorDeviceClass.ENUM,
        options=list(RULES),
        value_fn=_rule,
        attributes_fn=_choice,
    ),
)
ROLE_SENSORS: Final = {
    role: ZoeSensorDescription(
        key=f"{role}_model",
        translation_key=f"{role}_model",
        entity_registry_enabled_default=role != "embeddings",
        value_fn=partial(_model_for, role),
    )
    for role in ROLES
}


def gpu_sensors(index: int) -> tuple[ZoeSensorDescription, ...]:
    """Return the descriptions of the sensors of one GPU."""

    def read(figure: Callable[[Gpu], float | None]) -> Callable[[ZoeCoordinator], StateType]:
        return partial(_gpu_figure, index, figure)

    return (
        ZoeSensorDescription(
            key="gpu_temperature",
            translation_key="gpu_temperature",
            device_class=SensorDeviceClass.TEMPERATURE,
            state_class=SensorStateClass.MEASUREMENT,
            native_unit_of_measurement=UnitOfTemperature.CELSIUS,
            suggested_display_precision=0,
            value_fn=read(lambda gpu: gpu.temperature_c),
        ),
        ZoeSensorDescription(
            key="gpu_utilization",
            translation_key="gpu_utilization",
            state_class=SensorStateClass.MEASUREMENT,
            native_unit_of_measurement=PERCENTAGE,
            suggested_display_precision=0,
            entity_registry_enabled_default=False,
            value_fn=read(lambda gpu: None if gpu.utilization is None else 100 * gpu.utilization),
        ),
        ZoeSensorDescription(
            key="gpu_memory_used",
            translation_key="gpu_memory_used",
            device_class=SensorDeviceClass.DATA_SIZE,
            state_class=SensorStateClass.MEASUREMENT,
            native_unit_of_measurement=UnitOfInformation.BYTES,
            suggested_unit_of_measurement=UnitOfInformation.GIBIBYTES,
            suggested_display_precision=1,
            value_fn=read(lambda gpu: gpu.memory_used_bytes),
        ),
    )


async def async_setup_entry(
    hass: HomeAssistant, entry: ZoeConfigEntry, async_add_entities: AddConfigEntryEntitiesCallback
) -> None:
    """Add the sensors; those of roles and GPUs when there are any."""
    coordinator = entry.runtime_data
    async_add_entities(ZoeSensor(coordinator, description) for description in SENSORS)
    async_add_as_they_appear(coordinator, async_add_entities, partial(_present, coordinator))


def _present(coordinator: ZoeCoordinator) -> Iterator[tuple[str, Callable[[], Entity]]]:
    """Yield the sensors of what the server has at the moment; what a GPU does not tell has none."""
    for role, description in ROLE_SENSORS.items():
        if role in coordinator.data.roles:
            yield description.key, partial(ZoeSensor, coordinator, description)
    for gpu in coordinator.data.metrics.gpus:
        for description in gpu_sensors(gpu.index):
            if description.value_fn(coordinator) is not None:
                make = partial(ZoeSensor, coordinator, description, str(gpu.index))
                yield f"{description.key}_{gpu.index}", make


class ZoeSensor(ZoeServerEntity, SensorEntity):
    """A figure or a name of the server, or of one of its GPUs."""

    entity_description: ZoeSensorDescription

    @property
    @override
    def native_value(self) -> StateType:
        """Return it; None where it is not known."""
        return self.entity_description.value_fn(self.coordinator)

    @property
    @override
    def extra_state_attributes(self) -> dict[str, Any] | None:
        """Return what else is told about it."""
        return self.entity_description.attributes_fn(self.coordinator)
