"""From the states of all steps of a text to one vector: last, mean, max, attention.

Padding counts nowhere. Of several poolings the vectors stand side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

Pooling = Literal["last", "mean", "max", "attention"]

POOLINGS: Final[tuple[str, ...]] = get_args(Pooling)


class Pool(nn.Module):
    """One vector for each text.

    Args:
        names: Which poolings, at least one.
        size: Features of a state, F.
        bidirectional: Whether the second half of the features was read backwards.
    """

    def __init__(self, names: Sequence[str], size: int, *, bidirectional: bool) -> None:
        super().__init__()
        self.names, self.size, self.bidirectional = tuple(names), size, bidirectional
        self.attention = Attention(size) if "attention" in names else None

    @property
    def width(self) -> int:
        """Features of the vector."""
        return self.size * len(self.names)

    def forward(
        self, states: Float[Tensor, "T B F"], lengths: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B W"]:
        """Return the vectors.

        Args:
            states: Of each step.
            lengths: Steps of each text, each ≥ 1.
        """
        valid = torch.arange(len(states), device=states.device)[:, None] < lengths
        return torch.cat([self._one(name, states, lengths, valid) for name in self.names], dim=1)

    def _one(
        self,
        name: str,
        states: Float[Tensor, "T B F"],
        lengths: Int64[Tensor, "B"],
        valid: Bool[Tensor, "T B"],
    ) -> Float[Tensor, "B F"]:
        if name == "last":
            return self._last(states, lengths)
        if name == "mean":
            return (states * valid[..., None]).sum(0) / lengths[:, None]
        if name == "max":
            return states.masked_fill(~valid[..., None], -torch.inf).amax(0)
        return (self.weights(states, valid)[..., None] * states).sum(0)

    def weights(
        self, states: Float[Tensor, "T B F"], valid: Bool[Tensor, "T B"]
    ) -> Float[Tensor, "T B"]:
        """Return the share of each step in the attention; zero in padding, one in sum."""
        assert self.attention is not None  # noqa: S101 - only called where it is among the names
        return self.attention(states).masked_fill(~valid, -torch.inf).softmax(0)

    def _last(
        self, states: Float[Tensor, "T B F"], lengths: Int64[Tensor, "B"]
    ) -> Float[Tensor, "B F"]:
        """The state that has read the whole text: of what is read backwards, the first one."""
        last = states[lengths - 1, torch.arange(len(lengths), device=states.device)]
        if not self.bidirectional:
            return last
        half = self.size // 2
        return torch.cat([last[:, :half], states[0, :, half:]], dim=1)


class Attention(nn.Module):
    """A score for each step: v · tanh(W·y + b).

    Args:
        size: Features of a state, F.

    Source:
        Z. Yang et al., "Hierarchical attention networks for document classification", NAACL 2016.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(size, size)
        self.query = nn.Linear(size, 1, bias=False)

    def forward(self, states: Float[Tensor, "T B F"]) -> Float[Tensor, "T B"]:
        """Return the scores."""
        return self.query(torch.tanh(self.hidden(states)))[..., 0]
