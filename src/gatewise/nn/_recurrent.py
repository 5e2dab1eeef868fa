"""What recurrent layers have in common: parameters, the way up through the layers, torch's methods.

The mathematics is in `gatewise.ops.reference`; which kernel runs it is decided in
`gatewise.ops.dispatch`. A kind of layer names its cell and says how its states look to the caller.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.conventions import parameter_suffix
from gatewise.errors import InvalidStateError
from gatewise.nn import _validate
from gatewise.nn._layout import Arranged, States, arrange, restore, restore_trace
from gatewise.ops import dispatch
from gatewise.ops.backends import Backend
from gatewise.ops.reference import CELLS


def own_weights(module: nn.Module, names: Sequence[str]) -> list[Any]:
    """Return weights by name, faster than attribute access; an absent bias is None.

    A weight that is reparametrised or replicated is an attribute instead of a parameter.
    """
    own = module._parameters  # noqa: SLF001 - named_parameters costs as much as a small forward
    return [own[name] if name in own else getattr(module, name) for name in names]


class RecurrentLayer(nn.Module):
    """Base of the layers: torch's parameters under torch's names, in torch's order.

    Subclasses set ``kind`` (the name in messages), ``mode`` (torch's name of the cell) and
    ``cell`` (ours), and define ``forward``.
    """

    kind: str
    mode: str
    cell: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        *,
        backend: Backend,
    ) -> None:
        super().__init__()
        _validate.check_constructor(
            self.kind,
            {
                "input_size": input_size,
                "hidden_size": hidden_size,
                "num_layers": num_layers,
                "proj_size": proj_size,
            },
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            backend=backend,
        )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                f"{self.kind}(dropout): expected 0 with num_layers=1, got {dropout}. It acts "
                "between layers and has no effect here.",
                stacklevel=3,
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.backend: Backend = backend
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for direction in range(self.num_directions):
                suffix = parameter_suffix(layer, direction)
                shapes = self._weight_shapes(layer)
                for name, shape in shapes.items():
                    weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(f"{name}_{suffix}", weight)
                self._all_weights.append([f"{name}_{suffix}" for name in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(−1/√H, 1/√H), in torch's order."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    @property
    def num_directions(self) -> int:
        """D: 2 if bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def state_size(self) -> int:
        """Width of h: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    @property
    def state_widths(self) -> dict[str, int]:
        """The initial states by name, and how wide they are."""
        return {"h_0": self.state_size}

    def initial_state(self, batch: int) -> Any:
        """Return zero states for ``batch`` sequences, in the weights' dtype, on their device."""
        raise NotImplementedError

    def explain(self) -> str:
        """Say in a sentence which kernel runs this layer on this machine, and why."""
        return str(dispatch.explain(self.layer_weights()[0], backend=self.backend))

    def layer_weights(self) -> list[list[Tensor]]:
        """Return the weights of each layer, its directions one after the other in a flat list."""
        by_direction = [own_weights(self, names) for names in self._all_weights]
        if not self.bidirectional:
            return by_direction
        return [f + r for f, r in zip(by_direction[::2], by_direction[1::2], strict=True)]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The weights of each layer and direction, as torch's layers give them."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Tensor]:
        return [weight for weights in self.all_weights for weight in weights]

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for names in self._all_weights for name in names]

    def flatten_parameters(self) -> None:
        """Do nothing: torch's layers pack their weights for cuDNN here; ours need no packing."""

    def get_expected_hidden_size(
        self,
        input: Tensor,  # noqa: A002
        batch_sizes: Tensor | None,
    ) -> tuple[int, int, int]:
        """Return the shape of h_0 for an input (batched, or packed steps with batch_sizes)."""
        batch_axis = 0 if self.batch_first else 1
        batch = input.size(batch_axis) if batch_sizes is None else int(batch_sizes[0])
        return self.num_layers * self.num_directions, batch, self.state_size

    def check_input(self, input: Tensor, batch_sizes: Tensor | None) -> None:  # noqa: A002
        """Raise unless the input (batched, or packed steps with batch_sizes) fits the layer."""
        axes = 3 if batch_sizes is None else 2
        if input.dim() != axes:
            raise InvalidStateError(f"{self.kind}(input)", f"{axes} axes", str(input.dim()))
        _validate.check_input(self, input, self._flat_weights[0])

    def check_hidden_size(
        self,
        hx: Tensor,
        expected_hidden_size: tuple[int, ...],
        msg: str = "Expected hidden size {}, got {}",
    ) -> None:
        """Raise unless ``hx`` has the expected shape."""
        if hx.size() != expected_hidden_size:
            raise InvalidStateError(
                f"{self.kind}(hx)",
                f"shape {tuple(expected_hidden_size)}",
                f"shape {tuple(hx.shape)}",
                msg.format(expected_hidden_size, list(hx.size())) + ".",
            )

    def extra_repr(self) -> str:
        """Show the sizes and every option that is not torch's default."""
        options = {
            "proj_size": (self.proj_size, 0),
            "num_layers": (self.num_layers, 1),
            "bias": (self.bias, True),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
            "backend": (self.backend, "auto"),
        }
        shown = [f"{name}={value}" for name, (value, usual) in options.items() if value != usual]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])

    def _weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one direction of a layer, in torch's order."""
        gates = CELLS[self.cell].gates * self.hidden_size
        width = self.state_size * self.num_directions if layer else self.input_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (gates, width),
            "weight_hh": (gates, self.state_size),
        }
        if self.bias:
            shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    def _run(
        self,
        given: Tensor | PackedSequence,
        hx: Sequence[Tensor] | None,
        lengths: Tensor | Sequence[int] | None,
        reset: Tensor | None,
        *,
        trace: bool,
    ) -> tuple[Tensor | PackedSequence, States, States]:
        """Run the layers above each other.

        Returns:
            The output and the final states as the caller's layout has them, and the parts of the
            trace, none unless it is asked for.
        """
        weights = self.layer_weights()
        call = arrange(self, weights[0][0], given, hx, lengths, reset)
        x = call.x
        results = []
        for layer, (layer_weights, states) in enumerate(
            zip(weights, self._layer_states(call), strict=True)
        ):
            if layer and self.dropout and self.training:
                x = torch.dropout(x, self.dropout, train=True)
            result = dispatch.run_layer(
                self.cell,
                x,
                states,
                layer_weights,
                lengths=call.lengths,
                reset=call.reset,
                trace=trace,
                backend=self.backend,
            )
            results.append(result)
            x = result.y
        final = tuple(_join(parts) for parts in zip(*(r.states for r in results), strict=True))
        y, final = restore(self, call, x, final)
        if not trace:
            return y, final, ()
        traces = [(result.trace or {}).values() for result in results]
        return y, final, restore_trace(call, tuple(map(_join, zip(*traces, strict=True))))

    def _layer_states(self, call: Arranged) -> list[States]:
        """Return the initial states of each layer."""
        x, D = call.x, self.num_directions
        if call.hx is not None:
            if self.num_layers == 1:
                return [call.hx]
            return [
                tuple(state[start : start + D] for state in call.hx)
                for start in range(0, D * self.num_layers, D)
            ]
        # Nothing writes to an initial state: the layers share it, and h with c if the widths agree.
        zeros: dict[int, Tensor] = {}
        for width in self.state_widths.values():
            if width not in zeros:
                zeros[width] = x.new_zeros(D, x.shape[1], width)
        return [tuple(zeros[width] for width in self.state_widths.values())] * self.num_layers


def _join(parts: States) -> Tensor:
    """Put the layers' parts above each other, (L·D)×…."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
