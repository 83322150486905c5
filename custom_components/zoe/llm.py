"""The tools that Zoe adds to Assist, for its own agents only: others know neither its memory nor what is in it."""

from homeassistant.components import conversation
from homeassistant.components.llm import LLMTools
from homeassistant.core import HomeAssistant, callback
from homeassistant.helpers.llm import LLM_API_ASSIST, LLMContext

from .const import DOMAIN
from .memory import DATA_MEMORY, Memory
from .memory_tools import ForgetTool, RecallTool, RememberTool


@callback
def async_get_tools(hass: HomeAssistant, llm_context: LLMContext, api_id: str) -> LLMTools | None:
    """Return the tools of the household's memory, for a conversation with one of Zoe's agents."""
    ours = llm_context.platform == DOMAIN and llm_context.assistant == conversation.DOMAIN
    memory = hass.data.get(DATA_MEMORY)
    if api_id != LLM_API_ASSIST or not ours or not isinstance(memory, Memory):
        return None
    return LLMTools([RememberTool(memory), ForgetTool(memory), RecallTool(memory)])
