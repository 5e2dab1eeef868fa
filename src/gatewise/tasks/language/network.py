"""The network of a language model: encoder, and an output layer that may share its embedding."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from gatewise.data.text import IGNORED
from gatewise.nn import LinearCrossEntropy
from gatewise.tasks.language.output import AdaptiveOutput
from gatewise.tasks.text.encoder import Encoded, EncoderShape, State, TokenEncoder


@dataclass(frozen=True)
class LanguageShape:
    """What a network is built from.

    Args:
        encoder: Sizes of embedding and layers.
        tied: Whether the output's weights are the embedding.
        output: Kind of the output layer.
        cutoffs: Of the adaptive output.
        fresh_at: Number of the token that is read from a fresh state, whatever came before; None
            if the state is always carried.
    """

    encoder: EncoderShape
    tied: bool = True
    output: Literal["softmax", "adaptive"] = "softmax"
    cutoffs: tuple[int, ...] = ()
    fresh_at: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LanguageShape:
        """Return the shape that ``to_dict`` described."""
        return cls(
            EncoderShape(**values["encoder"]),
            values["tied"],
            values["output"],
            tuple(values["cutoffs"]),
            values["fresh_at"],
        )


class Reading(NamedTuple):
    """What reading a window with targets gives.

    Args:
        loss: Mean over the targets that count.
        encoded: Outputs of the encoder, and the states after the window.
        logits: Of all tokens after each, T×B×V, if they were asked for.
    """

    loss: Tensor
    encoded: Encoded
    logits: Tensor | None = None


class LanguageNetwork(nn.Module):
    """Tokens T×B to a loss, or to logits of the token after each.

    Args:
        shape: What it is built from.
    """

    def __init__(self, shape: LanguageShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = TokenEncoder(shape.encoder)
        width, words = shape.encoder.width, shape.encoder.words
        self.output: LinearCrossEntropy | AdaptiveOutput
        if shape.output == "adaptive":
            self.output = AdaptiveOutput(width, words, shape.cutoffs)
        else:
            self.output = LinearCrossEntropy(width, words, ignore_index=IGNORED)
        self.tie()

    def tie(self) -> None:
        """Make embedding and output one again, after weights were assigned to each."""
        if self.shape.tied and isinstance(self.output, LinearCrossEntropy):
            self.output.weight = cast("nn.Parameter", self.encoder.embedding.weight)

    def forward(
        self,
        tokens: Int64[Tensor, "T B"],
        targets: Int64[Tensor, "T B"],
        states: list[State] | None = None,
        *,
        shift: Float[Tensor, "T B E"] | None = None,
        with_logits: bool = False,
    ) -> Reading:
        """Read a window and compare what it expects with what comes.

        Args:
            tokens: What is read.
            targets: The token after each; ``IGNORED`` where none counts.
            states: Of each layer after the window before; None to begin.
            shift: Is added to the vectors of the tokens.
            with_logits: Whether to return those of all tokens, which takes their memory.
        """
        vectors = self.encoder.embed(tokens)
        shifted = vectors if shift is None else vectors + shift
        encoded = self.encoder.read(shifted, states, reset=self._begins(tokens))
        logits = self.output.logits(encoded.output) if with_logits else None
        return Reading(self.output(encoded.output, targets), encoded, logits)

    def losses(
        self,
        tokens: Int64[Tensor, "T B"],
        targets: Int64[Tensor, "T B"],
        states: list[State] | None = None,
    ) -> tuple[Float[Tensor, "T B"], list[State]]:
        """Return −ln p of each target, zero where none counts, and the states after the window."""
        encoded = self.encoder(tokens, states, reset=self._begins(tokens))
        return self.output.losses(encoded.output, targets), encoded.states

    def logits(
        self,
        tokens: Int64[Tensor, "T B"],
        states: list[State] | None = None,
        lengths: Int64[Tensor, "B"] | None = None,
    ) -> tuple[Float[Tensor, "B V"], list[State]]:
        """Return the logits of the token after the last of each sequence, and the states there."""
        encoded = self.encoder(tokens, states, lengths, reset=self._begins(tokens))
        y = encoded.output[-1]
        if lengths is not None:
            last = (lengths - 1).view(1, -1, 1).expand(1, -1, encoded.output.shape[-1])
            y = encoded.output.gather(0, last)[0]
        return self.output.logits(y), encoded.states

    def _begins(self, tokens: Int64[Tensor, "T B"]) -> Bool[Tensor, "T B"] | None:
        """Return where the state begins anew; None for nowhere."""
        return None if self.shape.fresh_at is None else tokens == self.shape.fresh_at


def draw_uniform(network: LanguageNetwork, bound: float) -> None:
    """Draw every weight and bias from U(−bound, bound), as Zaremba et al. (2014) did."""
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -bound, bound)
