"""Tasks that carry a state from step to step: begun anew each epoch, resumed where it was."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gatewise.training import FitInterrupted, FitSettings, StatefulTask, fit, storage
from support.tiny_task import CarryingTask, TinyTask, assert_same_weights, tiny_network

STEPS = 4  # of an epoch of CarryingTask


def settings(**changes: Any) -> FitSettings:
    base = {"max_epochs": 3, "learning_rate": 0.02, "checkpoint_seconds": 1e-9}
    return FitSettings(**base | changes)


def fitted(**changes: Any) -> nn.Module:
    network = tiny_network(dropout=0.0)
    fit(network, CarryingTask(), settings(**changes), progress=False)
    return network


def test_only_tasks_with_a_state_are_asked_for_it() -> None:
    assert isinstance(CarryingTask(), StatefulTask)
    assert not isinstance(TinyTask(), StatefulTask)


def test_each_epoch_begins_anew() -> None:
    task = CarryingTask()
    fit(tiny_network(dropout=0.0), task, settings(), progress=False)
    # The state is what each step has added; the first step of an epoch sees none of it.
    assert task.seen == [0.0, 8.0, 16.0, 24.0] * 3


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("call", [2, STEPS, STEPS + 3])
def test_a_stopped_fit_goes_on_with_the_state(call: int, devices: int, tmp_path: Path) -> None:
    task = CarryingTask(signal_at=call, signal=signal.SIGINT)
    task.only_rank = 0
    network = tiny_network(dropout=0.0)
    with pytest.raises(FitInterrupted):
        fit(network, task, settings(devices=devices), progress=False, directory=tmp_path)
    held, _ = storage.read_tensors(tmp_path / "checkpoint.safetensors")
    carried = {name for name in held if name.startswith("carried/")}
    assert carried == {f"carried/{rank}/sum" for rank in range(devices)}
    network = tiny_network(seed=99, dropout=0.0)
    again = settings(devices=devices)
    fit(network, CarryingTask(), again, progress=False, directory=tmp_path, resume=True)
    assert_same_weights(network, fitted(devices=devices))


def test_what_is_carried_matters() -> None:
    class Forgetful(CarryingTask):
        def carried(self) -> dict[str, Tensor]:
            return {}

    network = tiny_network(dropout=0.0)
    fit(network, Forgetful(), settings(), progress=False)
    assert_same_weights(network, fitted())  # nothing was saved and restored

    class Deaf(CarryingTask):
        def loss(self, network: nn.Module, indices: Tensor) -> Any:
            self.carry({})
            return super().loss(network, indices)

    other = tiny_network(dropout=0.0)
    fit(other, Deaf(), settings(), progress=False)
    assert not torch.equal(other.head.weight, network.head.weight)
