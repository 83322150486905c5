"""The OpenAI form of a request for embeddings: strict validation, its engine request, and the vectors as asked for.

An input is text, or tokens that go to the model as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoe_server import errors, protocol
from zoe_server.gateway.body import validated

MAX_INPUTS: Final = 2048
MAX_DIMENSIONS: Final = 2**20

_Token = Annotated[int, Field(ge=0, lt=2**31)]
_Tokens = Annotated[list[_Token], Field(min_length=1)]
Vector = Sequence[float]


class EmbeddingsBody(BaseModel):
    """The body of POST /v1/embeddings."""

    model_config = ConfigDict(strict=True, extra="ignore")

    input: str | _Tokens | list[str] | list[_Tokens]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1, le=MAX_DIMENSIONS)

    @property
    def inputs(self) -> tuple[str | tuple[int, ...], ...]:
        """The inputs, one or several."""
        if isinstance(self.input, str):
            return (self.input,)
        items: list[Any] = self.input
        if items and isinstance(items[0], int):
            return (tuple(items),)
        return tuple(item if isinstance(item, str) else tuple(item) for item in items)


def parse_embeddings(data: Mapping[str, Any]) -> EmbeddingsBody:
    """Return the validated body.

    Raises:
        errors.InvalidRequestError: with the path of the first value that is wrong.
    """
    body = validated(EmbeddingsBody, data)
    check_inputs(body.inputs)
    return body


def check_inputs(inputs: Sequence[str | Sequence[int]]) -> None:
    """Raise an `InvalidRequestError` unless there are inputs, not too many, and none of them empty."""
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise errors.InvalidRequestError(f"input: there must be 1 to {MAX_INPUTS} inputs", param="input")
    for index, item in enumerate(inputs):
        if not item:
            path = f"input[{index}]" if len(inputs) > 1 else "input"
            raise errors.InvalidRequestError(f"{path}: an empty text has no embedding", param=path)


def shortened(vector: Vector, dimensions: int | None) -> Vector:
    """Return the first `dimensions` numbers, of length 1 again and exact in 32 bits; all of them where it is None.

    Raises:
        errors.InvalidRequestError: the vector has fewer, or nothing but zeros is left of it.
    """
    if dimensions is None or dimensions == len(vector):
        return vector
    if dimensions > len(vector):
        raise errors.InvalidRequestError(
            f"dimensions: the embeddings of this model have {len(vector)} dimensions, not {dimensions}",
            param="dimensions",
        )
    length = math.hypot(*vector[:dimensions])
    if not length:
        raise errors.InvalidRequestError("dimensions: so few leave nothing of a text", param="dimensions")
    return protocol.decode_vector(protocol.encode_vector([number / length for number in vector[:dimensions]]))
