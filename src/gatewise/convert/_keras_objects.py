"""Keras itself, where it is installed: its layers taken apart, and what asks for it.

Keras' classes are known by their names, so that nothing here needs Keras to be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatewise.convert._keras_parts import KINDS, Described, Store
from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError


def import_keras(where: str) -> Any:
    """Return the module keras.

    Raises:
        InvalidStateError: It, or what computes for it, is not there.
    """
    try:
        import keras
    except ImportError as error:
        raise InvalidStateError(
            where,
            "the package keras, with a backend",
            str(error),
            "Run pip install 'gatewise[keras]', and set KERAS_BACKEND=torch in the environment "
            "before anything imports Keras.",
        ) from error
    return keras


def activation_name(where: str, function: Any) -> str:
    """Return what Keras calls one of its activations.

    Keras writes down no more of a function than its name, which another may have as well.

    Raises:
        InvalidValueError: It is none of Keras'.
    """
    name = str(getattr(function, "__name__", type(function).__name__))
    if getattr(import_keras(where).activations, name, None) is function:
        return name
    raise InvalidValueError(
        where,
        "a function of keras.activations",
        f"{name} of {getattr(function, '__module__', None)}",
        "What a function of your own computes is not known, whatever its name. If Keras has one "
        "that does the same, give Keras its name.",
    )


def describe(layer: Any) -> tuple[Described, Store]:
    """Return the configuration of a Keras layer or model, and the store of its weights.

    Raises:
        InvalidTypeError: It is none, or of a class that is not Keras' own.
        InvalidValueError: Keras cannot describe it, or it has a function of somebody's own.
    """
    store = _ObjectStore(layer)
    kind = type(layer)
    described = {"module": kind.__module__, "class_name": kind.__name__}
    if kind.__name__ not in KINDS:  # whose configuration may be none that can be asked for
        return described | {"config": {"name": layer.name}}, store
    try:
        return described | {"config": layer.get_config()}, store
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InvalidValueError(
            f"{kind.__name__} layer {layer.name!r}",
            "layers with functions of keras.activations",
            str(error)[:200],
            "Convert the other layers one by one, from_keras(layer).",
        ) from error


class _ObjectStore:
    """A layer that lives."""

    def __init__(self, layer: Any) -> None:
        kind = type(layer)
        named = f"{kind.__module__}.{kind.__name__}"
        bases = [base.__module__ for base in kind.__mro__ if base.__name__ == "Layer"]
        if not any(module.startswith("keras.") for module in bases):
            raise InvalidTypeError(
                "from_keras(layer)", "a layer or model of Keras, or the path of its file", named
            )
        if not kind.__module__.startswith(("keras.", "gatewise.keras.")):
            raise InvalidTypeError(
                "from_keras(layer)",
                "a class of Keras' own",
                named,
                "A subclass may compute something else. Convert the layers inside one by one.",
            )
        if kind.__name__ in KINDS:
            for option in ("activation", "recurrent_activation"):
                if hasattr(layer, option):
                    where = f"{kind.__name__} layer {layer.name!r}({option})"
                    activation_name(where, getattr(layer, option))
        self._layer = layer

    def weights(self, kind: str) -> Sequence[Tensor]:  # noqa: ARG002
        """Return the weights of the layer and of its cell."""
        return [_tensor(array) for array in self._layer.get_weights()]

    def trained(self) -> Sequence[bool]:
        """Say of each weight whether it is trained; a layer's options do not tell of its cell."""
        return [bool(variable.trainable) for variable in self._layer.weights]

    def direction(self, name: str) -> Store:
        """Return the layer of a direction."""
        return _ObjectStore(getattr(self._layer, name))

    def layers(self, described: Sequence[Described]) -> Sequence[Store]:
        """Return the layers of a model, by their names."""
        own = {layer.name: layer for layer in self._layer.layers}
        return [_ObjectStore(own[row["config"]["name"]]) for row in described]


def _tensor(array: Any) -> Tensor:
    if array.dtype.name == "bfloat16":  # not NumPy's own
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))
