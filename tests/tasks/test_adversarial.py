"""Adversarial shifts: their length and direction, by hand and by search."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.tasks.text.adversarial import (
    bernoulli_divergence,
    categorical_divergence,
    embedding_spread,
    fgm_loss,
    vat_loss,
    worst_shift,
)

T, B, E, C = 5, 3, 4, 3
SPREAD = torch.tensor([0.5, 1.0, 2.0, 0.1])


def case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Vectors, a linear network's weights, labels, and valid steps."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(T, B, E, generator=generator)
    weight = torch.randn(T, E, C, generator=generator)
    valid = torch.arange(T)[:, None] < torch.tensor([5, 2, 4])
    return vectors, weight, torch.tensor([0, 2, 1]), valid


def outputs_of(shift: Tensor) -> Tensor:
    vectors, weight, _, valid = case()
    return torch.einsum("tbe,tec->bc", (vectors + shift) * valid[..., None], weight)


def loss_of(shift: Tensor) -> Tensor:
    return F.cross_entropy(outputs_of(shift), case()[2], reduction="sum")


def test_the_spread_is_the_deviation_over_the_text():
    weight = torch.tensor([[1.0, 5.0], [3.0, 5.0], [9.0, 7.0]])
    text = torch.tensor([0, 0, 0, 1])  # the third word does not occur
    wanted = weight[text].std(0, correction=0)
    torch.testing.assert_close(embedding_spread(weight, torch.tensor([3, 1, 0])), wanted)
    # A vocabulary without counts: all words alike.
    plain = embedding_spread(weight, torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(plain, weight.std(0, correction=0))


def test_the_shift_has_its_radius_in_units_of_the_spread_for_each_sequence():
    start = torch.zeros(T, B, E, requires_grad=True)
    shift = worst_shift(loss_of(start), start, SPREAD, 0.7)
    torch.testing.assert_close((shift / SPREAD).norm(dim=(0, 2)), torch.full((B,), 0.7))
    assert not shift[~case()[3]].any()
    assert not shift.requires_grad


def test_no_other_shift_of_that_length_hurts_more():
    start = torch.zeros(T, B, E, requires_grad=True)
    radius = 1e-3
    worst = loss_of(worst_shift(loss_of(start), start, SPREAD, radius)) - loss_of(start)
    # To the first order: the radius times the length of the gradient, each in the spread's units.
    (gradient,) = torch.autograd.grad(loss_of(start), start)
    most = radius * (SPREAD * gradient).norm(dim=(0, 2)).sum()
    torch.testing.assert_close(worst, most, rtol=0.02, atol=0)
    generator = torch.Generator().manual_seed(1)
    for _ in range(100):
        other = torch.randn(T, B, E, generator=generator) * case()[3][..., None]
        other = SPREAD * radius * other / other.norm(dim=(0, 2), keepdim=True)
        assert loss_of(other) - loss_of(start) < worst


def test_a_gradient_of_zeros_moves_nothing():
    start = torch.zeros(T, B, E, requires_grad=True)
    shift = worst_shift((start * 0).sum(), start, SPREAD, 1.0)
    assert not shift.any()
    tiny = worst_shift((start * 1e-30).sum(), start, SPREAD, 1.0)
    torch.testing.assert_close((tiny / SPREAD).norm(dim=(0, 2)), torch.ones(B))


def test_fgm_gives_the_loss_and_that_at_the_worst_shift():
    loss, against = fgm_loss(loss_of, (T, B), SPREAD, 0.5)
    start = torch.zeros(T, B, E, requires_grad=True)
    torch.testing.assert_close(loss, loss_of(start))
    torch.testing.assert_close(against, loss_of(worst_shift(loss_of(start), start, SPREAD, 0.5)))
    assert against > loss


def test_vat_moves_outputs_farther_than_chance():
    torch.manual_seed(0)
    found, chance = [], []
    for _ in range(40):
        outputs, moved = vat_loss(outputs_of, case()[3], SPREAD, 0.1, categorical_divergence)
        torch.testing.assert_close(outputs, outputs_of(torch.zeros(T, B, E)))
        found.append(moved)
        other = torch.randn(T, B, E) * case()[3][..., None]
        other = SPREAD * 0.1 * other / other.norm(dim=(0, 2), keepdim=True)
        chance.append(categorical_divergence(outputs, outputs_of(other)))
    # One step of the power iteration, from different beginnings.
    assert torch.stack(found).mean() > 3 * torch.stack(chance).mean()
    assert torch.stack(found).min() > torch.stack(chance).median()


def test_the_same_masks_are_drawn_at_every_call():
    # Without a shift worth the name, dropout alone must not move the outputs.
    def dropped(shift: Tensor) -> Tensor:
        return F.dropout(outputs_of(shift), 0.5)

    torch.manual_seed(0)
    _, moved = vat_loss(dropped, case()[3], SPREAD, 1e-6, categorical_divergence)
    assert moved.abs() < 1e-6
    loss, against = fgm_loss(
        lambda shift: F.cross_entropy(dropped(shift), case()[2], reduction="sum"),
        (T, B), SPREAD, 1e-6,
    )  # fmt: skip
    torch.testing.assert_close(loss, against, atol=1e-4, rtol=0)
    # And others in the next step.
    again = fgm_loss(
        lambda shift: F.cross_entropy(dropped(shift), case()[2], reduction="sum"),
        (T, B), SPREAD, 1e-6,
    )  # fmt: skip
    assert abs(again[0] - loss) > 1e-2


def test_divergences_are_torchs():
    generator = torch.Generator().manual_seed(2)
    one, two = torch.randn(2, 6, 3, generator=generator)
    p, q = (torch.distributions.Categorical(logits=logits) for logits in (one, two))
    wanted = torch.distributions.kl_divergence(p, q).sum()
    torch.testing.assert_close(categorical_divergence(one, two), wanted)
    p, q = (torch.distributions.Bernoulli(logits=logits) for logits in (one, two))
    wanted = torch.distributions.kl_divergence(p, q).sum()
    torch.testing.assert_close(bernoulli_divergence(one, two), wanted)
    assert categorical_divergence(one, one) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["fgm", "vat"])
def test_the_gradient_reaches_the_weights_through_the_moved_outputs(kind: str):
    weight = torch.ones(E, requires_grad=True)

    def network(shift: Tensor) -> Tensor:
        return outputs_of(weight * shift) * weight.sum()

    if kind == "fgm":
        further = fgm_loss(lambda s: network(s).square().sum(), (T, B), SPREAD, 0.5)[1]
    else:
        further = vat_loss(network, case()[3], SPREAD, 0.5, categorical_divergence)[1]
    (gradient,) = torch.autograd.grad(further, weight)
    assert gradient.abs().min() > 0
