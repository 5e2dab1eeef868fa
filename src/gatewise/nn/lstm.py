"""The LSTM layer: torch's interface, our engine, and sequence features that torch lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from gatewise.errors import InvalidTypeError
from gatewise.nn._initial_values import Init
from gatewise.nn._layout import States, zero_padding
from gatewise.nn._precision import Precision
from gatewise.nn._recurrent import RecurrentLayer
from gatewise.ops.backends import Backend
from gatewise.ops.reference import CellOptions

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
    Options that torch lacks are keyword arguments; those that change what the weights mean
    (``travelling``) are an entry of the state dict where they are not at their defaults, and
    loading it into a layer with other options raises.
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
        reverse: Whether the layer runs against time: from the last valid step of a sequence to its
            first, which ``h_n`` is of. Output and trace stay in time order; not together with
            ``bidirectional``.
        learn_initial_state: Whether there are parameters for the state before the first step,
            ``initial_h_l0`` (P), ``initial_c_l0`` (H) and so on, used for every sequence of a call
            without ``hx``, and after every ``reset``. Zero at first.
        peephole: Whether the gates see the cell state, through ``weight_peephole_l0`` and so on: a
            row of H for each gate there is, in the order i, f, o (Gers & Schmidhuber 2000).
        coupled_gates: Whether i = 1 − f. Weights then stack f, g, o (Greff et al. 2017).
        forget_gate: Whether there is one; without, f = 1, and weights stack i, g, o (Hochreiter &
            Schmidhuber 1997).
        layer_norm: Whether W_ih·x and W_hh·h, each over all gates together, and the cell state on
            its way out are normalised (Ba, Kiros & Hinton 2016): ``weight_ln_ih_l0`` and
            ``weight_ln_hh_l0`` (G·H), ``weight_ln_c_l0`` (H), and biases alike. The other biases
            are added after the norms.
        batch_norm_steps: With N, the same three are normalised over the batch instead, each step by
            its own moments (Cooijmans et al. 2017): ``weight_bn_ih_l0`` and so on, 0.1 at first,
            and biases alike. Outside training the moments are running averages, kept for each of
            the first N steps of a sequence, counted from the beginning of a call or from a cut;
            further steps use the last that was averaged. Averages take a tenth of each new moment:
            where weights moved fast, call the layer in train mode without gradients for a while
            before ``eval``. A sequence that is handed over in parts, with ``hx``, is not the whole:
            steps count anew. With ``reset`` it takes the room of all pieces, each as long as the
            longest. It needs two sequences in train mode, and has no native kernel.
        activation: Function of the candidate and of the cell state on its way out: ``tanh``,
            ``sigmoid``, ``relu``, ``hardtanh``, ``hardsigmoid``; others of torch's, such as
            ``gelu`` or ``softsign``, run without a native kernel.
        gate_activation: That of the gates, likewise.
        cell_clip: The cell state is held to ±cell_clip in every step; None for no limit.
        input_dropout: Probability of zeroing a feature of the input of each layer, the same in all
            steps of a sequence (Gal & Ghahramani 2016). Dropouts and zoneout are drawn in train
            mode, anew in each forward.
        recurrent_dropout: The same for h on its way into the recurrent product.
        update_dropout: Probability of zeroing an element of the candidate, anew in each step
            (Semeniuta, Severyn & Barth 2016).
        zoneout: Probabilities that an element of c, and of h, stays what it was, anew in each step;
            in eval mode that part of it stays (Krueger et al. 2017).
        weight_dropout: Probability of zeroing an element of the recurrent weights, for all of a
            forward (Merity, Keskar & Socher 2018).
        generator: What draws initial weights, masks and dropout between layers; None for torch's
            default generator. It must be on the layer's device; a copy of the layer has a copy of
            it; ``torch.compile`` breaks its graph where it draws.
        precision: ``bf16`` rounds the operands of the products of x and h to bfloat16, backward as
            well; sums, states, weights and what is returned stay as they are. ``auto`` does so in
            bfloat16 and inside ``torch.autocast`` to it, where results have the dtypes that torch's
            have; ``full`` never does.
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
    travelling = (
        "residual",
        "reverse",
        "peephole",
        "coupled_gates",
        "forget_gate",
        "layer_norm",
        "batch_norm_steps",
        "activation",
        "gate_activation",
        "cell_clip",
        "zoneout",
    )
    staying = (
        "init",
        "chrono_steps",
        "forget_bias",
        "learn_initial_state",
        "input_dropout",
        "recurrent_dropout",
        "update_dropout",
        "weight_dropout",
        "generator",
        "precision",
        "backend",
    )
    coupled_gates: bool = False
    forget_gate: bool = True
    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    cell_clip: float | None = None
    zoneout: tuple[float, float] = (0.0, 0.0)

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
        reverse: bool = False,
        learn_initial_state: bool = False,
        peephole: bool = False,
        coupled_gates: bool = False,
        forget_gate: bool = True,
        layer_norm: bool = False,
        batch_norm_steps: int | None = None,
        activation: str = "tanh",
        gate_activation: str = "sigmoid",
        cell_clip: float | None = None,
        input_dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        update_dropout: float = 0.0,
        zoneout: tuple[float, float] = (0.0, 0.0),
        weight_dropout: float = 0.0,
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
            proj_size,
            device,
            dtype,
            options={
                "init": init,
                "chrono_steps": chrono_steps,
                "forget_bias": forget_bias,
                "residual": residual,
                "reverse": reverse,
                "learn_initial_state": learn_initial_state,
                "peephole": peephole,
                "coupled_gates": coupled_gates,
                "forget_gate": forget_gate,
                "layer_norm": layer_norm,
                "batch_norm_steps": batch_norm_steps,
                "activation": activation,
                "gate_activation": gate_activation,
                "cell_clip": cell_clip,
                "input_dropout": input_dropout,
                "recurrent_dropout": recurrent_dropout,
                "update_dropout": update_dropout,
                "zoneout": tuple(zoneout) if isinstance(zoneout, list) else zoneout,
                "weight_dropout": weight_dropout,
                "generator": generator,
                "precision": precision,
                "backend": backend,
            },
        )

    @property
    def cell(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Our name of the cell."""
        if self.coupled_gates:
            return "lstm_coupled"
        return "lstm" if self.forget_gate else "lstm_no_forget"

    def _cell_options(self, **others: Any) -> CellOptions:
        return super()._cell_options(
            activation=self.activation,
            gate_activation=self.gate_activation,
            cell_clip=self.cell_clip or 0.0,
            **others,
        )

    def _shown(self, trace: dict[str, Tensor], lengths: Tensor | None) -> States:
        if "i" not in trace:
            trace = trace | {"i": _within(1 - trace["f"], lengths)}
        if "f" not in trace:
            trace = trace | {"f": _within(torch.ones_like(trace["i"]), lengths)}
        return tuple(trace[name] for name in Trace._fields)

    @overload
    def forward(
        self,
        input: Tensor,
        hx: LSTMStates | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: Literal[False] = False,
        recompute: int | None = None,
    ) -> tuple[Tensor, LSTMStates]: ...

    @overload
    def forward(
        self,
        input: PackedSequence,
        hx: LSTMStates | None = None,
        *,
        trace: Literal[False] = False,
        recompute: int | None = None,
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

    def forward(
        self,
        input,  # noqa: A002
        hx=None,
        *,
        lengths=None,
        reset=None,
        trace=False,
        recompute=None,
    ):
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
                apart. At step 0 it discards h_0 and c_0, but of a direction against time.
            trace: Whether to return a `Trace` as well.
            recompute: In training, keep the states of every so many steps only, and run the steps
                between again in backward: memory beyond input and output no longer grows with T,
                for about a third more time. Differentiable once; not with ``trace``.

        Returns:
            The output, T×B×(D·P) in the layout of the input, then ``(h_n, c_n)``, shaped like
            ``hx``, then with ``trace=True`` the `Trace`.

        Raises:
            GatewiseError: An argument does not fit; also a ValueError, TypeError or RuntimeError,
                as in torch. The message names the argument.
        """
        if hx is not None and not isinstance(hx, tuple | list):
            raise InvalidTypeError("LSTM(hx)", "a tuple (h_0, c_0)", type(hx).__name__)
        y, states, parts = self._run(input, hx, lengths, reset, trace=trace, recompute=recompute)
        return (y, states, Trace(*parts)) if trace else (y, states)

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        return {"h_0": (self.state_size,), "c_0": (self.hidden_size,)}

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


def _within(gate: Tensor, lengths: Tensor | None) -> Tensor:
    """Return a gate of all steps, D×T×B×H, with zeros beyond the lengths."""
    return gate if lengths is None else torch.stack([zero_padding(part, lengths) for part in gate])
