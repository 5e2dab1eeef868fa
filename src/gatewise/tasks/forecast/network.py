"""The forecast network: windows in, forecasts out, both on the scale of their series.

The normalisation of windows is part of it: an export of the network is all that a program needs
beside the centre and the scale of the series.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from gatewise.tasks.forecast.heads import build_head
from gatewise.tasks.forecast.normalise import WindowNormaliser
from gatewise.tasks.forecast.readers import PointReader, SegmentReader
from gatewise.tasks.forecast.shape import NetworkShape


class ForecastNetwork(nn.Module):
    """Recurrent layers read a window and give a forecast for every step of the horizon at once.

    ``normaliser`` puts each window relative to itself, ``reader`` holds the layers, ``head`` turns
    what they give into a forecast.

    Args:
        shape: Sizes and kinds of its parts.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.normaliser = WindowNormaliser(shape.normalization)
        self.head = build_head(shape.head, shape.loss, shape.quantiles, shape.levels, shape.horizon)
        reader = PointReader if shape.reader == "points" else SegmentReader
        self.reader = reader(shape, self.head.channels)

    def forward(
        self,
        past_y: Float[Tensor, "N L"],
        past_mask: Bool[Tensor, "N L"],
        past_x: Float[Tensor, "N L Kp"],
        future_x: Float[Tensor, "N Lh Kf"],
        static_x: Float[Tensor, "N Ks"],
        series: Int[Tensor, "N"],
    ) -> Float[Tensor, "N h P"]:
        """Return the parameters of the forecast of N windows.

        Args:
            past_y: L values up to the forecast; those that are masked are never looked at.
            past_mask: Where a value was observed.
            past_x: Kp covariates of the same steps.
            future_x: Kf covariates of the L steps and of the h steps to forecast.
            static_x: Ks covariates of the series.
            series: Number of the series; -1 for one that was not trained on.

        Returns:
            N×h×P: for the point head the forecast and the ends of its intervals, for quantiles one
            value each, for Student-t degrees of freedom, location and scale.
        """
        offset, scale = self.normaliser(past_y, past_mask)
        steps = self._steps(past_y, past_mask, past_x, future_x, offset, scale)
        raw = self.reader(steps, future_x[:, self.shape.lookback :], static_x, series)
        return self.head(raw, offset, scale)

    def trace(
        self,
        past_y: Float[Tensor, "N L"],
        past_mask: Bool[Tensor, "N L"],
        past_x: Float[Tensor, "N L Kp"],
        future_x: Float[Tensor, "N Lh Kf"],
        static_x: Float[Tensor, "N Ks"],
        series: Int[Tensor, "N"],  # noqa: ARG002 - so that it is called as forward is
    ) -> Any:
        """Return every gate and state of the layers while they read windows; see ``forward``."""
        offset, scale = self.normaliser(past_y, past_mask)
        steps = self._steps(past_y, past_mask, past_x, future_x, offset, scale)
        read = self.reader.embed(steps, static_x)
        return self.reader.recurrent(read, trace=True)[2]

    def _steps(
        self,
        past_y: Tensor,
        past_mask: Tensor,
        past_x: Tensor,
        future_x: Tensor,
        offset: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """All that is known of each step of the window, N×L×(2 + Kp + Kf)."""
        normalised = torch.where(past_mask, (past_y - offset) / scale, 0.0)
        missing = (~past_mask).to(past_y.dtype)
        columns = torch.stack([normalised, missing], -1)
        return torch.cat([columns, past_x, future_x[:, : self.shape.lookback]], -1)
