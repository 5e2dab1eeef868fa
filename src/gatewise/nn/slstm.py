"""The sLSTM layer: exponential gates, a normaliser, and heads that do not mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewise.errors import InvalidTypeError
from gatewise.nn._precision import Precision
from gatewise.nn._recurrent import RecurrentLayer
from gatewise.ops.backends import Backend

ForgetGate = Literal["sigmoid", "exponential"]
SLSTMStates = tuple[Tensor, Tensor, Tensor, Tensor]
"""``(h, c, n, m)``: the output, the cell state, its normaliser, and the stabiliser of both."""


class SLSTMTrace(NamedTuple):
    """Every gate and state of every step, in time order, zero beyond the lengths.

    Each field is (L·D)×T×B×H, layer by layer and within a layer direction by direction;
    (L·D)×T×H for an unbatched input. Differentiable. ``log_i`` and ``log_f`` are the logarithms of
    the gates, before the stabiliser m.
    """

    log_i: Tensor
    log_f: Tensor
    z: Tensor
    o: Tensor
    c: Tensor
    n: Tensor
    m: Tensor
    h: Tensor


class SLSTM(RecurrentLayer):
    """The sLSTM of Beck et al. (2024), on kernels like those of `LSTM`.

    Its input gate, and its forget gate if asked for, are exponentials; c is divided by n, the sum
    of what went in, and both are kept in range by m. Heads are parts of the units that see only
    their own part of h, so ``weight_hh_l0`` is 4·H × H/heads. The call, lengths, resets, traces,
    directions, precisions and ``recompute`` are those of `LSTM`; a state is ``(h, c, n, m)``, and
    the initial m, also after a ``reset``, is minus infinity. The equations are those of
    `gatewise.ops.reference.slstm`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih`` and ``bias_hh``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        heads: Parts of the units that do not see each other's h; they divide H.
        forget_gate: ``sigmoid`` or ``exponential``.
        forget_bias: The bias of the forget gate, in ``bias_ih``; None for torch's draw.
        residual: Whether the output of each layer is its h plus its input, see `LSTM`.
        reverse: Whether the layer runs against time, see `LSTM`.
        input_dropout: Probability of zeroing a feature of the input, see `LSTM`.
        generator: What draws, see `LSTM`.
        precision: ``auto``, ``bf16`` or ``full``, see `LSTM`.
        backend: ``auto``, ``native`` or ``reference``, see `LSTM`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> layer = SLSTM(3, 8, heads=4)
        >>> output, (h, c, n, m) = layer(torch.randn(5, 2, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, m.shape, layer.weight_hh_l0.shape
        (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]), torch.Size([32, 2]))
    """

    kind = mode = "SLSTM"
    inits = ("torch",)
    travelling = ("residual", "reverse", "heads", "forget_gate")
    staying = ("forget_bias", "input_dropout", "generator", "precision", "backend")
    heads: int = 1
    forget_gate: ForgetGate = "sigmoid"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        heads: int = 1,
        forget_gate: ForgetGate = "sigmoid",
        forget_bias: float | None = None,
        residual: bool = False,
        reverse: bool = False,
        input_dropout: float = 0.0,
        generator: torch.Generator | None = None,
        precision: Precision = "auto",
        backend: Backend = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
            options={
                "init": "torch",
                "heads": heads,
                "forget_gate": forget_gate,
                "forget_bias": forget_bias,
                "residual": residual,
                "reverse": reverse,
                "input_dropout": input_dropout,
                "generator": generator,
                "precision": precision,
                "backend": backend,
            },
        )

    @property
    def cell(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Our name of the cell."""
        return "slstm" if self.forget_gate == "sigmoid" else "slstm_exponential"

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        return dict.fromkeys(("h_0", "c_0", "n_0", "m_0"), (self.hidden_size,))

    def initial_state(self, batch: int) -> SLSTMStates:
        """Return ``(h_0, c_0, n_0, m_0)`` for ``batch`` sequences, (L·D)×B×H each.

        Zeros but for m, minus infinity, in the weights' dtype, on their device.
        """
        h, c, n, m = self._initial_states(batch)
        return h, c, n, m

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
        """Run the layers over a batch of sequences.

        Args:
            input: T×B×I, B×T×I with ``batch_first``, T×I unbatched, or a PackedSequence.
            hx: Initial ``(h, c, n, m)``, each (L·D)×B×H, without B when unbatched.
            lengths: Valid steps of each sequence, see `LSTM.forward`.
            reset: Where sequences begin anew, see `LSTM.forward`.
            trace: Whether to return the gates and states of every step as well.
            recompute: In training, keep the states of every so many steps only, see `LSTM.forward`.

        Returns:
            The output, T×B×(D·H) in the layout of the input, then ``(h, c, n, m)`` after the last
            step, then, with ``trace=True``, an `SLSTMTrace`.

        Raises:
            GatewiseError: An argument does not fit; also the builtin error that torch raises.
        """
        if hx is not None and isinstance(hx, Tensor):
            raise InvalidTypeError("SLSTM(hx)", "a tuple (h, c, n, m)", "a tensor")
        y, states, parts = self._run(input, hx, lengths, reset, trace=trace, recompute=recompute)
        return (y, states, SLSTMTrace(*parts)) if trace else (y, states)

    def _weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        H = self.hidden_size
        return super()._weight_shapes(layer) | {"weight_hh": (4 * H, H // self.heads)}

    def _expanded(self, weights: list[Tensor]) -> list[Tensor]:
        """Return the recurrent weights as matrices, whose blocks are the heads'."""
        if self.heads == 1:
            return weights
        count = len(weights) // self.num_directions
        return [
            self._blocks(weight) if n % count == 1 else weight for n, weight in enumerate(weights)
        ]

    def _blocks(self, weight: Tensor) -> Tensor:
        NH, width = self.heads, self.hidden_size // self.heads
        own = torch.eye(NH, dtype=weight.dtype, device=weight.device).view(NH, 1, NH, 1)
        blocks = weight.view(4, NH, width, 1, width) * own
        return blocks.reshape(4 * self.hidden_size, self.hidden_size)
