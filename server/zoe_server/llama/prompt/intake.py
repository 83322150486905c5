"""From a chat request to a job the loop can run: template, tokens, grammar, samplers and the reader of the answer.

It runs beside the loop, so that a long prompt's template and tokens cost the running answers nothing.
"""

from __future__ import annotations

import base64
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from zoe_server.errors import ContextSizeError, InvalidRequestError
from zoe_server.llama import dialects
from zoe_server.llama.constraint.constraint import Compiler
from zoe_server.llama.dialects.answer_grammar import grammar_for
from zoe_server.llama.dialects.plain import Plain
from zoe_server.llama.dialects.plain_json import PlainJson
from zoe_server.llama.loop import Job
from zoe_server.llama.output import OutputStream
from zoe_server.llama.probabilities import Probabilities, TokenLedger
from zoe_server.llama.prompt.control_text import without_sentinels
from zoe_server.llama.prompt.template import CHATML, ChatTemplate, knows_reasoning, opens_reasoning, picture_parts
from zoe_server.llama.prompt.text_intake import TextIntake
from zoe_server.llama.sampler import TokenSampler, settings_for
from zoe_server.llama.scheduling.prompt_lookup import PromptLookup
from zoe_server.llama.scheduling.sequence import Sequence
from zoe_server.llama.vision.picture_encoder import PicturePrompt

if TYPE_CHECKING:
    from zoe_server.llama.config import EngineConfig
    from zoe_server.llama.constraint.grammar import Grammar
    from zoe_server.llama.runner import Runner
    from zoe_server.protocol import ChatRequest

_METADATA_KEYS: Final = {
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "repeat_penalty": "general.sampling.penalty_repeat",
}


