"""What a conditional random field is asked: log-likelihoods of tags, and their gradients.

No graph is recorded here. The gradient is that of Lafferty et al. (2001), section 3: what was
observed minus what was to be expected, both known after the forward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatewise.errors import InvalidValueError
from gatewise.ops._surroundings import is_transformed
from gatewise.ops.crf_posterior import Posterior, posterior
from gatewise.ops.reference import crf as reference
from gatewise.ops.reference.crf import IMPOSSIBLE, Chain, TagConstraints, Weights, at_last


class Problem(NamedTuple):
    """Sequences and what is known of their tags.

    Args:
        emissions: T×B×K, of any floating dtype.
        weights: The parameters, of any floating dtype.
        lengths: int64 [B], each from 1 to T; None for T everywhere.
        allowed: Which tags may follow each other; None for all.
    """

    emissions: Tensor
    weights: Weights
    lengths: Tensor | None
    allowed: TagConstraints | None

    def chain(self) -> Chain:
        """Return the scores, differentiably."""
        return reference.make_chain(*self)

    def dtype(self) -> torch.dtype:
        """Return the dtype of results."""
        return torch.promote_types(self.emissions.dtype, self.weights.start.dtype)

    def transformed(self) -> bool:
        """Say whether the reference has to compute, since torch transforms what is called."""
        return is_transformed((self.emissions, *self.weights))


class Found(NamedTuple):
    """What gradients follow from: expectations, where steps are valid, and rows that can be."""

    posterior: Posterior
    valid: Tensor | None
    possible: Tensor


def evaluate(problem: Problem, tags: Tensor) -> tuple[Tensor, Found]:
    """Return the log-likelihood of tags, [B], and what `gradients` needs.

    Args:
        problem: The sequences.
        tags: As `without_padding` returns them.
    """
    with torch.no_grad():
        chain = problem.chain()
        found = posterior(chain, problem.allowed)
        score = reference.path_score(chain, tags)
        value = reference.normalised(score, found.log_partition)
    return value.to(problem.dtype()), Found(found, chain.valid, ~(score <= IMPOSSIBLE))


def gradients(problem: Problem, tags: Tensor, grad: Tensor, found: Found) -> list[Tensor]:
    """Return the gradients of the emissions and the weights: observed minus expected.

    Args:
        problem: The sequences.
        tags: As `without_padding` returns them.
        grad: Of the log-likelihood, [B].
        found: By `evaluate`.
    """
    # What cannot be has a gradient of zero, as in the reference.
    weights = torch.where(found.possible, grad.double(), 0.0).expand(tags.shape)
    if found.valid is not None:
        weights = torch.where(found.valid, weights, 0.0)
    expected, moves = found.posterior.expected(weights)
    K = expected.shape[-1]
    surplus = expected.mul_(-weights[..., None])
    surplus.scatter_add_(-1, tags[..., None], weights[..., None])
    observed = torch.zeros_like(moves).flatten()
    observed.index_add_(0, (tags[:-1] * K + tags[1:]).flatten(), weights[1:].flatten())
    ends = at_last(surplus, problem.lengths)
    counts = (surplus, surplus[0].sum(0), observed.view(K, K) - moves, ends.sum(0))
    tensors = (problem.emissions, *problem.weights)
    return [part.to(tensor.dtype) for part, tensor in zip(counts, tensors, strict=True)]


def without_padding(problem: Problem, tags: Tensor) -> Tensor:
    """Return int64 tags, with tag 0 beyond the lengths."""
    tags, lengths = tags.long(), problem.lengths
    if lengths is None:
        return tags
    steps = torch.arange(len(tags), device=tags.device)[:, None]
    return torch.where(steps < lengths, tags, 0)


def check_tags(problem: Problem, tags: Tensor) -> None:
    """Refuse tags out of range, and paths that the constraints forbid.

    Args:
        problem: The sequences.
        tags: As `without_padding` returns them.

    Raises:
        InvalidValueError: With the place of the first that is wrong.
    """
    K = problem.emissions.shape[-1]
    if not tags.numel():
        return
    least, most = torch.aminmax(tags)
    if least < 0 or most >= K:
        step, row = ((tags < 0) | (tags >= K)).nonzero()[0].tolist()
        raise InvalidValueError(
            "CRF(tags)",
            f"tags from 0 to {K - 1}",
            f"{int(tags[step, row])} at step {step} of sequence {row}",
            "Give lengths, if this is padding.",
        )
    if problem.allowed is not None:
        _check_path(problem.allowed, tags, problem.lengths)


def _check_path(allowed: TagConstraints, tags: Tensor, lengths: Tensor | None) -> None:
    wrong = ~allowed.starts[tags[0]]
    if wrong.any():
        raise _forbidden("a first tag", tags, 0, int(wrong.nonzero()[0]))
    wrong = ~allowed.transitions[tags[:-1], tags[1:]]
    if lengths is not None:
        wrong &= torch.arange(1, len(tags), device=tags.device)[:, None] < lengths
    if wrong.any():
        step, row = wrong.nonzero()[0].tolist()
        raise _forbidden(f"a tag after tag {int(tags[step, row])}", tags, step + 1, row)
    wrong = ~allowed.ends[at_last(tags, lengths)]
    if wrong.any():
        row = int(wrong.nonzero()[0])
        last = len(tags) if lengths is None else int(lengths[row])
        raise _forbidden("a last tag", tags, last - 1, row)


def _forbidden(what: str, tags: Tensor, step: int, row: int) -> InvalidValueError:
    return InvalidValueError(
        "CRF(tags)",
        f"{what} that the constraints allow",
        f"{int(tags[step, row])} at step {step} of sequence {row}",
        "Correct the tags, or build the layer with constraints that they keep.",
    )
