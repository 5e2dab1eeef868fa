"""Random recurrent layers of Keras, with weights, inputs and masks of any form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch
from torch import Tensor

WITH_KERNELS = ["tanh", "relu", "hard_tanh"], ["sigmoid", "hard_sigmoid"]
ACTIVATIONS = [*WITH_KERNELS[0], "softsign", "elu"], [*WITH_KERNELS[1], "softsign"]
MERGES = ["concat", "sum", "mul", "ave", None]


@dataclass
class Case:
    """A built layer, and what it is called with."""

    layer: Any
    x: np.ndarray
    mask: np.ndarray | None
    initial_state: list[np.ndarray] | None = None

    def keras(self, layer: Any = None, **more: Any) -> dict[str, Tensor]:
        """What a layer of Keras gives, by default the case's own."""
        layer = self.layer if layer is None else layer
        return flat(layer(self.x, mask=tensor(self.mask), **more))

    def torch(self, module: torch.nn.Module) -> dict[str, Tensor]:
        with torch.no_grad():
            return flat(module(torch.from_numpy(self.x), tensor(self.mask)))


def random_case(
    seed: int,
    namespace: Any = keras.layers,
    kinds: tuple[str, ...] = ("LSTM", "GRU", "SimpleRNN"),
    activations: tuple[list[str], list[str]] = ACTIVATIONS,
) -> Case:
    """Draw a layer from ``namespace``; the same one for the same seed, but for its class."""
    draw = np.random.default_rng(seed)
    kind = str(draw.choice(kinds))
    yes = lambda share=0.5: bool(draw.random() < share)  # noqa: E731
    options: dict[str, Any] = {
        "use_bias": yes(0.8),
        "return_sequences": yes(),
        "return_state": yes(0.3),
        "go_backwards": yes(0.3),
        "zero_output_for_mask": yes(0.3),
        "trainable": yes(0.8),
        "unroll": yes(0.1),
    }
    if kind == "LSTM" and yes(0.6):
        options["activation"] = str(draw.choice(activations[0]))
        options["recurrent_activation"] = str(draw.choice(activations[1]))
    if kind == "SimpleRNN":
        options["activation"] = str(draw.choice(["tanh", "relu"]))
    if kind == "GRU":
        options["reset_after"] = yes()
    both = yes(0.4)
    if both:
        options["go_backwards"] = False
    layer = getattr(namespace, kind)(int(draw.integers(1, 9)), **options)
    if both:
        layer = keras.layers.Bidirectional(layer, merge_mode=MERGES[draw.integers(len(MERGES))])
    T, B, I = (int(draw.integers(1, most)) for most in (8, 5, 7))  # noqa: E741 - the field's letter
    layer.build((None, T, I))
    layer.set_weights([draw.normal(size=w.shape) * 0.5 for w in layer.get_weights()])
    # Keras cannot unroll against time with a mask: it flips a list as if it were a tensor.
    masked = yes() and not options["unroll"]
    mask = draw.random((B, T)) < draw.choice([0.3, 0.8]) if masked else None
    return Case(layer, draw.normal(size=(B, T, I)).astype(np.float32), mask)


def flat(result: Any) -> dict[str, Tensor]:
    """Return the tensors of a result by their positions."""
    results = result if isinstance(result, list | tuple) else (result,)
    return {str(n): part.detach() for n, part in enumerate(results)}


def tensor(array: np.ndarray | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(array)
