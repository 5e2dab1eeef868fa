"""A convolution over the last few steps, each feature alone, that carries on where it stopped."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gatewise.nn._layer_in_torch import Steps


class CausalConv(nn.Module):
    """y_t = Σ_j w_j ⊙ x_{t−K+1+j} + b, j from 0 to K − 1: the last of w belongs to the step itself.

    Args:
        features: E.
        size: K, steps that are seen, at least 2.
        device: Device of the parameters.
        dtype: Dtype of the parameters.
    """

    def __init__(
        self,
        features: int,
        size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw as `torch.nn.Conv1d` does, from U(−1/√K, 1/√K)."""
        bound = 1.0 / math.sqrt(len(self.weight))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, tail: Tensor, steps: Steps) -> tuple[Tensor, Tensor]:
        """Convolve some steps; cuts hide what came before them.

        Args:
            x: T×B×E.
            tail: The K − 1 steps before, B×(K−1)×E; zeros at the beginning.
            steps: Which they are, with time.

        Returns:
            y, T×B×E, and the last K − 1 valid steps, B×(K−1)×E.
        """
        T, past = len(x), len(self.weight) - 1
        known = torch.cat([tail.transpose(0, 1), x])
        pieces = None
        if steps.restarts is not None:
            cuts = steps.restarts.cumsum(0)
            pieces = torch.cat([cuts.new_zeros(past, cuts.shape[1]), cuts])
        y = self.bias
        for j, weight in enumerate(self.weight):
            seen = known[j : j + T]
            if pieces is not None:
                same = pieces[j : j + T] == pieces[past:]
                seen = torch.where(same[..., None], seen, 0.0)
            y = torch.addcmul(y, seen, weight)
        return y, self._tail(known, pieces, steps.valid, T)

    def _tail(self, known: Tensor, pieces: Tensor | None, valid: Tensor | None, T: int) -> Tensor:
        past, B = len(self.weight) - 1, known.shape[1]
        count = known.new_full((B,), T, dtype=torch.int64) if valid is None else valid.sum(0)
        at = count + torch.arange(past, device=known.device).unsqueeze(1)
        tail = known.gather(0, at[..., None].expand(-1, -1, known.shape[-1]))
        if pieces is not None:
            own = pieces.gather(0, at)
            tail = torch.where((own == own[-1])[..., None], tail, 0.0)
        return tail.transpose(0, 1)

    def extra_repr(self) -> str:
        """Show the sizes."""
        size, features = self.weight.shape
        return f"{features}, size={size}"
