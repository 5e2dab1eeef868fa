"""Linear layers with cross-entropy, and what torch's two layers make of the same numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gatewise.nn import LinearCrossEntropy

SIZES = [(1, 1, 2), (3, 17, 97), (40, 33, 500), (230, 20, 96)]


def case(
    N: int, H: int, V: int, dtype: torch.dtype = torch.float32, seed: int = 0, **options: object
) -> tuple[LinearCrossEntropy, Tensor, Tensor]:
    torch.manual_seed(seed)
    layer = LinearCrossEntropy(H, V, dtype=dtype, **options)
    x = (3 * torch.randn(N, H, dtype=dtype)).requires_grad_()
    target = torch.randint(V, (N,))
    if N > 2:
        target[1] = layer.ignore_index
    return layer, x, target


def torchs(
    layer: LinearCrossEntropy, x: Tensor, target: Tensor, dtype: torch.dtype
) -> dict[str, Tensor]:
    """What torch's two layers make of it in another precision."""
    x = x.detach().to(dtype).requires_grad_()
    linear = nn.Linear(layer.in_features, layer.num_classes, layer.bias is not None).to(dtype)
    linear.load_state_dict(layer.state_dict())
    loss = F.cross_entropy(
        linear(x),
        target,
        ignore_index=layer.ignore_index,
        label_smoothing=layer.label_smoothing,
        reduction=layer.reduction,
    )
    (loss * weights_of(loss)).sum().backward()
    return results(loss, x, linear)


def ours(layer: LinearCrossEntropy, x: Tensor, target: Tensor) -> dict[str, Tensor]:
    x = x.detach().requires_grad_()
    layer.zero_grad()
    loss = layer(x, target)
    (loss * weights_of(loss)).sum().backward()
    return results(loss, x, layer)


def weights_of(loss: Tensor) -> Tensor:
    return 1 + torch.arange(loss.numel(), dtype=loss.dtype).reshape(loss.shape) / 7


def results(loss: Tensor, x: Tensor, layer: nn.Module) -> dict[str, Tensor]:
    grads = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return {"loss": loss.detach(), "x": x.grad, **grads}
