"""The linear-chain conditional random field: a layer that scores whole sequences of tags.

It stands behind a network that gives a score to each tag at each step. The mathematics is that of
`gatewise.ops.reference.crf`; how it is computed stands in `gatewise.ops.crf_posterior` and
`gatewise.ops.viterbi`. Constraints from the names of tags: `gatewise.nn.tag_constraints`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatewise.nn import _crf_checks as checks
from gatewise.nn._validate import check_lengths
from gatewise.nn.tag_constraints import TagConstraints
from gatewise.ops import crf
from gatewise.ops.crf_problem import Problem
from gatewise.ops.reference.crf import IMPOSSIBLE, Weights


class ScoredTags(NamedTuple):
    """A path of tags, and the logarithm of its probability."""

    tags: list[int]
    log_likelihood: float


class CRF(nn.Module):
    """A linear-chain conditional random field (Lafferty, McCallum & Pereira 2001).

    The score of a path of tags is the sum of its emissions, of ``transitions[i, j]`` for each
    step from tag i to tag j, of ``start_transitions`` of the first tag and ``end_transitions`` of
    the last; its probability is e^score over the sum of that of all paths. Parameters and their
    initial values, U(−0.1, 0.1), are those of pytorch-crf, and so is the state dict. Sums are
    taken in float64, whatever the dtype.

    Args:
        tags: How many there are, K ≥ 1.
        batch_first: Whether emissions, tags and marginals are B×T×… instead of T×B×….
        device: Device of the parameters.
        dtype: Dtype of the parameters.
        constraints: What may be, as `tag_constraints` returns it: masks ``transitions`` K×K (from,
            to), ``starts`` K and ``ends`` K. What may not be has no probability, in training as in
            decoding. They are no part of the state dict. None allows everything.
        generator: What draws the initial values; None for torch's default generator.

    Raises:
        GatewiseError: A refused argument; also a ValueError or TypeError.

    Example:
        >>> crf, emissions = CRF(5), torch.randn(7, 2, 5)
        >>> tags = torch.randint(5, (7, 2))
        >>> loss = -crf(emissions, tags, lengths=[7, 3]).mean()
        >>> [len(path) for path in crf.decode(emissions, lengths=[7, 3])]
        [7, 3]
    """

    allowed_transitions: Tensor | None
    allowed_starts: Tensor | None
    allowed_ends: Tensor | None

    def __init__(
        self,
        tags: int,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        constraints: TagConstraints | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        checks.check_constructor(tags, batch_first, constraints)
        self.tags = tags
        self.batch_first = batch_first
        masks = (None, None, None) if constraints is None else constraints
        for name, mask in zip(("transitions", "starts", "ends"), masks, strict=True):
            own = None if mask is None else mask.detach().to(device=device, copy=True)
            self.register_buffer(f"allowed_{name}", own, persistent=False)
        self.start_transitions = nn.Parameter(torch.empty(tags, device=device, dtype=dtype))
        self.end_transitions = nn.Parameter(torch.empty(tags, device=device, dtype=dtype))
        self.transitions = nn.Parameter(torch.empty(tags, tags, device=device, dtype=dtype))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw every parameter from U(−0.1, 0.1).

        Args:
            generator: What draws; None for torch's default generator.
        """
        for weight in self.parameters():
            nn.init.uniform_(weight, -0.1, 0.1, generator)

    @property
    def constraints(self) -> TagConstraints | None:
        """What may be; None for everything."""
        masks = (self.allowed_transitions, self.allowed_starts, self.allowed_ends)
        transitions, starts, ends = masks
        if transitions is None or starts is None or ends is None:
            return None
        return TagConstraints(transitions, starts, ends)

    def forward(
        self, emissions: Tensor, tags: Tensor, lengths: Tensor | Sequence[int] | None = None
    ) -> Tensor:
        """Return the log-likelihood of tags: negated and averaged, the loss to train with.

        Args:
            emissions: Scores of the tags, T×B×K, B×T×K with ``batch_first``. Minus infinity
                excludes a tag at a step.
            tags: Integers from 0 to K−1, T×B, B×T with ``batch_first``.
            lengths: Valid steps of each sequence, B integers from 1 to T in any order; None for T
                everywhere. What stands beyond them counts nowhere and gets no gradient.

        Returns:
            ln p(tags | emissions) of each sequence, [B]; minus infinity where the emission of a
            tag is.

        Raises:
            GatewiseError: An argument does not fit, tags are out of range or against the
                constraints (the message says where), or a sequence has no possible path. Under
                `torch.func`, where values cannot be looked at, what is impossible gives minus
                infinity.
        """
        problem = self._problem(emissions, lengths)
        checks.check_tags(tags, emissions)
        return crf.log_likelihood(problem, tags.t() if self.batch_first else tags)

    def marginals(self, emissions: Tensor, lengths: Tensor | Sequence[int] | None = None) -> Tensor:
        """Return the probability of each tag at each step, all paths considered.

        Args:
            emissions: As in `forward`.
            lengths: As in `forward`.

        Returns:
            T×B×K in the layout of the emissions; each step adds up to 1, and is 0 beyond the
            lengths. Differentiable.

        Raises:
            GatewiseError: An argument does not fit, or a sequence has no possible path.
        """
        found = crf.marginals(self._problem(emissions, lengths))
        return found.transpose(0, 1) if self.batch_first else found

    def decode(
        self, emissions: Tensor, lengths: Tensor | Sequence[int] | None = None
    ) -> list[list[int]]:
        """Return the most probable tags of each sequence, by Viterbi's algorithm.

        Args:
            emissions: As in `forward`.
            lengths: As in `forward`.

        Returns:
            B lists, each as long as its sequence.

        Raises:
            GatewiseError: An argument does not fit, or a sequence has no possible path.
        """
        problem = self._problem(emissions, lengths)
        paths, _ = crf.decode(problem, 1)
        return _lists(paths[0], problem.lengths)

    def decode_n_best(
        self, emissions: Tensor, n: int, lengths: Tensor | Sequence[int] | None = None
    ) -> list[list[ScoredTags]]:
        """Return the n most probable paths of each sequence, the best first.

        Args:
            emissions: As in `forward`.
            n: How many, at least 1.
            lengths: As in `forward`.

        Returns:
            For each sequence `ScoredTags` of different paths: n, or as many as are possible.

        Raises:
            GatewiseError: An argument does not fit, or a sequence has no possible path.

        Source:
            Seshadri & Sundberg (1994), the parallel list Viterbi algorithm.
        """
        checks.check_count(n)
        problem = self._problem(emissions, lengths)
        paths, scores = crf.decode(problem, n)
        values = (scores - crf.log_partition(problem)).masked_fill(scores <= IMPOSSIBLE, math.nan)
        found = zip(*(_lists(path, problem.lengths) for path in paths), strict=True)
        return [
            [ScoredTags(*pair) for pair in zip(row, each, strict=True) if not math.isnan(pair[1])]
            for row, each in zip(found, values.t().tolist(), strict=True)
        ]

    def extra_repr(self) -> str:
        """Show how many tags there are, and every option that is not the default."""
        shown = [str(self.tags)]
        if self.batch_first:
            shown.append("batch_first=True")
        if self.allowed_transitions is not None:
            part = self.allowed_transitions.float().mean().item()
            shown.append(f"constraints: {100 * part:.0f} % of the transitions allowed")
        return ", ".join(shown)

    def _problem(self, emissions: Tensor, lengths: Tensor | Sequence[int] | None) -> Problem:
        """Return what the operators take, T first; refuse what does not fit."""
        checks.check_emissions(emissions, self.tags, self.transitions, batch_first=self.batch_first)
        if self.batch_first:
            emissions = emissions.transpose(0, 1)
        T, B, _ = emissions.shape
        if lengths is not None:
            lengths = check_lengths("CRF", lengths, T, B, emissions.device)
        weights = Weights(self.start_transitions, self.transitions, self.end_transitions)
        return Problem(emissions, weights, lengths, self.constraints)


def _lists(path: Tensor, lengths: Tensor | None) -> list[list[int]]:
    """Return the valid tags of each sequence of T×B."""
    rows = path.t().tolist()
    if lengths is None:
        return rows
    return [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
