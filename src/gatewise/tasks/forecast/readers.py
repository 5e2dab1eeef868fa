"""The two ways in which a forecast network reads a window: step by step, or in segments.

The segment reader follows the idea of Lin et al., "SegRNN: Segment Recurrent Neural Network for
Long-Term Time Series Forecasting", 2023 (arXiv:2308.11200), with any cell: few steps over long
segments, then one further step for every segment of the future at once.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from gatewise.nn import LSTM
from gatewise.tasks.forecast.shape import NetworkShape
from gatewise.tasks.recurrent_cells import RecurrentNetwork, build_recurrent, repeated


class AbstractReader(nn.Module):
    """The face of both readers: a window in, C values for each step ahead out."""

    recurrent: RecurrentNetwork

    @abstractmethod
    def embed(
        self, steps: Float[Tensor, "N L K"], static: Float[Tensor, "N Ks"]
    ) -> Float[Tensor, "N T I"]:
        """Return what the recurrent layers read: T steps of I values."""

    @abstractmethod
    def decode(
        self,
        last: Float[Tensor, "N H"],
        state: Any,
        future: Float[Tensor, "N h Kf"],
        static: Float[Tensor, "N Ks"],
        series: Int[Tensor, "N"],
    ) -> Float[Tensor, "N h C"]:
        """Return the forecast from the layers' last output and their final state."""

    def forward(
        self,
        steps: Float[Tensor, "N L K"],
        future: Float[Tensor, "N h Kf"],
        static: Float[Tensor, "N Ks"],
        series: Int[Tensor, "N"],
    ) -> Float[Tensor, "N h C"]:
        """Return the forecast of N windows.

        Args:
            steps: Normalised value, whether it is missing, and covariates of L steps.
            future: Covariates of the h steps to forecast.
            static: Covariates of the series.
            series: Number of the series; -1 for one that was not trained on.
        """
        read, state = self.recurrent(self.embed(steps, static))
        return self.decode(read[:, -1], state, future, static, series)


class PointReader(AbstractReader):
    """Reads single steps; a direct map goes from the last output to all steps ahead.

    Args:
        shape: Sizes of the network.
        channels: C values for each step ahead.
    """

    def __init__(self, shape: NetworkShape, channels: int) -> None:
        super().__init__()
        self.horizon, self.channels = shape.horizon, channels
        width = shape.hidden_size
        given = shape.step_width + shape.static
        self.recurrent = build_recurrent(shape.cell, given, width, shape.num_layers, shape.dropout)
        self.series = _SeriesEmbedding(shape.num_series, width)
        self.dropout = nn.Dropout(shape.dropout)
        self.output = nn.Linear(width + shape.static, shape.horizon * channels)
        # Known covariates act on their own step, together with what was read.
        self.covariates = _StepCovariates(shape.future, width, channels) if shape.future else None

    @override
    def embed(self, steps: Tensor, static: Tensor) -> Tensor:
        return torch.cat([steps, static[:, None].expand(-1, steps.shape[1], -1)], -1)

    @override
    def decode(
        self, last: Tensor, state: Any, future: Tensor, static: Tensor, series: Tensor
    ) -> Tensor:
        context = self.dropout(last + self.series(series))
        raw = self.output(torch.cat([context, static], -1))
        raw = raw.reshape(-1, self.horizon, self.channels)
        if self.covariates is None:
            return raw
        return raw + self.covariates(context, future)


class _StepCovariates(nn.Module):
    """What the covariates of each future step add to its forecast, given what was read."""

    def __init__(self, future: int, width: int, channels: int) -> None:
        super().__init__()
        self.context = nn.Linear(width, width)
        self.step = nn.Linear(future, width, bias=False)
        self.output = nn.Linear(width, channels)

    def forward(self, context: Tensor, future: Tensor) -> Tensor:
        return self.output(F.relu(self.context(context)[:, None] + self.step(future)))


