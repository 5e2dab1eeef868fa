"""Heads: likelihoods, pinball losses, intervals and CRPS against closed forms and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from numpy.testing import assert_allclose

from gatewise.tasks.forecast import student_t
from gatewise.tasks.forecast.heads import PointHead, QuantileHead, StudentTHead

DF = np.array([2.01, 2.5, 4.0, 11.3, 90.0, 1000.0])


@pytest.mark.parametrize("z", [-30.0, -2.0, -1e-3, 0.0, 0.5, 3.0, 12.0])
def test_student_t_distribution(z):
    z = np.full(len(DF), z)
    assert_allclose(student_t.cdf(z, DF), scipy.stats.t.cdf(z, DF), rtol=1e-10)
    assert_allclose(student_t.pdf(z, DF), scipy.stats.t.pdf(z, DF), rtol=1e-10)


@pytest.mark.parametrize("level", [0.0005, 0.025, 0.4, 0.9, 0.9995])
def test_student_t_quantiles(level: float):
    assert_allclose(student_t.quantile(level, DF), scipy.stats.t.ppf(level, DF), rtol=1e-6)


@pytest.mark.parametrize("z", [-4.0, 0.3, 2.0])
@pytest.mark.parametrize("df", [2.5, 30.0])
def test_student_t_crps_is_the_integral_of_its_definition(z: float, df: float):
    def gap(x: float, above: float) -> float:
        return (scipy.stats.t.cdf(x, df) - above) ** 2

    below, _ = scipy.integrate.quad(gap, -np.inf, z, args=(0.0,))
    beyond, _ = scipy.integrate.quad(gap, z, np.inf, args=(1.0,))
    assert_allclose(student_t.crps(np.array([z]), np.array([df])), [below + beyond], rtol=1e-6)


def test_student_t_loss_is_the_likelihood():
    head = StudentTHead((80.0,))
    outputs = torch.tensor([[[3.0, 1.0, 2.0], [50.0, -1.0, 0.5]]], dtype=torch.float64)
    truth = torch.tensor([[2.5, 0.0]], dtype=torch.float64)
    loss = head.loss(outputs, truth, torch.tensor(1.0))
    expected = -scipy.stats.t.logpdf([[2.5, 0.0]], [[3, 50]], [[1, -1]], [[2, 0.5]])
    # The constant ½ log π belongs to the density.
    assert_allclose(loss.numpy(), expected, rtol=1e-6)


def test_student_t_is_safe_for_any_raw_value():
    head = StudentTHead((80.0,))
    raw = torch.tensor([-200.0, 0.0, 200.0]).repeat(3, 1).T.reshape(1, 3, 3).requires_grad_()
    outputs = head(raw, torch.zeros(1, 1), torch.ones(1, 1))
    assert (outputs[..., 0] > 2).all()
    assert (outputs[..., 2] > 0).all()
    head.loss(outputs, torch.zeros(1, 3), torch.tensor(1.0)).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_student_t_intervals_have_their_probability():
    head = StudentTHead((50.0, 95.0))
    outputs = np.array([[[4.0, 10.0, 2.0]]])
    for level, (low, high) in head.intervals(outputs).items():
        inside = scipy.stats.t.cdf(high, 4, 10, 2) - scipy.stats.t.cdf(low, 4, 10, 2)
        assert_allclose(inside, level / 100, rtol=1e-6)


def test_rescaling_a_distribution_rescales_its_quantiles_and_crps():
    head, centre, scale = StudentTHead((80.0,)), np.array([5.0]), np.array([3.0])
    outputs, truth = np.array([[[6.0, 1.0, 0.5]]]), np.array([[0.2]])
    moved = head.rescaled(outputs, centre, scale)
    (low, high), (wide_low, wide_high) = head.intervals(outputs)[80], head.intervals(moved)[80]
    assert_allclose([wide_low, wide_high], [5 + 3 * low, 5 + 3 * high])
    assert_allclose(head.crps(moved, 5 + 3 * truth), 3 * head.crps(outputs, truth))


def test_quantiles_never_cross():
    head = QuantileHead((0.1, 0.3, 0.5, 0.7, 0.9), (80.0,))
    raw = torch.randn(50, 4, 5, generator=torch.Generator().manual_seed(1)) * 20
    outputs = head(raw, torch.zeros(50, 1), torch.ones(50, 1))
    assert (outputs.diff(dim=-1) >= 0).all()
    assert (outputs.diff(dim=-1) > 0).float().mean() > 0.5


def test_pinball_loss_by_hand():
    head = QuantileHead((0.1, 0.5, 0.9), (80.0,))
    loss = head.loss(torch.tensor([[[1.0, 2.0, 5.0]]]), torch.tensor([[3.0]]), torch.tensor(2.0))
    # errors 2, 1, -2: 0.1·2, 0.5·1, 0.1·2; in units of 2
    assert_allclose(loss.numpy(), [[(0.2 + 0.5 + 0.2) / 3 / 2]], rtol=1e-6)


def test_pinball_loss_is_least_at_the_quantile():
    """The minimiser of the loss over a sample is the sample's quantile."""
    sample = torch.tensor(np.random.default_rng(0).normal(size=(4001, 1)), dtype=torch.float32)
    head = QuantileHead((0.1, 0.5, 0.9), (80.0,))
    guess = torch.zeros(1, 1, 3, requires_grad=True)
    optimizer = torch.optim.Adam([guess], lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(guess.expand(4001, 1, 3), sample, torch.tensor(1.0)).mean().backward()
        optimizer.step()
    expected = np.quantile(sample.numpy(), [0.1, 0.5, 0.9])
    assert_allclose(guess.detach().numpy()[0, 0], expected, atol=0.03)


def test_crps_of_many_quantiles_is_that_of_the_distribution():
    """Of a standard normal at z: z (2Φ(z) - 1) + 2φ(z) - 1/√π (Gneiting & Raftery 2007)."""
    levels = tuple((np.arange(399) + 1) / 400)
    head = QuantileHead(levels, ())
    normal, z = scipy.stats.norm, 0.7
    outputs = normal.ppf(levels)[None, None]
    expected = z * (2 * normal.cdf(z) - 1) + 2 * normal.pdf(z) - 1 / math.sqrt(math.pi)
    assert_allclose(head.crps(outputs, np.array([[z]])), [[expected]], rtol=2e-3)


def test_quantile_intervals_only_where_both_ends_are_known():
    head = QuantileHead((0.1, 0.5, 0.9), (80.0, 95.0))
    outputs = np.array([[[1.0, 2.0, 3.0]]])
    assert head.intervals(outputs) == {80.0: (1.0, 3.0)}
    assert set(head.extra_columns(outputs)) == {"q_0.1", "q_0.5", "q_0.9"}


@pytest.mark.parametrize(
    ("loss", "expected"), [("mse", [4.0, 0.01]), ("mae", [2.0, 0.1]), ("huber", [1.5, 0.005])]
)
def test_point_losses(loss, expected):
    head = PointHead(loss, (80.0,), 2)
    outputs = torch.zeros(1, 2, 3)
    value = head.loss(outputs, torch.tensor([[4.0, 0.2]]), torch.tensor(2.0))
    assert_allclose(value.numpy(), [expected], rtol=1e-5)


def test_conformal_ends_are_the_ranks_of_the_residuals():
    head = PointHead("mae", (80.0,), 2)
    residuals = torch.arange(1.0, 20.0)[:, None].repeat(1, 2)
    mask = torch.ones(19, 2, dtype=torch.bool)
    mask[10:, 1] = False
    head.calibrate(residuals[torch.randperm(19)].where(mask, 1e9), mask)
    # n = 19: rank ⌈20·0.9⌉ = 18 from either end
    assert head.low[0, 0] == 2
    assert head.high[0, 0] == 18


def test_conformal_coverage_of_new_values_is_at_least_nominal():
    rng = np.random.default_rng(3)
    covered = []
    for _ in range(300):
        head = PointHead("mae", (80.0,), 1)
        known = torch.tensor(rng.exponential(size=(30, 1)), dtype=torch.float32)
        head.calibrate(known, torch.ones(30, 1, dtype=torch.bool))
        fresh = rng.exponential(size=200)
        covered.append(np.mean((fresh >= head.low.item()) & (fresh <= head.high.item())))
    assert 0.80 <= np.mean(covered) <= 0.88


def test_point_outputs_carry_their_intervals():
    head = PointHead("mae", (80.0, 95.0), 1).eval()
    head.low.copy_(torch.tensor([[-1.0, -2.0]]))
    head.high.copy_(torch.tensor([[1.5, 3.0]]))
    outputs = head(torch.zeros(1, 1, 1), torch.tensor([[10.0]]), torch.tensor([[2.0]])).numpy()
    assert_allclose(head.forecast(outputs), [[10]])
    assert_allclose(head.intervals(outputs)[80.0], [[[8]], [[13]]])
    assert_allclose(head.intervals(outputs)[95.0], [[[6]], [[16]]])
