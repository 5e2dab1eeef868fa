"""A layer around a cell of one's own: layers, directions, lengths, resets, traces and training."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.conventions import parameter_suffix
from gatewise.errors import InvalidStateError, InvalidTypeError
from gatewise.nn import _validate
from gatewise.nn._layer_in_torch import LayerInTorch, Passed, Run, Steps
from gatewise.nn._layout import States
from gatewise.nn._option_faults import type_and_value
from gatewise.nn._options import shown_options
from gatewise.nn._own_cell import OwnStep, cell_faults, shape_of
from gatewise.ops.reference.sequence import NO_CONTEXT, run_steps

Cell = Callable[..., Any]
"""``cell(x, *states, **weights)``: see `Recurrent`."""


class Recurrent(LayerInTorch):
    """Makes a layer of a cell of one's own: a pure function of one step, in plain torch.

    The way to try an idea: the layer brings everything that belongs to sequences rather than to
    cells, and is called like `LSTM`. It runs the cell in a Python loop, on any device, and may be
    compiled; a cell that is worth it gets a kernel (``docs/adding_a_cell.md``).

    Args:
        cell: ``cell(x, *states, **weights)`` takes the input of a step, B×I, its states, B×H each,
            and the weights by name; it returns the new states in the same order, the first of them
            h, the output, and, if it likes, last a dict of tensors (B×…) for ``trace=True``.
        input_size: Features of the input, I ≥ 1; in layers above the first, I is H·D.
        hidden_size: Features of each state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        weights: The names of the weights and their shapes, in numbers, H and I: ``"2H I"``. They
            become parameters ``name_l0``, ``name_l0_reverse``, …, drawn from U(−1/√H, 1/√H).
        states: The names of the states and the number that each begins with, h first; the others
            may begin with something else than 0, also after a ``reset``.
        inputs: ``inputs(x, **weights)``: what to make of the whole input of a layer, T×B×I, once,
            before the loop; the cell then gets the steps of what it returns, T×B×…, for x.
        residual: Whether the output of each layer is its h plus its input, where the widths agree;
            an entry of the state dict if it is.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError.

    Example:
        >>> def indrnn(x, h, weight_ih, weight_hh, bias):
        ...     return torch.relu(x @ weight_ih.T + weight_hh * h + bias)
        >>> shapes = {"weight_ih": "H I", "weight_hh": "H", "bias": "H"}
        >>> layer = Recurrent(indrnn, 3, 8, num_layers=2, weights=shapes)
        >>> output, h_n = layer(torch.randn(5, 2, 3), lengths=[5, 2])
        >>> output.shape, h_n.shape
        (torch.Size([5, 2, 8]), torch.Size([2, 2, 8]))
    """

    travelling = ("residual",)

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        weights: Mapping[str, str],
        states: Mapping[str, float] | None = None,
        inputs: Callable[..., Tensor] | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.kind = f"Recurrent({getattr(cell, '__name__', 'cell')})"
        states = {"h": 0.0} if states is None else dict(states)
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        flags = {"batch_first": batch_first, "bidirectional": bidirectional, "residual": residual}
        faults = _validate.size_faults("Recurrent", sizes, flags, dropout)
        faults += cell_faults("Recurrent", cell, states, weights)
        if inputs is not None and not callable(inputs):
            expected = "a function inputs(x, **weights) or None"
            faults.append(InvalidTypeError("Recurrent(inputs)", expected, type_and_value(inputs)))
        _validate.raise_faults("Recurrent", faults)
        self.cell = cell
        self.inputs = inputs
        self.states = states
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.residual = residual
        self._names = tuple(weights)
        D = self.num_directions
        for layer in range(num_layers):
            width = hidden_size * D if layer else input_size
            for direction in range(D):
                for name, text in weights.items():
                    shape = shape_of(text, H=hidden_size, I=width)
                    weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    suffix = parameter_suffix(layer, direction)
                    self.register_parameter(f"{name}_{suffix}", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight from U(−1/√H, 1/√H), as torch draws those of its recurrent layers."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters(recurse=False):
            nn.init.uniform_(weight, -bound, bound)

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        return {f"{name}_0": (self.hidden_size,) for name in self.states}

    def explain(self) -> str:
        """Say in a sentence what runs this layer, and why."""
        return "reference (torch): a cell of one's own runs in a loop in plain torch"

    def forward(
        self,
        input: Tensor | PackedSequence,  # noqa: A002
        hx: Tensor | Sequence[Tensor] | None = None,
        *,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        trace: bool = False,
        recompute: int | None = None,
    ) -> tuple[Any, ...]:
        """Run the layers over a batch of sequences.

        Args:
            input: T×B×I, B×T×I with ``batch_first``, T×I unbatched, or a PackedSequence.
            hx: The initial state, (L·D)×B×H, without B when unbatched; a tuple if there are
                several states. By default the numbers of ``states``.
            lengths: Valid steps of each sequence, see `LSTM.forward`.
            reset: Where sequences begin anew, see `LSTM.forward`.
            trace: Whether to return what the cell shows, and its states, of every step.
            recompute: In training, keep the states of every so many steps only, and run the steps
                between again in backward.

        Returns:
            The output, T×B×(D·H) in the layout of the input, then the final state, shaped like
            ``hx``, then, with ``trace=True``, a named tuple of (L·D)×T×B×… tensors: what the cell
            shows, the other states, and h.

        Raises:
            GatewiseError: An argument does not fit, or the cell returns something else.
        """
        return self._run(input, hx, lengths, reset, trace=trace, recompute=recompute)

    def extra_repr(self) -> str:
        """Show the cell, the sizes, and what is not the default."""
        name = getattr(self.cell, "__name__", repr(self.cell))
        return ", ".join([name, str(self.input_size), str(self.hidden_size), *shown_options(self)])

    def _as_hx(self, states: States) -> Any:
        return states if len(self.states) > 1 else states[0]

    def _trace(self, shown: Mapping[str, Tensor]) -> Any:
        return namedtuple("Trace", shown)(**shown)

    def _direction(self, x: Tensor, layer: int, direction: int) -> Run:
        suffix = parameter_suffix(layer, direction)
        weights = {name: getattr(self, f"{name}_{suffix}") for name in self._names}
        step = OwnStep(self.kind, self.cell, tuple(self.states), weights)
        given = x if self.inputs is None else self._made(self.inputs(x, **weights), x)
        begin = tuple(x.new_tensor(value) for value in self.states.values())

        def run(steps: Steps, state: States) -> Passed:
            ran = run_steps(
                step,
                steps.of(given),
                state,
                NO_CONTEXT,
                reverse=steps.reverse,
                valid=steps.valid,
                restarts=steps.restarts,
                begin=begin,
                record=steps.record,
            )
            h, *others = self.states
            parts = ran.activations + ran.states[1:] + ran.states[:1]
            names = [*step.shown, *others, h]
            shown = dict(zip(names, parts, strict=True)) if steps.record else {}
            return Passed(ran.output, ran.state, shown)

        return run

    def _made(self, given: Any, x: Tensor) -> Tensor:
        if isinstance(given, Tensor) and given.shape[:2] == x.shape[:2]:
            return given
        expected = f"inputs to return a tensor that begins with the axes {tuple(x.shape[:2])}"
        raise InvalidStateError(self.kind, expected, str(getattr(given, "shape", type(given))))
