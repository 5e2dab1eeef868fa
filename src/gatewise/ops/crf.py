"""The log-likelihood of a conditional random field in torch's autograd and among its operators.

Function transforms and second derivatives take `gatewise.ops.reference.crf`; all else the products
of `gatewise.ops.crf_posterior`. Where torch records, as under ``torch.compile``, the operators
``torch.ops.gatewise.crf`` and ``crf_backward`` stand for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.library import Library

from gatewise.errors import InvalidStateError
from gatewise.ops._surroundings import differentiated, is_recorded, learns
from gatewise.ops.crf_posterior import no_path, posterior
from gatewise.ops.crf_problem import Problem, check_tags, evaluate, gradients, without_padding
from gatewise.ops.reference import crf as reference
from gatewise.ops.reference.crf import IMPOSSIBLE, TagConstraints, Weights
from gatewise.ops.viterbi import best_paths


def log_likelihood(problem: Problem, tags: Tensor) -> Tensor:
    """Return the logarithm of the probability of tags, [B], differentiably.

    Args:
        problem: The sequences.
        tags: Integers T×B; whatever stands beyond the lengths is not read.

    Raises:
        InvalidValueError: A tag is out of range or not allowed where it stands, or no path is
            possible. Function transforms, which see no values, give minus infinity instead.
    """
    if is_recorded():
        return torch.ops.gatewise.crf(*_arguments(problem, tags))
    tags = without_padding(problem, tags)
    if problem.transformed():
        return reference.log_likelihood(problem.chain(), tags).to(problem.dtype())
    check_tags(problem, tags)
    if learns((problem.emissions, *problem.weights)):
        return _Function.apply(problem, tags, problem.emissions, *problem.weights)  # pyright: ignore
    return evaluate(problem, tags)[0]


def decode(problem: Problem, n: int) -> tuple[Tensor, Tensor]:
    """Return the n most probable paths, from the best on: tags n×T×B and their scores n×B.

    Args:
        problem: The sequences.
        n: How many, at least 1; scores are below `IMPOSSIBLE` where there are fewer.

    Raises:
        InvalidValueError: No path is possible.
    """
    with torch.no_grad():
        paths, scores = best_paths(problem.chain(), n)
    impossible = scores[0] <= IMPOSSIBLE
    if impossible.any():
        raise no_path(int(impossible.nonzero()[0]))
    return paths, scores


def log_partition(problem: Problem) -> Tensor:
    """Return log Z of each sequence in float64, [B]; no gradient is recorded.

    Args:
        problem: The sequences.

    Raises:
        InvalidValueError: No path is possible.
    """
    with torch.no_grad():
        return posterior(problem.chain(), problem.allowed).log_partition


def marginals(problem: Problem) -> Tensor:
    """Return the probability of each tag at each step, T×B×K, zero beyond the lengths.

    Differentiable, in plain torch.

    Args:
        problem: The sequences.

    Raises:
        InvalidValueError: No path is possible, unless torch records or transforms the call.
    """
    chain = problem.chain()
    if is_recorded() or problem.transformed():
        return reference.marginals(chain).to(problem.dtype())
    found = posterior(chain, problem.allowed)
    if learns((problem.emissions, *problem.weights)):
        return reference.marginals(chain).to(problem.dtype())
    tags = found.tags()
    if chain.valid is not None:
        tags.masked_fill_(~chain.valid[..., None], 0.0)
    return tags.to(problem.dtype())


class _Function(torch.autograd.Function):
    """The eager path."""

    @staticmethod
    def forward(ctx: Any, problem: Problem, tags: Tensor, *tensors: Tensor) -> Tensor:
        problem = problem._replace(emissions=tensors[0], weights=Weights(*tensors[1:]))
        value, ctx.found = evaluate(problem, tags)
        masks = problem.allowed or (None, None, None)
        ctx.save_for_backward(*tensors, problem.lengths, *masks, tags)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        problem, tags = _problem(ctx.saved_tensors)
        if torch.is_grad_enabled():
            return None, None, *_twice(problem, tags, grads[0])
        return None, None, *gradients(problem, tags, grads[0], ctx.found)


def _twice(problem: Problem, tags: Tensor, grad: Tensor) -> Sequence[Tensor | None]:
    """Return gradients that can be differentiated again."""
    tensors = (problem.emissions, *problem.weights)
    value = reference.log_likelihood(problem.chain(), tags).to(problem.dtype())
    return differentiated([value], [grad], tensors)


_library = Library("gatewise", "FRAGMENT")
_OPERANDS = (
    "Tensor emissions, Tensor start, Tensor transitions, Tensor end, Tensor? lengths, "
    "Tensor? moves, Tensor? starts, Tensor? ends, Tensor tags"
)
_library.define(f"crf({_OPERANDS}) -> Tensor")
_library.define(f"crf_backward(Tensor grad, {_OPERANDS}) -> (Tensor, Tensor, Tensor, Tensor)")


def _arguments(problem: Problem, tags: Tensor) -> tuple[Tensor | None, ...]:
    """The problem and its tags as the operators take them."""
    masks = problem.allowed or (None, None, None)
    return problem.emissions, *problem.weights, problem.lengths, *masks, tags


def _problem(arguments: Sequence[Any]) -> tuple[Problem, Tensor]:
    """The reverse."""
    emissions, start, transitions, end, lengths, moves, starts, ends, tags = arguments
    allowed = None if moves is None else TagConstraints(moves, starts, ends)
    return Problem(emissions, Weights(start, transitions, end), lengths, allowed), tags


def _run(*arguments: Any) -> Tensor:
    problem, tags = _problem(arguments)
    tags = without_padding(problem, tags)
    check_tags(problem, tags)
    return evaluate(problem, tags)[0]


def _run_backward(grad: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    problem, tags = _problem(arguments)
    tags = without_padding(problem, tags)
    return tuple(gradients(problem, tags, grad, evaluate(problem, tags)[1]))


def _fake_run(*arguments: Any) -> Tensor:
    problem, tags = _problem(arguments)
    return problem.emissions.new_empty(tags.shape[1], dtype=problem.dtype())


def _fake_backward(_: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor) for tensor in arguments[:4])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _operator_backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    arguments = ctx.saved_tensors
    return *torch.ops.gatewise.crf_backward(grad, *arguments), *(None,) * (len(arguments) - 4)


def _refuse_transform(*_: Any, **__: Any) -> NoReturn:
    raise InvalidStateError(
        "gatewise::crf",
        "a plain call",
        "one under a function transform (torch.func, forward-mode differentiation)",
        "Call gatewise.nn.CRF, which takes the reference there.",
    )


for _name, _call, _fake in (
    ("crf", _run, _fake_run),
    ("crf_backward", _run_backward, _fake_backward),
):
    _library.impl(_name, _call, "CompositeExplicitAutograd")
    torch.library.register_fake(f"gatewise::{_name}", _fake, lib=_library)
    # Where torch.func would otherwise put its fallback, which takes tangents for zeros.
    _library.impl(_name, _refuse_transform, "FuncTorchDynamicLayerFrontMode")
torch.library.register_autograd(
    "gatewise::crf", _operator_backward, setup_context=_setup_context, lib=_library
)
