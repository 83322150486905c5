"""The beginning of every request of an agent, as it is without a sentence: for computing it ahead, and for its size.

It is no entity's business: the dialogs need it before there is one.
"""

from collections.abc import Mapping
from typing import Any, Final

from homeassistant.components import conversation
from homeassistant.const import CONF_LLM_HASS_API, CONF_PROMPT
from homeassistant.core import Context, HomeAssistant
from homeassistant.helpers import llm

from .const import DOMAIN
from .errors import ZoeInstructionsError
from .history import ContextBudget
from .options import AgentOptions
from .request import RequestKind, chat_request

# Chat templates may insist on a user's message; what requests share ends before it.
_SENTENCE: Final = "Hello"


async def async_home_request(hass: HomeAssistant, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a chat request that computes the prompt of an agent with `options`, and generates nothing.

    Raises:
        ZoeInstructionsError: its instructions are no template, or an API that it may use is gone.
    """
    log = conversation.ChatLog(hass, f"{DOMAIN}-prompt")
    context = llm.LLMContext(
        platform=DOMAIN,
        context=Context(),
        language=hass.config.language,
        assistant=conversation.DOMAIN,
        device_id=None,
    )
    try:
        await log.async_provide_llm_data(context, options.get(CONF_LLM_HASS_API), options.get(CONF_PROMPT), None)
    except conversation.ConverseError as err:
        raise ZoeInstructionsError(str(err)) from err
    log.content.append(conversation.UserContent(_SENTENCE))
    kind = RequestKind(language=hass.config.language, priority="background")
    request = chat_request(hass, log, AgentOptions.from_data(options), ContextBudget(), kind, {})
    return {**request.body, "max_tokens": 0}
