"""What the tags of sequences may be, given the scores: log Z, and expected tags and transitions.

By products of matrices wherever these lose nothing: the recursions of
`gatewise.ops.reference.crf`, in probabilities that are scaled to a sum of one at every step
(Rabiner 1989, section V.A). A step is then a product of B×K with K×K instead of B·K² exponentials,
and both directions go through one loop. In float64 that is exact as long as nothing underflows.
That is looked at before and after: scores that differ by more than a hundred within a step go
through the logarithms of the reference instead. No gradient is recorded here.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import torch
from torch import Tensor

from gatewise.errors import InvalidValueError
from gatewise.ops.reference.crf import (
    FORBIDDEN,
    IMPOSSIBLE,
    Chain,
    TagConstraints,
    at_last,
    forward_scores,
    reversed_steps,
)

_LEAST_FACTOR: Final = math.exp(-100)
"""Of a tag or a transition beside the largest of its kind, for products to be taken."""

_LEAST_REACHED: Final = math.exp(-250)
"""Of a tag beside the others of its step. The next step divides it by e^200 at most, so that no
tag becomes zero, as if it were forbidden, before one below this has been seen. The quotients in the
expected transitions stay below e^600, within the range of float64."""


class Scaled(NamedTuple):
    """Both recursions in scaled probabilities.

    Args:
        log_partition: log Z, [B].
        forward: e^α of each step, scaled to a sum of one, T×B×K.
        sums: What each step of it was divided by, T×B×1.
        backward: e^(e + β), with β the score of what follows a step, scaled alike, T×B×K.
        emitted: e^e over the largest of each step, T×B×K.
        moves: e^A over the largest, K×K.
    """

    log_partition: Tensor
    forward: Tensor
    sums: Tensor
    backward: Tensor
    emitted: Tensor
    moves: Tensor

    def tags(self) -> Tensor:
        """Return the probability of each tag at each step, T×B×K."""
        return self._tags()[0]

    def expected(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return `tags`, and the sum of the probabilities of transitions, weighed by T×B, K×K."""
        tags, total = self._tags()
        follows = self.backward * (weights[..., None] / (self.sums * total))
        pairs = self.forward[:-1].flatten(0, 1).t() @ follows[1:].flatten(0, 1)
        return tags, pairs * self.moves

    def _tags(self) -> tuple[Tensor, Tensor]:
        tags = self.forward * self.backward
        tags /= self.emitted
        total = tags.sum(-1, keepdim=True)
        return tags.div_(total), total


