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
from gatewise.errors import InvalidStateError, InvalidTypeError


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


def describe(layer: Any) -> tuple[Described, Store]:
    """Return the configuration of a Keras layer or model, and the store of its weights.

    Raises:
        InvalidTypeError: It is none, or of a class that is not Keras' own.
    """
    store = _ObjectStore(layer)
    kind = type(layer)
    described = {"module": kind.__module__, "class_name": kind.__name__}
    # A layer without a twin may have a configuration that cannot be asked for.
    config = layer.get_config() if kind.__name__ in KINDS else {"name": layer.name}
    return described | {"config": config}, store


class _ObjectStore:
    """A layer that lives."""

    def __init__(self, layer: Any) -> None:
        kind = type(layer)
        named = f"{kind.__module__}.{kind.__name__}"
        if not any(base.__module__.startswith("keras.") for base in kind.__mro__):
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
        self._layer = layer

    def weights(self, kind: str) -> Sequence[Tensor]:  # noqa: ARG002
        """Return the weights of the layer and of its cell."""
        return [_tensor(array) for array in self._layer.get_weights()]

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
