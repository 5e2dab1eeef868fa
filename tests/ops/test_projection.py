"""Linear maps in two parts beside torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import forward_ad

import gatewise
from gatewise.ops.projection import project_in_two

FIRST = 5


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def operands(*, bias: bool, dtype: torch.dtype = torch.float64, T: int = 4) -> list[Tensor]:
    parts = [draw(T, 3, 6, seed=0, dtype=dtype), draw(7, 6, seed=1, dtype=dtype)]
    return parts + [draw(7, seed=2, dtype=dtype)] * bias


def ours(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return project_in_two(x, weight, bias, FIRST)


def torch_s(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, ...]:
    return F.linear(x, weight, bias).split([FIRST, 7 - FIRST], -1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("T", [4, 20_000])  # the larger with memory that is wanted again
def test_what_torch_does(bias, T):
    for _ in range(2):  # the second on memory of the first
        found = [part.requires_grad_() for part in operands(bias=bias, T=T)]
        expected = [part.requires_grad_() for part in operands(bias=bias, T=T)]
        outputs, theirs = ours(*found), torch_s(*expected)
        assert all(part.is_contiguous() for part in outputs)
        grads = [draw(*part.shape, seed=3 + i) for i, part in enumerate(outputs)]
        torch.autograd.backward(outputs, grads)
        torch.autograd.backward(theirs, grads)
        for one, other in zip(outputs, theirs, strict=True):
            torch.testing.assert_close(one, other)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one.grad, other.grad)
        with torch.no_grad():
            for one, other in zip(ours(*found), theirs, strict=True):
                torch.testing.assert_close(one, other)


def test_x_of_any_layout_and_a_part_that_nobody_uses():
    x, weight, bias = operands(bias=True)
    x = x.transpose(0, 1).requires_grad_()
    head, _ = ours(x, weight, bias)
    (grad,) = torch.autograd.grad(head.sum(), [x])
    torch.testing.assert_close(head, torch_s(x, weight, bias)[0])
    torch.testing.assert_close(grad, weight[:FIRST].sum(0).expand_as(x))


def test_only_what_is_wanted_has_a_gradient():
    x, weight, bias = operands(bias=True)
    for learner in (x, weight, bias):
        learner.requires_grad_()
        outputs = ours(x, weight, bias)
        (grad,) = torch.autograd.grad([part.sum() for part in outputs], [learner])
        (expected,) = torch.autograd.grad(F.linear(x, weight, bias).sum(), [learner])
        torch.testing.assert_close(grad, expected)
        learner.requires_grad = False


@pytest.mark.parametrize("bias", [False, True])
def test_second_derivatives(bias):
    given = [part.requires_grad_() for part in operands(bias=bias)]
    assert torch.autograd.gradcheck(ours, given)
    assert torch.autograd.gradgradcheck(ours, given)


def test_gradients_of_two_calls_that_live_at_once():
    kinds = []
    for project in (ours, torch_s):
        calls = [
            [part.requires_grad_() for part in operands(bias=True, T=20_000)] for _ in range(2)
        ]
        calls[1][0].data.mul_(2)
        losses = [sum(part.square().sum() for part in project(*call)) for call in calls]
        kinds.append([torch.autograd.grad(losses[i], calls[i]) for i in (1, 0)])
    for found, expected in zip(*kinds, strict=True):
        torch.testing.assert_close(found, expected)


def test_second_derivatives_inside_autocast():
    found = []
    for project in (ours, torch_s):
        given = [part.requires_grad_() for part in operands(bias=True, dtype=torch.float32)]
        loss = sum(part.square().sum() for part in project(*given))
        with torch.autocast("cpu", torch.bfloat16, enabled=project is ours):
            (grad,) = torch.autograd.grad(loss, given[:1], create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), given[:2]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_what_is_torch_s_own_where_the_reference_is_asked_for(backend):
    x, *others = operands(bias=True)
    with gatewise.use_backend(backend):
        head, _ = ours(x.requires_grad_(), *others)
        assert ("_Function" in type(head.grad_fn).__name__) == (backend == "auto")
        if backend == "reference":  # plain torch takes gradients in batches, too
            jacobian = torch.autograd.functional.jacobian
            found = jacobian(lambda x: ours(x, *others)[0], x, vectorize=True)
            expected = jacobian(lambda x: torch_s(x, *others)[0], x)
            torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_function_transforms_compilation_and_other_dtypes():
    given = operands(bias=True)
    expected = torch_s(*given)
    x, *others = given
    mapped = torch.func.vmap(lambda row: ours(row, *others), 1, 1)(x)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)(*given)
    half = ours(*(part.bfloat16() for part in given))
    for results, tolerance in ((mapped, 1e-12), (compiled, 1e-12), (half, 0.1)):
        for one, other in zip(results, expected, strict=True):
            torch.testing.assert_close(one.double(), other, rtol=tolerance, atol=tolerance)
    slope = torch.func.grad(lambda x: ours(x, *others)[0].sum())(x)
    torch.testing.assert_close(slope, others[0][:FIRST].sum(0).expand_as(x))
    with forward_ad.dual_level():
        head, _ = ours(forward_ad.make_dual(x, x), *others)
        moved = forward_ad.unpack_dual(head).tangent
    torch.testing.assert_close(moved, F.linear(x, others[0])[..., :FIRST])