class Intake(TextIntake):
    """Knows how one model wants to be spoken to. `prepare` is called from two threads, for short and for long requests.

    Raises:
        EngineUnavailableError: the model's chat template is broken.
    """

    def __init__(self, runner: Runner, config: EngineConfig) -> None:
        super().__init__(runner.vocab, runner.n_ctx_tokens)
        source = config.chat_template or runner.metadata("tokenizer.chat_template") or CHATML
        for_tools = None if config.chat_template else runner.metadata("tokenizer.chat_template.tool_use")
        self.chat_template = source
        self._template = self._compiled(source)
        self._template_for_tools = self._compiled(for_tools) if for_tools else self._template
        self._takes_tools = self._template_for_tools.abilities.tools
        if config.dialect:
            self.dialect = dialects.by_name(config.dialect)
        else:
            self.dialect = dialects.detect(for_tools or source) if self._takes_tools else PlainJson()
        self._reasoning = self.dialect.reasoning(source)
        self._compiler = Compiler(self._vocab, self.dialect.markers)
        self._speculation = config.speculation
        self._picture_encoder = runner.picture_encoder
        self._adapters = frozenset(config.adapters)
        self.defaults = _model_defaults(runner) | config.sampling.model_dump(exclude_none=True)

    @property
    def abilities(self) -> list[str]:
        """What the model can do besides answering: `tools`, `thinking`, `vision`."""
        tools = not isinstance(self.dialect, Plain) and self._takes_tools
        able = {"tools": tools, "thinking": knows_reasoning(self.chat_template)}
        able["vision"] = self._picture_encoder is not None
        return [name for name, yes in able.items() if yes]

    def info(self) -> dict[str, object]:
        """Return what the engine reports about how its model is spoken to."""
        return {
            "dialect": self.dialect.name,
            "sampling": self.defaults,
            "chat_template": self.chat_template,
        }

    def prepare(self, request: ChatRequest, arrived_s: float) -> Job:
        """Return the job of `request`, which came at `arrived_s`.

        Raises:
            InvalidRequestError: the template refuses the messages, a schema or a sampling number is unusable, or the
                model has no such adapter.
        """
        if request.adapter is not None and request.adapter not in self._adapters:
            raise InvalidRequestError(f"model: there is no adapter {request.adapter!r}", param="model")
        if len(request.messages) > self._n_ctx_tokens:  # each is at least one token
            raise ContextSizeError(len(request.messages), self._n_ctx_tokens)
        if request.prompt is not None:
            return self._prepare_raw(request, request.prompt, arrived_s)
        prompt, reading = self._read(request)
        reasoning_open = opens_reasoning(prompt)
        output = OutputStream(request, self.dialect, reasoning_open=reasoning_open)
        grammar = grammar_for(request, self.dialect, self._reasoning, reasoning_open=reasoning_open)
        return self._job(request, reading, output, grammar, arrived_s)

    def _compiled(self, source: str) -> ChatTemplate:
        vocab = self._vocab
        return ChatTemplate(source, bos_token=vocab.bos_text, eos_token=vocab.eos_text, control_text=vocab.control_text)

    def _read(self, request: ChatRequest) -> tuple[str, PicturePrompt]:
        """Return the prompt as text and as tokens."""
        template = self._template_for_tools if request.tools else self._template
        pictures = [part for message in request.messages for part in picture_parts(message)]
        if not pictures:
            prompt = template.render(request)
            self.check_length(without_sentinels(prompt))
            return prompt, PicturePrompt(self._vocab.opening(prompt) + self._vocab.tokenize_chat(prompt))
        if self._picture_encoder is None:
            path = pictures[0]["path"]
            raise InvalidRequestError(f"{path}: this model does not see pictures; choose one that does", param=path)
        prompt = template.render(request, self._picture_encoder.marker)
        self.check_length(without_sentinels(prompt))
        texts = [self._vocab.tokenize_chat(text) for text in prompt.split(self._picture_encoder.marker)]
        texts[0] = self._vocab.opening(prompt) + texts[0]
        return prompt, self._picture_encoder.read(texts, [base64.b64decode(part["data"]) for part in pictures])

    def _prepare_raw(self, request: ChatRequest, prompt: str | tuple[int, ...], arrived_s: float) -> Job:
        """Return the job of a request whose prompt goes to the model as it is, and whose answer is text."""
        if isinstance(prompt, str):
            self.check_length(prompt)
            tokens = self._vocab.tokenize_raw(prompt)
        else:
            tokens = list(prompt)
        if not tokens:
            raise InvalidRequestError("prompt: an empty prompt cannot be continued", param="prompt")
        self._check_fits(tokens)
        self.check_tokens(tokens, "prompt")
        return self._job(request, PicturePrompt(tokens), OutputStream(request, Plain()), None, arrived_s)

    def _job(
        self,
        request: ChatRequest,
        prompt: PicturePrompt,
        output: OutputStream,
        grammar: Grammar | None,
        arrived_s: float,
    ) -> Job:
        tokens, layout, pictures = prompt
        self._check_fits(tokens)  # before anything is compiled or encoded
        settings = replace(settings_for(request.sampling, self.defaults), banned=self._banned(request))
        limit = self._n_ctx_tokens if request.max_tokens is None else request.max_tokens
        asked = None if request.logprobs is None else Probabilities(request.logprobs, self._vocab.piece)
        lookup = PromptLookup() if self._speculation else None
        sequence = Sequence(
            request.id, tokens, len(tokens), limit, request.priority, arrived_s, request.adapter, layout, pictures,
            lookup=lookup,
        )  # fmt: skip
        constraint = None if grammar is None else self._compiler.constraint(grammar)
        sampler = TokenSampler(settings, constraint, self._vocab.n_tokens, self._n_ctx_tokens, asked)
        return Job(sequence, sampler, output, TokenLedger() if asked else None)

    def _check_fits(self, tokens: list[int]) -> None:
        if len(tokens) >= self._n_ctx_tokens:
            raise ContextSizeError(len(tokens), self._n_ctx_tokens)

    def _banned(self, request: ChatRequest) -> tuple[int, ...]:
        """Return the tokens that begin a call, where there are tools and none may be called.

        A model that has seen tools may print a call all the same; without its marker, it has to say something.
        """
        return self._markers if request.tools and request.tool_choice.mode == "none" else ()

    @functools.cached_property
    def _markers(self) -> tuple[int, ...]:
        """The tokens that a call's marker, or more than that, is written with as one."""
        markers = tuple(marker.encode() for marker in self.dialect.triggers)
        ordinary = (token for token in range(self._vocab.n_tokens) if token not in self._vocab.eog_tokens)
        return tuple(token for token in ordinary if markers and self._vocab.piece(token).startswith(markers))


def _model_defaults(runner: Runner) -> dict[str, float]:
    """Return the sampling numbers that the model file recommends."""
    found = {name: runner.metadata(key) for name, key in _METADATA_KEYS.items()}
    return {name: float(text) for name, text in found.items() if text is not None}
