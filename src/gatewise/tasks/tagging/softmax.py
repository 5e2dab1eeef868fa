"""Each tag by itself: the head that knows nothing of the tags beside it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


class SoftmaxTags(nn.Module):
    """What `gatewise.nn.CRF` offers, for tags that are independent given the scores."""

    def forward(
        self,
        emissions: Float[Tensor, "T B K"],
        tags: Int64[Tensor, "T B"],
        lengths: Int64[Tensor, "B"],
    ) -> Float[Tensor, "B"]:
        """Return the log-likelihood of the tags of each sentence."""
        of_token = emissions.log_softmax(2).gather(2, tags[..., None])[..., 0]
        return of_token.masked_fill(_beyond(emissions, lengths), 0.0).sum(0)

    def marginals(
        self, emissions: Float[Tensor, "T B K"], lengths: Int64[Tensor, "B"]
    ) -> Float[Tensor, "T B K"]:
        """Return the probability of each tag of each token, 0 beyond the lengths."""
        beyond = _beyond(emissions, lengths)[..., None]
        return emissions.softmax(2).masked_fill(beyond, 0.0)

    def decode(
        self, emissions: Float[Tensor, "T B K"], lengths: Int64[Tensor, "B"]
    ) -> list[list[int]]:
        """Return the most probable tags of each sentence."""
        best = emissions.argmax(2).t().tolist()
        return [row[:length] for row, length in zip(best, lengths.tolist(), strict=True)]


def _beyond(emissions: Tensor, lengths: Tensor) -> Tensor:
    """Where no token is, T×B."""
    return torch.arange(len(emissions), device=emissions.device)[:, None] >= lengths
