"""The loop: the right gradient, the best weights, when it stops, and that it repeats."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.training import DivergedError, FitSettings, StepLoss, fit, storage
from support.tiny_task import TinyTask, assert_same_weights, tiny_network


def settings(**changes: Any) -> FitSettings:
    return FitSettings(**{"max_epochs": 2, "learning_rate": 0.02, "patience": None} | changes)


def distance(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return math.sqrt(sum((p - q).square().sum().item() for p, q in pairs))


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_it_learns(precision: Any) -> None:
    network = tiny_network(dropout=0.0)
    result = fit(network, TinyTask(), settings(max_epochs=15, precision=precision), progress=False)
    losses = [record.train_loss for record in result.history]
    assert losses[-1] < 0.2 * losses[0]
    assert result.best_score == min(record.scores["loss"] for record in result.history)
    assert not network.training


def test_it_equals_a_plain_loop() -> None:
    task, network, twin = TinyTask(masked=(3, 4)), *(tiny_network(dropout=0.0) for _ in "ab")
    order: list[list[Tensor]] = []

    class Watched(TinyTask):
        def batches(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
            order.append(super().batches(epoch, generator))
            return order[-1]

    result = fit(network, Watched(masked=(3, 4)), settings(), progress=False)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.02)
    means = []
    for batches in order:
        total = weights = 0.0
        for indices in batches:
            optimizer.zero_grad()
            loss, weight, _ = task.loss(twin, indices)
            (loss / weight).backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
            optimizer.step()
            total, weights = total + loss.item(), weights + weight.item()
        means.append(total / weights)
    assert len(order) == 2
    torch.testing.assert_close(network.state_dict(), twin.state_dict(), rtol=1e-5, atol=1e-6)
    assert [record.train_loss for record in result.history] == pytest.approx(means, rel=1e-5)
    assert [record.samples for record in result.history] == [50, 50]
    assert not torch.equal(order[0][0], order[1][0])


@pytest.mark.parametrize(("clip", "moved"), [(0.25, 0.25), (None, 8.0), (1e6, 8.0)])
def test_the_gradient_is_clipped_by_its_norm(clip: float | None, moved: float) -> None:
    class Slope(TinyTask):
        def loss(self, network: nn.Module, indices: Tensor) -> StepLoss:
            return StepLoss(8.0 * network.get_parameter("head.bias").sum(), torch.tensor(1.0))

    network, start = tiny_network(), tiny_network()
    slope = Slope(batch_size=50, scores=(1.0,))
    plain = settings(
        max_epochs=1, optimizer="sgd", momentum=0.0, learning_rate=1.0, gradient_clip=clip
    )
    fit(network, slope, plain, progress=False)
    assert distance(network, start) == pytest.approx(moved, rel=1e-5)


def test_it_stops_early_and_gives_the_best_weights() -> None:
    scores = (5.0, 3.0, 4.0, 3.0, 2.0)
    network, twin = tiny_network(), tiny_network()
    result = fit(
        network, TinyTask(scores=scores), settings(max_epochs=9, patience=2), progress=False
    )
    assert (result.stop_reason, result.best_epoch, result.best_score) == ("patience", 2, 3.0)
    assert [record.epoch for record in result.history] == [1, 2, 3, 4]
    assert fit(twin, TinyTask(), settings(), progress=False).best_epoch == 2
    assert_same_weights(network, twin)
    fit(twin := tiny_network(), TinyTask(), settings(max_epochs=4), progress=False)
    assert distance(network, twin) > 1e-3  # those of the last epoch would be others


def test_a_higher_score_may_be_the_better() -> None:
    task = TinyTask(scores=(1.0, 3.0, 2.0, 2.9))
    result = fit(tiny_network(), task, settings(max_epochs=4), progress=False, mode="max")
    assert (result.best_epoch, result.best_score, result.stop_reason) == (2, 3.0, "max_epochs")


def test_the_best_counts_even_below_min_delta() -> None:
    task = TinyTask(scores=(1.0, 0.99, 0.98, 0.97))
    stop = settings(max_epochs=9, patience=3, min_delta=0.1)
    result = fit(tiny_network(), task, stop, progress=False)
    assert (result.best_epoch, result.stop_reason) == (4, "patience")


def test_another_score_may_be_monitored() -> None:
    result = fit(tiny_network(), TinyTask(), settings(), progress=False, monitor="rmse")
    assert result.best_score == pytest.approx(math.sqrt(result.history[-1].scores["loss"]))
    with pytest.raises(InvalidValueError, match="one of the scores loss, rmse, got 'mase'"):
        fit(tiny_network(), TinyTask(), settings(), progress=False, monitor="mase")


def test_it_repeats_whatever_else_draws_numbers() -> None:
    networks = [tiny_network() for _ in range(3)]
    fit(networks[0], TinyTask(), settings(), progress=False)
    torch.manual_seed(77)
    fit(networks[1], TinyTask(), settings(), progress=False)
    assert_same_weights(networks[0], networks[1])
    fit(networks[2], TinyTask(), settings(seed=1), progress=False)
    assert distance(networks[0], networks[2]) > 1e-3


def test_each_step_draws_its_own_dropout() -> None:
    masks = []
    network = tiny_network(dropout=0.5)
    network.get_submodule("dropout").register_forward_hook(
        lambda module, _, y: masks.append(y == 0) if module.training else None
    )
    fit(network, TinyTask(samples=16), settings(), progress=False)
    assert len(masks) == 4
    assert all(not torch.equal(masks[0], mask) for mask in masks[1:])


def test_the_random_state_of_the_caller_is_untouched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(tiny_network(), TinyTask(), settings(max_epochs=1), progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ArithmeticError):
        fit(tiny_network(), TinyTask(fail_at=3), settings(max_epochs=1), progress=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_step_that_diverges_is_named_and_the_best_kept(what: str, tmp_path: Path) -> None:
    task = TinyTask(**{f"nan_{what}_at": 10})  # 7 batches an epoch
    network, twin = tiny_network(), tiny_network()
    where = rf"^Fit, epoch 2, step 3: expected a finite {what}, got (nan|inf)\. .*epoch 1, the best"
    with pytest.raises(DivergedError, match=where):
        fit(network, task, settings(), progress=False, directory=tmp_path)
    fit(twin, TinyTask(), settings(max_epochs=1), progress=False)
    assert_same_weights(network, twin)
    tensors, _ = storage.read_tensors(tmp_path / "checkpoint.safetensors")
    for name, value in twin.state_dict().items():
        assert torch.equal(tensors[f"best/{name}"], value)


def test_a_fit_that_diverges_at_once_gives_the_start_back() -> None:
    network = tiny_network()
    with pytest.raises(DivergedError, match=r"epoch 1, step 2.*weights that it had at the start"):
        fit(network, TinyTask(nan_loss_at=2), settings(), progress=False)
    assert_same_weights(network, tiny_network())


def test_a_score_that_is_not_finite_is_refused() -> None:
    task = TinyTask(scores=(1.0, math.nan))
    with pytest.raises(
        DivergedError, match=r"epoch 2, validation: expected a finite loss, got nan"
    ):
        fit(tiny_network(), task, settings(), progress=False)


def test_batches_of_weight_zero_change_nothing() -> None:
    everything = tuple(range(50))
    network = tiny_network()
    result = fit(network, TinyTask(masked=everything), settings(max_epochs=1), progress=False)
    assert math.isnan(result.history[0].train_loss)
    assert_same_weights(network, tiny_network())


def test_a_network_without_parameters_to_train_is_refused() -> None:
    with pytest.raises(InvalidStateError, match="parameters to train"):
        fit(tiny_network().requires_grad_(False), TinyTask(), settings(), progress=False)


def test_frozen_parameters_stay() -> None:
    network = tiny_network()
    network.get_submodule("lstm").requires_grad_(False)
    fit(network, TinyTask(), settings(max_epochs=1), progress=False)
    assert_same_weights(network.get_submodule("lstm"), tiny_network().get_submodule("lstm"))
    assert distance(network, tiny_network()) > 1e-3


def test_no_batches_are_refused() -> None:
    class Idle(TinyTask):
        def batches(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
            return []

    with pytest.raises(InvalidStateError, match="at least one batch"):
        fit(tiny_network(), Idle(), settings(), progress=False)
