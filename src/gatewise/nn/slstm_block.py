"""The residual block around an sLSTM: convolve, remember, normalise, then a gated feed-forward."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.errors import InvalidValueError
from gatewise.nn._causal_conv import CausalConv
from gatewise.nn._layer_in_torch import Passed, Run, Steps
from gatewise.nn._layout import States
from gatewise.nn._residual_block import Factory, ResidualBlock, narrow_draw, norm_of_heads, scaled
from gatewise.nn.slstm import SLSTM, SLSTMTrace


class SLSTMBlock(ResidualBlock):
    """The sLSTM block of xLSTM: x + norm(h), then x + down(gelu(a) · b), the paper's figure 10.

    A layer norm gives u; the gates i and f read silu(conv(u)) over the last ``conv_size`` steps, z
    and o read u itself, each head its own part of it; h is an `SLSTM`'s, normalised head by head;
    a and b are projections of a layer norm of what stands then. It is called like `LSTM`, with
    lengths, resets, traces and ``recompute``; its state is ``(conv, h, c, n, m)``, conv the last
    steps of u, and its trace an `SLSTMTrace`.

    Args:
        size: Features of input and output, E ≥ 1.
        heads: Parts of the units that do not see each other; they divide E.
        feedforward_size: Features of a and b; None for 4/3·E, the paper's, rounded up to a
            multiple of 8; 0 for no feed-forward.
        conv_size: Steps that the convolution sees, at least 2.
        bias: Whether the projections of the feed-forward have biases.
        dropout: Probability of zeroing an element of what is added to x.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        num_blocks: Blocks of the stack that it is for: the more, the smaller is what it adds.
        position: Which of them it is, from 0: the higher, the fewer units remember for long at
            first.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError.

    Example:
        >>> block = SLSTMBlock(8, heads=2)
        >>> output, (conv, h, c, n, m) = block(torch.randn(5, 3, 8))
        >>> output.shape, conv.shape, h.shape
        (torch.Size([5, 3, 8]), torch.Size([1, 3, 3, 8]), torch.Size([1, 3, 8]))
    """

    kind = "SLSTMBlock"
    states = MappingProxyType({"conv": 0.0, "h": 0.0, "c": 0.0, "n": 0.0, "m": float("-inf")})
    travelling = ("heads",)

    def __init__(
        self,
        size: int,
        *,
        heads: int = 4,
        feedforward_size: int | None = None,
        conv_size: int = 4,
        bias: bool = False,
        dropout: float = 0.0,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        num_blocks: int = 1,
        position: int = 0,
    ) -> None:
        super().__init__(
            size,
            heads,
            counts={"feedforward_size": feedforward_size} if feedforward_size else {},
            conv_size=conv_size,
            num_blocks=num_blocks,
            bias=bias,
            dropout=dropout,
            batch_first=batch_first,
        )
        self._check_heads(size, "size")
        if position not in range(num_blocks):
            expected = f"a place from 0 to {num_blocks - 1}"
            raise InvalidValueError("SLSTMBlock(position)", expected, repr(position))
        made: Factory = {"device": device, "dtype": dtype}
        self.position = position
        self.norm = nn.LayerNorm(size, bias=False, **made)
        self.conv = CausalConv(size, conv_size, **made)
        self.cell = HeadwiseSLSTM(2 * size, size, heads=heads, **made)
        self.weight_heads = nn.Parameter(torch.empty(size, **made))
        self.drop = nn.Dropout(dropout)
        inner = -(-size // 6) * 8 if feedforward_size is None else feedforward_size
        self.feedforward_size = inner
        if inner:
            self.feedforward_norm = nn.LayerNorm(size, bias=False, **made)
            self.up = nn.Linear(size, 2 * inner, bias=bias, **made)
            self.down = nn.Linear(inner, size, bias=bias, **made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights as the paper's authors do; nothing is fed back at first."""
        self.norm.reset_parameters()
        self.conv.reset_parameters()
        weight_ih, weight_hh, bias = self.cell.layer_weights()[0]
        narrow_draw(weight_ih, width=self.input_size)
        nn.init.zeros_(weight_hh)
        nn.init.zeros_(bias)
        depth = self.position / max(self.num_blocks - 1, 1)
        units = torch.linspace(0.0, 1.0, self.input_size // self.heads)
        forget = 5.0 - 12.0 * units ** (0.3 + 1.3 * depth)
        bias.detach().chunk(4)[1].copy_(forget.repeat(self.heads))
        nn.init.ones_(self.weight_heads)
        if self.feedforward_size:
            self.feedforward_norm.reset_parameters()
            narrow_draw(self.up, width=self.input_size)
            scaled(self.down, width=self.input_size, num_blocks=self.num_blocks)

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        conv = {"conv_0": (len(self.conv.weight) - 1, self.input_size)}
        return conv | self.cell.state_shapes

    def explain(self) -> str:
        """Say in a sentence which kernel runs the recurrence of this block, and why."""
        return self.cell.explain()

    def _trace(self, shown: Mapping[str, Tensor]) -> SLSTMTrace:
        return SLSTMTrace(**shown)

    def _direction(self, x: Tensor, layer: int, direction: int) -> Run:  # noqa: ARG002
        def run(steps: Steps, state: States) -> Passed:
            tail, *cell = state
            own = steps.of(x)
            u = self.norm(own)
            conv, tail = self.conv(u, tail, steps)
            h, cell, shown = self._remember(torch.cat([F.silu(conv), u], -1), tuple(cell), steps)
            y = own + norm_of_heads(self.drop(h), self.heads, self.weight_heads)
            if self.feedforward_size:
                a, b = self.up(self.feedforward_norm(y)).chunk(2, -1)
                y = y + self.drop(self.down(F.gelu(a) * b))
            if steps.valid is not None:
                y = torch.where(steps.valid[..., None], y, 0.0)
            return Passed(y, (tail, *cell), shown)

        return run

    def _remember(
        self, x: Tensor, before: States, steps: Steps
    ) -> tuple[Tensor, States, dict[str, Tensor]]:
        """Run the sLSTM; sequences that end before a piece of theirs stand still in it."""
        count = None if steps.valid is None else steps.valid.sum(0)
        h, after, *traced = self.cell(
            x,
            tuple(part[None] for part in before),
            lengths=None if count is None else count.clamp_min(1),
            reset=steps.restarts,
            trace=steps.record,
        )
        states = tuple(part[0] for part in after)
        if count is not None:
            live = (count > 0)[:, None]
            h = torch.where(live, h, 0.0)
            states = tuple(torch.where(live, a, b) for a, b in zip(states, before, strict=True))
        shown = {name: part[0] for trace in traced for name, part in trace._asdict().items()}
        return h, states, shown


class HeadwiseSLSTM(SLSTM):
    """An sLSTM whose gates i and f read the first half of the input, z and o the second.

    Each head reads its own part of either half: ``weight_ih_l0`` is 4·H × H/heads, as
    ``weight_hh_l0`` is, and there is one bias.
    """

    def _weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        shapes = super()._weight_shapes(layer)
        del shapes["bias_hh"]
        return shapes | {"weight_ih": shapes["weight_hh"]}

    def _expanded(self, weights: list[Tensor]) -> list[Tensor]:
        w_ih, w_hh, bias = super()._expanded(weights)
        first, second = self._blocks(w_ih).chunk(2)
        return [torch.block_diag(first, second), w_hh, bias, torch.zeros_like(bias)]
