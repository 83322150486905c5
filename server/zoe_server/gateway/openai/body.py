"""What the bodies of OpenAI's APIs have in common: how tokens are drawn, what the answer has to be, tools.

Whatever a client sends ends as a valid request or as an `InvalidRequestError` that names the path of the value. Unknown
fields are ignored; a known field that is not served is refused, because ignoring it would be a lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from zoe_server import errors, protocol
from zoe_server.gateway.body import MAX_ITEMS, Items, RequestModel, parse_json, refuse

MAX_CHOICES: Final = 8
MAX_TOKENS: Final = 2**31 - 1
MAX_STOPS: Final = 64
MAX_GRAMMAR: Final = 200_000
_EVERY_TOKEN: Final = -1  # vLLM's word for what is 0 in llama.cpp
SEED_RANGE: Final = 2**32 - 1  # the largest 32-bit value means "random" to llama.cpp, so a seed never becomes it

NOT_SERVED: Final = (
    *("structural_tag", "logit_bias", "allowed_token_ids", "bad_words", "stop_token_ids", "min_tokens", "ignore_eos"),
    *("n_probs", "prompt_logprobs", "functions", "function_call", "audio", "web_search_options"),
    *("mirostat", "dry_multiplier", "xtc_probability", "min_new_tokens", "truncate_prompt_tokens", "return_token_ids"),
)
"""Fields that clients of OpenAI, llama.cpp, vLLM or SGLang know; an answer that does without would be a lie."""

SCHEMA_FIELDS: Final = ("response_format", "json_schema", "guided_json", "structured_outputs")
"""Where a schema for the answer may stand."""

GRAMMAR_FIELDS: Final[Mapping[str, protocol.GrammarKind]] = {
    "grammar": "grammar",
    "guided_grammar": "grammar",
    "ebnf": "grammar",
    "regex": "regex",
    "guided_regex": "regex",
    "guided_choice": "choice",
}
"""Where a grammar for the answer may stand, in the words of llama.cpp, vLLM and SGLang."""

ANY_OBJECT: Final[Mapping[str, Any]] = {"type": "object"}

Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Stops = Annotated[list[Stop], Field(max_length=MAX_STOPS)]
_Grammar = Annotated[str, Field(max_length=MAX_GRAMMAR)]
_Choices = Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=1000)]
AnswerForm = protocol.AnswerSchema | protocol.AnswerGrammar


class FunctionSpec(RequestModel):
    """`tools[i].function`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None


class ToolSpec(RequestModel):
    """`tools[i]`."""

    type: Literal["function"]
    function: FunctionSpec


class _NamedFunction(RequestModel):
    name: str


class NamedChoice(RequestModel):
    """`tool_choice` that names one function."""

    type: Literal["function"]
    function: _NamedFunction


class StreamOptions(RequestModel):
    """`stream_options`."""

    include_usage: bool = False


class _NamedSchema(RequestModel):
    """`response_format.json_schema`; the answer is held to the schema whatever `name` and `strict` say."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(RequestModel):
    """`response_format`; some clients write the schema beside the type."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: _NamedSchema | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")

    @property
    def answer_schema(self) -> protocol.AnswerSchema | None:
        """The schema that the answer has to satisfy.

        Raises:
            errors.InvalidRequestError: there is none where there must be.
        """
        if self.type == "text":
            return None
        if self.type == "json_schema" and self.json_schema is not None:
            return protocol.AnswerSchema(self.json_schema.schema_, "response_format.json_schema.schema")
        if self.schema_ is not None:
            return protocol.AnswerSchema(self.schema_, "response_format.schema")
        if self.type == "json_object":
            return protocol.AnswerSchema(ANY_OBJECT, "response_format")
        path = "response_format.json_schema"
        raise errors.InvalidRequestError(f"{path}: needed for this type", param=path)


def _from_text(schema: object) -> object:
    """Return a schema that is written as JSON text as what it says."""
    if not isinstance(schema, str):
        return schema
    try:
        return parse_json(schema.encode())
    except errors.InvalidRequestError as error:
        raise ValueError(error.message) from error


_Schema = Annotated[dict[str, Any], BeforeValidator(_from_text)]


class StructuredOutputs(RequestModel):
    """`structured_outputs`, as vLLM's clients write a schema or a grammar; other constraints are refused."""

    model_config = ConfigDict(extra="forbid")

    json_: _Schema | None = Field(default=None, alias="json")
    grammar: _Grammar | None = None
    regex: _Grammar | None = None
    choice: _Choices | None = None


def _bounded(values: object) -> object:
    """Return the values of arguments, which are looked for in every sentence, unless no home has so many."""
    named = values.values() if isinstance(values, dict) else ()
    if sum(1 + len(names) if isinstance(names, list) else 1 for names in named) > MAX_ITEMS:
        raise ValueError(f"there must be at most {MAX_ITEMS} values")
    return values


