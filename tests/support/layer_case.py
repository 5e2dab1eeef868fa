"""One configuration of a layer with its numbers, and how to evaluate a layer on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from gatewise.ops import reference

from .compare import jitter

Layer = Callable[..., tuple]
"""``layer(x, *states, weights, *, lengths, reset, trace) -> (y, *final states, trace)``."""


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

    def __str__(self) -> str:
        changed = (f for f in fields(self) if getattr(self, f.name) != f.default)
        return "-".join(f"{f.name}{getattr(self, f.name)}" for f in changed) or "plain"

    def tensors(self, dtype: torch.dtype, moved: int = 0) -> dict[str, Tensor]:
        """Return x, the states and the weights: values that float32 holds exactly, in ``dtype``.

        With ``moved`` they are off by a rounding error, by another one for each number.
        """
        draw = torch.Generator().manual_seed(self.seed)
        width, gates = self.P or self.H, reference.CELLS[self.cell].gates
        shapes = {"x": (self.T, self.B, self.I), "h0": (self.D, self.B, width)}
        if self.states == 2:
            shapes["c0"] = (self.D, self.B, self.H)
        for direction in range(self.D):
            shapes[f"w_ih{direction}"] = (gates * self.H, self.I)
            shapes[f"w_hh{direction}"] = (gates * self.H, width)
            if self.bias:
                shapes[f"b_ih{direction}"] = shapes[f"b_hh{direction}"] = (gates * self.H,)
            if self.P:
                shapes[f"w_hr{direction}"] = (self.P, self.H)
        values = {name: torch.randn(shape, generator=draw) for name, shape in shapes.items()}
        for name, value in values.items():
            if name.startswith(("w_", "b_")):
                value *= self.scale / self.H**0.5
        values = {name: jitter(value, moved).to(dtype) for name, value in values.items()}
        if not self.contiguous:
            values = {name: _strided(value) for name, value in values.items()}
        return values

    @property
    def states(self) -> int:
        """How many tensors the state of the cell is."""
        return len(reference.CELLS[self.cell].states)

    def sequence_options(self) -> dict[str, Tensor | None]:
        """Return ``lengths`` and ``reset`` for the layer."""
        draw = torch.Generator().manual_seed(self.seed + 1)
        lengths = torch.randint(1, self.T + 1, (self.B,), generator=draw) if self.lengths else None
        reset = torch.rand(self.T, self.B, generator=draw) < 0.4 if self.reset else None
        return {"lengths": lengths, "reset": reset}


def evaluate(
    layer: Layer, case: LayerCase, dtype: torch.dtype, moved: int = 0
) -> dict[str, Tensor]:
    """Return every output of ``layer`` and the gradient of every input and weight."""
    tensors = {name: value.requires_grad_() for name, value in case.tensors(dtype, moved).items()}
    x, *others = tensors.values()
    states, weights = others[: case.states], others[case.states :]
    y, *final, trace = layer(x, *states, weights, trace=case.trace, **case.sequence_options())
    results = {"y": y} | dict(zip(("h_n", "c_n"), final, strict=False))
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

    def layer(x, *arguments, lengths=None, reset=None, trace=False):
        *states, weights = arguments
        if lengths is not None or reset is not None or trace:
            return reference_of(cell)(
                x, *states, weights, lengths=lengths, reset=reset, trace=trace
            )
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
