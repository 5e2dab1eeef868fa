"""The cells: one step, for loops that decide between steps, as decoders do.

One step at a time there is nothing for a kernel over time to gain, and torch's fused operations are
as fast as a call from Python gets; so the cells are those operations, with our checks out of their
way. The equations are those of `gatewise.ops.reference`.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.errors import InvalidValueError
from gatewise.nn._torch_methods import own_weights
from gatewise.nn.rnn import Nonlinearity, check_nonlinearity

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class RecurrentCell(nn.Module):
    """Base of the cells: torch's parameters under torch's names, in torch's order.

    Subclasses set ``gates``, how many H-wide parts the weights stack, and define ``forward``.
    """

    gates: int

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = self.gates * hidden_size
        shapes = ((gates, input_size), (gates, hidden_size), (gates,), (gates,))
        for name, shape in zip(_WEIGHTS, shapes, strict=True):
            weight = None
            if bias or name.startswith("weight"):
                weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
            self.register_parameter(name, weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(−1/√H, 1/√H), in torch's order."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0.0
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def weights(self) -> list[Any]:
        """Return both weights and both biases; an absent bias is None."""
        return own_weights(self, _WEIGHTS)

    def explain(self) -> str:
        """Say in a sentence what runs this cell, and why."""
        return (
            f"torch ({self.operation}): a single step is over before a kernel of ours would be "
            f"reached from Python; to run many steps in one call, use {self.layer}."
        )

    operation: str
    """The operation of torch's, for `explain`."""

    layer: str
    """The class over many steps, for `explain`."""

    def extra_repr(self) -> str:
        """Show the sizes, and bias if there is none."""
        sizes = f"{self.input_size}, {self.hidden_size}"
        return sizes if self.bias else f"{sizes}, bias=False"

    def _check_axes(self, x: Tensor, *states: Tensor) -> int:
        """Return the axes of x, 1 or 2; refuse others, there and in the states."""
        where, axes = type(self).__name__, x.dim()
        if axes not in (1, 2):
            raise InvalidValueError(f"{where}(input)", "1-D or 2-D", f"{axes}-D")
        if any(not 1 <= state.dim() <= 2 for state in states):
            got = " and ".join(f"{state.dim()}-D" for state in states)
            raise InvalidValueError(f"{where}(hx)", "1-D or 2-D", got)
        return axes


class LSTMCell(RecurrentCell):
    """A drop-in for `torch.nn.LSTMCell`, never slower than it.

    Args:
        input_size: Features of the input, I.
        hidden_size: Features of the state, H.
        bias: Whether the cell has ``bias_ih`` and ``bias_hh``.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Example:
        >>> cell = LSTMCell(3, 8)
        >>> h, c = cell(torch.randn(2, 3))
        >>> h, c = cell(torch.randn(2, 3), (h, c))
        >>> h.shape
        torch.Size([2, 8])
    """

    gates = 4
    operation = "torch.lstm_cell"
    layer = "LSTM"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def forward(
        self,
        input: Tensor,  # noqa: A002
        hx: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Take one step.

        Args:
            input: B×I, or I unbatched.
            hx: ``(h, c)`` before the step, each B×H, or H unbatched; zeros by default.

        Returns:
            ``(h, c)`` after the step, shaped like ``hx``.

        Raises:
            GatewiseError: An axis too many or too few; also a ValueError, as in torch. Sizes and
                dtypes are left to torch's operation, which raises a RuntimeError.
        """
        axes = self._check_axes(input, *(hx or ()))
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            hx = (zeros, zeros)
        x = input
        if axes == 1:
            x, hx = x.unsqueeze(0), (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = torch.lstm_cell(x, hx, *self.weights())
        return (h, c) if axes == 2 else (h.squeeze(0), c.squeeze(0))


class SingleStateCell(RecurrentCell):
    """Base of the cells whose state is h alone. Subclasses define ``_step``."""

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:  # noqa: A002
        """Take one step.

        Args:
            input: B×I, or I unbatched.
            hx: h before the step, B×H, or H unbatched; zeros by default.

        Returns:
            h after the step, shaped like ``hx``.

        Raises:
            GatewiseError: An axis too many or too few; also a ValueError, as in torch. Sizes and
                dtypes are left to torch's operation, which raises a RuntimeError.
        """
        axes = self._check_axes(input, *(() if hx is None else (hx,)))
        if hx is None:
            hx = input.new_zeros(*input.shape[:-1], self.hidden_size)
        if axes == 2:
            return self._step(input, hx)
        return self._step(input.unsqueeze(0), hx.unsqueeze(0)).squeeze(0)

    def _step(self, x: Tensor, h: Tensor) -> Tensor:
        raise NotImplementedError


class GRUCell(SingleStateCell):
    """A drop-in for `torch.nn.GRUCell`, never slower than it.

    Args:
        input_size: Features of the input, I.
        hidden_size: Features of the state, H.
        bias: Whether the cell has ``bias_ih`` and ``bias_hh``.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Example:
        >>> cell = GRUCell(3, 8)
        >>> h = cell(torch.randn(2, 3))
        >>> cell(torch.randn(2, 3), h).shape
        torch.Size([2, 8])
    """

    gates = 3
    operation = "torch.gru_cell"
    layer = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)

    def _step(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.gru_cell(x, h, *self.weights())


class RNNCell(SingleStateCell):
    """A drop-in for `torch.nn.RNNCell`, never slower than it.

    Args:
        input_size: Features of the input, I.
        hidden_size: Features of the state, H.
        bias: Whether the cell has ``bias_ih`` and ``bias_hh``.
        nonlinearity: ``tanh`` or ``relu``.
        device: Device of the parameters.
        dtype: Dtype of the parameters.

    Raises:
        GatewiseError: Another nonlinearity; also a ValueError.

    Example:
        >>> cell = RNNCell(3, 8)
        >>> h = cell(torch.randn(2, 3))
        >>> cell(torch.randn(2, 3), h).shape
        torch.Size([2, 8])
    """

    gates = 1
    layer = "RNN"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Nonlinearity = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity: Nonlinearity = nonlinearity

    @property
    def operation(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The operation of torch's, for `explain`."""
        return f"torch.rnn_{self.nonlinearity}_cell"

    def extra_repr(self) -> str:
        """Show the sizes and what differs from torch's defaults."""
        shown = super().extra_repr()
        return shown if self.nonlinearity == "tanh" else f"{shown}, nonlinearity=relu"

    def _step(self, x: Tensor, h: Tensor) -> Tensor:
        run = torch.rnn_tanh_cell if self.nonlinearity == "tanh" else torch.rnn_relu_cell
        return run(x, h, *self.weights())
