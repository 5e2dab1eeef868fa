"""What brings every window to one level and one scale, and back; part of the network.

Values arrive less the mean of their series and in units of its standard deviation; on top of that
each window is put relative to itself, so that what was learned at one level holds at another.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

Normalization = Literal["last", "mean_std", "none"]

_FLOOR = 1e-3
"""Smallest deviation that ``mean_std`` divides by, as a share of the typical one."""


class WindowNormaliser(nn.Module):
    """Offset and scale of each window.

    ======== ============================== ============================
    kind     offset                         scale
    ======== ============================== ============================
    last     last observed value            typical deviation of windows
    mean_std mean of the observed values    their standard deviation
    none     0                              1
    ======== ============================== ============================

    Args:
        kind: ``last``, ``mean_std`` or ``none``.

    Attributes:
        spread: Root mean square of the deviations of the training windows from their means: a
            series with a trend varies less inside a window than as a whole.
    """

    spread: Tensor

    def __init__(self, kind: Normalization) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("spread", torch.ones(()))

    def forward(
        self, past_y: Float[Tensor, "N L"], past_mask: Bool[Tensor, "N L"]
    ) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N 1"]]:
        """Return what to subtract from each window and what to divide it by then.

        Args:
            past_y: N windows of L values; those that are masked are never looked at.
            past_mask: Where a value was observed.

        Returns:
            Offset N×1 and scale N×1; the scale is positive.
        """
        if self.kind == "last":
            offset = _last_observed(past_y, past_mask)
            return offset, self.spread.expand_as(offset)
        mean, deviation = moments(past_y, past_mask)
        if self.kind == "mean_std":
            return mean, torch.maximum(deviation, _FLOOR * self.spread)
        return torch.zeros_like(mean), torch.ones_like(mean)

    def extra_repr(self) -> str:
        """Return the kind."""
        return repr(self.kind)


def moments(
    y: Float[Tensor, "N L"], mask: Bool[Tensor, "N L"]
) -> tuple[Float[Tensor, "N 1"], Float[Tensor, "N 1"]]:
    """Return mean and standard deviation of the observed values; 0 where there are none."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    mean = torch.where(mask, y, 0.0).sum(1, keepdim=True) / count
    centred = torch.where(mask, y - mean, 0.0)
    return mean, (centred.square().sum(1, keepdim=True) / count).sqrt()


def _last_observed(y: Tensor, mask: Tensor) -> Tensor:
    """The last observed value of each window; 0 where there is none."""
    steps = torch.arange(1, y.shape[1] + 1, device=y.device)
    last = torch.where(mask, steps, 0).amax(1, keepdim=True)
    value = torch.where(mask, y, 0.0).gather(1, (last - 1).clamp(min=0))
    return torch.where(last > 0, value, 0.0)
