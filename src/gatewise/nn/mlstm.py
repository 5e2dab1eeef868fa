"""The mLSTM layer: a matrix memory for each head, trained in chunks, streamed step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.conventions import parameter_suffix
from gatewise.errors import InvalidTypeError
from gatewise.nn import _validate
from gatewise.nn._layer_in_torch import LayerInTorch, Passed, Run, Steps
from gatewise.nn._layout import States
from gatewise.nn._matrix_memory import MEMORY, memory_shapes, remember
from gatewise.nn._options import shown_options
from gatewise.ops import matrix_memory
from gatewise.ops.projection import project_in_two
from gatewise.ops.reference.sequence import widen

ForgetGate = Literal["sigmoid", "exponential"]
MLSTMStates = tuple[Tensor, Tensor, Tensor]
"""``(C, n, m)``: the memories, their normalisers, and the stabilisers of both."""


class MLSTMTrace(NamedTuple):
    """Every gate and what the heads read and write, in time order, zero beyond the lengths.

    ``log_i``, ``log_f`` and ``m`` are (L·D)×T×B×NH; ``q``, ``k``, ``v`` and ``n`` are
    (L·D)×T×B×NH×d; ``o`` and ``h`` are (L·D)×T×B×H; without B for an unbatched input.
    Differentiable. The memories, d times as large as all of these, follow from them.
    """

    log_i: Tensor
    log_f: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    n: Tensor
    m: Tensor
    h: Tensor


class MLSTM(LayerInTorch):
    """The mLSTM of Beck et al. (2024): each head keeps a matrix, which keys write and queries read.

    Nothing in it waits for h, so that training computes ``chunk_size`` steps at once, as products
    of matrices; a call with a single step takes that step. Both give the same to rounding. The
    call, lengths, resets, directions and ``recompute`` are those of `LSTM`; the state is
    ``(C, n, m)``. Parameters are ``weight_ih_l0`` ((4·H + 2·NH)×I: q, k, v, o, then i and f of each
    head) and ``bias_ih_l0``. The equations are those of `gatewise.ops.reference.mlstm`, with
    h = σ(o)·h̃. A step that is not finite spoils its chunk.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the output, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        heads: NH, memories of a layer; they divide H into widths of d = H/NH.
        forget_gate: ``sigmoid`` or ``exponential``.
        forget_bias: The bias of the forget gates; None for a draw like that of the others.
        chunk_size: Steps that are computed at once, at least 1.
        residual: Whether the output of each layer is its h plus its input, see `LSTM`.
        reverse: Whether the layer runs against time, see `LSTM`.
        generator: What draws initial weights and dropout between layers, see `LSTM`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> layer = MLSTM(3, 8, heads=2)
        >>> output, (C, n, m) = layer(torch.randn(5, 2, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, C.shape, n.shape, m.shape  # doctest: +NORMALIZE_WHITESPACE
        (torch.Size([5, 2, 8]), torch.Size([1, 2, 2, 4, 4]), torch.Size([1, 2, 2, 4]),
         torch.Size([1, 2, 2]))
    """

    kind = "MLSTM"
    states = MEMORY
    travelling = ("residual", "reverse", "heads", "forget_gate")
    staying = ("forget_bias", "chunk_size", "generator")
    heads: int = 1
    forget_gate: ForgetGate = "sigmoid"
    forget_bias: float | None = None
    chunk_size: int = 64

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
        chunk_size: int = 64,
        residual: bool = False,
        reverse: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        options = {
            "heads": heads,
            "forget_gate": forget_gate,
            "forget_bias": forget_bias,
            "chunk_size": chunk_size,
            "residual": residual,
            "reverse": reverse,
            "generator": generator,
        }
        _validate.check_constructor(
            self.kind,
            {
                "input_size": input_size,
                "hidden_size": hidden_size,
                "num_layers": num_layers,
                "proj_size": 0,
            },
            bias=bias,
            batch_first=batch_first,
            bidirectional=bidirectional,
            dropout=dropout,
            options=options,
        )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        for name, value in options.items():
            setattr(self, name, value)
        _validate.warn_of_idle_options(self)
        rows, D = 4 * hidden_size + 2 * heads, self.num_directions
        for layer in range(num_layers):
            width = hidden_size * D if layer else input_size
            for suffix in (parameter_suffix(layer, d) for d in range(D)):
                weight = nn.Parameter(torch.empty(rows, width, device=device, dtype=dtype))
                self.register_parameter(f"weight_ih_{suffix}", weight)
                if bias:
                    weight = nn.Parameter(torch.empty(rows, device=device, dtype=dtype))
                    self.register_parameter(f"bias_ih_{suffix}", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight as `torch.nn.Linear` does, from U(−1/√I, 1/√I), I the layer's own."""
        bound = 0.0
        for name, weight in self.named_parameters(recurse=False):
            if name.startswith("weight_"):
                bound = 1.0 / math.sqrt(weight.shape[1])
            nn.init.uniform_(weight, -bound, bound, self.generator)
            if name.startswith("bias_") and self.forget_bias is not None:
                nn.init.constant_(weight.detach()[-self.heads :], self.forget_bias)

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        return memory_shapes(self.heads, self.hidden_size // self.heads)

    def initial_state(self, batch: int) -> MLSTMStates:
        """Return ``(C_0, n_0, m_0)`` for ``batch`` sequences: zeros, but for m, minus infinity.

        (L·D)×B×NH×d×d (value × key), (L·D)×B×NH×d and (L·D)×B×NH.
        """
        C, n, m = self._initial_states(batch)
        return C, n, m

    def explain(self) -> str:
        """Say in a sentence what runs this layer, and why."""
        weight = next(self.parameters())
        return f"memory: {matrix_memory.explain(weight, self.chunk_size)}"

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
            hx: Initial ``(C, n, m)``, as `initial_state` has them, without B when unbatched.
            lengths: Valid steps of each sequence, see `LSTM.forward`.
            reset: Where sequences begin anew, see `LSTM.forward`.
            trace: Whether to return the gates, keys and values of every step as well.
            recompute: In training, keep the states of every so many steps only, see `LSTM.forward`.

        Returns:
            The output, T×B×(D·H) in the layout of the input, then ``(C, n, m)`` after the last
            step, then, with ``trace=True``, an `MLSTMTrace`.

        Raises:
            GatewiseError: An argument does not fit; also the builtin error that torch raises.
        """
        if hx is not None and isinstance(hx, Tensor):
            raise InvalidTypeError("MLSTM(hx)", "a tuple (C, n, m)", "a tensor")
        return self._run(input, hx, lengths, reset, trace=trace, recompute=recompute)

    def extra_repr(self) -> str:
        """Show the sizes and every option that is not the default."""
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown_options(self)])

    def _trace(self, shown: Mapping[str, Tensor]) -> MLSTMTrace:
        return MLSTMTrace(**shown)

    def _direction(self, x: Tensor, layer: int, direction: int) -> Run:
        suffix = parameter_suffix(layer, direction)
        weight = widen(getattr(self, f"weight_ih_{suffix}"))
        bias = widen(getattr(self, f"bias_ih_{suffix}")) if self.bias else None
        H = self.hidden_size

        def run(steps: Steps, state: States) -> Passed:
            heads, raw = project_in_two(widen(steps.of(x)), weight, bias, 4 * H)
            log_i, f = raw.chunk(2, -1)
            log_f = F.logsigmoid(f) if self.forget_gate == "sigmoid" else f
            h, state, shown = remember(heads, (log_i, log_f), state, steps, self.chunk_size)
            h = h.flatten(-2)
            if steps.valid is not None:
                h = torch.where(steps.valid[..., None], h, 0.0)
            after = tuple(part.to(x.dtype) for part in state)
            if steps.record:
                o, n, m = torch.sigmoid(heads[..., 3 * H :]), shown.pop("n"), shown.pop("m")
                if steps.valid is not None:
                    o = torch.where(steps.valid[..., None], o, 0.0)
                shown = {**shown, "o": o, "n": n, "m": m, "h": h}
            return Passed(h.to(x.dtype), after, {k: part.to(x.dtype) for k, part in shown.items()})

        return run
