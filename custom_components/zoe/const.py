"""Names shared by the modules of the Zoe integration."""

import logging
from datetime import timedelta
from typing import Final

DOMAIN: Final = "zoe"
LOGGER: Final = logging.getLogger(__package__)

DEFAULT_NAME: Final = "Zoe"
DEFAULT_AI_TASK_NAME: Final = "Zoe AI task"
DEFAULT_URL: Final = "http://127.0.0.1:11434"

CONF_MODEL: Final = "model"
CONF_SERVER: Final = "server"
SERVER_OPENAI: Final = "openai"
"""The value of `CONF_SERVER` for a server that is not Zoe's; its entry says which `CONF_MODEL` is meant, too."""
MODEL_AUTOMATIC: Final = "zoe"
"""The server's own choice: it routes each request to the model that suits it."""

SUBENTRY_CONVERSATION: Final = "conversation"
SUBENTRY_AI_TASK: Final = "ai_task_data"

MAX_TOOL_ITERATIONS: Final = 10
"""How many times one sentence may go back to the model with tool results."""

MAX_ANSWER_TOKENS: Final = 1024
"""Default bound of one answer: a model that repeats itself must not keep a voice waiting until its context is full."""

EVENT_TURN: Final = "zoe_turn"
"""Fired once per finished turn; `turn.TurnStats.as_event_data` documents its data."""

# The connection to the server.

REQUIRED_API_VERSION: Final = 1
"""The oldest `api_version` of `/health` that answers all that is asked here."""

POLL_INTERVAL: Final = timedelta(seconds=30)
UNREACHABLE_AFTER_S: Final = 300.0
"""How long a server may be away before that is an issue: longer than it takes to restart it, or its machine."""

ROLES: Final = ("tools", "chat", "vision", "embeddings")
"""What models may be for, in the server's words."""
