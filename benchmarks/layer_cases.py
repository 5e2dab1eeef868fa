"""The shapes that are measured, their targets, and both libraries' layers ready to be timed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import gatewise
import gatewise.nn

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""The kinds of layers, and how many gates each has."""


@dataclass(frozen=True)
class Shape:
    """A layer with I = H and its input; targets: times torch, times torch, share of the peak."""

    T: int
    B: int
    H: int
    layers: int = 1
    forward: float = 1.0
    training: float = 1.0
    share: float = 0.0
    kind: str = "LSTM"

    def __str__(self) -> str:
        return f"T{self.T} B{self.B} H{self.H}" + (f" x{self.layers}" if self.layers > 1 else "")

    @property
    def flops(self) -> float:
        """Operations of a forward pass; training takes three times as many."""
        return 2.0 * self.layers * self.T * self.B * GATES[self.kind] * self.H * 2 * self.H


SHAPES = [
    Shape(100, 32, 128, forward=1.25, training=1.3, share=0.80),
    Shape(100, 64, 256, 2, forward=1.05, training=1.4, share=0.85),
    Shape(128, 64, 512, forward=1.1, training=1.3, share=0.88),
    Shape(35, 20, 650, 2, forward=1.05, training=1.1, share=0.80),
    Shape(200, 128, 64, forward=1.3, training=2.5, share=0.70),
    Shape(50, 16, 1024, forward=1.1, training=1.25, share=0.80),
    Shape(1000, 1, 64, forward=3.0, training=3.0, share=0.38),
]
GRU_TARGETS = [(2.8, 3.0), (2.8, 3.0), (2.8, 3.0), (2.8, 2.8), (2.8, 4.0), (2.5, 2.8), (8.0, 8.0)]
MEAN_TRAINING = 1.55  # geometric, over SHAPES, LSTM
BF16_TRAINING = 1.3  # times torch's under autocast, every shape
VARIABLE = 0.65  # time of random lengths / time of full length, training
MEMORY = 1.1  # of torch's peak
TRACED = 1.3  # time of a forward with a trace / without


def shapes_of(kind: str, precision: str = "f32") -> list[Shape]:
    """Return the shapes of a kind of layer with its targets; for the RNN, to be no slower."""
    if precision == "bf16":
        targets = [(1.0, BF16_TRAINING)] * len(SHAPES)
    elif kind == "LSTM":
        return SHAPES
    else:
        targets = GRU_TARGETS if kind == "GRU" else [(1.0, 1.0)] * len(SHAPES)
    return [
        Shape(s.T, s.B, s.H, s.layers, forward, training, kind=kind)
        for s, (forward, training) in zip(SHAPES, targets, strict=True)
    ]


@dataclass(frozen=True)
class Precision:
    """What the products of a layer are computed in; sums and states are float32 throughout."""

    name: str
    options: dict[str, Any]  # of our layers
    autocast: torch.dtype  # that torch's layers run under
    tolerance: float  # of `assert_same`


PRECISIONS = {
    precision.name: precision
    for precision in (
        Precision("f32", {}, torch.float32, 1e-4),
        # torch rounds the state of a GRU as well, and strays over hundreds of steps.
        Precision("bf16", {"precision": "bf16"}, torch.bfloat16, 0.1),
    )
}


class Contest:
    """One layer of each library with the same weights, on the same input.

    Args:
        shape: Its sizes.
        precision: A name of `PRECISIONS`.
        options: Further options of both layers' constructors.
    """

    def __init__(self, shape: Shape, precision: str = "f32", **options: Any) -> None:
        torch.manual_seed(0)
        self.shape, self.options = shape, options
        self.precision = PRECISIONS[precision]
        sizes = (shape.H, shape.H, shape.layers)
        self.layers = {
            "ours": getattr(gatewise.nn, shape.kind)(*sizes, **options, **self.precision.options),
            "torch": getattr(nn, shape.kind)(*sizes, **options),
        }
        self.layers["ours"].load_state_dict(self.layers["torch"].state_dict())
        self.x = torch.randn(shape.T, shape.B, shape.H)
        self.leaf = self.x.clone().requires_grad_()
        width = shape.H * (2 if options.get("bidirectional") else 1)
        self.grad_y = torch.randn(shape.T, shape.B, width)

    def forward(self, name: str, **call: Any) -> Callable[[], Tensor]:
        """Return a call that runs forward only."""
        layer, precision = self.layers[name], self._precision(name)

        def run() -> Tensor:
            with torch.no_grad(), precision:
                return layer(self.x, **call)[0]

        return run

    def frozen(self) -> Callable[[], Tensor]:
        """Return a call that runs our layer forward with its weights packed before."""
        layer = gatewise.freeze(copy.deepcopy(self.layers["ours"]).eval())

        def run() -> Tensor:
            with torch.no_grad():
                return layer(self.x)[0]

        return run

    def training(self, name: str, **call: Any) -> Callable[[], None]:
        """Return a call that runs forward, and back to the input and every weight and bias."""
        layer, precision, x = self.layers[name], self._precision(name), self.leaf
        grad_y = self.grad_y
        if self.precision.name != "f32":  # the output may be of either dtype
            grad_y = grad_y.to(self.forward(name, **call)().dtype)

        def run() -> None:
            layer.zero_grad(set_to_none=True)
            x.grad = None
            with precision:
                y = layer(x, **call)[0]
            y.backward(grad_y)

        return run

    def arrays(self, name: str) -> dict[str, Tensor]:
        """Return the output, ``y``, and the gradients of ``x`` and of every parameter by name."""
        self.training(name)()
        found = {key: weight.grad for key, weight in self.layers[name].named_parameters()}
        return {"y": self.forward(name)(), "x": self.leaf.grad, **found}

    def check(self) -> str:
        """Raise unless ours computes what torch does in float32: a wrong result has no speed.

        Returns:
            Where torch itself, in this precision, does not compute that; empty if it does.
        """
        ours, theirs = self.arrays("ours"), self.arrays("torch")
        if self.precision.name == "f32":
            assert_same(ours, theirs, self.precision.tolerance)
            return ""
        exact = Contest(self.shape, **self.options).arrays("torch")
        assert_same(ours, exact, self.precision.tolerance)
        name, off = max(
            ((name, _distance(theirs[name], array)) for name, array in exact.items()),
            key=lambda pair: pair[1],
        )
        if off <= self.precision.tolerance:
            return ""
        what = "output" if name == "y" else f"gradient of {name}"
        return (
            f"{self.shape}: torch's {what} under autocast is wrong on this processor, off by "
            f"{off:.2f} of the largest element; ours by {_distance(ours[name], exact[name]):.3f}."
        )

    def _precision(self, name: str) -> AbstractContextManager:
        """Return what torch's layers run under; ours are told by an option."""
        dtype = self.precision.autocast
        if name == "ours" or dtype == torch.float32:
            return nullcontext()
        return torch.autocast("cpu", dtype)


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the largest difference as a share of the largest element."""
    return ((one.float() - other).abs().max() / other.abs().max()).item()


def assert_same(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Any], tolerance: float = 1e-4
) -> None:
    """Raise unless all of ``theirs`` are ours, but for ``tolerance`` × the largest element."""
    for name, array in theirs.items():
        one, other = ours[name].float(), torch.as_tensor(array).float()
        most = tolerance * other.abs().max().item()
        torch.testing.assert_close(one, other, rtol=0, atol=most, msg=lambda m, n=name: f"{n}: {m}")
