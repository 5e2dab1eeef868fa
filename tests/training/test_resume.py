"""A fit that was stopped, in whatever way and place, goes on to the same bits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gatewise.errors import GatewiseError, InvalidFileError, InvalidSettingsError, InvalidValueError
from gatewise.training import FitInterrupted, FitResult, FitSettings, fit, storage
from gatewise.training import interrupt as interrupt_module
from gatewise.training.interrupt import InterruptGuard
from support.tiny_task import TinyTask, assert_same_weights, tiny_network

FILE = "checkpoint.safetensors"
BATCHES = 7  # an epoch of TinyTask


def settings(**changes: Any) -> FitSettings:
    """Three epochs, a checkpoint after every step."""
    base = {"max_epochs": 3, "learning_rate": 0.02, "checkpoint_seconds": 1e-9}
    return FitSettings(**base | changes)


def uninterrupted(**changes: Any) -> tuple[nn.Module, FitResult]:
    network = tiny_network()
    return network, fit(network, TinyTask(), settings(**changes), progress=False)


def resumed(directory: Path, **changes: Any) -> tuple[nn.Module, FitResult]:
    """Resume with a network whose weights are others, as those of a new process are."""
    network = tiny_network(seed=99)
    result = fit(
        network, TinyTask(), settings(**changes), progress=False, directory=directory, resume=True
    )
    return network, result


def assert_same_course(ours: FitResult, theirs: FitResult) -> None:
    assert (ours.best_epoch, ours.best_score) == (theirs.best_epoch, theirs.best_score)
    assert len(ours.history) == len(theirs.history)
    for a, b in zip(ours.history, theirs.history, strict=True):
        assert (a.train_loss, a.scores, a.learning_rate, a.samples) == (
            b.train_loss,
            b.scores,
            b.learning_rate,
            b.samples,
        )


OPTIMIZERS = [
    {"optimizer": "adam", "schedule": "one_cycle"},
    {"optimizer": "adamw", "schedule": "cosine", "weight_decay": 0.1},
    {"optimizer": "rmsprop", "schedule": "exponential"},
    {"optimizer": "sgd", "schedule": "plateau", "learning_rate": 0.01},
]


@pytest.mark.parametrize("changes", OPTIMIZERS, ids=lambda changes: changes["optimizer"])
@pytest.mark.parametrize("steps", [0, 3, BATCHES, BATCHES + 1, 2 * BATCHES + 6])
def test_it_goes_on_to_the_same_bits(changes: dict[str, Any], steps: int, tmp_path: Path) -> None:
    whole, course = uninterrupted(**changes)
    with pytest.raises(ArithmeticError):
        fit(
            tiny_network(),
            TinyTask(fail_at=steps + 1),
            settings(**changes),
            progress=False,
            directory=tmp_path,
        )
    network, result = resumed(tmp_path, **changes)
    assert_same_weights(network, whole)
    assert_same_course(result, course)


def test_the_best_weights_outlive_a_stop(tmp_path: Path) -> None:
    task = TinyTask(scores=(1.0, 2.0, 3.0), fail_at=BATCHES + 3)
    with pytest.raises(ArithmeticError):
        fit(tiny_network(), task, settings(), progress=False, directory=tmp_path)
    network, rest = tiny_network(seed=99), TinyTask(scores=(2.0, 3.0))
    result = fit(network, rest, settings(), progress=False, directory=tmp_path, resume=True)
    assert (result.best_epoch, result.best_score) == (1, 1.0)
    assert_same_weights(network, uninterrupted(max_epochs=1)[0])


SCRIPT = """
import sys
from pathlib import Path
from gatewise.training import FitSettings, fit
from support.tiny_task import TinyTask, tiny_network
fit(
    tiny_network(),
    TinyTask(signal_at=10, signal=9),
    FitSettings(max_epochs=3, learning_rate=0.02, checkpoint_seconds=1e-9),
    progress=False,
    directory=Path(sys.argv[1]),
)
"""


def test_a_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)],
            env={"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        position = json.loads(storage.read_tensors(tmp_path / FILE)[1]["position"])
        assert (position["epoch"], position["batch"]) == (2, 2)
        network, result = resumed(tmp_path)
        whole, course = uninterrupted()
    finally:
        torch.set_num_threads(former)
    assert_same_weights(network, whole)
    assert_same_course(result, course)


@pytest.mark.parametrize("call", [1, BATCHES, BATCHES + 3, 3 * BATCHES])
def test_ctrl_c_finishes_the_step_saves_and_says_how_to_go_on(call: int, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGINT)
    task = TinyTask(signal_at=call, signal=signal.SIGINT)
    rare = settings(checkpoint_seconds=1e9)
    network = tiny_network()
    with pytest.raises(FitInterrupted, match="resume=True") as caught:
        fit(network, task, rare, progress=False, directory=tmp_path)
    assert task.calls == call
    done = (call - 1) // BATCHES + 1, (call - 1) % BATCHES + 1
    assert (caught.value.epoch, caught.value.batch) == done
    assert str(tmp_path) in str(caught.value)
    assert signal.getsignal(signal.SIGINT) is handler
    network, result = resumed(tmp_path)
    whole, course = uninterrupted()
    assert_same_weights(network, whole)
    assert_same_course(result, course)


def test_ctrl_c_is_no_mere_exception() -> None:
    """Or a search that goes on after failed fits would go on after it."""
    assert issubclass(FitInterrupted, KeyboardInterrupt)
    assert not issubclass(FitInterrupted, Exception)


def test_ctrl_c_during_validation_is_seen(tmp_path: Path) -> None:
    class Slow(TinyTask):
        def validate(self, network: nn.Module) -> dict[str, float]:
            signal.raise_signal(signal.SIGINT)
            return super().validate(network)

    with pytest.raises(FitInterrupted, match="epoch 2, after batch 0"):
        fit(tiny_network(), Slow(), settings(), progress=False, directory=tmp_path)
    assert_same_weights(resumed(tmp_path)[0], uninterrupted()[0])


def test_ctrl_c_without_a_directory_says_so() -> None:
    with pytest.raises(FitInterrupted, match="Nothing was saved: give a directory"):
        fit(tiny_network(), TinyTask(signal_at=2, signal=2), settings(), progress=False)


def test_a_second_ctrl_c_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with InterruptGuard() as guard:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # torchrun's echo of the same press
        assert guard.requested
        monkeypatch.setattr(interrupt_module, "_ONE_PRESS_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with InterruptGuard() as guard:
            signal.raise_signal(signal.SIGINT)
        assert not guard.requested
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


def test_a_fit_that_has_ended_returns_at_once_and_may_be_prolonged(tmp_path: Path) -> None:
    fit(tiny_network(), TinyTask(), settings(max_epochs=2), progress=False, directory=tmp_path)
    network, result = resumed(tmp_path, max_epochs=2)
    assert len(result.history) == 2
    assert_same_weights(network, uninterrupted(max_epochs=2)[0])
    network, result = resumed(tmp_path, patience=9, checkpoint_seconds=5.0)
    assert_same_weights(network, uninterrupted()[0])


def interrupted(directory: Path, **changes: Any) -> None:
    with pytest.raises(ArithmeticError):
        fit(
            tiny_network(),
            TinyTask(fail_at=10),
            settings(**changes),
            progress=False,
            directory=directory,
        )


def test_other_settings_are_listed(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(InvalidSettingsError) as caught:
        resumed(tmp_path, learning_rate=0.01, seed=3, max_epochs=8)
    assert [fault.where for fault in caught.value.faults] == ["learning_rate", "seed"]
    assert "learning_rate: expected 0.02 as in the checkpoint, got 0.01." in str(caught.value)


def test_a_curve_over_all_epochs_cannot_be_prolonged(tmp_path: Path) -> None:
    interrupted(tmp_path, schedule="cosine")
    with pytest.raises(InvalidSettingsError, match="max_epochs: expected 3 as in the checkpoint"):
        resumed(tmp_path, schedule="cosine", max_epochs=4)


@pytest.mark.parametrize(
    ("network", "task", "error", "message"),
    [
        (nn.Linear(2, 2), TinyTask(), InvalidSettingsError, r"network\.lstm\.weight_ih_l0"),
        (tiny_network(), TinyTask(samples=51), InvalidValueError, "other batches in epoch 2"),
    ],
)
def test_another_network_or_other_data_are_found(
    network: nn.Module, task: TinyTask, error: type[GatewiseError], message: str, tmp_path: Path
) -> None:
    interrupted(tmp_path)
    with pytest.raises(error, match=message):
        fit(network, task, settings(), progress=False, directory=tmp_path, resume=True)


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"to resume from, got none.*without resume=True"):
        resumed(tmp_path)
    with pytest.raises(InvalidValueError, match="directory: expected the directory to resume from"):
        fit(tiny_network(), TinyTask(), settings(), resume=True)


def test_an_unfinished_fit_is_not_overwritten(tmp_path: Path) -> None:
    interrupted(tmp_path)
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(InvalidFileError, match=r"no checkpoint of an unfinished fit.*resume=True"):
        fit(tiny_network(), TinyTask(), settings(), progress=False, directory=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_the_checkpoint_of_an_ended_fit_is_kept_aside(tmp_path: Path) -> None:
    for seed in (1, 2):
        fit(tiny_network(), TinyTask(), settings(seed=seed), progress=False, directory=tmp_path)
    for name, seed in ((FILE, 2), ("checkpoint.former.safetensors", 1)):
        assert json.loads(storage.read_tensors(tmp_path / name)[1]["identity"])["seed"] == seed


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    interrupted(tmp_path)
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InvalidFileError, match=rf"{FILE}: expected a whole.*delete it"):
        resumed(tmp_path)


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    storage.atomic_write_tensors(tmp_path / FILE, {}, {"format": "2"})
    with pytest.raises(InvalidFileError, match="format 1, got format 2"):
        resumed(tmp_path)


def test_a_full_disk_leaves_a_checkpoint_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = storage._sync, []

    def fill(path: Path) -> None:
        calls.append(path)
        if len(calls) == 5:
            raise OSError(28, "No space left on device")
        write(path)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "_sync", fill)
        with pytest.raises(InvalidFileError, match=r"No space left on device.*free some space"):
            fit(tiny_network(), TinyTask(), settings(), progress=False, directory=tmp_path)
    assert_same_weights(resumed(tmp_path)[0], uninterrupted()[0])
