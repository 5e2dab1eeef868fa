"""nn.CRF where numbers are hard: large scores, minus infinity, half precision, transforms."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jvp, vmap

from gatewise.errors import InvalidStateError
from gatewise.nn import CRF, TagConstraints
from gatewise.ops import crf_posterior
from gatewise.ops.crf_posterior import InLogarithms, Scaled, posterior
from gatewise.ops.reference.crf import Weights, make_chain
from support.compare import assert_close, assert_equal
from support.crf_oracle import answers, answers_by_enumeration, assert_same_answers, random_case

EPS = torch.finfo(torch.float32).eps
NAMES = ("start_transitions", "end_transitions", "transitions")


def _way(crf: CRF, emissions, lengths) -> type:
    """Which of both ways the layer takes."""
    lengths = torch.tensor(lengths)
    weights = Weights(crf.start_transitions, crf.transitions, crf.end_transitions)
    masks = crf.constraints
    return type(posterior(make_chain(emissions, weights, lengths, masks), masks))


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("scale", [1e4, 1e6])
def test_large_emissions_in_float32(scale, constrained):
    for seed in range(10):
        crf, emissions, tags, lengths = random_case(
            *(5, 3, 4, seed), constrained=constrained, scale=scale, dtype=torch.float32
        )
        want = answers_by_enumeration(crf, emissions, tags, lengths)
        assert_same_answers(answers(crf, emissions, tags, lengths, 3), want, EPS)


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("scale", [1e4, 1e5])
def test_large_emissions_that_hardly_differ(scale, constrained):
    rough = 0.0
    for seed in range(10):
        crf, near, tags, _ = random_case(
            *(5, 1, 4, seed), constrained=constrained, dtype=torch.float32
        )
        emissions = near + scale * (1 + near[..., :1].abs())
        want = answers_by_enumeration(crf, emissions, tags, [5])
        assert_same_answers(answers(crf, emissions, tags, None, 3), want, EPS)
        if not constrained:
            rough = max(rough, _error_of_float32(crf, emissions, want["marginals"]))
    assert constrained or rough > 1e-3  # else the numbers would be too easy


def _error_of_float32(crf, emissions, marginals):
    """How far marginals are off whose recursion is taken in float32."""
    leaf = emissions.clone().requires_grad_()
    alpha = leaf[0] + crf.start_transitions
    for emission in leaf[1:]:
        alpha = torch.logsumexp(alpha[..., None] + crf.transitions, 1) + emission
    log_z = torch.logsumexp(alpha + crf.end_transitions, -1)
    (found,) = torch.autograd.grad(log_z.sum(), leaf)
    return (found - marginals).abs().max().item()


@pytest.mark.parametrize("constrained", [False, True])
def test_long_sequences_stay_exact(constrained, monkeypatch):
    crf, *_ = random_case(3, 2, 5, seed=1, constrained=constrained)
    draw = torch.Generator().manual_seed(0)
    emissions = 5 * torch.randn(1500, 2, 5, generator=draw, dtype=torch.float64)
    lengths = [1500, 700]
    tags = torch.tensor(
        [path + [0] * (1500 - len(path)) for path in crf.decode(emissions, lengths)]
    )
    assert _way(crf, emissions, lengths) is Scaled
    found = answers(crf, emissions, tags.t(), lengths, 2)
    monkeypatch.setattr(crf_posterior, "_scaled", lambda *_: None)
    assert_same_answers(found, answers(crf, emissions, tags.t(), lengths, 2), 1e-10)


@pytest.mark.parametrize("depth", [30, 90, 110, 240, 260, 400, 700, 800])
@pytest.mark.parametrize("steps", [2, 6])
def test_what_almost_vanishes_may_still_win(depth, steps):
    assert_same_answers(*_answers_of_the_deep_case(depth, steps), 1e-10)


def test_without_its_guards_the_fast_way_would_be_wrong(monkeypatch):
    monkeypatch.setattr(crf_posterior, "_LEAST_FACTOR", 0.0)
    monkeypatch.setattr(crf_posterior, "_LEAST_REACHED", 0.0)
    with pytest.raises(AssertionError):
        assert_same_answers(*_answers_of_the_deep_case(800, 6), 1e-10)


def _answers_of_the_deep_case(depth, steps):
    """Tag 1 begins far behind, is not to be had later, and is far ahead at the end."""
    moves = torch.tensor([[True, False], [True, True]])
    either = torch.tensor([True, True])
    masks, draw = TagConstraints(moves, either, either), torch.Generator().manual_seed(0)
    crf = CRF(2, dtype=torch.float64, constraints=masks, generator=draw)
    emissions = torch.zeros(steps, 1, 2, dtype=torch.float64)
    crf.start_transitions.data[1] = -depth / 3
    emissions[0, 0, 1] = -depth / 1.5
    emissions[1:, 0, 0] = -0.5 * depth
    tags = torch.ones(steps, 1, dtype=torch.int64)
    want = answers_by_enumeration(crf, emissions, tags, [steps])
    return answers(crf, emissions, tags, None, 3), want


@pytest.mark.parametrize("steps", [1, 4, 9, 20])
def test_what_vanishes_little_by_little_may_still_win(steps):
    found, want = _answers_of_the_slow_case(steps)
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-10)


def test_without_its_second_guard_the_fast_way_would_be_wrong(monkeypatch):
    monkeypatch.setattr(crf_posterior, "_LEAST_REACHED", 0.0)
    found, want = _answers_of_the_slow_case(9)
    assert (found - want).abs().max() > 100


def _answers_of_the_slow_case(steps):
    """Log-likelihoods of two tags that stay; tag 1 falls behind, then goes ahead twice as far."""
    both = torch.tensor([True, True])
    masks = TagConstraints(torch.eye(2, dtype=torch.bool), both, both)
    draw = torch.Generator().manual_seed(0)
    crf = CRF(2, dtype=torch.float64, constraints=masks, generator=draw)
    emissions = torch.zeros(3 * steps, 2, 2, dtype=torch.float64)
    emissions[:steps, :, 1] = emissions[steps:, :, 0] = -90
    tags = torch.tensor([0, 1]).expand(3 * steps, 2)
    moves = (3 * steps - 1) * crf.transitions.diagonal()
    scores = emissions[:, 0].sum(0) + crf.start_transitions + moves + crf.end_transitions
    return crf(emissions, tags).detach(), scores.log_softmax(0).detach()


def test_which_way_is_taken():
    crf, emissions, _, lengths = random_case(5, 3, 4, seed=0, constrained=True)
    assert _way(crf, emissions, lengths) is Scaled
    assert _way(crf, 1e3 * emissions, lengths) is InLogarithms
    masks = crf.constraints
    crf.transitions.data.masked_fill_(~masks.transitions, 1e6)  # what is not read changes nothing
    assert _way(crf, emissions, lengths) is Scaled
    crf.transitions.data[masks.transitions.nonzero()[0].unbind()] = 120.0
    assert _way(crf, emissions, lengths) is InLogarithms


def test_weights_of_what_is_forbidden_are_not_read():
    crf, emissions, tags, lengths = random_case(5, 3, 4, seed=0, constrained=True)
    before = answers(crf, emissions, tags, lengths, 2)
    masks = crf.constraints
    crf.transitions.data.masked_fill_(~masks.transitions, float("nan"))
    crf.start_transitions.data.masked_fill_(~masks.starts, float("inf"))
    crf.end_transitions.data.masked_fill_(~masks.ends, 1e30)
    assert_equal(answers(crf, emissions, tags, lengths, 2), before)
    assert not before["gradient of transitions"][~masks.transitions].any()


def test_emissions_of_minus_infinity_exclude_a_tag_at_a_step():
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=0)
    excluded = (tags + 1) % 3
    emissions.scatter_(-1, excluded[..., None], float("-inf"))
    want = answers_by_enumeration(crf, emissions.clamp_min(-1e20), tags, lengths)
    got = answers(crf, emissions, tags, lengths, 2)
    assert_same_answers(got, want, 1e-10)
    assert not got["marginals"].gather(-1, excluded[..., None]).any()


def test_tags_that_cannot_be_have_no_gradient():
    crf, emissions, tags, _ = random_case(4, 2, 3, seed=0)
    emissions[1, 0, tags[1, 0]] = float("-inf")
    leaf = emissions.requires_grad_()
    value = crf(leaf, tags)
    assert value[0] == float("-inf")
    assert value[1].isfinite()
    value.sum().backward()
    assert leaf.grad.isfinite().all()
    assert not leaf.grad[:, 0].any()
    assert leaf.grad[:, 1].any()


def test_what_is_no_number_spoils_its_own_sequence_alone():
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=0)
    clean = crf(emissions, tags, lengths)
    for spoiler in (float("nan"), float("inf")):
        emissions[0, 1, 2] = spoiler
        value = crf(emissions.requires_grad_(), tags, lengths)
        assert value.isfinite().tolist() == [True, False, True]
        torch.testing.assert_close(value[[0, 2]], clean[[0, 2]])
        (grad,) = torch.autograd.grad(value[[0, 2]].sum(), emissions)
        assert grad[:, [0, 2]].isfinite().all()
        assert len(crf.decode(emissions, lengths)) == 3
        emissions = emissions.detach()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_rounded_once(dtype):
    crf, emissions, tags, lengths = random_case(5, 3, 4, seed=0, constrained=True)
    crf, emissions = crf.to(dtype), emissions.to(dtype)
    want = answers_by_enumeration(crf, emissions, tags, lengths)
    got = answers(crf, emissions, tags, lengths, 2)
    assert got["log_likelihood"].dtype == got["gradient of transitions"].dtype == dtype
    assert_same_answers(got, want, torch.finfo(dtype).eps)


def test_under_autocast_the_sums_keep_their_precision():
    crf, emissions, tags, lengths = random_case(5, 3, 4, seed=0, dtype=torch.float32)
    short = emissions.bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = crf(short, tags, lengths)
        paths = crf.decode(short, lengths)
        marginals = crf.marginals(short, lengths)
    same = crf(short.float(), tags, lengths)
    assert value.dtype == marginals.dtype == torch.float32
    assert torch.equal(value, same)
    assert paths == crf.decode(short.float(), lengths)
    (grad,) = torch.autograd.grad(value.sum(), short)
    assert grad.dtype == torch.bfloat16


def test_inference_mode():
    crf, emissions, tags, lengths = random_case(5, 3, 4, seed=0, constrained=True)
    want = crf(emissions, tags, lengths)
    with torch.inference_mode():
        assert torch.equal(crf(emissions, tags, lengths), want)
        assert crf.marginals(emissions, lengths).shape == emissions.shape
        assert len(crf.decode(emissions, lengths)) == 3


def _call(crf, tags, lengths):
    """The log-likelihood as a function of all that has gradients."""
    return lambda e, *w: functional_call(crf, dict(zip(NAMES, w, strict=True)), (e, tags, lengths))


@pytest.mark.parametrize("constrained", [False, True])
def test_gradients_of_the_first_and_second_order(constrained):
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=0, constrained=constrained)
    inputs = (emissions.requires_grad_(), *(getattr(crf, name) for name in NAMES))
    assert gradcheck(_call(crf, tags, lengths), inputs)
    assert gradgradcheck(_call(crf, tags, lengths), inputs)


def test_gradients_by_one_of_the_inputs():
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=0)
    (want,) = torch.autograd.grad(crf(emissions, tags, lengths).sum(), crf.transitions)
    for name in NAMES[:2]:
        getattr(crf, name).requires_grad_(False)
    value = crf(emissions, tags, lengths).sum()
    (once,) = torch.autograd.grad(value, crf.transitions, create_graph=True)
    torch.testing.assert_close(once, want)
    assert torch.autograd.grad(once.square().sum(), crf.transitions)[0].isfinite().all()


def test_backward_twice_gives_the_same():
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=0)
    value = crf(emissions, tags, lengths).sum()
    first, second = (
        torch.autograd.grad(value, crf.transitions, retain_graph=True)[0] for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
@pytest.mark.parametrize("constrained", [False, True])
def test_function_transforms(constrained):
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=0, constrained=constrained)
    call = _call(crf, tags, lengths)
    weights = [getattr(crf, name) for name in NAMES]
    leaf = emissions.clone().requires_grad_()
    (want,) = torch.autograd.grad(call(leaf, *weights).sum(), leaf)

    def total(e):
        return call(e, *weights).sum()

    assert_close({"grad": grad(total)(emissions)}, {"grad": want}, tolerance=1e-12)
    tangent = torch.randn(emissions.shape, generator=torch.Generator().manual_seed(0)).double()
    value, pushed = jvp(total, (emissions,), (tangent,))
    assert_close(
        {"value": value, "pushed": pushed},
        {"value": total(emissions), "pushed": (want * tangent).sum()},
        tolerance=1e-12,
    )
    twice = torch.autograd.functional.hessian(total, emissions)
    assert_close({"hessian": hessian(total)(emissions)}, {"hessian": twice}, tolerance=1e-12)
    several = torch.stack([emissions, 2 * emissions])
    assert_close(
        {"each": vmap(lambda e: call(e, *weights))(several)},
        {"each": torch.stack([call(e, *weights) for e in several])},
        tolerance=1e-12,
    )
    ensemble = [torch.stack([weight, 2 * weight]) for weight in weights]
    assert_close(
        {"each": vmap(lambda *w: call(emissions, *w))(*ensemble)},
        {"each": torch.stack([call(emissions, *(w[n] for w in ensemble)) for n in (0, 1)])},
        tolerance=1e-12,
    )
    marginals = vmap(lambda e: crf.marginals(e, lengths))(several)
    each = torch.stack([crf.marginals(e, lengths) for e in several])
    assert_close({"marginals": marginals}, {"marginals": each}, tolerance=1e-12)


def test_under_a_transform_what_cannot_be_is_minus_infinity():
    crf, emissions, tags, _ = random_case(4, 2, 3, seed=0, constrained=True)
    starts = crf.allowed_starts
    starts[tags[0, 0]] = False
    starts[tags[0, 1]] = tags[0, 0] != tags[0, 1]
    value = vmap(lambda e: crf(e, tags))(emissions[None])[0]
    assert value[0] == float("-inf")


def test_the_raw_operator_refuses_transforms():
    crf, emissions, tags, _ = random_case(4, 2, 3, seed=0)
    weights = (crf.start_transitions, crf.transitions, crf.end_transitions)

    def raw(e):
        return torch.ops.gatewise.crf(e, *weights, None, None, None, None, tags).sum()

    with pytest.raises(InvalidStateError, match="function transform"):
        grad(raw)(emissions)
