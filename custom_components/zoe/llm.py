"""The tools that Zoe adds to Assist, for its own agents only: others know neither its memory nor what is in it."""

from homeassistant.components import conversation
from homeassistant.components.llm import LLMTools
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.llm import LLM_API_ASSIST, LLMContext

from .const import DOMAIN
from .memory_tools import ForgetTool, RecallTool, RememberTool


@callback
def async_get_tools(hass: HomeAssistant, llm_context: LLMContext, api_id: str) -> LLMTools | None:
    """Return the tools of the household's memory, for a conversation with one of Zoe's agents."""
    ours = llm_context.platform == DOMAIN and llm_context.assistant == conversation.DOMAIN
    if api_id != LLM_API_ASSIST or not ours:
        return None
    return LLMTools([RememberTool(), ForgetTool(), RecallTool()])