class SegmentReader(AbstractReader):
    """Reads segments of the window; all segments of the future follow in one step.

    Each future segment is one step from the state after the window: its input is an embedding of
    its position, of the series and of its known covariates.

    Args:
        shape: Sizes of the network.
        channels: C values for each step ahead.
    """

    def __init__(self, shape: NetworkShape, channels: int) -> None:
        super().__init__()
        self.horizon, self.channels = shape.horizon, channels
        self.length = shape.segment_length
        segments = -(-shape.horizon // self.length)
        width = shape.hidden_size
        self.segment = nn.Linear(self.length * shape.step_width + shape.static, width)
        self.recurrent = build_recurrent(shape.cell, width, width, shape.num_layers, shape.dropout)
        self.position = nn.Parameter(torch.randn(segments, width))
        self.series = _SeriesEmbedding(shape.num_series, width)
        self.static = nn.Linear(shape.static, width, bias=False) if shape.static else None
        known = self.length * shape.future
        self.covariates = nn.Linear(known, width, bias=False) if known else None
        self.direct = nn.Linear(shape.future, channels, bias=False) if known else None
        self.dropout = nn.Dropout(shape.dropout)
        self.output = nn.Linear(width, self.length * channels)

    @override
    def embed(self, steps: Tensor, static: Tensor) -> Tensor:
        short = -steps.shape[1] % self.length
        segments = F.pad(steps, (0, 0, short, 0)).unflatten(1, (-1, self.length)).flatten(2)
        static = static[:, None].expand(-1, segments.shape[1], -1)
        return F.relu(self.segment(torch.cat([segments, static], -1)))

    @override
    def decode(
        self, last: Tensor, state: Any, future: Tensor, static: Tensor, series: Tensor
    ) -> Tensor:
        own = self.series(series)
        if self.static is not None:
            own = own + self.static(static)
        each = self._covariates(future)
        if isinstance(self.recurrent, LSTM):
            hidden = self._lstm_step(self.recurrent, state, own, each)
        else:
            hidden = self._step(state, own, each)
        raw = self.output(self.dropout(hidden)).unflatten(-1, (self.length, self.channels))
        raw = raw.flatten(1, 2)[:, : self.horizon]
        return raw if self.direct is None else raw + self.direct(future)

    def _covariates(self, future: Tensor) -> Tensor | None:
        """Known covariates of each future segment, N×S×H."""
        if self.covariates is None:
            return None
        short = -future.shape[1] % self.length
        segments = F.pad(future, (0, 0, 0, short)).unflatten(1, (-1, self.length)).flatten(2)
        return self.covariates(segments)

    def _step(self, state: Any, own: Tensor, each: Tensor | None) -> Tensor:
        """One step from one state for all S future segments, N×S×H."""
        given = self.position + own[:, None]
        given = given if each is None else given + each
        N, S, _ = given.shape
        hidden, _ = self.recurrent(given.flatten(0, 1)[:, None], repeated(state, S))
        return hidden.reshape(N, S, -1)

    def _lstm_step(
        self, lstm: LSTM, state: tuple[Tensor, Tensor], own: Tensor, each: Tensor | None
    ) -> Tensor:
        """The same of an LSTM.

        Gates are linear in the input and in h, so each part is multiplied at the width that it
        has: positions once for all windows, h and the series once for all segments. A call of the
        LSTM on N·S rows gives the same and multiplies S times as much.
        """
        h, c = state
        weights = lstm.layer_weights()
        inputs = F.linear(self.position, weights[0][0])
        if each is not None:
            inputs = inputs + F.linear(each, weights[0][0])
        hidden = inputs
        for layer, (w_ih, w_hh, b_ih, b_hh) in enumerate(weights):
            recurrent = F.linear(h[layer], w_hh, b_ih + b_hh)
            if layer == 0:
                recurrent = recurrent + F.linear(own, w_ih)
            else:
                inputs = F.linear(F.dropout(hidden, lstm.dropout, self.training), w_ih)
            # Gate by gate: a sum over all four would pass through memory once more.
            pairs = zip(inputs.chunk(4, -1), recurrent.chunk(4, -1), strict=True)
            i, f, g, o = (x + r[:, None] for x, r in pairs)
            cell = f.sigmoid() * c[layer][:, None] + i.sigmoid() * _tanh(g)
            hidden = o.sigmoid() * _tanh(cell)
        return hidden


def _tanh(x: Tensor) -> Tensor:
    """tanh, right to 2e-7: on a CPU torch's sigmoid is ten times as fast as its tanh."""
    return 2 * (2 * x).sigmoid() - 1


class _SeriesEmbedding(nn.Module):
    """One vector for each series; an unknown series gets their mean. Without series: zeros."""

    def __init__(self, num_series: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.randn(num_series, width)) if num_series else None

    def forward(self, series: Tensor) -> Tensor:
        if self.weight is None:
            return torch.zeros((), device=series.device).expand(series.shape[0], self.width)
        table = torch.cat([self.weight, self.weight.mean(0, keepdim=True)])
        return table[torch.where(series < 0, self.weight.shape[0], series)]
