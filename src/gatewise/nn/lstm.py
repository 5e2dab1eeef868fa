"""The LSTM layer: torch's interface, our engine, and sequence features that torch lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewise.errors import InvalidTypeError
from gatewise.nn._initial_values import Init
from gatewise.nn._recurrent import RecurrentLayer
from gatewise.ops.backends import Backend

LSTMStates = tuple[Tensor, Tensor]


class Trace(NamedTuple):
    """Every gate and state of every step, in time order, zero beyond the lengths.

    Each field is (L·D)×T×B×H, layer by layer and within a layer direction by direction (``h``
    has P for H under ``proj_size``); (L·D)×T×H for an unbatched input. Differentiable.
    ``h`` of a single layer is a view of its output: clone it before changing that in place.
    """

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


class LSTM(RecurrentLayer):
    """A drop-in for `torch.nn.LSTM` with lengths, resets and traces at kernel speed.

    Parameters, their names, initial values and the ``state_dict`` are torch's, in both directions.
    Options that torch lacks are keyword arguments; those that change what the weights mean, here
    ``residual``, are an entry of the state dict where they are not at their defaults, and loading
    it into a layer with other options raises.
    The equations are those of `gatewise.ops.reference.lstm`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih`` and ``bias_hh``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        proj_size: Size P < H to which h is projected; 0 for none.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        init: ``torch`` draws the weights as torch does. ``orthogonal`` makes the recurrent matrix
            of each gate (H×P) orthogonal, draws each gate's input weights from Glorot's uniform
            distribution, and sets the biases to 0, those of the forget gate to 1 (Jozefowicz et
            al. 2015). ``chrono`` spreads the cells' time scales up to ``chrono_steps``:
            b_f = log u, u ~ U(1, T_max − 1), and b_i = −b_f (Tallec & Ollivier 2018). Other
            weights are drawn as torch does.
        chrono_steps: The longest dependency in steps, T_max ≥ 2; given with ``chrono``, and only
            then.
        forget_bias: Initial bias of the forget gates instead of the one of ``init``: it goes to the
            forget rows of ``bias_ih``, and the forget rows of ``bias_hh`` are then 0. Not with
            ``chrono``.
        residual: Whether the output of each layer is its h plus its input (after dropout), where
            their widths agree: in every layer but the first, and there if I = D·P. Not part of
            ``h_n`` nor of a trace; zero beyond the lengths all the same.
        learn_initial_state: Whether there are parameters for the state before the first step,
            ``initial_h_l0`` (P), ``initial_c_l0`` (H) and so on, used for every sequence of a call
            without ``hx``. Zero at first. Not together with ``reset``.
        backend: ``native`` or ``reference`` to insist on one; ``auto`` takes the native kernel
            wherever there is one. See `explain`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> lstm = LSTM(3, 8, batch_first=True)
        >>> output, (h_n, c_n) = lstm(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
        >>> output[1, 2:].abs().max().item()
        0.0
    """

    kind = "LSTM"
    mode = "LSTM"
    cell = "lstm"
    staying = ("init", "chrono_steps", "forget_bias", "learn_initial_state", "backend")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        init: Init = "torch",
        chrono_steps: int | None = None,
        forget_bias: float | None = None,
        residual: bool = False,
        learn_initial_state: bool = False,
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
            proj_size,
            device,
            dtype,
            options={
                "init": init,
                "chrono_steps": chrono_steps,
                "forget_bias": forget_bias,
                "residual": residual,
                "learn_initial_state": learn_initial_state,
                "backend": backend,
            },
        )

    @overload
    def forward(
        self,
        input: Tensor,
        hx: LSTMStates | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: Literal[False] = False,
    ) -> tuple[Tensor, LSTMStates]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: LSTMStates | None = None,
        *,
        trace: Literal[False] = False,
    ) -> tuple[PackedSequence, LSTMStates]: ...

    @overload
    def forward(
        self,
        input: Tensor,
        hx: LSTMStates | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: Literal[True],
    ) -> tuple[Tensor, LSTMStates, Trace]: ...

    def forward(self, input, hx=None, *, lengths=None, reset=None, trace=False):  # noqa: A002
        """Run the layers over a batch of sequences.

        Args:
            input: T×B×I, B×T×I with ``batch_first``, T×I unbatched, or a PackedSequence.
            hx: Initial ``(h_0, c_0)``, (L·D)×B×P and (L·D)×B×H, without B when unbatched; by
                default zeros, or the learned states.
            lengths: Valid steps of each sequence, B integers from 1 to T in any order. The output
                is zero beyond, the final state is that of the last valid step, and the direction
                against time starts there.
            reset: Bool, T×B (B×T with ``batch_first``, T unbatched). True cuts the sequence before
                that step, in both directions: the state starts afresh, as if the pieces were run
                apart. At step 0 it discards h_0 and c_0.
            trace: Whether to return a `Trace` as well.

        Returns:
            The output, T×B×(D·P) in the layout of the input, then ``(h_n, c_n)``, shaped like
            ``hx``, then with ``trace=True`` the `Trace`.

        Raises:
            GatewiseError: An argument does not fit; also a ValueError, TypeError or RuntimeError,
                as in torch. The message names the argument.
        """
        if hx is not None and not isinstance(hx, tuple | list):
            raise InvalidTypeError("LSTM(hx)", "a tuple (h_0, c_0)", type(hx).__name__)
        y, states, parts = self._run(input, hx, lengths, reset, trace=trace)
        return (y, states, Trace(*parts)) if trace else (y, states)

    @property
    def state_widths(self) -> dict[str, int]:
        """The initial states by name, and how wide they are."""
        return {"h_0": self.state_size, "c_0": self.hidden_size}

    def initial_state(self, batch: int) -> LSTMStates:
        """Return ``(h_0, c_0)`` for ``batch`` sequences, (L·D)×B×P and (L·D)×B×H.

        Zeros in the weights' dtype, on their device; with ``learn_initial_state`` the learned
        states, to which gradients flow.
        """
        h_0, c_0 = self._initial_states(batch)
        return h_0, c_0

    def get_expected_cell_size(
        self,
        input: Tensor,  # noqa: A002
        batch_sizes: Tensor | None,
    ) -> tuple[int, int, int]:
        """Return the shape of c_0 for an input (batched, or packed steps with batch_sizes)."""
        rows, batch, _ = self.get_expected_hidden_size(input, batch_sizes)
        return rows, batch, self.hidden_size

    def check_forward_args(
        self,
        input: Tensor,  # noqa: A002
        hidden: LSTMStates,
        batch_sizes: Tensor | None,
    ) -> None:
        """Raise unless an input and its initial states, both batched, fit the layer."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden[0], self.get_expected_hidden_size(input, batch_sizes))
        self.check_hidden_size(hidden[1], self.get_expected_cell_size(input, batch_sizes))

    def permute_hidden(self, hx: LSTMStates, permutation: Tensor | None) -> LSTMStates:
        """Reorder the batch axis of both states."""
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)
