"""The xLSTM as recurrent layers of a task: of any width, one way or both, with a flat state."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from gatewise.nn import XLSTM
from gatewise.nn.stack import StackState
from gatewise.ops.reference.crf import reversed_steps

_BLOCK_SIZE = 4
"""Of the maps to queries, keys and values inside a block."""


class XLSTMLayers(nn.Module):
    """Residual mLSTM blocks above each other with a layer norm on top, called like an `MLSTM`.

    The paper's xLSTM[1:0] (Beck et al. 2024). An input of another width than theirs is mapped to
    it. To read both ways there are two stacks of them, the second of which begins at the end of
    each sequence.

    Args:
        input_size: Features of a step.
        hidden_size: Features of the output, of one way.
        num_layers: How many blocks.
        heads: Of every block.
        dropout: Of what a block adds.
        bidirectional: Whether to read both ways.
        batch_first: Whether the batch is the first axis of input and output.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        heads: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        batch_first: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.heads, self.bidirectional, self.batch_first = heads, bidirectional, batch_first
        # Twice the width, as in the paper, and what heads and the small maps divide.
        whole = _BLOCK_SIZE * heads
        self.inner_size = -(-2 * hidden_size // whole) * whole
        fits = input_size == hidden_size
        self.widen = nn.Identity() if fits else nn.Linear(input_size, hidden_size, bias=False)
        self.ways = nn.ModuleList(
            XLSTM(
                hidden_size,
                num_layers,
                heads=heads,
                inner_size=self.inner_size,
                dropout=dropout,
            )
            for _ in range(2 if bidirectional else 1)
        )

    def forward(
        self,
        x: Tensor,
        state: tuple[Tensor, ...] | None = None,
        *,
        lengths: Tensor | None = None,
        reset: Tensor | None = None,
        trace: bool = False,
    ) -> tuple[Any, ...]:
        """Read sequences.

        Args:
            x: T×B×I, or B×T×I.
            state: As a call before has returned it; None to begin.
            lengths: Valid steps of each sequence, see `gatewise.nn.LSTM.forward`.
            reset: Where sequences begin anew, T×B; of layers that read one way.
            trace: Whether to return the trace of the topmost block, too.

        Returns:
            The output, the states of all blocks, each 1×B×…, and with ``trace`` the trace.
        """
        read = self.widen(x.transpose(0, 1) if self.batch_first else x)
        outputs, after, traces = [], [], []
        for way, before in enumerate(self._states_of_ways(state)):
            stack = self.ways[way]
            given = reversed_steps(read, lengths) if way else read
            y, states, *shown = stack(given, before, lengths=lengths, reset=reset, trace=trace)
            outputs.append(reversed_steps(y, lengths) if way else y)
            after += [part for block in states.layers for part in block]
            traces += shown
        y = torch.cat(outputs, -1)
        y = y.transpose(0, 1) if self.batch_first else y
        return (y, tuple(after), traces[0][-1]) if trace else (y, tuple(after))

    def flops_of_step(self) -> int:
        """Count the flops of one step: products with every matrix, and the work on the memories."""
        products = sum(2 * weight.numel() for weight in self.parameters() if weight.dim() > 1)
        memories = len(self.ways) * self.num_layers * self.inner_size**2 // self.heads
        return products + 6 * memories

    def _states_of_ways(self, state: tuple[Tensor, ...] | None) -> list[StackState | None]:
        if state is None:
            return [None] * len(self.ways)
        blocks = len(self.ways) * self.num_layers
        size = len(state) // blocks
        each = [tuple(state[block * size : (block + 1) * size]) for block in range(blocks)]
        return [
            StackState(
                cast("Any", tuple(each[way * self.num_layers : (way + 1) * self.num_layers]))
            )
            for way in range(len(self.ways))
        ]
