r"""The linear-chain conditional random field in logarithms: plain torch, differentiable twice.

For emissions e (T×B×K), transitions A (K×K, from row to column), and scores s and f of the first
and the last tag, a path y of a sequence of n steps has the score

.. math::
    S(y) = s_{y_0} + \sum_{t<n} e_{t,y_t} + \sum_{0<t<n} A_{y_{t-1},y_t} + f_{y_{n-1}}

and the probability e^{S(y)} / Z, with Z the sum of e^{S} over all paths:

.. math::
    \alpha_{0,j} &= s_j + e_{0,j}, \qquad
    \alpha_{t,j} = e_{t,j} + \log \sum_i e^{\alpha_{t-1,i} + A_{ij}} \\
    \log Z &= \log \sum_j e^{\alpha_{n-1,j} + f_j}

The backward scores are those of the reversed sequence, with A transposed and f in place of s.
Everything is computed in float64, for a log-likelihood is a small difference of large sums. What
is forbidden has a score that is finite, but below all others: differences of minus infinities
would be no numbers, and so would the gradients. Not here: the same in products of matrices, which
is `gatewise.ops.crf_posterior`.

Sources: J. Lafferty, A. McCallum, F. Pereira, "Conditional random fields: probabilistic models for
segmenting and labeling sequence data", ICML 2001; L. R. Rabiner, "A tutorial on hidden Markov
models and selected applications in speech recognition", Proc. IEEE 77 (1989), for the recursions;
G. Lample, M. Ballesteros, S. Subramanian, K. Kawakami, C. Dyer, "Neural architectures for named
entity recognition", NAACL 2016, for emissions by a network.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor

FORBIDDEN: Final = -1e30
"""The score of what cannot be: its exponential is zero, and sums of it stay finite."""

IMPOSSIBLE: Final = FORBIDDEN / 2
"""No path that is possible scores less."""


class Weights(NamedTuple):
    """The parameters: of the first tag K, of transitions K×K (from, to), of the last tag K."""

    start: Tensor
    transitions: Tensor
    end: Tensor


class TagConstraints(NamedTuple):
    """What may be is True: transitions K×K (from, to), first tags K, last tags K."""

    transitions: Tensor
    starts: Tensor
    ends: Tensor


class Chain(NamedTuple):
    """The scores of a batch of sequences, in float64.

    Args:
        emissions: T×B×K, zero beyond the lengths.
        weights: `FORBIDDEN` where nothing is allowed.
        lengths: int64 [B], each from 1 to T; None for T everywhere.
        valid: T×B, True up to the lengths; None for everywhere.
    """

    emissions: Tensor
    weights: Weights
    lengths: Tensor | None
    valid: Tensor | None


def make_chain(
    emissions: Tensor, weights: Weights, lengths: Tensor | None, allowed: TagConstraints | None
) -> Chain:
    """Return the scores of sequences, differentiably.

    Args:
        emissions: T×B×K, of any floating dtype; whatever stands beyond the lengths is dropped.
        weights: Of any floating dtype.
        lengths: int64 [B], each from 1 to T; None for T everywhere.
        allowed: What may be; None for everything.
    """
    emissions, valid = emissions.double(), None
    if lengths is not None:
        valid = torch.arange(len(emissions), device=lengths.device)[:, None] < lengths
        emissions = torch.where(valid[..., None], emissions, 0.0)
    start, transitions, end = (weight.double() for weight in weights)
    if allowed is not None:
        transitions = transitions.masked_fill(~allowed.transitions, FORBIDDEN)
        start = start.masked_fill(~allowed.starts, FORBIDDEN)
        end = end.masked_fill(~allowed.ends, FORBIDDEN)
    return Chain(emissions, Weights(start, transitions, end), lengths, valid)


def log_likelihood(chain: Chain, tags: Tensor) -> Tensor:
    """Return the logarithm of the probability of tags, [B].

    Args:
        chain: The scores.
        tags: int64 T×B, within range beyond the lengths too.
    """
    return normalised(path_score(chain, tags), log_partition(chain))


def normalised(score: Tensor, log_z: Tensor) -> Tensor:
    """Return S − log Z, minus infinity for a path that cannot be, [B]."""
    return torch.where(score <= IMPOSSIBLE, float("-inf"), score - log_z)


def path_score(chain: Chain, tags: Tensor) -> Tensor:
    """Return S of the tags, [B]; below `IMPOSSIBLE` if they cannot be."""
    start, transitions, end = chain.weights
    emitted = chain.emissions.gather(-1, tags[..., None]).squeeze(-1).sum(0)
    moves = transitions[tags[:-1], tags[1:]]
    if chain.valid is not None:
        moves = torch.where(chain.valid[1:], moves, 0.0)
    return start[tags[0]] + emitted + moves.sum(0) + end[at_last(tags, chain.lengths)]


def log_partition(chain: Chain) -> Tensor:
    """Return log Z of each sequence, [B]."""
    start, transitions, end = chain.weights
    scores = forward_scores(chain.emissions.clamp_min(FORBIDDEN), start, transitions)
    return torch.logsumexp(at_last(scores, chain.lengths) + end, -1)


def marginals(chain: Chain) -> Tensor:
    """Return the probability of each tag at each step, T×B×K, zero beyond the lengths."""
    start, transitions, end = chain.weights
    emissions, lengths = chain.emissions.clamp_min(FORBIDDEN), chain.lengths
    forward = forward_scores(emissions, start, transitions)
    reverse = forward_scores(reversed_steps(emissions, lengths), end, transitions.t())
    both = forward + reversed_steps(reverse, lengths) - emissions
    probability = torch.softmax(both, -1)
    if chain.valid is not None:
        probability = torch.where(chain.valid[..., None], probability, 0.0)
    return probability


def at_last(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return what stands at the last valid step, B×…, of T×B×…."""
    if lengths is None:
        return values[-1]
    return values[lengths - 1, torch.arange(len(lengths), device=lengths.device)]


def reversed_steps(values: Tensor, lengths: Tensor | None) -> Tensor:
    """Return T×B×K with the valid steps of each sequence in reverse order; its own inverse."""
    if lengths is None:
        return values.flip(0)
    steps = torch.arange(len(values), device=lengths.device)[:, None]
    source = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return values.gather(0, source[..., None].expand(values.shape))


def forward_scores(emissions: Tensor, start: Tensor, transitions: Tensor) -> Tensor:
    """Return α of every step, T×B×K; beyond the lengths it goes on, which nothing reads.

    Args:
        emissions: T×B×K, no less than `FORBIDDEN`.
        start: K.
        transitions: K×K.
    """
    first, *others = emissions.unbind(0)
    scores = [start + first]
    for emission in others:
        scores.append(torch.logsumexp(scores[-1][:, :, None] + transitions, 1) + emission)
    return torch.stack(scores)
