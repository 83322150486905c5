"""The lines of a system prompt that differ by where somebody speaks.

Home Assistant puts them into the middle of it. There they would part the prompts of two rooms before most of the home,
and, with the many chat templates that write tools behind the system prompt, before all tools. So they become a system
message of their own behind it, and all rooms share the rest. Their words are those of Home Assistant's component
`intent` (`llm.py`); where it has others one day, the lines stay where they are.
"""

import re
from typing import Final

_LINES: Final = re.compile(
    r"^(?:You are in area .+ and all generic commands like 'turn on the lights' should target this area\."
    r"|When a user asks to turn on all devices of a specific type, ask the user to specify an area, "
    r"unless there is only one device of that type\."
    r"|This device is not able to start timers\.)(?:\n|\Z)",
    re.MULTILINE,
)


def without_speaker_lines(prompt: str) -> tuple[str, str]:
    """Return a system prompt without those lines, and the lines."""
    rest = _LINES.sub("", prompt)
    return (rest.rstrip("\n"), "".join(_LINES.findall(prompt)).rstrip("\n")) if rest != prompt else (prompt, "")
