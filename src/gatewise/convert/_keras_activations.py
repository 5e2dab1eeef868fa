"""Keras' activations by name, beside the functions of our cells and the modules of torch.

Where a name is the same but a constant differs (Keras' leaky ReLU has slope 0.2, torch's 0.01),
the two are no twins.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from torch import nn

from gatewise.errors import InvalidValueError


class Twin(NamedTuple):
    """What an activation of Keras is elsewhere.

    Args:
        module: Makes torch's module.
        cell: The name that an LSTM of ours has for it, or None.
    """

    module: Callable[[], nn.Module]
    cell: str | None = None


TWINS: Final[dict[str, Twin]] = {
    "tanh": Twin(nn.Tanh, "tanh"),
    "sigmoid": Twin(nn.Sigmoid, "sigmoid"),
    "relu": Twin(nn.ReLU, "relu"),
    "hard_tanh": Twin(nn.Hardtanh, "hardtanh"),
    "hard_sigmoid": Twin(nn.Hardsigmoid, "hardsigmoid"),
    "celu": Twin(nn.CELU, "celu"),
    "elu": Twin(nn.ELU, "elu"),
    "gelu": Twin(nn.GELU, "gelu"),
    "hard_shrink": Twin(nn.Hardshrink, "hardshrink"),
    "hard_silu": Twin(nn.Hardswish, "hardswish"),
    "log_sigmoid": Twin(nn.LogSigmoid, "logsigmoid"),
    "mish": Twin(nn.Mish, "mish"),
    "relu6": Twin(nn.ReLU6, "relu6"),
    "selu": Twin(nn.SELU, "selu"),
    "silu": Twin(nn.SiLU, "silu"),
    "softplus": Twin(nn.Softplus, "softplus"),
    "soft_shrink": Twin(nn.Softshrink, "softshrink"),
    "softsign": Twin(nn.Softsign, "softsign"),
    "tanh_shrink": Twin(nn.Tanhshrink, "tanhshrink"),
    "leaky_relu": Twin(partial(nn.LeakyReLU, 0.2)),
    "log_softmax": Twin(partial(nn.LogSoftmax, dim=-1)),
    "softmax": Twin(partial(nn.Softmax, dim=-1)),
    "linear": Twin(nn.Identity),
}

_OF_CELLS: Final = {twin.cell: name for name, twin in TWINS.items() if twin.cell}


def activation_module(where: str, name: object) -> nn.Module:
    """Return torch's module for an activation as Keras' configurations name it.

    Raises:
        InvalidValueError: There is none.
    """
    if not isinstance(name, str) or name not in TWINS:
        raise InvalidValueError(where, f"one of {', '.join(TWINS)}", _short(name))
    return TWINS[name].module()


def cell_function(where: str, name: object) -> str:
    """Return what an LSTM of ours calls an activation.

    Raises:
        InvalidValueError: It has none such.
    """
    twin = TWINS.get(name) if isinstance(name, str) else None
    if twin is None or twin.cell is None:
        known = ", ".join(_OF_CELLS.values())
        remedy = "An LSTM of gatewise.nn has no other function."
        raise InvalidValueError(where, f"one of {known}", _short(name), remedy)
    return twin.cell


def keras_function(where: str, name: str) -> str:
    """Return what Keras calls a function of our LSTM.

    Raises:
        InvalidValueError: It has none such.
    """
    if name not in _OF_CELLS:
        raise InvalidValueError(
            where, f"one of {', '.join(_OF_CELLS)}", repr(name), "Keras has no other with a twin."
        )
    return _OF_CELLS[name]


def keras_activation(module: nn.Module) -> str | None:
    """Return what Keras calls an activation of torch's, or None if it is none with a twin."""
    for name, twin in TWINS.items():
        other = twin.module()
        if type(other) is type(module) and _constants(other) == _constants(module):
            return name
    return None


def _constants(module: nn.Module) -> dict[str, object]:
    own = vars(module).items()
    return {
        name: value
        for name, value in own
        if not name.startswith("_") and name not in ("training", "inplace")
    }


def _short(name: object) -> str:
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
