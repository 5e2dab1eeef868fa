"""Single layers and cells of torch's as ours, and ours as torch's.

For layers inside a model there is `gatewise.nn.replace`, which keeps the Parameter objects; here
everything is copied.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import nn

from gatewise import nn as gwn
from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError

_CELL = ("input_size", "hidden_size", "bias")
_LAYER = (*_CELL, "num_layers", "batch_first", "dropout", "bidirectional")
_PAIRS: list[tuple[type[nn.Module], type[nn.Module], tuple[str, ...]]] = [
    (nn.LSTM, gwn.LSTM, (*_LAYER, "proj_size")),
    (nn.GRU, gwn.GRU, _LAYER),
    (nn.RNN, gwn.RNN, (*_LAYER, "nonlinearity")),
    (nn.LSTMCell, gwn.LSTMCell, _CELL),
    (nn.GRUCell, gwn.GRUCell, _CELL),
    (nn.RNNCell, gwn.RNNCell, (*_CELL, "nonlinearity")),
]
"""torch's class, ours, and the arguments of both."""

_OURS = {theirs: (ours, arguments) for theirs, ours, arguments in _PAIRS}
_THEIRS = {ours: (theirs, arguments) for theirs, ours, arguments in _PAIRS}

# Options that act in training alone.
_OF_TRAINING = ("input_dropout", "recurrent_dropout", "update_dropout", "weight_dropout")


def from_torch(module: nn.Module) -> nn.Module:
    """Return our twin of a layer or cell of torch's, with copies of its weights.

    Args:
        module: A `torch.nn.LSTM`, `GRU`, `RNN`, `LSTMCell`, `GRUCell` or `RNNCell`.

    Returns:
        The class of `gatewise.nn` of that name, with the same arguments, weights, dtype, device,
        train or eval mode and ``requires_grad``; no hooks. The random state stays as it is.

    Raises:
        InvalidTypeError: Something else, a subclass included, which may compute something else.
        InvalidStateError: Weights are computed at each call (weight norm, pruning).

    Example:
        >>> from_torch(nn.LSTM(3, 8, batch_first=True))
        LSTM(3, 8, batch_first=True)
    """
    if type(module) not in _OURS:
        raise InvalidTypeError(
            "from_torch(module)",
            f"one of torch.nn's {', '.join(theirs.__name__ for theirs in _OURS)}",
            _named(module),
            "gatewise.replace swaps the layers inside a model.",
        )
    return _twin(*_OURS[type(module)], module)


def to_torch(module: nn.Module) -> nn.Module:
    """Return torch's twin of a layer or cell of ours, with copies of its weights.

    Args:
        module: An `LSTM`, `GRU`, `RNN`, `LSTMCell`, `GRUCell` or `RNNCell` of `gatewise.nn`.

    Returns:
        The class of `torch.nn` of that name, with the same arguments, weights, dtype, device, train
        or eval mode and ``requires_grad``; no hooks. ``init``, ``precision`` and ``backend`` do not
        go along. The random state stays as it is.

    Raises:
        InvalidTypeError: Something else.
        InvalidValueError: The layer has options that torch lacks; it names each.

    Example:
        >>> to_torch(gwn.GRU(3, 8))
        GRU(3, 8)
    """
    if type(module) not in _THEIRS:
        raise InvalidTypeError(
            "to_torch(module)",
            f"one of gatewise.nn's {', '.join(ours.__name__ for ours in _THEIRS)}",
            _named(module),
        )
    lacking = _lacking(module)
    if lacking:
        raise InvalidValueError(
            "to_torch(module)",
            f"an {type(module).__name__} with torch's options alone",
            ", ".join(f"{name}={value!r}" for name, value in lacking.items()),
            "torch.nn has no layer that computes this: keep ours, or train one without.",
        )
    return _twin(*_THEIRS[type(module)], module)


def _lacking(module: Any) -> dict[str, Any]:
    """Return the options that torch's twin would do without, and the values that they have."""
    if not isinstance(module, gwn.LSTM | gwn.GRU | gwn.RNN):
        return {}
    names = (*module.travelling, *_OF_TRAINING, "learn_initial_state")
    options = {name: pair for name, pair in module.options.items() if name in names}
    return {name: value for name, (value, usual) in options.items() if value != usual}


def _twin(kind: type[nn.Module], names: Sequence[str], module: nn.Module) -> nn.Module:
    """Return a module of ``kind`` with the arguments, weights and modes of another."""
    arguments = {name: getattr(module, name) for name in names}
    own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of arguments without effect the other has warned
        twin = kind(**arguments, device="meta")  # where nothing is drawn
    if own.keys() != dict(twin.named_parameters(remove_duplicate=False)).keys():
        raise InvalidStateError(
            f"{type(module).__name__} to convert",
            "weights that are parameters",
            "some that are computed at each call",
            "Remove the reparametrisation first.",
        )
    for name, weight in own.items():
        copied = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
        setattr(twin, name, copied)
    return twin.train(module.training)


def _named(module: object) -> str:
    return f"{type(module).__module__}.{type(module).__name__}"
