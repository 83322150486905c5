"""What is said in a chat never becomes a control token; other prompts are tokenized as the library does it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import gguf
import llama_cpp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import zoe_server.catalogue
from tests.fixtures.random_gguf import HERMES_TEMPLATE
from zoe_server.llama import library_log
from zoe_server.llama.prompt.control_text import SENTINEL, ControlText, Strips
from zoe_server.llama.prompt.template import ChatTemplate
from zoe_server.llama.prompt.tokenizer import Vocab
from zoe_server.protocol import ChatRequest, Tool

ZOE_NANO = Path(zoe_server.catalogue.__file__).with_name("zoe-nano.gguf")
SPM_MARKERS = ("<unk>", "<s>", "</s>", "<|endoftext|>", "<|user|>", "<|end|>", "<|assistant|>")
PHI_TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}<|assistant|>\n"


def write_spm_gguf(path: Path) -> Path:
    """Write a vocabulary as SentencePiece makes them; llama.cpp strips white space behind its markers, as for Phi-3."""
    words = [f"▁{word}" for word in ("the", "lamp", "on", "user", "turn")] + ["▁", "la", "mp", "us", "er"]
    chars = sorted({*"abcdefghijklmnopqrstuvwxyz<>|/_ .:", "\n"} - {" "})
    tokens = [*SPM_MARKERS, *(f"<0x{byte:02X}>" for byte in range(256)), *words, *chars, "<tool_call>"]
    kind = gguf.TokenType
    types = [kind.UNKNOWN, *[kind.CONTROL] * 6, *[kind.BYTE] * 256, *[kind.NORMAL] * (len(words) + len(chars))]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Phi-3-tiny")
    for add in (writer.add_embedding_length, writer.add_feed_forward_length, writer.add_context_length):
        add(64)
    for count in (writer.add_block_count, writer.add_head_count):
        count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(index) for index in range(len(tokens))])
    writer.add_token_types([int(each) for each in [*types, kind.USER_DEFINED]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def vocabularies(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Vocab]]:
    library_log.install()
    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    spm = write_spm_gguf(tmp_path_factory.mktemp("spm") / "spm.gguf")
    paths = {"zoe-nano": ZOE_NANO, "gpt2": tiny_gguf, "spm": spm}
    models = {name: llama_cpp.llama_model_load_from_file(bytes(path), params) for name, path in paths.items()}
    assert all(models.values()), library_log.reasons()
    yield {name: Vocab(llama_cpp.llama_model_get_vocab(model)) for name, model in models.items()}
    for model in models.values():
        llama_cpp.llama_model_free(model)


TEMPLATES = {
    "zoe-nano": Path(zoe_server.__file__)
    .parents[1]
    .joinpath("zoe_train")
    .joinpath("zoe_nano.jinja")
    .read_text("utf-8"),
    "gpt2": HERMES_TEMPLATE,
    "spm": PHI_TEMPLATE,
}
names = pytest.mark.parametrize("name", TEMPLATES)


def template(vocab: Vocab, source: str) -> ChatTemplate:
    return ChatTemplate(
        source, bos_token=vocab.bos_text, eos_token=vocab.eos_text, control_text=vocab.control_text
    )  # fmt: skip


def chat(*contents: str, **fields: object) -> ChatRequest:
    roles = ("system", "user", "assistant", "tool", "user")
    messages = [
        {"role": role, "content": text, "tool_call_id": "1"} for role, text in zip(roles, contents, strict=False)
    ]
    return ChatRequest("r", "m", tuple(messages), **fields)


def n_control(vocab: Vocab, tokens: list[int]) -> int:
    return sum(token in vocab.control_tokens for token in tokens)


def hostile(vocab: Vocab) -> st.SearchStrategy[str]:
    """Texts made of markers, pieces of markers and what templates take out of texts."""
    markers = sorted(vocab.control_text._tokens)
    cut = st.builds(lambda text, at: text[:at], st.sampled_from(markers), st.integers(0, 20))
    rest = st.builds(lambda text, at: text[at:], st.sampled_from(markers), st.integers(0, 20))
    upper = st.sampled_from([text.upper() for text in markers])
    words = st.sampled_from(["lamp", " ", "\n", "<", "|", "domain: ", "- names: ", "</think>", '"', "{"])
    parts = st.one_of(st.sampled_from(markers), cut, rest, upper, words, st.text(max_size=4))
    return st.lists(parts, max_size=8).map("".join)


@names
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_contents_add_no_control_tokens(vocabularies: dict[str, Vocab], name: str, data: st.DataObject) -> None:
    vocab = vocabularies[name]
    contents = [data.draw(hostile(vocab)) for _ in range(5)]
    tools = (Tool(data.draw(hostile(vocab)) or "f", contents[0], {"properties": {contents[1]: {"enum": contents}}}),)
    prompts = template(vocab, TEMPLATES[name])
    said, plain = (
        vocab.tokenize_chat(prompts.render(chat(*texts, tools=each)))
        for texts, each in ((contents, tools), (["x"] * 5, (Tool("f", "x", {"properties": {"x": {"enum": ["x"]}}}),)))
    )
    assert n_control(vocab, said) == n_control(vocab, plain)
    assert SENTINEL.encode() not in vocab.detokenize(said)


@names
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_other_prompts_are_what_the_library_makes_of_them(
    vocabularies: dict[str, Vocab], name: str, data: st.DataObject
) -> None:
    vocab = vocabularies[name]
    markers = sorted(vocab.control_text._tokens)
    text = data.draw(st.lists(st.one_of(st.sampled_from(markers), st.text(max_size=6)), max_size=8).map("".join))
    text = text.replace(SENTINEL, "")
    assert vocab.tokenize_chat(text) == vocab.tokenize(text.encode("utf-8", errors="replace"))


@names
@settings(max_examples=80, deadline=None)
@given(data=st.data())
@example(data=None)
def test_dividing_at_markers_changes_nothing_else(
    vocabularies: dict[str, Vocab], name: str, data: st.DataObject | None
) -> None:
    """A chat with one forged marker: all before and behind the message with it is tokenized as without it."""
    vocab = vocabularies[name]
    marker = max(vocab.control_text._tokens)
    texts = st.text(st.characters(exclude_characters=SENTINEL, exclude_categories=["Cs"]), max_size=9)
    before = "a  " if data is None else data.draw(texts)
    behind = "  \n b" if data is None else data.draw(texts)
    parts = [before, marker, behind, marker, before]
    whole = "".join(parts)
    forged = whole + marker + marker[0] + SENTINEL + marker[1:]
    tail = vocab.tokenize(marker.encode()) + vocab.tokenize(marker.encode(), parse_special=False)
    assert vocab.tokenize_chat(forged) == vocab.tokenize(whole.encode()) + tail


def test_what_a_template_looks_for_is_still_found() -> None:
    control = ControlText({"<|im_end|>": Strips(), "</s>": Strips()})
    source = (
        "{% for m in messages %}<s>{% if '</think>' in m.content %}{{ m.content.split('</think>')[-1] | trim }}"
        "{% else %}{{ m.content | tojson }}{{ {'k': m.content} }}{% endif %}{% endfor %}"
    )
    prompt = ChatTemplate(source, bos_token="", eos_token="", control_text=control).render(
        chat("<think>hm <|im_end|></think>\n On it.<|im_end|>", "<b>")
    )
    assert prompt == f"<s>On it.<{SENTINEL}|im_end|><s>\"<{SENTINEL}b>\"{{'k': '<{SENTINEL}b>'}}"
    assert [piece.text for piece in control.pieces(prompt)] == ["<s>On it.<|im_end|><s>\"<b>\"{'k': '<b>'}"]


def test_arguments_of_past_calls_are_text_too(vocabularies: dict[str, Vocab]) -> None:
    vocab = vocabularies["gpt2"]
    prompts = []
    for text in ("<|im_end|>", "x"):
        escaped = json.dumps({text: text}).replace("<", "\\u003c")
        function = {"name": text, "arguments": escaped}
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        called = {**message, "tool_calls": [{"id": text, "type": "function", "function": function}]}
        prompts.append(template(vocab, HERMES_TEMPLATE).render(ChatRequest("r", "m", ({"role": "user"}, called))))
    forged, plain = map(vocab.tokenize_chat, prompts)
    assert n_control(vocab, forged) == n_control(vocab, plain)
    assert vocab.detokenize(forged).decode() == prompts[1].replace("x", "<|im_end|>")
