"""The LSTM cell: one step, for loops that decide between steps, as decoders do.

One step at a time there is nothing for a kernel over time to gain, and torch's fused operation is
as fast as a call from Python gets; so the cell is that operation, with our checks out of its way.
The equations are those of `gatewise.ops.reference.lstm`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gatewise.errors import InvalidValueError
from gatewise.nn._recurrent import own_weights

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class LSTMCell(nn.Module):
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

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = 4 * hidden_size
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
        axes = input.dim()
        if axes not in (1, 2):
            raise InvalidValueError("LSTMCell(input)", "1-D or 2-D", f"{axes}-D")
        if hx is None:
            zeros = input.new_zeros(*input.shape[:-1], self.hidden_size)
            hx = (zeros, zeros)
        else:
            h, c = hx
            if not 1 <= h.dim() <= 2 or not 1 <= c.dim() <= 2:
                raise InvalidValueError(
                    "LSTMCell(hx)", "states of 1-D or 2-D", f"{h.dim()}-D and {c.dim()}-D"
                )
        x = input
        if axes == 1:
            x, hx = x.unsqueeze(0), (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = torch.lstm_cell(x, hx, *own_weights(self, _WEIGHTS))
        return (h, c) if axes == 2 else (h.squeeze(0), c.squeeze(0))

    def explain(self) -> str:
        """Say in a sentence what runs this cell, and why."""
        return (
            "torch (torch.lstm_cell): a single step is over before a kernel of ours would be "
            "reached from Python; to run many steps in one call, use LSTM."
        )

    def extra_repr(self) -> str:
        """Show the sizes, and bias if there is none."""
        sizes = f"{self.input_size}, {self.hidden_size}"
        return sizes if self.bias else f"{sizes}, bias=False"
