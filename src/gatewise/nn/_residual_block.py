"""What the blocks of xLSTM have in common: one layer, one width, and how the weights are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.errors import InvalidValueError
from gatewise.nn import _validate
from gatewise.nn._layer_in_torch import LayerInTorch
from gatewise.nn._option_faults import heads_faults


class Factory(TypedDict):
    """Where parameters are made, and of what."""

    device: torch.device | str | None
    dtype: torch.dtype | None


class ResidualBlock(LayerInTorch):
    """Base of `MLSTMBlock` and `SLSTMBlock`: a layer as wide as its input, in one direction.

    Args:
        size: Features of input and output.
        heads: Parts that do not mix in time.
        counts: Other sizes by name, at least 1.
        conv_size: Steps that the convolution sees.
        num_blocks: Of the stack.
        bias: Whether projections have biases.
        dropout: Probability.
        batch_first: Whether the batch is the first axis.
    """

    num_layers = 1
    bidirectional = False
    heads: int = 4

    def __init__(
        self,
        size: int,
        heads: int,
        *,
        counts: Mapping[str, int],
        conv_size: int,
        num_blocks: int,
        bias: bool,
        dropout: float,
        batch_first: bool,
    ) -> None:
        super().__init__()
        flags = {"bias": bias, "batch_first": batch_first}
        numbers = {"size": size, **counts, "conv_size": conv_size, "num_blocks": num_blocks}
        faults = _validate.size_faults(self.kind, numbers, flags, dropout)
        if not faults and conv_size < 2:
            expected = "at least 2 steps"
            faults.append(InvalidValueError(f"{self.kind}(conv_size)", expected, str(conv_size)))
        _validate.raise_faults(self.kind, faults)
        self.input_size = self.hidden_size = size
        self.heads = heads
        self.num_blocks = num_blocks
        self.batch_first = batch_first
        self.dropout = 0.0  # between layers, of which there is one

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002
        hx: Sequence[Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: bool = False,
        recompute: int | None = None,
    ) -> tuple[Any, ...]:
        """Run the block over a batch of sequences.

        Args:
            input: T×B×E, B×T×E with ``batch_first``, T×E unbatched, or a PackedSequence.
            hx: The states before the first step, as ``initial_state`` has them, without B when
                unbatched.
            lengths: Valid steps of each sequence, see `LSTM.forward`.
            reset: Where sequences begin anew, see `LSTM.forward`.
            trace: Whether to return every gate of every step as well.
            recompute: In training, keep the states of every so many steps only, see `LSTM.forward`.

        Returns:
            The output, in the layout of the input, then the states after the last step, then, with
            ``trace=True``, the trace.

        Raises:
            GatewiseError: An argument does not fit; also the builtin error that torch raises.
        """
        return self._run(input, hx, lengths, reset, trace=trace, recompute=recompute)

    def _check_heads(self, width: int, of: str) -> None:
        _validate.raise_faults(self.kind, heads_faults(self.kind, self.heads, width, of))

    def _check_divides(self, name: str, value: int, of: str, whole: int) -> None:
        if whole % value:
            expected = f"a number that divides {of}={whole}"
            raise InvalidValueError(f"{self.kind}({name})", expected, str(value))

    def extra_repr(self) -> str:
        """Show the width and the heads."""
        return f"{self.input_size}, heads={self.heads}"


def norm_of_heads(x: Tensor, heads: int, weight: Tensor) -> Tensor:
    """Normalise each step of x (T×B×F) over the features of each head."""
    return F.group_norm(x.flatten(0, 1), heads, weight).view_as(x)


def narrow_draw(*drawn: nn.Linear | Tensor, width: int) -> None:
    """Draw weights from N(0, 2/(5·width)) and zero the biases.

    Source: T. Nguyen, J. Salazar, "Transformers without tears: improving the normalization of
    self-attention", IWSLT 2019.
    """
    for part in drawn:
        _draw(part, math.sqrt(2.0 / (5.0 * width)))


def scaled(*drawn: nn.Linear, width: int, num_blocks: int) -> None:
    """Draw weights of what a block adds: N(0, (2/num_blocks)²/width); zero the biases.

    Source: S. Black et al., "GPT-NeoX-20B: an open-source autoregressive language model", 2022.
    """
    for part in drawn:
        _draw(part, 2.0 / num_blocks / math.sqrt(width))


def _draw(part: nn.Linear | Tensor, deviation: float) -> None:
    nn.init.normal_(part.weight if isinstance(part, nn.Linear) else part, std=deviation)
    if isinstance(part, nn.Linear) and part.bias is not None:
        nn.init.zeros_(part.bias)
