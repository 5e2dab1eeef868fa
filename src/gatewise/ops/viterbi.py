"""The best paths of tags: Viterbi's algorithm, and its list version for the n best.

A state of the search is a tag and one of the n best ways to it; the best is the case n = 1. All
sequences step together, in float64, so that large scores decide as they should.

Sources: L. R. Rabiner, "A tutorial on hidden Markov models and selected applications in speech
recognition", Proc. IEEE 77 (1989), section III.B; N. Seshadri, C.-E. W. Sundberg, "List Viterbi
decoding algorithms with applications", IEEE Trans. Communications 42 (1994), the parallel one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatewise.ops.reference.crf import FORBIDDEN, Chain


@torch.no_grad()
def best_paths(chain: Chain, n: int) -> tuple[Tensor, Tensor]:
    """Return the paths with the highest scores, from the best on.

    Args:
        chain: The scores.
        n: How many, at least 1.

    Returns:
        Tags n×T×B, arbitrary beyond the lengths, and scores n×B; these are below
        `gatewise.ops.reference.crf.IMPOSSIBLE` where there are fewer paths.
    """
    start, transitions, end = chain.weights
    emissions = chain.emissions.clamp_min(FORBIDDEN)
    T, B, K = emissions.shape
    scores = emissions.new_full((B, K, n), FORBIDDEN)
    scores[..., 0] = start + emissions[0]
    moves = transitions.repeat_interleave(n, 0)  # of each state to each tag
    stay = torch.arange(K * n, device=emissions.device).expand(B, -1)
    sources = []
    for t in range(1, T):
        ways, source = _best(scores.flatten(1)[..., None] + moves, n)
        ways = (ways + emissions[t][:, None]).transpose(1, 2)
        source = source.transpose(1, 2).flatten(1)
        if chain.valid is None:
            scores = ways
        else:
            goes_on = chain.valid[t][:, None]
            scores = torch.where(goes_on[..., None], ways, scores)
            source = torch.where(goes_on, source, stay)
        sources.append(source)
    scores, state = _best((scores + end[:, None]).flatten(1), n)
    states = [state]
    for source in reversed(sources):
        states.append(source.gather(1, states[-1]))
    paths = torch.stack(states[::-1]).div(n, rounding_mode="floor")
    return paths.permute(2, 0, 1), scores.t()


def _best(values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the n largest along the second axis, and where they stand."""
    if n == 1:
        return values.max(1, keepdim=True)
    return values.topk(n, 1)
