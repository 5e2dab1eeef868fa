"""The GRU layer: torch's interface, our engine, and sequence features that torch lacks."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.nn._single_state import SingleStateLayer
from gatewise.ops.backends import Backend


class GRUTrace(NamedTuple):
    """Every gate and state of every step, in time order, zero beyond the lengths.

    Each field is (L·D)×T×B×H, layer by layer and within a layer direction by direction;
    (L·D)×T×H for an unbatched input. Differentiable.
    ``h`` of a single layer is a view of its output: clone it before changing that in place.
    """

    r: Tensor
    z: Tensor
    n: Tensor
    h: Tensor


class GRU(SingleStateLayer):
    """A drop-in for `torch.nn.GRU` with lengths, resets and traces at kernel speed.

    Parameters, their names, initial values and the ``state_dict`` are torch's, in both directions.
    The equations are those of `gatewise.ops.reference.gru`.

    Args:
        input_size: Features of the input, I ≥ 1.
        hidden_size: Features of the state, H ≥ 1.
        num_layers: Layers above each other, L ≥ 1.
        bias: Whether each layer has ``bias_ih`` and ``bias_hh``.
        batch_first: Whether batched input, output and ``reset`` are B×T×… instead of T×B×….
        dropout: Probability of zeroing an element of the output of every layer but the last.
        bidirectional: Whether each layer also runs against time; D is then 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        backend: ``native`` or ``reference`` to insist on one; ``auto`` takes the native kernel
            wherever there is one. See `explain`.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError, as in torch.

    Example:
        >>> gru = GRU(3, 8, batch_first=True)
        >>> output, h_n = gru(torch.randn(2, 5, 3), lengths=torch.tensor([5, 2]))
        >>> output.shape, h_n.shape
        (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    kind = "GRU"
    mode = "GRU"
    cell = "gru"
    Trace = GRUTrace

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        backend: Backend = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
            backend=backend,
        )
