"""Which answers ask something."""

import pytest

from custom_components.zoe.followup import asks

ASKING = (
    "Which light?",
    "Which light? ",
    "**Which light?**",
    'Did you say "the light?"',
    "(Shall I go on?)",
    "Anything else? 😊",
    "Really?!",
    "Really!?",
    "Sure?...",
    "أي ضوء؟",
    "次は？」",  # noqa: RUF001
    "ほかにご用はありますか。",
    "还要别的吗。",
    "Ποιο φως\u037e",
)
TELLING = (
    "",
    "?" * 0,
    "It is on.",
    'You asked "which light?" It is on.',
    "ok",
    "!",
    "...",
    "電気を消しました。",
    "a; b",
)


@pytest.mark.parametrize("answer", ASKING)
def test_a_question(answer: str) -> None:
    assert asks(answer)


@pytest.mark.parametrize("answer", TELLING)
def test_no_question(answer: str) -> None:
    assert not asks(answer)
