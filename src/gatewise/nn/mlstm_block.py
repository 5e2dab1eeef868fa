"""The residual block around an mLSTM memory: project up, convolve, remember, gate, project down."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.nn._causal_conv import CausalConv
from gatewise.nn._layer_in_torch import Passed, Run, Steps
from gatewise.nn._layout import States
from gatewise.nn._matrix_memory import MEMORY, memory_shapes, remember
from gatewise.nn._residual_block import Factory, ResidualBlock, narrow_draw, norm_of_heads, scaled
from gatewise.ops import matrix_memory
from gatewise.ops.reference.sequence import widen


class MLSTMBlockTrace(NamedTuple):
    """Every gate and what the heads read and write, in time order, zero beyond the lengths.

    ``log_i``, ``log_f`` and ``m`` are 1×T×B×NH; ``q``, ``k``, ``v`` and ``n`` are 1×T×B×NH×d;
    ``h``, what the heads read, is 1×T×B×(NH·d); without B for an unbatched input. Differentiable.
    """

    log_i: Tensor
    log_f: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    n: Tensor
    m: Tensor
    h: Tensor


class MLSTMBlock(ResidualBlock):
    """The mLSTM block of xLSTM: x + down((norm(h̃) + skip·c) · silu(z)), the paper's figure 11.

    A layer norm and a projection up to twice ``inner_size`` give u and z; c = silu(conv(u)) over
    the last ``conv_size`` steps; queries and keys are made of c and values of u, ``block_size``
    neighbours at a time; the gates of each head read all three; h̃ is what `MLSTM` has before its
    output gate, normalised head by head. It is called like `LSTM`, with lengths, resets, traces and
    ``recompute``; its state is ``(conv, C, n, m)``, conv the last steps of u, and its trace an
    `MLSTMBlockTrace`.

    Args:
        size: Features of input and output, E ≥ 1.
        heads: NH, memories; they divide the inner size into widths of d.
        inner_size: Features inside; None for 2·E, the paper's.
        conv_size: Steps that the convolution sees, at least 2.
        block_size: Neighbours that queries, keys and values mix; it divides the inner size.
        chunk_size: Steps that are computed at once, see `MLSTM`.
        bias: Whether the projections have biases.
        dropout: Probability of zeroing an element of what is added to x.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        num_blocks: Blocks of the stack that it is for: the more, the smaller is what it adds.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError.

    Example:
        >>> block = MLSTMBlock(8, heads=2)
        >>> output, (conv, C, n, m) = block(torch.randn(5, 3, 8))
        >>> output.shape, conv.shape, C.shape
        (torch.Size([5, 3, 8]), torch.Size([1, 3, 3, 16]), torch.Size([1, 3, 2, 8, 8]))
    """

    kind = "MLSTMBlock"
    states = MappingProxyType({"conv": 0.0, **MEMORY})
    travelling = ("heads",)

    def __init__(
        self,
        size: int,
        *,
        heads: int = 4,
        inner_size: int | None = None,
        conv_size: int = 4,
        block_size: int = 4,
        chunk_size: int = 64,
        bias: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        num_blocks: int = 1,
    ) -> None:
        sizes = {"block_size": block_size, "chunk_size": chunk_size}
        super().__init__(
            size,
            heads,
            counts=sizes if inner_size is None else {"inner_size": inner_size, **sizes},
            conv_size=conv_size,
            num_blocks=num_blocks,
            bias=bias,
            dropout=dropout,
            batch_first=batch_first,
        )
        inner = 2 * size if inner_size is None else inner_size
        self._check_heads(inner, "inner_size")
        self._check_divides("block_size", block_size, "inner_size", inner)
        made: Factory = {"device": device, "dtype": dtype}
        self.inner_size = inner
        self.chunk_size = chunk_size
        self.norm = nn.LayerNorm(size, bias=False, **made)
        self.up = nn.Linear(size, 2 * inner, bias=bias, **made)
        self.conv = CausalConv(inner, conv_size, **made)
        shape = (3, inner // block_size, block_size, block_size)
        self.weight_qkv = nn.Parameter(torch.empty(shape, **made))
        self.gates = nn.Linear(3 * inner, 2 * heads, **made)
        self.weight_heads = nn.Parameter(torch.empty(inner, **made))
        self.skip = nn.Parameter(torch.empty(inner, **made))
        self.down = nn.Linear(inner, size, bias=bias, **made)
        self.drop = nn.Dropout(dropout)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as the paper's authors do; forget gates begin open, biases 3 to 6."""
        self.norm.reset_parameters()
        self.conv.reset_parameters()
        narrow_draw(self.up, self.weight_qkv, width=self.input_size)
        scaled(self.down, width=self.input_size, num_blocks=self.num_blocks)
        nn.init.zeros_(self.gates.weight)
        i, f = self.gates.bias.detach().chunk(2)
        nn.init.normal_(i, std=0.1)
        f.copy_(torch.linspace(3.0, 6.0, self.heads))
        nn.init.ones_(self.weight_heads)
        nn.init.ones_(self.skip)

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        conv = {"conv_0": (len(self.conv.weight) - 1, self.inner_size)}
        return conv | memory_shapes(self.heads, self.inner_size // self.heads)

    def explain(self) -> str:
        """Say in a sentence what runs this block, and why."""
        return f"memory: {matrix_memory.explain(self.up.weight, self.chunk_size)}"

    def _trace(self, shown: Mapping[str, Tensor]) -> MLSTMBlockTrace:
        return MLSTMBlockTrace(**shown)

    def _direction(self, x: Tensor, layer: int, direction: int) -> Run:  # noqa: ARG002
        def run(steps: Steps, state: States) -> Passed:
            tail, *memory = state
            own = steps.of(x)
            u, z = self.up(self.norm(own)).chunk(2, -1)
            conv, tail = self.conv(u, tail, steps)
            c = F.silu(conv)
            heads = torch.cat([self._mixed(c, 0), self._mixed(c, 1), self._mixed(u, 2)], -1)
            i, f = widen(self.gates(heads)).chunk(2, -1)
            gates = (i, F.logsigmoid(f))
            h, memory, shown = remember(widen(heads), gates, tuple(memory), steps, self.chunk_size)
            h = h.flatten(-2).to(x.dtype)
            read = norm_of_heads(h, self.heads, self.weight_heads) + self.skip * c
            y = own + self.drop(self.down(read * F.silu(z)))
            if steps.valid is not None:
                y = torch.where(steps.valid[..., None], y, 0.0)
            after = (tail, *(part.to(x.dtype) for part in memory))
            shown = {name: part.to(x.dtype) for name, part in shown.items()}
            return Passed(y, after, {**shown, "h": h} if steps.record else {})

        return run

    def _mixed(self, x: Tensor, part: int) -> Tensor:
        """Return x (T×B×E') with neighbours mixed by the weights of q, k or v."""
        weight = self.weight_qkv[part]
        x = x.unflatten(-1, (len(weight), -1))
        return torch.einsum("tbni,noi->tbno", x, weight).flatten(-2)
