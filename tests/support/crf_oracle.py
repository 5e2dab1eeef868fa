"""What a conditional random field must give: every path written out, its score, and their sum.

Independent of what is tested: no recursion, in float64, differentiable by torch alone.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor

from gatewise.nn import CRF, TagConstraints


def every_path(crf: CRF, emissions: Tensor) -> tuple[Tensor, Tensor]:
    """The paths, P×T, that are allowed for one sequence, T×K, and their scores, P."""
    paths = torch.tensor(list(itertools.product(range(crf.tags), repeat=len(emissions))))
    before, after = paths[:, :-1], paths[:, 1:]
    scores = emissions.double().gather(1, paths.t()).sum(0)
    scores = scores + crf.transitions.double()[before, after].sum(1)
    scores = scores + crf.start_transitions.double()[paths[:, 0]]
    scores = scores + crf.end_transitions.double()[paths[:, -1]]
    if crf.constraints is not None:
        moves, starts, ends = crf.constraints
        kept = starts[paths[:, 0]] & ends[paths[:, -1]] & moves[before, after].all(1)
        paths, scores = paths[kept], scores[kept]
    return paths, scores


def answers_by_enumeration(
    crf: CRF, emissions: Tensor, tags: Tensor, lengths: list[int]
) -> dict[str, Tensor]:
    """What `answers` of the layer must be, T first."""
    T, B, K = emissions.shape
    crf = copy.deepcopy(crf).double()
    leaf = emissions.detach().double().requires_grad_()
    own, best = [], []
    marginals = torch.zeros(T, B, K, dtype=torch.float64)
    for b, n in enumerate(lengths):
        paths, scores = every_path(crf, leaf[:n, b])
        logs = scores - scores.logsumexp(0)
        own.append(logs[(paths == tags[:n, b]).all(1)].squeeze(0))
        for t in range(n):
            marginals[t, b].index_add_(0, paths[:, t], logs.detach().exp())
        order = logs.detach().argsort(descending=True)
        best.append((paths[order], logs.detach()[order]))
    value = torch.stack(own)
    return {
        "log_likelihood": value.detach(),
        **_gradients(crf, value, leaf),
        "marginals": marginals,
        "best": _joined(best),
    }


def answers(
    crf: CRF, emissions: Tensor, tags: Tensor, lengths: list[int] | None, n_best: int
) -> dict[str, Tensor]:
    """What the layer says: values, gradients, marginals, and its best paths as one tensor."""
    leaf = emissions.detach().requires_grad_()
    value = crf(leaf, tags, lengths)
    found = crf.decode_n_best(emissions, n_best, lengths)
    assert [row[0].tags for row in found] == crf.decode(emissions, lengths)
    best = [
        (
            torch.tensor([path.tags for path in row]),
            torch.tensor([path.log_likelihood for path in row], dtype=torch.float64),
        )
        for row in found
    ]
    with torch.no_grad():
        marginals = crf.marginals(emissions, lengths)
    return {
        "log_likelihood": value.detach(),
        **_gradients(crf, value, leaf),
        "marginals": marginals,
        "best": _joined(best),
    }


def assert_same_answers(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    """Raise unless all numbers agree, relative to their size where that is above one.

    Of the best paths, as many are compared as were asked for.
    """
    assert got.keys() == want.keys()
    for name, right in want.items():
        value = got[name]
        if name == "best":
            right = right[:, : value.shape[1]]
        torch.testing.assert_close(
            value.double(),
            right,
            rtol=tolerance,
            atol=tolerance,
            msg=lambda message, name=name: f"{name}: {message}",
        )


def random_case(
    T: int,
    B: int,
    K: int,
    seed: int,
    *,
    constrained: bool = False,
    scale: float = 1.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[CRF, Tensor, Tensor, list[int]]:
    """A layer, emissions, tags that it allows, and lengths, at least one of which is T."""
    draw = torch.Generator().manual_seed(seed)
    constraints = None
    if constrained:
        constraints = TagConstraints(
            torch.rand(K, K, generator=draw) < 0.6,
            torch.rand(K, generator=draw) < 0.7,
            torch.rand(K, generator=draw) < 0.7,
        )
        # The first tag may always go on, so that there is a path for every length.
        constraints.transitions[0, 0] = constraints.starts[0] = constraints.ends[0] = True
    crf = CRF(K, dtype=dtype, constraints=constraints)
    for weight in crf.parameters():
        weight.data = torch.randn(weight.shape, generator=draw, dtype=dtype)
    emissions = scale * torch.randn(T, B, K, generator=draw, dtype=dtype)
    lengths = torch.randint(1, T + 1, (B,), generator=draw)
    lengths[seed % B] = T
    tags = torch.zeros(T, B, dtype=torch.int64)
    for b, n in enumerate(lengths.tolist()):
        paths, _ = every_path(crf, emissions[:n, b])
        tags[:n, b] = paths[int(torch.randint(len(paths), (), generator=draw))]
    return crf, emissions, tags, lengths.tolist()


def _gradients(crf: CRF, value: Tensor, leaf: Tensor) -> dict[str, Tensor]:
    # Sequences count differently, so that a gradient that mixes them up is seen.
    weights = torch.arange(1, len(value) + 1, dtype=value.dtype)
    weights[1::2] *= -1
    names = ["emissions", *dict(crf.named_parameters())]
    found = torch.autograd.grad(value, [leaf, *crf.parameters()], weights)
    return {f"gradient of {name}": grad for name, grad in zip(names, found, strict=True)}


def _joined(best: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Log-likelihoods and tags of the best paths, B×n×(1 + T), −1 where there is nothing."""
    n, T = max(len(paths) for paths, _ in best), max(paths.shape[1] for paths, _ in best)
    joined = torch.full((len(best), n, 1 + T), -1.0, dtype=torch.float64)
    for row, (paths, logs) in zip(joined, best, strict=True):
        row[: len(paths), 0] = logs
        row[: len(paths), 1 : 1 + paths.shape[1]] = paths
    return joined
