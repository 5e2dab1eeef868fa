"""Learning rates against torch's own schedulers, optimizers against torch's with its defaults."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from gatewise.training import FitSettings
from gatewise.training.optimization import epochs_without_gain, learning_rates, make_optimizer

EPOCHS, BATCHES, RATE = 7, 5, 0.02
SCORES = [5.0, 4.0, 4.2, 4.1, 4.0, 3.0, 3.5]


def ours(schedule: Any, mode: Any = "min", scores: list[float] | None = None) -> list[float]:
    settings = FitSettings(
        max_epochs=EPOCHS, learning_rate=RATE, schedule=schedule, decay=0.5, min_delta=0.05
    )
    rates = []
    for epoch in range(1, EPOCHS + 1):
        past = (scores or SCORES)[: epoch - 1]
        of_batch = learning_rates(settings, epoch, BATCHES, past, mode)
        rates += [of_batch(batch) for batch in range(BATCHES)]
    return rates


def theirs(make: Any, *, by_epoch: bool, scores: list[float] | None = None) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=RATE)
    scheduler = make(optimizer)
    rates = []
    for epoch in range(EPOCHS):
        for _ in range(BATCHES):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if not by_epoch and len(rates) < EPOCHS * BATCHES:
                scheduler.step()
        if by_epoch:
            scheduler.step(*([] if scores is None else [scores[epoch]]))
    return rates


def test_exponential() -> None:
    expected = theirs(lambda o: lr_scheduler.ExponentialLR(o, 0.5), by_epoch=True)
    assert ours("exponential") == pytest.approx(expected, rel=1e-12)
    assert ours("constant") != pytest.approx(expected, rel=1e-3)


def test_exponential_after_a_hold() -> None:
    settings = FitSettings(learning_rate=1.0, schedule="exponential", decay=0.5, hold_epochs=4)
    rates = [learning_rates(settings, epoch, 1, [], "min")(0) for epoch in range(1, 8)]
    assert rates == [1, 1, 1, 1, 0.5, 0.25, 0.125]  # W. Zaremba et al. (2014), the small model


def test_cosine() -> None:
    steps = EPOCHS * BATCHES
    expected = theirs(lambda o: lr_scheduler.CosineAnnealingLR(o, steps), by_epoch=False)
    assert ours("cosine") == pytest.approx(expected, rel=1e-9)


def test_one_cycle() -> None:
    def make(optimizer: Any) -> Any:
        return lr_scheduler.OneCycleLR(
            optimizer, RATE, total_steps=EPOCHS * BATCHES, cycle_momentum=False
        )

    assert ours("one_cycle") == pytest.approx(theirs(make, by_epoch=False), rel=1e-9)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("scores", [SCORES, [-x for x in SCORES], [1.0] * EPOCHS])
def test_plateau(mode: Any, scores: list[float]) -> None:
    def make(optimizer: Any) -> Any:
        return lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, factor=0.5, patience=1, threshold=0.05, threshold_mode="abs"
        )

    expected = theirs(make, by_epoch=True, scores=scores)
    assert ours("plateau", mode, scores) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_one_cycle_of_few_steps_stays_below_its_peak(steps: int) -> None:
    settings = FitSettings(max_epochs=1, learning_rate=1.0, schedule="one_cycle")
    of_batch = learning_rates(settings, 1, steps, [], "min")
    assert all(0 < of_batch(batch) <= 1 for batch in range(steps))


def test_epochs_without_gain() -> None:
    assert epochs_without_gain([], "min", 0.0) == 0
    assert epochs_without_gain([3.0, 2.0, 2.0, 2.5], "min", 0.0) == 2
    assert epochs_without_gain([3.0, 2.0, 1.95, 1.85], "min", 0.1) == 0  # gains add up
    assert epochs_without_gain([3.0, 2.0, 1.95, 1.91], "min", 0.1) == 2
    assert epochs_without_gain([3.0, 4.0, 2.0], "max", 0.0) == 1


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adam", lambda p: torch.optim.Adam(p, lr=RATE, weight_decay=0.1)),
        ("adamw", lambda p: torch.optim.AdamW(p, lr=RATE, weight_decay=0.1)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, lr=RATE, weight_decay=0.1)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=RATE, weight_decay=0.1, momentum=0.8)),
    ],
)
def test_optimizers(name: Any, reference: Any) -> None:
    start = torch.linspace(-1, 1, 20)
    settings = FitSettings(optimizer=name, learning_rate=RATE, weight_decay=0.1, momentum=0.8)
    results = []
    for make in (lambda p: make_optimizer(p, settings), reference):
        parameter = nn.Parameter(start.clone())
        optimizer = make([parameter])
        for _ in range(5):
            optimizer.zero_grad()
            (parameter**4).sum().backward()
            optimizer.step()
        results.append(parameter.detach())
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-7)
    assert (results[0] - start).abs().max() > 1e-3
