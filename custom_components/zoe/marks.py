"""The marks of one written word that are not spoken: markdown, emoji, the paths of web addresses.

A word is what stands between white space. What it cannot know: whether a sign was meant as itself; a star between
letters or digits, and one that stands alone, are kept, because they may be a multiplication.
"""

import re
from typing import Final

_PATH: Final = r"[^\s<>()\[\]\"']*"
_URL: Final = re.compile(rf"(?:https?://|www\.)([^\s/?#<>()\[\]\"']+)({_PATH})", re.IGNORECASE)
_LINK_TARGET: Final = re.compile(rf"\]\((?:https?://|www\.|mailto:|tel:|/|#){_PATH}\)?", re.IGNORECASE)
_PICTOGRAM: Final = (
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b50\u2b55\u2b1b\u2b1c\u231a\u231b\u23e9-\u23fa\u3030\u303d\u3297\u3299]"
)
_MODIFIERS: Final = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
# A sequence is joined by zero width joiners, which other scripts use between letters, so they go with pictograms only.
_EMOJI: Final = re.compile(
    f"{_PICTOGRAM}{_MODIFIERS}(?:\u200d(?:{_PICTOGRAM}|[\u2640\u2642]){_MODIFIERS})*|\ufe0f?\u20e3|\ufe0f"
)
_QUOTING: Final = re.compile(r"`+|~~+|\*\*+|__+")
_SINGLE: Final = re.compile(r"(?<![^\W_])[*_]|[*_](?![^\W_])")


def without_marks(word: str) -> str:
    """Return `word` as it is spoken, "" if nothing of it is."""
    word = _LINK_TARGET.sub("", word)
    word = _URL.sub(_host, word)
    word = _EMOJI.sub("", word)
    word = _QUOTING.sub("", word).replace("[", "").replace("]", "")
    return word if word == "*" else _SINGLE.sub("", word)


def _host(url: re.Match[str]) -> str:
    """Return the host of a web address, and the punctuation of the sentence that follows it."""
    host = url[1].removeprefix("www.")
    rest = url[2] or host
    end = rest[len(rest.rstrip(".,;:!?*_`~")) :]
    return host.rstrip(".,;:!?*_`~") + end
