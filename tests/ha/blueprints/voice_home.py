"""A home that blueprints can talk to: a satellite, ears, a voice, an AI task, and Home Assistant's own demo devices."""

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, override

from homeassistant.components import ai_task, assist_pipeline, conversation, stt, tts
from homeassistant.components.assist_pipeline import PipelineEvent, PipelineStage
from homeassistant.components.assist_satellite import (
    AssistSatelliteAnnouncement,
    AssistSatelliteConfiguration,
    AssistSatelliteEntity,
    AssistSatelliteEntityFeature,
)
from homeassistant.config_entries import ConfigEntry, ConfigFlow
from homeassistant.const import Platform
from homeassistant.core import HomeAssistant
from homeassistant.core_config import async_process_ha_core_config
from homeassistant.exceptions import HomeAssistantError
from homeassistant.setup import async_setup_component
from pytest_homeassistant_custom_component.common import (
    MockConfigEntry,
    MockModule,
    mock_config_flow,
    mock_integration,
    mock_platform,
    setup_test_component_platform,
)

PLATFORMS = (Platform.AI_TASK, Platform.ASSIST_SATELLITE, Platform.STT, Platform.TTS)
DEVICES = [
    Platform.CALENDAR,
    Platform.CAMERA,
    Platform.COVER,
    Platform.EVENT,
    Platform.LIGHT,
    Platform.LOCK,
    Platform.NOTIFY,
    Platform.WEATHER,
]
SATELLITE, AI_TASK = "assist_satellite.kitchen", "ai_task.writer"
_SILENCE = bytes(3200)  # a tenth of a second


class Satellite(AssistSatelliteEntity):
    """Remembers what it said, and passes what somebody answers (`ears`) through a real pipeline."""

    _attr_name = "Kitchen"
    _attr_unique_id = "satellite"
    _attr_supported_features = AssistSatelliteEntityFeature.ANNOUNCE | AssistSatelliteEntityFeature.START_CONVERSATION

    def __init__(self) -> None:
        self.said: list[str] = []

    @override
    async def async_announce(self, announcement: AssistSatelliteAnnouncement) -> None:
        self.said.append(announcement.message)

    @override
    async def async_start_conversation(self, start_announcement: AssistSatelliteAnnouncement) -> None:
        self.said.append(start_announcement.message)
        await self.async_accept_pipeline_from_satellite(_silence(), start_stage=PipelineStage.STT)

    @override
    def on_pipeline_event(self, event: PipelineEvent) -> None:
        pass

    @override
    def async_get_configuration(self) -> AssistSatelliteConfiguration:
        return AssistSatelliteConfiguration([], [], 1)

    @override
    async def async_set_configuration(self, config: AssistSatelliteConfiguration) -> None:
        raise NotImplementedError


async def _silence() -> AsyncIterator[bytes]:
    yield _SILENCE


class Ears(stt.SpeechToTextEntity):
    """Hears `hears`, whatever the sound; an empty sentence is somebody who says nothing."""

    _attr_name = "Ears"
    _attr_unique_id = "ears"
    supported_languages: ClassVar = ["en"]
    supported_formats: ClassVar = [stt.AudioFormats.WAV]
    supported_codecs: ClassVar = [stt.AudioCodecs.PCM]
    supported_bit_rates: ClassVar = [stt.AudioBitRates.BITRATE_16]
    supported_sample_rates: ClassVar = [stt.AudioSampleRates.SAMPLERATE_16000]
    supported_channels: ClassVar = [stt.AudioChannels.CHANNEL_MONO]

    def __init__(self) -> None:
        self.hears = ""

    @override
    async def async_process_audio_stream(
        self, metadata: stt.SpeechMetadata, stream: AsyncIterable[bytes]
    ) -> stt.SpeechResult:
        async for _ in stream:
            pass
        return stt.SpeechResult(self.hears, stt.SpeechResultState.SUCCESS)


class Voice(tts.TextToSpeechEntity):
    """Speaks silence: what is said, the satellite remembers."""

    _attr_name = "Voice"
    _attr_unique_id = "voice"
    _attr_default_language = "en"
    _attr_supported_languages: ClassVar = ["en"]

    @override
    async def async_get_tts_audio(self, message: str, language: str, options: dict[str, Any]) -> tts.TtsAudioType:
        return "mp3", _SILENCE  # the format that is asked for, so that nothing has to convert it


class Writer(ai_task.AITaskEntity):
    """Answers tasks from `answers`, held against their structure; fails where there is none left."""

    _attr_name = "Writer"
    _attr_unique_id = "writer"
    _attr_supported_features = (
        ai_task.AITaskEntityFeature.GENERATE_DATA | ai_task.AITaskEntityFeature.SUPPORT_ATTACHMENTS
    )

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.tasks: list[ai_task.GenDataTask] = []

    @override
    async def _async_generate_data(
        self, task: ai_task.GenDataTask, chat_log: conversation.ChatLog
    ) -> ai_task.GenDataTaskResult:
        self.tasks.append(task)
        if not self.answers:
            raise HomeAssistantError("the model is not there")
        answer = self.answers.pop(0)
        return ai_task.GenDataTaskResult(chat_log.conversation_id, task.structure(answer) if task.structure else answer)


@dataclass
class VoiceHome:
    """The home, and the four entities that a test looks at or speaks through."""

    hass: HomeAssistant
    satellite: Satellite = field(default_factory=Satellite)
    ears: Ears = field(default_factory=Ears)
    voice: Voice = field(default_factory=Voice)
    writer: Writer = field(default_factory=Writer)

    async def async_set_up(self) -> None:
        """Set up everything."""
        await async_process_ha_core_config(self.hass, {"internal_url": "http://127.0.0.1:8123"})
        assert await async_setup_component(self.hass, "homeassistant", {})
        await self._async_add_entities()
        await _async_give_voice(self.hass)
        await self.async_add("demo")

    async def async_add(self, domain: str) -> None:
        """Set up an entry of `domain`."""
        entry = MockConfigEntry(domain=domain, title=domain.title())
        entry.add_to_hass(self.hass)
        assert await self.hass.config_entries.async_setup(entry.entry_id)
        await self.hass.async_block_till_done()

    async def _async_add_entities(self) -> None:
        async def set_up(hass: HomeAssistant, entry: ConfigEntry) -> bool:
            await hass.config_entries.async_forward_entry_setups(entry, PLATFORMS)
            return True

        async def unload(hass: HomeAssistant, entry: ConfigEntry) -> bool:
            return await hass.config_entries.async_unload_platforms(entry, PLATFORMS)

        mock_platform(self.hass, "test.config_flow")
        # Not built in: those may not return booleans from 2026.11 on, and have to before.
        module = MockModule("test", async_setup_entry=set_up, async_unload_entry=unload)
        mock_integration(self.hass, module, built_in=False)
        entities = (self.writer, self.satellite, self.ears, self.voice)
        for platform, entity in zip(PLATFORMS, entities, strict=True):
            setup_test_component_platform(self.hass, platform, [entity], from_config_entry=True)
        with mock_config_flow("test", ConfigFlow):
            await self.async_add("test")


async def _async_give_voice(hass: HomeAssistant) -> None:
    """Let the satellite's pipeline hear and speak."""
    await assist_pipeline.async_update_pipeline(
        hass,
        assist_pipeline.async_get_pipeline(hass),
        stt_engine="stt.ears",
        stt_language="en",
        tts_engine="tts.voice",
        tts_language="en",
    )
