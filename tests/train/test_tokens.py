import numpy as np
import pytest

from zoe_train.rendering import HomeText
from zoe_train.scaffold import SCAFFOLD_TOKENS
from zoe_train.tokens import HomeTokens, encode, load, save, train_tokenizer

PREFIX = '<|system|>\nintent__HassTurnOn(*)\n kitchen light in kitchen="Kitchen light" light\n area kitchen="Kitchen"'
CALL = (
    '<|user|> turn on the kitchen light 42<|assistant|><tool_call>\n{"name": "intent__HassTurnOn", '
    '"arguments": {"name": "Kitchen light"}}\n</tool_call><|im_end|><|tool|>done "Kitchen light"'
    "<|assistant|>Turned on the Kitchen light.<|im_end|>"
)
TALK = "<|user|> hello<|assistant|>I can control the house.<|im_end|>"
HOME = HomeText(PREFIX, (CALL, TALK))


@pytest.fixture(scope="module")
def tokenizer():  # noqa: ANN201 -- tokenizers has no types
    return train_tokenizer([PREFIX, CALL, TALK], 400)


def test_text_survives(tokenizer) -> None:  # noqa: ANN001
    home = encode(tokenizer, HOME)
    assert tokenizer.decode(home.prefix.tolist(), skip_special_tokens=False) == PREFIX
    assert tokenizer.decode(home.exchanges[0].tolist(), skip_special_tokens=False) == CALL


def test_an_exchange_encodes_as_it_would_whole(tokenizer) -> None:  # noqa: ANN001
    assert encode(tokenizer, HOME).exchanges[0].tolist() == tokenizer.encode(CALL).ids


def test_only_what_the_assistant_says_is_learned_with_the_end_of_its_turn(tokenizer) -> None:  # noqa: ANN001
    home = encode(tokenizer, HOME)
    said = [int(token) for token, learned in zip(home.exchanges[0], home.learned[0], strict=True) if learned]
    assert tokenizer.decode(said, skip_special_tokens=False) == (
        '<tool_call>\n{"name": "intent__HassTurnOn", "arguments": {"name": "Kitchen light"}}\n</tool_call><|im_end|>'
        "Turned on the Kitchen light.<|im_end|>"
    )


def test_what_calls_have_in_common_is_one_token_each(tokenizer) -> None:  # noqa: ANN001
    tokens = tokenizer.encode(CALL).tokens
    assert {
        '<tool_call>\n{"name": "',
        "intent__HassTurnOn",
        '", "arguments": {"name": "',
        '"}}\n</tool_call>',
    } <= set(tokens)
    assert not [token for token in tokenizer.get_vocab() if "tool_call" in token and token not in SCAFFOLD_TOKENS]


def test_each_digit_is_a_token_of_its_own(tokenizer) -> None:  # noqa: ANN001
    assert tokenizer.encode("42 42").tokens.count("4") == 2


def test_saved_homes_come_back(tokenizer, tmp_path) -> None:  # noqa: ANN001
    homes = [encode(tokenizer, HOME), encode(tokenizer, HomeText(PREFIX, (TALK,)))]
    save(tmp_path / "homes.npz", homes)
    for home, again in zip(homes, load(tmp_path / "homes.npz"), strict=True):
        assert_equal(home, again)


def assert_equal(home: HomeTokens, again: HomeTokens) -> None:
    assert np.array_equal(home.prefix, again.prefix)
    for name in ("exchanges", "learned"):
        pairs = zip(getattr(home, name), getattr(again, name), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
