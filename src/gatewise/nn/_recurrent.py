"""What recurrent layers have in common: parameters, the way up through the layers, torch's methods.

The mathematics is in `gatewise.ops.reference`; which kernel runs it is decided in
`gatewise.ops.dispatch`. A kind of layer names its cell and says how its states look to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatewise.conventions import parameter_suffix
from gatewise.nn import _validate
from gatewise.nn._frozen import Frozen
from gatewise.nn._initial_values import Init, draw_as_torch, set_initial_values
from gatewise.nn._layout import Arranged, States, arrange, restore, restore_trace, zero_padding
from gatewise.nn._masks import draw_seed, drop_between, drop_input, drop_weights
from gatewise.nn._options import ModuleWithOptions, shown_options
from gatewise.nn._precision import Precision, autocast_dtype, takes_bf16
from gatewise.nn._running_averages import register_averages, reset_averages, statistics_of
from gatewise.nn._sequence_layer import SequenceLayer
from gatewise.nn._torch_methods import TorchMethods, own_weights
from gatewise.ops import dispatch
from gatewise.ops.backends import Backend
from gatewise.ops.reference import CELLS, PLAIN, CellOptions
from gatewise.ops.reference.batch_norm import Statistics


class RecurrentLayer(SequenceLayer, TorchMethods, ModuleWithOptions):
    """Base of the layers: torch's parameters under torch's names, in torch's order.

    Subclasses set ``kind`` (the name in messages), ``mode`` (torch's name of the cell) and
    ``cell`` (ours), and define ``forward``.

    An option that torch lacks is a keyword of a subclass's constructor, which hands it on in
    ``options``, and what `ModuleWithOptions` says; `_validate` refuses what it may not be.
    """

    mode: str
    cell: str

    travelling = ("residual", "reverse")
    staying = ("init", "learn_initial_state", "generator", "precision", "backend")

    inits: ClassVar[tuple[str, ...]] = ("torch", "orthogonal", "chrono")
    """What ``init`` may be."""

    init: Init = "torch"
    chrono_steps: int | None = None
    forget_bias: float | None = None
    reverse: bool = False
    layer_norm: bool = False
    batch_norm_steps: int | None = None
    peephole: bool = False
    input_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    update_dropout: float = 0.0
    weight_dropout: float = 0.0
    zoneout: Any = 0.0
    learn_initial_state: bool = False
    generator: torch.Generator | None = None
    precision: Precision = "auto"
    backend: Backend = "auto"

    frozen: Frozen | None = None
    """What `gatewise.freeze` made of the layer."""

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
        options: Mapping[str, Any],
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
            bidirectional=bidirectional,
            dropout=dropout,
            options=options,
            inits=self.inits,
        )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        for name, value in options.items():
            setattr(self, name, value)
        _validate.warn_of_idle_options(self)
        self._all_weights: list[list[str]] = []
        for position, suffix in enumerate(self._suffixes):
            shapes = self._weight_shapes(position // self.num_directions)
            for name, shape in shapes.items():
                weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_{suffix}", weight)
            self._all_weights.append([f"{name}_{suffix}" for name in shapes])
        if self.batch_norm_steps:
            gates = CELLS[self.cell].gates * hidden_size
            widths = {"ih": gates, "hh": gates, "c": hidden_size}
            register_averages(self, self._suffixes, self.batch_norm_steps, widths, device, dtype)
        if self.learn_initial_state:
            # After all of torch's parameters, so that those keep their order.
            for names, shape in zip(self._initial_names, self.state_shapes.values(), strict=True):
                for name in names:
                    initial = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name, initial)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every weight from U(−1/√H, 1/√H), torch's in its order, then the peepholes.

        Then do what ``init`` asks for. Learned initial states become zero, layer norms leave
        alone, and batch norms begin at a tenth, with running averages of 0 and 1.
        """
        self._draw()
        if self.batch_norm_steps:
            reset_averages(self, self._suffixes)
        if self.init == "torch" and self.forget_bias is None:
            return
        for suffix, names in zip(self._suffixes, self._all_weights, strict=True):
            weights = {name: getattr(self, name) for name in names}
            set_initial_values(
                {name.removesuffix(f"_{suffix}"): weight for name, weight in weights.items()},
                CELLS[self.cell],
                self.init,
                chrono_steps=self.chrono_steps,
                forget_bias=self.forget_bias,
                generator=self.generator,
            )
            for name in weights.keys() - self._parameters.keys():
                setattr(self, name, weights[name])  # reparametrised: written by assignment only

    def _draw(self) -> None:
        bound = 1.0 / math.sqrt(self.hidden_size)
        draw_as_torch(self.named_parameters(), bound, self.generator)

    @property
    def state_size(self) -> int:
        """Width of h: P with a projection, else H."""
        return self.proj_size or self.hidden_size

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The initial states by name, and the shape that each has for one sequence."""
        return {"h_0": (self.state_size,)}

    def explain(self) -> str:
        """Say in a sentence which kernel runs this layer on this machine, and why."""
        weights = self.layer_weights()[0]
        autocast = autocast_dtype(weights[0], weights[0])
        options = self._cell_options(bf16=takes_bf16(self.precision, weights[0], autocast))
        choice = dispatch.explain(weights, self.cell, options=options, backend=self.backend)
        return str(choice)

    def layer_weights(self) -> list[list[Tensor]]:
        """Return the weights of each layer, its directions one after the other in a flat list."""
        by_direction = [own_weights(self, names) for names in self._all_weights]
        if not self.bidirectional:
            return by_direction
        return [f + r for f, r in zip(by_direction[::2], by_direction[1::2], strict=True)]

    def extra_repr(self) -> str:
        """Show the sizes and every option that is not torch's default."""
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown_options(self)])

    @property
    def _initial_names(self) -> list[list[str]]:
        """The names of learned h's, then of learned c's, over layers and directions."""
        states = [name.removesuffix("_0") for name in self.state_shapes]
        return [[f"initial_{state}_{suffix}" for suffix in self._suffixes] for state in states]

    @property
    def _suffixes(self) -> list[str]:
        """What torch's names end with, over layers and directions."""
        return [
            parameter_suffix(layer, direction)
            for layer in range(self.num_layers)
            for direction in range(self.num_directions)
        ]

    def _initial_states(self, batch: int) -> States:
        """Return the initial states for ``batch`` sequences, each (L·D)×B×…."""
        if self.learn_initial_state:
            # Repeated, not expanded: callers may write to a state, as they may to zeros.
            return tuple(
                torch.stack(own_weights(self, names)).unsqueeze(1).repeat(1, batch, 1)
                for names in self._initial_names
            )
        weight, rows = self.layer_weights()[0][0], self.num_layers * self.num_directions
        return tuple(
            weight.new_full((rows, batch, *shape), value)
            for shape, value in zip(self.state_shapes.values(), self._beginnings, strict=True)
        )

    def _weight_shapes(self, layer: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of one direction of a layer, in torch's order."""
        cell = CELLS[self.cell]
        gates = cell.gates * self.hidden_size
        width = self.state_size * self.num_directions if layer else self.input_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, width)}
        if cell.feeds_back:
            shapes["weight_hh"] = (gates, self.state_size)
        if self.bias:
            shapes |= {f"bias_{part}": (gates,) for part in ("ih", "hh")[: 1 + cell.feeds_back]}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        if self.peephole:
            shapes["weight_peephole"] = (gates - self.hidden_size,)
        if self.layer_norm or self.batch_norm_steps:
            norm = "ln" if self.layer_norm else "bn"
            norms = [("ih", gates), ("hh", gates), ("c", self.hidden_size)]
            for name, size in norms[: 2 + self._has_cells]:
                shapes |= {f"weight_{norm}_{name}": (size,), f"bias_{norm}_{name}": (size,)}
        return shapes

    @property
    def _beginnings(self) -> tuple[float, ...]:
        """The numbers that the states begin with."""
        return CELLS[self.cell].initial or (0.0,) * len(self.state_shapes)

    @property
    def _has_cells(self) -> bool:
        return len(CELLS[self.cell].states) > 1

    def _cell_options(self, **others: Any) -> CellOptions:
        """Return what the cells do, as the module stands; ``others`` are a subclass's."""
        pair = self.zoneout if isinstance(self.zoneout, tuple) else (0.0, self.zoneout)
        options = CellOptions(
            peephole=self.peephole,
            layer_norm=self.layer_norm,
            batch_norm=self.batch_norm_steps is not None,
            update_dropout=self.update_dropout if self.training else 0.0,
            recurrent_dropout=self.recurrent_dropout if self.training else 0.0,
            zoneout_c=pair[0],
            zoneout_h=pair[1],
            reverse=self.reverse,
            **others,
        )
        return PLAIN if options == PLAIN else options

    def _run(
        self,
        given: Tensor | PackedSequence,
        hx: Sequence[Tensor] | None,
        lengths: Tensor | Sequence[int] | None,
        reset: Tensor | None,
        *,
        trace: bool,
        recompute: int | None,
    ) -> tuple[Tensor | PackedSequence, States, States]:
        """Run the layers above each other.

        Returns:
            The output and the final states as the caller's layout has them, and the parts of the
            trace, none unless it is asked for.
        """
        if recompute is not None:
            _validate.check_recompute(self.kind, recompute, trace=trace)
        weights = self.layer_weights()
        call = arrange(self, weights[0][0], given, hx, lengths, reset)
        bf16 = takes_bf16(self.precision, weights[0][0], call.autocast)
        x, results, options = call.x, [], self._cell_options(bf16=bf16)
        draws = options.masked or self.input_dropout or self.weight_dropout
        seed = draw_seed(x.device, self.generator) if self.training and draws else None
        packs = None
        if self.frozen and not self.training and dispatch.reads_packed(weights[0]):
            packs = self.frozen.packs(self.kind, weights)
        for layer, (layer_weights, states) in enumerate(
            zip(weights, self._layer_states(call), strict=True)
        ):
            if layer and self.dropout and self.training:
                x = drop_between(x, self.dropout, self.generator)
            below = x
            if seed is not None:
                options = options._replace(stream=2 * layer)
                below, layer_weights = self._dropped(x, layer_weights, seed, layer)
            result = dispatch.run_layer(
                self.cell,
                below,
                states,
                self._expanded(layer_weights),
                lengths=call.lengths,
                reset=call.reset,
                trace=trace,
                options=options,
                seed=seed,
                restart=self._restart(layer) if reset is not None else (),
                statistics=self._statistics(layer, call),
                packed=packs[layer] if packs else None,
                recompute=recompute,
                backend=self.backend,
            )
            results.append(result)
            x = self._add_input(result.y, x, call.lengths)
        final = tuple(
            dispatch.join(parts) for parts in zip(*(r.states for r in results), strict=True)
        )
        y, final = restore(self, call, x, final)
        if not trace:
            return y, final, ()
        traces = [self._shown(result.trace or {}, call.lengths) for result in results]
        return y, final, restore_trace(call, tuple(map(dispatch.join, zip(*traces, strict=True))))

    def _shown(self, trace: dict[str, Tensor], lengths: Tensor | None) -> States:  # noqa: ARG002
        """Return the parts of a layer's trace, D×T×B×…, in the order of the class that shows it."""
        return tuple(trace.values())

    def _expanded(self, weights: list[Tensor]) -> list[Tensor]:
        """Return a layer's weights as `gatewise.ops.run_layer` takes them."""
        return weights

    def _dropped(
        self, x: Tensor, weights: list[Tensor], seed: Tensor, layer: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the input of a layer and its weights, with what dropout leaves of them."""
        if self.input_dropout:
            x = drop_input(x, seed, layer, self.input_dropout, self.backend)
        if self.weight_dropout:
            count = len(weights) // self.num_directions
            weights = drop_weights(weights, count, seed, layer, self.weight_dropout, self.backend)
        return x, weights

    def _restart(self, layer: int) -> States:
        """Return the states after a cut, each D×…; none for zeros."""
        if not self.learn_initial_state:
            return ()
        D = self.num_directions
        return tuple(
            torch.stack(own_weights(self, names[layer * D : (layer + 1) * D]))
            for names in self._initial_names
        )

    def _statistics(self, layer: int, call: Arranged) -> Statistics | None:
        if not self.batch_norm_steps:
            return None
        D = self.num_directions
        suffixes = self._suffixes[layer * D : (layer + 1) * D]
        return statistics_of(self, suffixes, *call.x.shape[:2], alike=call.hx is None)

    def _add_input(self, y: Tensor, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return y + x (T×B×F) if the layer is residual and the widths agree, else y."""
        if not self.residual or y.shape[-1] != x.shape[-1]:
            return y
        return y + (x if lengths is None else zero_padding(x, lengths))

    def _layer_states(self, call: Arranged) -> list[States]:
        """Return the initial states of each layer."""
        x, hx, D = call.x, call.hx, self.num_directions
        if hx is None and self.learn_initial_state:
            hx = self._initial_states(x.shape[1])
        if hx is not None:
            if self.num_layers == 1:
                return [hx]
            return [
                tuple(state[start : start + D] for state in hx)
                for start in range(0, D * self.num_layers, D)
            ]
        # Nothing writes to an initial state: the layers share it, and h with c if the widths agree.
        kinds = list(zip(self.state_shapes.values(), self._beginnings, strict=True))
        made: dict[tuple[tuple[int, ...], float], Tensor] = {}
        for shape, value in kinds:
            if (shape, value) not in made:
                made[shape, value] = x.new_full((D, x.shape[1], *shape), value)
        return [tuple(made[kind] for kind in kinds)] * self.num_layers
