"""Swap torch's recurrent layers inside any model for ours."""

from __future__ import annotations

import warnings
from typing import TypeGuard

from torch import nn

from gatewise.nn._recurrent import RecurrentLayer
from gatewise.nn.gru import GRU
from gatewise.nn.lstm import LSTM
from gatewise.nn.rnn import RNN

_OURS: dict[type[nn.RNNBase], type[RecurrentLayer]] = {nn.LSTM: LSTM, nn.GRU: GRU, nn.RNN: RNN}

# torch's caches of the weights; ours reads the parameters themselves.
_CACHES = ("_flat_weights", "_flat_weight_refs", "_flat_weights_names", "mode")


def replace(module: nn.Module) -> nn.Module:
    """Swap every `torch.nn.LSTM`, `GRU` and `RNN` inside ``module`` for ours, in place.

    The new layers hold the same Parameter objects, so that optimizers and tied weights stay valid,
    and the same hooks, buffers, attributes and train or eval mode. A layer that is used in several
    places stays one. Subclasses of torch's layers (parametrised ones are among them), layers whose
    ``forward`` was replaced, and layers with an attribute that is the name of an option of ours may
    compute something else: they are left alone, and a warning lists them.

    Args:
        module: Any module.

    Returns:
        The module itself; the new layer if ``module`` is one of torch's layers.

    Example:
        >>> model = replace(nn.ModuleDict({"encoder": nn.LSTM(3, 8)}))
        >>> type(model["encoder"]).__module__
        'gatewise.nn.lstm'
    """
    left = [
        f"{name or 'module'} ({reason})"
        for name, child in module.named_modules()
        if (reason := _obstacle(child)) is not None
    ]
    if left:
        warnings.warn(
            f"replace: left as they were: {', '.join(left)}. Only plain layers of torch.nn are "
            "swapped.",
            stacklevel=2,
        )
    swapped: dict[nn.Module, RecurrentLayer] = {}
    for parent in list(module.modules()):
        for name, child in parent._modules.items():  # noqa: SLF001 - named_children drops repeats
            if _is_plain(child):
                if child not in swapped:
                    swapped[child] = _twin(child)
                parent._modules[name] = swapped[child]  # noqa: SLF001 - setattr may be overridden
    return _twin(module) if _is_plain(module) else module


def _obstacle(module: nn.Module) -> str | None:
    """Say why a recurrent layer of torch's is not swapped; None for what is, and for all else."""
    if not isinstance(module, tuple(_OURS)) or _is_plain(module):
        return None
    if type(module) not in _OURS:
        return f"{type(module).__name__}, a subclass"
    if "forward" in vars(module):
        return "its forward was replaced"
    return f"its {' and '.join(_options_of_ours(module))} would be an option of ours"


def _is_plain(module: nn.Module | None) -> TypeGuard[nn.RNNBase]:
    if not isinstance(module, nn.RNNBase) or type(module) not in _OURS:
        return False
    return "forward" not in vars(module) and not _options_of_ours(module)


def _options_of_ours(layer: nn.RNNBase) -> list[str]:
    """Return the attributes that someone gave a layer of torch's and ours takes for options."""
    ours = _OURS[type(layer)]
    return [name for name in ours.travelling + ours.staying if hasattr(layer, name)]


def _twin(layer: nn.RNNBase) -> RecurrentLayer:
    """Return our layer with everything that torch's holds: parameters, hooks, mode, attributes.

    The options that torch lacks are attributes of the class at their defaults.
    """
    ours = _OURS[type(layer)]
    twin = ours.__new__(ours)
    nn.Module.__init__(twin)
    # The hook dictionaries themselves go over: the handles that remove a hook point at them.
    vars(twin).update({name: value for name, value in vars(layer).items() if name not in _CACHES})
    return twin
