"""One configuration of a layer with its numbers, and how to evaluate a layer on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gatewise.ops import reference
from gatewise.ops.reference import PLAIN, CellOptions

from .compare import jitter

Layer = Callable[..., tuple]
"""``layer(x, *states, weights, *, lengths, reset, trace, …) -> (y, *final states, trace)``."""


@dataclass(frozen=True, kw_only=True)
class LayerCase:
    """Sizes and options of one layer; everything random follows from ``seed``."""

    cell: str = "lstm"
    T: int = 5
    B: int = 3
    I: int = 4  # noqa: E741 - the field's letter
    H: int = 6
    P: int = 0
    D: int = 1
    bias: bool = True
    lengths: bool = False
    reset: bool = False
    trace: bool = False
    contiguous: bool = True
    scale: float = 1.0
    seed: int = 0
    options: CellOptions = PLAIN
    draws: bool = False  # whether there is a seed for masks
    restart: bool = False  # whether there is a state after cuts

    def __str__(self) -> str:
        changed = [f for f in fields(self) if getattr(self, f.name) != f.default]
        parts = [f"{f.name}{getattr(self, f.name)}" for f in changed if f.name != "options"]
        parts += [f"{n}{v}" for n, v in self.options._asdict().items() if v != getattr(PLAIN, n)]
        return "-".join(parts) or "plain"

    def tensors(self, dtype: torch.dtype, moved: int = 0) -> dict[str, Tensor]:
        """Return x, the states and the weights: values that float32 holds exactly, in ``dtype``.

        With ``moved`` they are off by a rounding error, by another one for each number.
        """
        draw = torch.Generator().manual_seed(self.seed)
        width, gates = self.P or self.H, reference.CELLS[self.cell].gates
        shapes = {"x": (self.T, self.B, self.I), "h0": (self.D, self.B, width)}
        for state in self.cell_states:
            shapes[f"{state}0"] = (self.D, self.B, self.H)
        for direction in range(self.D):
            shapes[f"w_ih{direction}"] = (gates * self.H, self.I)
            if self.feeds_back:
                shapes[f"w_hh{direction}"] = (gates * self.H, width)
            if self.bias:
                shapes[f"b_ih{direction}"] = (gates * self.H,)
            if self.bias and self.feeds_back:
                shapes[f"b_hh{direction}"] = (gates * self.H,)
            if self.P:
                shapes[f"w_hr{direction}"] = (self.P, self.H)
            if self.options.peephole:
                shapes[f"p_{direction}"] = ((gates - 1) * self.H,)
            if self.options.layer_norm:
                joint = ("ih", "hh", "c")[: 1 + self.states]
                for name in joint:
                    wide = self.H if name == "c" else gates * self.H
                    shapes[f"n_{name}{direction}"] = shapes[f"m_{name}{direction}"] = (wide,)
        if self.restart:
            shapes["restart_h"] = (self.D, width)
            for state in self.cell_states:
                shapes[f"restart_{state}"] = (self.D, self.H)
        values = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        for name, value in values.items():
            if name.startswith(("w_", "b_")):
                value *= self.scale / self.H**0.5
            if name.startswith("n_"):
                value += 1  # weights of norms
            if name in ("n0", "restart_n"):
                value.abs_().add_(1)  # the normaliser of an sLSTM
        values = {name: jitter(value, moved).to(dtype) for name, value in values.items()}
        if not self.contiguous:
            values = {name: _strided(value) for name, value in values.items()}
        return values

    @property
    def states(self) -> int:
        """How many tensors the state of the cell is."""
        return 1 + len(self.cell_states)

    @property
    def cell_states(self) -> tuple[str, ...]:
        """The states beside h."""
        return reference.CELLS[self.cell].states[1:]

    @property
    def feeds_back(self) -> bool:
        """Whether the cell has weights of h."""
        return reference.CELLS[self.cell].feeds_back

    def sequence_options(self) -> dict[str, Any]:
        """Return ``lengths``, ``reset`` and what else the layer takes."""
        draw = torch.Generator().manual_seed(self.seed + 1)
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=draw) if self.lengths else None
        reset = torch.rand(self.T, self.B, generator=draw) < 0.4 if self.reset else None
        named: dict[str, Any] = {"lengths": lengths, "reset": reset}
        if self.options != PLAIN:
            named["options"] = self.options
        if self.draws:
            named["seed"] = torch.randint(-(2**62), 2**62, (1,), generator=draw)
        return named


def evaluate(
    layer: Layer, case: LayerCase, dtype: torch.dtype, moved: int = 0
) -> dict[str, Tensor]:
    """Return every output of ``layer`` and the gradient of every input and weight."""
    tensors = {name: value.requires_grad_() for name, value in case.tensors(dtype, moved).items()}
    x, *others = tensors.values()
    restarts = case.states if case.restart else 0
    states, weights = others[: case.states], others[case.states : len(others) - restarts]
    named = case.sequence_options()
    if restarts:
        named["restart"] = tuple(others[-restarts:])
    y, *final, trace = layer(x, *states, weights, trace=case.trace, **named)
    names = [f"{state}_n" for state in reference.CELLS[case.cell].states]
    results = {"y": y} | dict(zip(names, final, strict=True))
    results |= {f"trace.{name}": value for name, value in (trace or {}).items()}
    draw = torch.Generator().manual_seed(case.seed + 2)
    pull = [torch.randn(value.shape, generator=draw).to(dtype) for value in results.values()]
    # A trace of constants, as a wrong layer may return, has no gradient to give.
    live = [
        (value, g) for value, g in zip(results.values(), pull, strict=True) if value.requires_grad
    ]
    torch.autograd.backward(*zip(*live, strict=True))
    results |= {f"grad.{name}": _gradient(value) for name, value in tensors.items()}
    return {name: value.detach() for name, value in results.items()}


def reference_of(cell: str) -> Layer:
    """Return `gatewise.ops.reference.layer` of a cell, its states one by one."""

    def layer(x, *arguments, **options):
        *states, weights = arguments
        y, final, traced = reference.layer(
            reference.CELLS[cell], x, tuple(states), weights, **options
        )
        return y, *final, traced

    return layer


def torch_of(cell: str) -> Layer:
    """Return torch's own operation where it can do what is asked; else plain torch."""

    def layer(x, *arguments, trace=False, **named):
        *states, weights = arguments
        given = any(value is not None for value in named.values())
        if trace or given or not hasattr(torch, cell):
            return reference_of(cell)(x, *states, weights, trace=trace, **named)
        directions = states[0].shape[0]
        with warnings.catch_warnings():
            # oneDNN says once that it has no projections.
            warnings.filterwarnings("ignore", message="LSTM with projections", category=UserWarning)
            y, *final = getattr(torch, cell)(
                x,
                tuple(states) if len(states) > 1 else states[0],
                weights,
                has_biases=len(weights) // directions >= 4,
                num_layers=1,
                dropout=0.0,
                train=True,
                bidirectional=directions == 2,
                batch_first=False,
            )
        return y, *final, None

    return layer


reference_layer = reference_of("lstm")
torch_layer = torch_of("lstm")


def _strided(value: Tensor) -> Tensor:
    """Return the same numbers, spread over every second place of a larger tensor."""
    spread = torch.empty(*value.shape[:-1], 2 * value.shape[-1], dtype=value.dtype)
    spread[..., ::2] = value
    return spread[..., ::2]


def _gradient(value: Tensor) -> Tensor:
    return torch.zeros_like(value) if value.grad is None else value.grad
