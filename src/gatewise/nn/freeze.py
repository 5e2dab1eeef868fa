"""Pack the weights of a trained model once, for inference."""

from __future__ import annotations

from torch import nn

from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.nn._frozen import Frozen
from gatewise.nn._recurrent import RecurrentLayer


def freeze(module: nn.Module) -> nn.Module:
    """Let every recurrent layer inside ``module`` pack its weights once instead of at each call.

    In place, for inference: the layers' parameters get no gradients from here on, and calls that
    are not recorded by ``torch.compile`` read the packed weights, which double the memory of the
    weights. That saves 2 to 5 % with large layers, and a quarter in short calls with a handful of
    rows (measured at H = 650 and 1024, and at T = 10, B = 4, H = 256). The layers pack at their
    first call, in each precision that they are called in, and so does a copy of them.

    A weight that an optimizer, ``load_state_dict`` or ``.to()`` changes afterwards is noticed, and
    the next call raises; one that is changed through ``.data``, or that was made in inference mode,
    is not. In training mode and under function transforms layers read their weights as always.

    Args:
        module: Any module in evaluation mode with layers of `gatewise.nn` in it; `replace` first
            if they are torch's.

    Returns:
        The module itself.

    Raises:
        InvalidStateError: The module is in training mode, or a layer computes its weights at each
            call (weight norm, pruning and other reparametrisations).
        InvalidValueError: There is no recurrent layer of ours in it.

    Example:
        >>> import gatewise.nn as gwn
        >>> layer = freeze(gwn.LSTM(3, 8).eval())
        >>> layer.weight_ih_l0.requires_grad
        False
    """
    layers = _layers(module, "freeze")
    for name, layer in layers.items():
        if layer.training:
            raise InvalidStateError(
                "freeze(module)",
                "a module in evaluation mode",
                f"{name} in training mode",
                "Call module.eval() first.",
            )
        own = dict(layer.named_parameters(recurse=False, remove_duplicate=False))
        names = layer._flat_weights_names  # noqa: SLF001 - ours
        computed = [weight for weight in names if weight not in own]
        if computed:
            raise InvalidStateError(
                "freeze(module)",
                "layers whose weights are parameters",
                f"{name} with {', '.join(computed)} computed at each call",
                "Remove the reparametrisation first.",
            )
    for layer in layers.values():
        held = layer.frozen.learning if layer.frozen else ()
        own = dict(layer.named_parameters(recurse=False, remove_duplicate=False))
        learning = [name for name, weight in own.items() if weight.requires_grad]
        layer.frozen = Frozen({*learning, *held})
        for weight in own.values():
            weight.requires_grad = False
    return module


def unfreeze(module: nn.Module) -> nn.Module:
    """Undo `freeze`: drop the packed weights, and let those parameters learn again that did.

    Args:
        module: Any module; layers in it that are not frozen are left alone.

    Returns:
        The module itself.

    Raises:
        InvalidValueError: There is no recurrent layer of ours in it.
    """
    for layer in _layers(module, "unfreeze").values():
        if layer.frozen is not None:
            for name in layer.frozen.learning:
                getattr(layer, name).requires_grad = True
            layer.frozen = None
    return module


def _layers(module: nn.Module, verb: str) -> dict[str, RecurrentLayer]:
    layers = {
        name or type(child).__name__: child
        for name, child in module.named_modules()
        if isinstance(child, RecurrentLayer)
    }
    if not layers:
        raise InvalidValueError(
            f"{verb}(module)",
            "a module with recurrent layers of gatewise.nn",
            f"{type(module).__name__} without one",
            "gatewise.replace swaps those of torch.nn for ours.",
        )
    return layers
