"""Function transforms and higher derivatives, which the layer must notice and get right."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap

from support.backends import CHOICES
from support.compare import assert_close
from support.twins import twins

TOLERANCE = 1e-12

pytestmark = [
    pytest.mark.parametrize("backend", CHOICES),
    # torch's own forward-mode rules are scripted on first use.
    pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning"),
]


@pytest.fixture
def layer(backend):
    return twins(3, 4, 2, backend=backend, bidirectional=True)[1]


@pytest.fixture
def x():
    return torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _loss(layer, weights, x: Tensor) -> Tensor:
    return functional_call(layer, weights, (x,))[0].square().sum()


def test_grad_equals_autograd(layer, x):
    weights = dict(layer.named_parameters())
    got = grad(lambda w: _loss(layer, w, x))(weights)
    _loss(layer, weights, x).backward()
    assert_close(got, {name: w.grad for name, w in weights.items()}, tolerance=TOLERANCE)


def test_vmap_of_grad_gives_the_gradient_of_each_sequence(layer, x):
    weights = {name: w.detach() for name, w in layer.named_parameters()}
    each = vmap(lambda s: grad(lambda w: _loss(layer, w, s))(weights), in_dims=1)(x)
    for b in range(2):
        alone = grad(lambda w, b=b: _loss(layer, w, x[:, b : b + 1]))(weights)
        assert_close({n: g[b] for n, g in each.items()}, alone, tolerance=TOLERANCE)


def test_vmap_over_an_ensemble_of_weights(layer, x):
    weights = {n: torch.stack([w, 2 * w]).detach() for n, w in layer.named_parameters()}
    both = vmap(lambda w: functional_call(layer, w, (x,))[0])(weights)
    for member in (0, 1):
        own = {name: w[member] for name, w in weights.items()}
        alone = functional_call(layer, own, (x,))[0]
        assert_close({"y": both[member]}, {"y": alone}, tolerance=TOLERANCE)


def test_vmap_with_lengths_and_resets(layer, x):
    many = torch.stack([x, 2 * x, -x])
    reset = torch.zeros(5, 2, dtype=torch.bool)
    reset[2, 0] = True
    lengths = torch.tensor([5, 3])
    got = vmap(lambda s: layer(s, lengths=lengths, reset=reset)[0])(many)
    want = torch.stack([layer(s, lengths=lengths, reset=reset)[0] for s in many])
    assert_close({"y": got}, {"y": want}, tolerance=TOLERANCE)


def test_jvp_equals_a_difference(layer, x):
    tangent = torch.randn_like(x)
    _, slope = jvp(lambda s: layer(s)[0], (x,), (tangent,))
    step = 1e-6
    difference = (layer(x + step * tangent)[0] - layer(x - step * tangent)[0]) / (2 * step)
    assert slope.abs().sum() > 0
    assert_close({"slope": slope.detach()}, {"slope": difference.detach()}, tolerance=1e-8)


def test_forward_mode_equals_jvp(layer, x):
    tangent = torch.randn_like(x)
    _, expected = jvp(lambda s: layer(s)[0], (x,), (tangent,))
    with forward_ad.dual_level():
        y = layer(forward_ad.make_dual(x, tangent))[0]
        slope = forward_ad.unpack_dual(y).tangent
    assert slope is not None
    assert_close({"slope": slope}, {"slope": expected}, tolerance=TOLERANCE)


def test_forward_mode_in_a_weight(layer, x):
    weights = {name: w.detach() for name, w in layer.named_parameters()}
    direction = torch.randn_like(weights["weight_hh_l1"])

    def run(weight: Tensor) -> Tensor:
        return functional_call(layer, {**weights, "weight_hh_l1": weight}, (x,))[0]

    _, slope = jvp(run, (weights["weight_hh_l1"],), (direction,))
    (pulled,) = torch.autograd.functional.vjp(run, weights["weight_hh_l1"], slope)[1:]
    assert torch.isclose((pulled * direction).sum(), slope.square().sum())


def test_hessian_equals_double_backward(layer, x):
    small = x[:2, :1].clone()
    got = hessian(lambda s: _loss(layer, {}, s))(small).reshape(6, 6)
    flat = small.clone().requires_grad_()
    (first,) = torch.autograd.grad(_loss(layer, {}, flat), flat, create_graph=True)
    rows = [torch.autograd.grad(g, flat, retain_graph=True)[0].flatten() for g in first.flatten()]
    want = torch.stack(rows)
    assert want.abs().sum() > 0
    assert_close({"hessian": got.detach()}, {"hessian": want}, tolerance=TOLERANCE)
    assert_close({"symmetric": got.T.detach()}, {"symmetric": want}, tolerance=TOLERANCE)


def test_jacrev_equals_rows_of_backward(layer, x):
    got = jacrev(lambda s: layer(s)[1][1][0, 0])(x)
    leaf = x.clone().requires_grad_()
    rows = [torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in layer(leaf)[1][1][0, 0]]
    assert_close({"jacobian": got.detach()}, {"jacobian": torch.stack(rows)}, tolerance=TOLERANCE)


def test_double_backward_through_weights(layer, x):
    weights = list(layer.parameters())
    grads = torch.autograd.grad(_loss(layer, {}, x), weights, create_graph=True)
    penalty = torch.stack([g.square().sum() for g in grads]).sum()
    got = dict(enumerate(torch.autograd.grad(penalty, weights)))

    theirs, _ = twins(3, 4, 2, bidirectional=True)
    weights = list(theirs.parameters())
    grads = torch.autograd.grad(_loss(theirs, {}, x), weights, create_graph=True)
    penalty = torch.stack([g.square().sum() for g in grads]).sum()
    want = dict(enumerate(torch.autograd.grad(penalty, weights)))
    assert_close(got, want, tolerance=TOLERANCE)
