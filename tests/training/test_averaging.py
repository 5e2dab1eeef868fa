"""The mean of the weights over the steps since the score stopped to gain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gatewise.training import FitSettings, fit
from gatewise.training.averaging import WeightAverage, averages
from support.tiny_task import TinyTask, assert_same_weights, tiny_network

BATCHES = 7  # an epoch of TinyTask
RISING = (3.0, 2.0, 4.0, 5.0, 1.0, 6.0)


def settings(**changes: Any) -> FitSettings:
    base = {"max_epochs": 5, "learning_rate": 0.02, "patience": None, "checkpoint_seconds": 1e-9}
    return FitSettings(**base | {"averaging": "triggered", "averaging_patience": 1} | changes)


def test_the_mean_is_that_of_all_weights_since_it_began() -> None:
    layer, seen = nn.Linear(3, 2), []
    layer.bias.requires_grad_(False)
    average = WeightAverage(layer)
    for _ in range(5):
        with torch.no_grad():
            layer.weight.copy_(torch.randn(2, 3))
        seen.append(layer.weight.detach().clone())
        average.add()
    last = layer.weight.detach().clone()
    with average.applied():
        torch.testing.assert_close(layer.weight.detach(), torch.stack(seen).mean(0))
    assert layer.weight.equal(last)
    assert list(average.mean) == ["weight"]


@pytest.mark.parametrize(
    ("scores", "wait", "mode", "begun"),
    [
        ([3, 2, 4], 1, "min", True),  # 4 is worse than 3, which lies two epochs back
        ([3, 2, 3], 1, "min", False),
        ([2, 3], 1, "min", False),  # nothing lies back far enough
        ([3, 2, 4, 1, 1, 1], 1, "min", True),  # once begun it goes on
        ([5, 4, 3, 4, 5], 3, "min", False),
        ([5, 4, 3, 4, 6], 3, "min", True),
        ([1, 2, 0], 1, "max", True),
        ([1, 2, 4], 1, "max", False),
    ],
)
def test_when_it_begins(scores: list[float], wait: int, mode: Any, begun: bool) -> None:
    assert averages(settings(averaging_patience=wait), list(map(float, scores)), mode) is begun
    assert not averages(settings(averaging="none"), [3.0, 2.0, 4.0], mode)


def test_the_fit_keeps_the_mean_and_trains_on_from_the_weights() -> None:
    network = tiny_network()
    seen: list[dict[str, torch.Tensor]] = []

    class Watched(TinyTask):
        def validate(self, network: nn.Module) -> dict[str, float]:
            seen.append({k: v.detach().clone() for k, v in network.state_dict().items()})
            return super().validate(network)

    result = fit(network, Watched(scores=RISING), settings(), progress=False)
    plain: list[dict[str, torch.Tensor]] = []
    for epochs in range(1, 6):
        twin = tiny_network()
        only = settings(averaging="none", max_epochs=epochs)
        fit(twin, TinyTask(scores=(9.0, 8.0, 7.0, 6.0, 5.0)), only, progress=False)
        plain.append(twin.state_dict())
    assert result.best_epoch == 5
    for epoch in range(5):
        same = all(torch.equal(seen[epoch][name], plain[epoch][name]) for name in plain[epoch])
        assert same is (epoch < 3)  # 4.0 after the third is worse than 3.0 after the first
    assert_same_weights(network, _holding(seen[4]))


@pytest.mark.parametrize("steps", [2 * BATCHES, 3 * BATCHES + 2, 4 * BATCHES + 5])
def test_a_stopped_fit_goes_on_with_the_mean(steps: int, tmp_path: Path) -> None:
    whole = tiny_network()
    fit(whole, TinyTask(scores=RISING), settings(), progress=False)
    stopped = TinyTask(scores=RISING, fail_at=steps + 1)
    with pytest.raises(ArithmeticError):
        fit(tiny_network(), stopped, settings(), progress=False, directory=tmp_path)
    network, rest = tiny_network(seed=99), TinyTask(scores=RISING[steps // BATCHES :])
    fit(network, rest, settings(), progress=False, directory=tmp_path, resume=True)
    assert_same_weights(network, whole)


def _holding(state: dict[str, torch.Tensor]) -> nn.Module:
    network = tiny_network()
    network.load_state_dict(state)
    return network
