"""The linear layer with cross-entropy against torch's two layers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gatewise as gw
from gatewise.errors import GatewiseError
from gatewise.nn import LinearCrossEntropy
from gatewise.ops import cross_entropy
from support.compare import assert_as_accurate
from support.cross_entropy_cases import SIZES, case, ours, torchs


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("sizes", SIZES)
def test_as_accurate_as_torch(sizes, smoothing, reduction, backend):
    layer, x, target = case(*sizes, label_smoothing=smoothing, reduction=reduction, backend=backend)
    exact = torchs(layer, x, target, torch.float64)
    assert_as_accurate(ours(layer, x, target), exact, torchs(layer, x, target, torch.float32))


@pytest.mark.parametrize("sizes", SIZES)
def test_float64(sizes):
    layer, x, target = case(*sizes, dtype=torch.float64, label_smoothing=0.2)
    exact = torchs(layer, x, target, torch.float64)
    for name, value in ours(layer, x, target).items():
        torch.testing.assert_close(value, exact[name], rtol=1e-11, atol=1e-13, msg=name)


def test_without_bias_tied_and_of_any_shape():
    torch.manual_seed(0)
    embedding = nn.Embedding(50, 24)
    layer = LinearCrossEntropy(24, 50, bias=False)
    layer.weight = embedding.weight
    tokens, target = torch.randint(50, (7, 3)), torch.randint(50, (7, 3))
    layer(embedding(tokens), target).backward()
    got, embedding.weight.grad = embedding.weight.grad, None
    F.cross_entropy(
        F.linear(embedding(tokens), layer.weight).flatten(0, 1), target.flatten()
    ).backward()
    torch.testing.assert_close(got, embedding.weight.grad)
    single = layer(embedding(tokens)[0, 0], target[0, 0])
    torch.testing.assert_close(
        single, F.cross_entropy(F.linear(embedding(tokens)[0, 0], layer.weight), target[0, 0])
    )


@pytest.mark.parametrize("frozen", ["weight", "bias", "x"])
def test_what_does_not_learn_gets_no_gradient(frozen):
    layer, x, target = case(20, 9, 110)
    want = ours(layer, x, target)
    layer.zero_grad()
    x = x.detach().requires_grad_(frozen != "x")
    if frozen != "x":
        getattr(layer, frozen).requires_grad_(requires_grad=False)
    (1.0 * layer(x, target)).backward()
    got = {"weight": layer.weight.grad, "bias": layer.bias.grad, "x": x.grad}
    assert got.pop(frozen) is None
    for name, value in got.items():
        torch.testing.assert_close(value, want[name], msg=name)


def test_strided_input_and_target():
    layer, x, target = case(30, 16, 200)
    want = ours(layer, x, target)
    wide = torch.zeros(16, 30).T.copy_(x.detach()).requires_grad_()
    every = torch.zeros(30, 2, dtype=torch.int64)
    every[:, 0] = target
    layer.zero_grad()
    loss = layer(wide, every[:, 0])
    loss.backward()
    torch.testing.assert_close(loss, want["loss"])
    torch.testing.assert_close(wide.grad, want["x"])


def test_backward_again_and_of_a_multiple():
    layer, x, target = case(30, 16, 200)
    want = ours(layer, x, target)
    layer.zero_grad()
    loss = layer(x, target)
    (3 * loss).backward(retain_graph=True)
    torch.testing.assert_close(layer.weight.grad, 3 * want["weight"])
    kept = layer.weight.grad
    layer.weight.grad = None
    loss.backward()
    torch.testing.assert_close(layer.weight.grad, want["weight"])
    torch.testing.assert_close(kept, 3 * want["weight"])  # nobody writes to it any more


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives(reduction):
    layer, x, target = case(5, 3, 7, dtype=torch.float64, reduction=reduction)

    def loss(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        values = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, values, (x, target))

    inputs = (x, layer.weight, layer.bias)
    assert torch.autograd.gradcheck(loss, inputs)
    assert torch.autograd.gradgradcheck(loss, inputs)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_function_transforms_take_the_reference():
    layer, x, target = case(5, 3, 7, dtype=torch.float64)
    want = ours(layer, x, target)

    def loss(weight: Tensor) -> Tensor:
        values = {"weight": weight, "bias": layer.bias}
        return torch.func.functional_call(layer, values, (x.detach(), target))

    torch.testing.assert_close(torch.func.grad(loss)(layer.weight), want["weight"])
    tangent = torch.ones_like(layer.weight)
    _, slope = torch.func.jvp(loss, (layer.weight,), (tangent,))
    torch.testing.assert_close(slope, want["weight"].sum())


def test_bfloat16_products_and_their_reference():
    layer, x, target = case(60, 40, 300, precision="bf16")
    got = ours(layer, x, target)
    layer.backend = "reference"
    want = ours(layer, x, target)
    exact = torchs(layer, x, target, torch.float64)
    for name, value in got.items():
        size = exact[name].norm()
        rounding = (want[name] - exact[name]).norm() / size
        assert name == "loss" or rounding > 2e-4  # it does round; a mean of many hides it
        assert (value - want[name]).norm() / size < rounding / 3 + 1e-6
        assert (value - exact[name]).norm() / size < 1.2 * rounding + 1e-6


def test_inside_autocast_and_in_bfloat16():
    layer, x, target = case(60, 40, 300)
    with torch.autocast("cpu", torch.bfloat16):
        assert "products in bfloat16" in layer.explain()
        loss = layer(x.detach().bfloat16(), target)
    assert loss.dtype is torch.float32
    assert "products in bfloat16" not in layer.explain()
    want = layer(x, target)
    assert 0 < (loss - want).abs() < 0.01 * want
    narrow = layer.to(torch.bfloat16)
    x = x.detach().bfloat16().requires_grad_()
    loss = narrow(x, target)
    loss.backward()
    assert loss.dtype is torch.bfloat16
    assert x.grad.dtype is torch.bfloat16
    assert narrow.weight.grad.dtype is torch.bfloat16
    torch.testing.assert_close(loss.float(), want, rtol=0.02, atol=0)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_the_mean_in_bfloat16_is_over_all_rows(backend):
    # In bfloat16 1 / 1076 would be 0.56 % off.
    layer, x, target = case(1076, 40, 60, backend=backend)
    target[target == -100] = 0
    layer = layer.to(torch.bfloat16)
    x = x.detach().bfloat16().requires_grad_()
    layer(x, target).backward()
    want = torchs(layer.float(), x.detach().float().requires_grad_(), target, torch.float64)
    assert x.grad.double().norm() / want["x"].norm() == pytest.approx(1, abs=2e-3)


def test_nothing_counts():
    layer, x, target = case(4, 3, 7)
    target[:] = -100
    assert layer(x, target).isnan()
    layer.reduction = "sum"
    loss = layer(x, target)
    loss.backward()
    assert loss == 0
    assert not x.grad.any()
    assert not layer.weight.grad.any()
    assert not layer.bias.grad.any()


def test_an_empty_input_is_torchs():
    layer, _, _ = case(4, 3, 7)
    layer.reduction = "sum"
    assert layer(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == 0


def test_not_a_number_goes_through():
    layer, x, target = case(20, 9, 110, reduction="none")
    with torch.no_grad():
        x[4] = math.nan
    losses = layer(x, target)
    assert losses.isnan().nonzero().tolist() == [[4]]


def test_learns_without_the_outputs_of_all_classes():
    layer, x, target = case(50, 16, 40)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    before = layer(x, target).item()
    for _ in range(30):
        optimizer.zero_grad()
        layer(x.detach(), target).backward()
        optimizer.step()
    assert layer(x, target) < before / 4
    kept = target != -100
    assert (layer.logits(x).argmax(1) == target)[kept].float().mean() > 0.9


def test_threads_agree():
    layer, x, target = case(300, 40, 1000)
    want = ours(layer, x, target)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        got = ours(layer, x, target)
        again = ours(layer, x, target)
    finally:
        torch.set_num_threads(before)
    for name, value in got.items():
        torch.testing.assert_close(value, want[name], msg=name)
        assert value.equal(again[name])


WRONG = {
    "shape": (lambda x, t: (x[:, :2], t), r"input\): expected a last axis of in_features=3, got"),
    "dtype": (lambda x, t: (x.double(), t), r"expected the weights' dtype torch.float32"),
    "target shape": (lambda x, t: (x, t[:2]), r"target\): expected shape \(4,\)"),
    "target dtype": (lambda x, t: (x, t.int()), r"expected torch.int64, got torch.int32"),
    "large": (
        lambda x, t: (x, t + 7),
        r"from 0 to 6, or ignore_index=-100, got \d+ at place 0 of 4",
    ),
    "negative": (lambda x, t: (x, t.clone().fill_(-1)), r"got -1 at place 0 of 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name):
    layer, x, target = case(4, 3, 7)
    target[1] = 0
    wrong, message = WRONG[name]
    with pytest.raises(GatewiseError, match=message):
        layer(*wrong(x, target))


def test_the_operator_refuses_a_target_beyond_the_classes():
    x, weight = torch.randn(3, 4), torch.randn(5, 4)
    with pytest.raises(GatewiseError, match=r"target\[2\]\): expected a class from 0 to 4.*got 5"):
        cross_entropy.linear_cross_entropy(x, weight, None, torch.tensor([0, -1, 5]))


def test_explain_and_asked_for_backends():
    layer = LinearCrossEntropy(3, 7)
    assert layer.explain().startswith("native")
    layer.backend = "reference"
    assert layer.explain().startswith("reference")
    half = LinearCrossEntropy(3, 7, dtype=torch.float16)
    assert "float16" in half.explain()
    half.backend = "native"
    assert half.explain().startswith("none")
    with pytest.raises(GatewiseError, match="float16"):
        half(torch.zeros(2, 3, dtype=torch.float16), torch.tensor([0, 1]))
    with gw.use_backend("reference"):
        assert LinearCrossEntropy(3, 7).explain().startswith("reference")


def test_text_of_the_module():
    layer = LinearCrossEntropy(3, 7, bias=False, label_smoothing=0.1)
    assert repr(layer) == "LinearCrossEntropy(3, 7, bias=False, label_smoothing=0.1)"


SABOTAGES = {
    "targets one off": lambda layer, x, t: (x, torch.where(t >= 0, (t + 1) % 97, t)),
    "rows that do not count counted": lambda layer, x, t: (x, t.clamp(min=0)),
    "two rows swapped": lambda layer, x, t: (x.flip(0), t),
    "a column lost": lambda layer, x, t: (x * (torch.arange(17) > 0), t),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_wrong_layers_are_seen(name):
    layer, x, target = case(30, 17, 97, label_smoothing=0.1)
    exact = torchs(layer, x, target, torch.float64)
    yardstick = torchs(layer, x, target, torch.float32)
    assert_as_accurate(ours(layer, x, target), exact, yardstick)
    with pytest.raises(AssertionError):
        assert_as_accurate(ours(layer, *SABOTAGES[name](layer, x, target)), exact, yardstick)


def test_every_loss_whatever_the_reduction():
    layer, x, target = case(20, 9, 110)
    each = layer.losses(x, target)
    assert each.shape == target.shape
    assert each[1] == 0
    torch.testing.assert_close(each.sum() / 19, layer(x, target))