class InLogarithms(NamedTuple):
    """Both recursions in logarithms, whatever the scores.

    Args:
        log_partition: log Z, [B].
        forward: α, T×B×K.
        backward: e + β, T×B×K.
        emissions: e, T×B×K.
        moves: A, K×K.
    """

    log_partition: Tensor
    forward: Tensor
    backward: Tensor
    emissions: Tensor
    moves: Tensor

    def tags(self) -> Tensor:
        """Return the probability of each tag at each step, T×B×K."""
        return torch.softmax(self.forward + self.backward - self.emissions, -1)

    def expected(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `Scaled.expected` does, a step at a time: pairs of tags are many."""
        total = torch.zeros_like(self.moves).flatten()
        steps = zip(self.forward[:-1], self.backward[1:], weights[1:], strict=True)
        for before, after, weight in steps:
            pairs = before[:, :, None] + self.moves + after[:, None]
            total += weight @ torch.softmax(pairs.flatten(1), -1)
        return self.tags(), total.view_as(self.moves)


Posterior = Scaled | InLogarithms


def posterior(chain: Chain, allowed: TagConstraints | None) -> Posterior:
    """Run both recursions.

    Args:
        chain: The scores.
        allowed: What its weights were made with.

    Raises:
        InvalidValueError: A sequence has no path that is possible.
    """
    with torch.no_grad():
        found = _scaled(chain, allowed)
        return _in_logarithms(chain) if found is None else found


def no_path(row: int) -> InvalidValueError:
    """Return the error for a sequence of which every path is impossible."""
    return InvalidValueError(
        "CRF(emissions)",
        "a possible path of tags for each sequence",
        f"none for sequence {row}: constraints or emissions of minus infinity exclude them all",
        "Look at what the constraints leave for a sequence as short as this one.",
    )


def _in_logarithms(chain: Chain) -> InLogarithms:
    start, moves, end = chain.weights
    emissions, lengths = chain.emissions.clamp_min(FORBIDDEN), chain.lengths
    forward = forward_scores(emissions, start, moves)
    backward = forward_scores(reversed_steps(emissions, lengths), end, moves.t())
    log_z = torch.logsumexp(at_last(forward, lengths) + end, -1)
    impossible = log_z <= IMPOSSIBLE
    if impossible.any():
        raise no_path(int(impossible.nonzero()[0]))
    return InLogarithms(log_z, forward, reversed_steps(backward, lengths), emissions, moves)


def _scaled(chain: Chain, allowed: TagConstraints | None) -> Scaled | None:
    """Run both recursions in probabilities; None where these could lose something."""
    emissions, lengths = chain.emissions, chain.lengths
    if emissions.numel() == 0:
        return None
    largest = emissions.amax(-1, keepdim=True)
    emitted = (emissions - largest).exp_()
    masks = (None, None, None) if allowed is None else (allowed[1], allowed[0], allowed[2])
    parts = [_exponentials(w, mask) for w, mask in zip(chain.weights, masks, strict=True)]
    start, moves, end = (part.weights for part in parts)
    least = torch.stack([emitted.min(), *(part.least for part in parts)]).min()
    if not least >= _LEAST_FACTOR:  # nor where it is no number
        return None
    reached, sums = _recursions(
        torch.stack([emitted, reversed_steps(emitted, lengths)], 1),
        torch.stack([moves, moves.t()]),
        torch.stack([start, end]),
    )
    if allowed is not None and not reached.masked_fill(reached == 0, 1.0).min() >= _LEAST_REACHED:
        return None
    scales = (sums[:, 0].log() + largest).squeeze(-1)
    steps = len(emissions) if lengths is None else lengths
    if chain.valid is not None:
        scales = torch.where(chain.valid, scales, 0.0)
    ended = (at_last(reached[:, 0], lengths) * end).sum(-1).log()
    log_z = scales.sum(0) + ended + parts[0].scale + parts[1].scale * (steps - 1) + parts[2].scale
    if not log_z.isfinite().all():
        return None
    backward = reversed_steps(reached[:, 1], lengths)
    return Scaled(log_z, reached[:, 0], sums[:, 0], backward, emitted, moves)


class _Exponentials(NamedTuple):
    """e^scores over the largest, the score of that, and the least that is allowed."""

    weights: Tensor
    scale: Tensor
    least: Tensor


def _exponentials(scores: Tensor, mask: Tensor | None) -> _Exponentials:
    scale = scores.max()
    weights = (scores - scale).exp_()
    if mask is None:
        return _Exponentials(weights, scale, weights.min())
    least = weights.masked_fill(~mask, 1.0).min()
    return _Exponentials(weights.masked_fill_(~mask, 0.0), scale, least)


def _recursions(factors: Tensor, matrices: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply with the matrix and the factors of a step and scale to a sum of one, step by step.

    Args:
        factors: T×R×B×K, for R recursions side by side.
        matrices: R×K×K.
        ends: What the first factors are multiplied with, R×K.

    Returns:
        The probabilities of each step, T×R×B×K, and what they were divided by, T×R×B×1.
    """
    reached = torch.empty_like(factors)
    sums = factors.new_empty(*factors.shape[:-1], 1)
    before = None
    for now, factor, total in zip(reached.unbind(), factors.unbind(), sums.unbind(), strict=True):
        if before is None:
            now.copy_(ends[:, None])
        else:
            torch.bmm(before, matrices, out=now)
        now.mul_(factor)
        torch.sum(now, -1, keepdim=True, out=total)
        before = now.div_(total)
    return reached, sums