class ZoeExtension(RequestModel):
    """The member `zoe`, our own: values that exist for tool-call arguments, and how urgent the request is."""

    argument_values: Annotated[dict[str, Items[str] | None], BeforeValidator(_bounded)] = Field(default_factory=dict)
    priority: protocol.Priority | None = None

    @property
    def values(self) -> dict[str, tuple[str, ...] | None]:
        """The argument values as engines get them."""
        return {key: None if names is None else tuple(names) for key, names in self.argument_values.items()}

    def priority_for(self, max_tokens: int | None) -> protocol.Priority:
        """Return how urgent an answer of `max_tokens` is: without one, a prompt is computed for later."""
        return self.priority or ("background" if max_tokens == 0 else "interactive")


class AnswerBody(RequestModel):
    """What the bodies of chats and of plain completions have in common."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    max_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)
    stop: Stop | Stops | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_k: int | None = Field(default=None, ge=-1, le=1_000_000)
    top_p: float | None = Field(default=None, ge=0, le=1)
    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, le=10)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    """What others call `repeat_penalty`."""
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-1, le=2**63 - 1)
    response_format: ResponseFormat | None = None
    json_schema: _Schema | None = None
    guided_json: _Schema | None = None
    structured_outputs: StructuredOutputs | None = None
    grammar: _Grammar | None = None
    guided_grammar: _Grammar | None = None
    ebnf: _Grammar | None = None
    regex: _Grammar | None = None
    guided_regex: _Grammar | None = None
    guided_choice: _Choices | None = None
    zoe: ZoeExtension = Field(default_factory=ZoeExtension)

    @property
    def extended(self) -> bool:
        """Whether the client sent the member `zoe`, be it empty."""
        return "zoe" in self.model_fields_set

    @property
    def include_usage(self) -> bool:
        """Whether the stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def answer_schema(self, own: protocol.AnswerSchema | None = None) -> AnswerForm | None:
        """Return the schema or grammar of the answer; `own` is one that a field of another API asks for.

        Raises:
            errors.InvalidRequestError: several fields ask for one.
        """
        vllm = self.structured_outputs or StructuredOutputs()
        named = {
            "json_schema": self.json_schema,
            "guided_json": self.guided_json,
            "structured_outputs.json": vllm.json_,
        }
        found: list[AnswerForm | None] = [own, self.response_format.answer_schema if self.response_format else None]
        found += [protocol.AnswerSchema(schema, path) for path, schema in named.items() if schema is not None]
        found += [_grammar(kind, getattr(self, name), name) for name, kind in GRAMMAR_FIELDS.items()]
        theirs: dict[protocol.GrammarKind, str | list[str] | None]
        theirs = {"grammar": vllm.grammar, "regex": vllm.regex, "choice": vllm.choice}
        found += [_grammar(kind, value, f"structured_outputs.{kind}") for kind, value in theirs.items()]
        asked = [form for form in found if form is not None]
        if len(asked) > 1:
            text = f"{asked[1].path}: an answer is held to one schema, and {asked[0].path} asks for one, too"
            raise errors.InvalidRequestError(text, param=asked[1].path)
        return asked[0] if asked else None

    def sampling(self, index: int) -> protocol.Sampling:
        """Return how tokens of choice `index` are drawn; where a seed is given, each choice has its own."""
        seed = None if self.seed is None or self.seed < 0 else (self.seed + index) % SEED_RANGE
        return protocol.Sampling(
            temperature=self.temperature,
            top_k=0 if self.top_k == _EVERY_TOKEN else self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repetition_penalty if self.repeat_penalty is None else self.repeat_penalty,
            frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            seed=seed,
        )


def _grammar(kind: protocol.GrammarKind, value: str | list[str] | None, path: str) -> protocol.AnswerGrammar | None:
    if not value:
        return None
    return protocol.AnswerGrammar(kind, value if isinstance(value, str) else json.dumps(value), path)


def to_tools(specs: Sequence[ToolSpec] | None) -> tuple[protocol.Tool, ...]:
    """Return the tools as engines get them.

    Raises:
        errors.InvalidRequestError: two of them have the same name.
    """
    return plain_tools([spec.function for spec in specs or ()], "function.name")


def plain_tools(functions: Sequence[FunctionSpec], name_path: str) -> tuple[protocol.Tool, ...]:
    """Return `functions` as engines get them; the name of each stands at `name_path` in its tool.

    Raises:
        errors.InvalidRequestError: two of them have the same name.
    """
    names = [function.name for function in functions]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise errors.InvalidRequestError(f"two tools are named {name!r}", param=f"tools[{index}].{name_path}")
    return tuple(protocol.Tool(f.name, f.description or "", f.parameters or {}) for f in functions)


def check_known(data: Mapping[str, Any], schema_field: str | None = None) -> None:
    """Raise an `InvalidRequestError` for a field of other servers that would change the answer, and does not here.

    Where an API has a `schema_field` of its own, it takes a schema nowhere else.
    """
    for name in NOT_SERVED:
        if data.get(name):
            refuse(name)
    if schema_field is None:
        return
    for name in SCHEMA_FIELDS:
        if data.get(name):
            raise errors.InvalidRequestError(f"{name} is called {schema_field} here", param=name)
    for name in GRAMMAR_FIELDS:
        if data.get(name):
            refuse(name)


def check_stream_options(body: AnswerBody) -> None:
    """Raise an `InvalidRequestError` for options of a stream that was not asked for."""
    if body.stream_options is not None and not body.stream:
        raise errors.InvalidRequestError("stream_options needs stream: true", param="stream_options")
