"""The shapes that are measured, their targets, and both libraries' layers ready to be timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

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
ONNXRUNTIME = {"LSTM": 1.05, "GRU": 1.0, "RNN": 1.0}  # forward, every shape
VARIABLE = 0.65  # time of random lengths / time of full length, training
MEMORY = 1.1  # of torch's peak
TRACED = 1.3  # time of a forward with a trace / without


def shapes_of(kind: str) -> list[Shape]:
    """Return the shapes of a kind of layer with its targets; for the RNN, to be no slower."""
    if kind == "LSTM":
        return SHAPES
    targets = GRU_TARGETS if kind == "GRU" else [(1.0, 1.0)] * len(SHAPES)
    return [
        Shape(s.T, s.B, s.H, s.layers, forward, training, kind=kind)
        for s, (forward, training) in zip(SHAPES, targets, strict=True)
    ]


class Contest:
    """One layer of each library with the same weights, on the same input.

    Args:
        shape: Its sizes.
        options: Further options of the layers' constructors.
    """

    def __init__(self, shape: Shape, **options: Any) -> None:
        torch.manual_seed(0)
        self.shape = shape
        self.layers = {
            name: getattr(library, shape.kind)(shape.H, shape.H, shape.layers, **options)
            for name, library in (("ours", gatewise.nn), ("torch", nn))
        }
        self.layers["ours"].load_state_dict(self.layers["torch"].state_dict())
        self.x = torch.randn(shape.T, shape.B, shape.H)
        width = shape.H * (2 if options.get("bidirectional") else 1)
        self.grad_y = torch.randn(shape.T, shape.B, width)

    def forward(self, name: str, **call: Any) -> Callable[[], Tensor]:
        """Return a call that runs forward only."""
        layer = self.layers[name]

        def run() -> Tensor:
            with torch.no_grad():
                return layer(self.x, **call)[0]

        return run

    def training(self, name: str, **call: Any) -> Callable[[], None]:
        """Return a call that runs forward, and back to the input and every weight and bias."""
        layer = self.layers[name]
        x = self.x.clone().requires_grad_()

        def run() -> None:
            layer.zero_grad(set_to_none=True)
            x.grad = None
            layer(x, **call)[0].backward(self.grad_y)

        return run

    def check(self) -> None:
        """Raise unless both compute the same: a wrong result has no speed."""
        torch.testing.assert_close(
            self.forward("ours")(), self.forward("torch")(), rtol=1e-4, atol=1e-5
        )
