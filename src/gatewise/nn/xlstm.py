"""The xLSTM: residual blocks around mLSTM and sLSTM, above each other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import torch
from torch import nn

from gatewise.errors import InvalidValueError
from gatewise.nn import _validate
from gatewise.nn.mlstm_block import MLSTMBlock
from gatewise.nn.slstm_block import SLSTMBlock
from gatewise.nn.stack import Stack


class XLSTM(Stack):
    """The xLSTM of Beck et al. (2024): blocks above each other, and a layer norm.

    A `Stack` of `MLSTMBlock` and `SLSTMBlock`, and called like one, with a state, lengths, resets,
    traces and ``recompute``; alone or inside another `Stack`, between an embedding and an output.
    The paper's xLSTM[7:1] has an sLSTM block among every eight.

    Args:
        size: Features of input and output, E ≥ 1.
        num_blocks: How many blocks, at least 1.
        slstm_at: The positions of sLSTM blocks, from 0; ``all`` for no mLSTM block.
        heads: Of every block.
        inner_size: Features inside mLSTM blocks, see `MLSTMBlock`.
        feedforward_size: Features inside the feed-forward of sLSTM blocks, see `SLSTMBlock`.
        conv_size: Steps that the convolutions see, at least 2.
        chunk_size: Steps that mLSTM blocks compute at once, see `MLSTM`.
        bias: Whether the projections have biases.
        dropout: Probability of zeroing an element of what a block adds.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError.

    Example:
        >>> model = Stack(nn.Linear(3, 8), XLSTM(8, 4, slstm_at=[1], heads=2), nn.Linear(8, 5))
        >>> output, state = model(torch.randn(6, 2, 3), lengths=[6, 4])
        >>> output, state = model(torch.randn(1, 2, 3), state.detach())
        >>> output.shape
        torch.Size([1, 2, 5])
    """

    def __init__(
        self,
        size: int,
        num_blocks: int,
        *,
        slstm_at: Collection[int] | Literal["all"] = (),
        heads: int = 4,
        inner_size: int | None = None,
        feedforward_size: int | None = None,
        conv_size: int = 4,
        chunk_size: int = 64,
        bias: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        faults = _validate.size_faults("XLSTM", {"num_blocks": num_blocks}, {}, dropout)
        _validate.raise_faults("XLSTM", faults)
        every = range(num_blocks)
        positions = every if slstm_at == "all" else slstm_at
        if not isinstance(positions, Collection) or not set(positions) <= set(every):
            expected = f"positions from 0 to {num_blocks - 1}, or 'all'"
            raise InvalidValueError("XLSTM(slstm_at)", expected, repr(slstm_at))
        blocks: list[nn.Module] = [
            SLSTMBlock(
                size,
                heads=heads,
                feedforward_size=feedforward_size,
                conv_size=conv_size,
                bias=bias,
                dropout=dropout,
                device=device,
                dtype=dtype,
                num_blocks=num_blocks,
                position=position,
            )
            if position in positions
            else MLSTMBlock(
                size,
                heads=heads,
                inner_size=inner_size,
                conv_size=conv_size,
                chunk_size=chunk_size,
                bias=bias,
                dropout=dropout,
                device=device,
                dtype=dtype,
                num_blocks=num_blocks,
            )
            for position in every
        ]
        norm = nn.LayerNorm(size, bias=False, device=device, dtype=dtype)
        super().__init__(*blocks, norm, batch_first=batch_first)
