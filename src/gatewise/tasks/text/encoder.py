"""Tokens to states: an embedding and recurrent layers, with the dropouts of Merity et al. (2018).

What language models, classifiers and taggers have in common, so that one can begin with what
another has learned.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from gatewise.tasks.recurrent_cells import Cell, RecurrentNetwork, build_layer
from gatewise.tasks.text.dropout import SequenceDropout, WordDropout

State = Tensor | tuple[Tensor, ...]
"""What one layer carries from step to step."""


@dataclass(frozen=True)
class EncoderShape:
    """Sizes and dropouts of an encoder.

    Args:
        words: Tokens that it knows, V.
        embedding_size: Features of a token, E.
        hidden_size: Units of each layer and direction but the last, H.
        last_size: Units of the last layer, P.
        num_layers: Recurrent layers, L ≥ 1.
        cell: Their kind.
        bidirectional: Whether each layer reads in both directions.
        word_dropout: Words that are dropped.
        input_dropout: Features of the embedding that are dropped.
        hidden_dropout: Features between layers that are dropped.
        output_dropout: Features of the last layer that are dropped.
        weight_dropout: Recurrent weights that are dropped.
        extra_size: Features that ``read`` is given beside those of the embedding.
    """

    words: int
    embedding_size: int
    hidden_size: int
    last_size: int
    num_layers: int = 1
    cell: Cell = "lstm"
    bidirectional: bool = False
    word_dropout: float = 0.0
    input_dropout: float = 0.0
    hidden_dropout: float = 0.0
    output_dropout: float = 0.0
    weight_dropout: float = 0.0
    extra_size: int = 0

    @property
    def width(self) -> int:
        """Features of what the encoder returns, F."""
        return self.last_size * (2 if self.bidirectional else 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return dataclasses.asdict(self)


class Encoded(NamedTuple):
    """What an encoder returns.

    Args:
        output: Of the last layer, T×B×F, after dropout.
        raw: The same before dropout.
        states: Of each layer after the last step.
    """

    output: Tensor
    raw: Tensor
    states: list[State]


class TokenEncoder(nn.Module):
    """Embedding and recurrent layers.

    Args:
        shape: Its sizes.
    """

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.words, shape.embedding_size)
        self.word_dropout = WordDropout(shape.word_dropout)
        self.input_dropout = SequenceDropout(shape.input_dropout)
        self.hidden_dropout = SequenceDropout(shape.hidden_dropout)
        self.output_dropout = SequenceDropout(shape.output_dropout)
        ways = 2 if shape.bidirectional else 1
        outputs = [shape.hidden_size] * (shape.num_layers - 1) + [shape.last_size]
        inputs = [shape.embedding_size + shape.extra_size, *(ways * size for size in outputs[:-1])]
        self.layers = nn.ModuleList(
            build_layer(
                shape.cell,
                inside,
                outside,
                bidirectional=shape.bidirectional,
                weight_dropout=shape.weight_dropout,
            )
            for inside, outside in zip(inputs, outputs, strict=True)
        )

    def forward(
        self,
        tokens: Int64[Tensor, "T B"],
        states: list[State] | None = None,
        lengths: Int64[Tensor, "B"] | None = None,
        *,
        reset: Bool[Tensor, "T B"] | None = None,
    ) -> Encoded:
        """Read tokens.

        Args:
            tokens: Their numbers.
            states: Of each layer, to go on from; None to begin.
            lengths: Valid steps of each sequence; None for T.
            reset: Steps before which the state is cut to begin anew; None for nowhere.
        """
        return self.read(self.embed(tokens), states, lengths, reset=reset)

    def embed(self, tokens: Int64[Tensor, "T B"]) -> Float[Tensor, "T B E"]:
        """Return the vectors of tokens, after the dropout of words."""
        vectors = F.embedding(tokens, self.embedding.weight)
        return self.word_dropout(vectors, tokens, self.shape.words)

    def read(
        self,
        vectors: Float[Tensor, "T B E"],
        states: list[State] | None = None,
        lengths: Int64[Tensor, "B"] | None = None,
        *,
        reset: Bool[Tensor, "T B"] | None = None,
    ) -> Encoded:
        """Read the vectors of tokens, with the extra features behind them; else as a call."""
        y, after = self.input_dropout(vectors), []
        for k, layer in enumerate(cast("list[RecurrentNetwork]", list(self.layers))):
            if k:
                y = self.hidden_dropout(y)
            y, state = layer(y, None if states is None else states[k], lengths=lengths, reset=reset)
            after.append(state)
        return Encoded(self.output_dropout(y), y, after)


def detached(states: list[State]) -> list[State]:
    """Return states without their graph: where back-propagation is truncated."""
    return [_each(state, Tensor.detach) for state in states]


def of_sequences(states: list[State], rows: Tensor) -> list[State]:
    """Return the states of some sequences of the batch."""
    return [_each(state, lambda part: part.index_select(1, rows)) for state in states]


def to_tensors(states: list[State]) -> dict[str, Tensor]:
    """Return states as named tensors on the CPU, for a file."""
    named = {}
    for k, state in enumerate(states):
        parts = (state,) if isinstance(state, Tensor) else state
        bare = "" if isinstance(state, Tensor) else "."
        named |= {f"{k}{bare}{n if bare else ''}": part.cpu() for n, part in enumerate(parts)}
    return named


def from_tensors(named: dict[str, Tensor]) -> list[State]:
    """Return the states that ``to_tensors`` named."""
    layers: dict[int, dict[int, Tensor]] = {}
    for name, value in named.items():
        layer, _, part = name.partition(".")
        layers.setdefault(int(layer), {})[int(part or -1)] = value
    return [
        parts[-1] if -1 in parts else tuple(parts[n] for n in sorted(parts))
        for _, parts in sorted(layers.items())
    ]


def _each(state: State, change: Any) -> State:
    return change(state) if isinstance(state, Tensor) else tuple(change(part) for part in state)
