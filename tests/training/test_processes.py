"""Several processes: the same training as one, and none left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gatewise.errors import InvalidStateError, InvalidTypeError, InvalidValueError
from gatewise.training import FitInterrupted, FitSettings, fit, storage
from gatewise.training.workers import reason_of
from support.tiny_task import TinyTask, assert_same_weights, tiny_network

TESTS = Path(__file__).parents[1]
# 50 samples in batches of 7: shards of 4 and 3, and in the last batch of 1 and 0.
UNEVEN: dict[str, Any] = {"batch_size": 7, "masked": tuple(range(30))}


def settings(**changes: Any) -> FitSettings:
    return FitSettings(**{"max_epochs": 2, "learning_rate": 0.02, "devices": 2} | changes)


def children() -> set[int]:
    """The processes that this one has started and not yet buried."""
    return {
        int(pid)
        for path in Path("/proc/self/task").glob("*/children")
        for pid in path.read_text().split()
    }


def kept_by_the_caller() -> list[object]:
    """What torch and Fabric change for their own ends."""
    names = ("OMP_NUM_THREADS", "MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
    variables = [os.environ.get(name) for name in names]
    return [*variables, torch.get_num_threads(), sys.excepthook]


def test_two_processes_train_as_one() -> None:
    task, before = TinyTask(**UNEVEN), children()
    kept = kept_by_the_caller()
    networks = [tiny_network(dropout=0.0) for _ in range(2)]
    one = fit(networks[0], task, settings(devices=1), progress=False)
    two = fit(networks[1], task, settings(), progress=False)
    for a, b in zip(one.history, two.history, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-5)
        assert b.scores == pytest.approx(a.scores, rel=1e-5)
        assert b.samples == a.samples == 50
    torch.testing.assert_close(*(n.state_dict() for n in networks), rtol=1e-4, atol=1e-5)
    # The mean of the means of the shards would be another loss: unmasked, they differ.
    other = fit(tiny_network(dropout=0.0), TinyTask(batch_size=7), settings(devices=1))
    assert other.best_score != pytest.approx(one.best_score, rel=1e-3)
    assert not torch.distributed.is_initialized()
    assert kept_by_the_caller() == kept
    assert children() == before


def test_ctrl_c_saves_ends_all_processes_and_the_fit_goes_on(tmp_path: Path) -> None:
    whole = tiny_network()
    fit(whole, TinyTask(), settings(), progress=False)
    before = children()
    task = TinyTask(signal_at=3, signal=signal.SIGINT)
    task.only_rank = 0
    with pytest.raises(FitInterrupted, match="epoch 1, after batch 3"):
        fit(tiny_network(), task, settings(), progress=False, directory=tmp_path)
    assert children() == before
    network = tiny_network(seed=99)
    fit(network, TinyTask(), settings(), progress=False, directory=tmp_path, resume=True)
    assert_same_weights(network, whole)


TRACEBACK = """Traceback (most recent call last):
  File "worker_main.py", line 55, in <module>
    main()
    ~~~~^^
"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", ""),
        ("bad magic\nkilled", "killed"),
        (TRACEBACK + "ValueError: 3\nof 4", "ValueError: 3"),
        (
            TRACEBACK + "KeyError: 'a'\nterminate called without an active exception",
            "KeyError: 'a'",
        ),
        (TRACEBACK + "KeyError: 'a'\n\nDuring it:\n\n" + TRACEBACK + "OSError: b", "OSError: b"),
    ],
)
def test_the_reason_is_the_last_exception(said, reason):
    assert reason_of(said) == reason


@pytest.mark.parametrize(
    ("rank", "error", "message"),
    [
        (1, InvalidStateError, "process 1 of 2: .*ArithmeticError: the task failed"),
        (0, ArithmeticError, "the task failed"),
    ],
)
def test_an_error_in_any_process_ends_all(rank: int, error: Any, message: str) -> None:
    before, start = children(), time.monotonic()
    with pytest.raises(error, match=message):
        fit(tiny_network(), TinyTask(fail_at=3, only_rank=rank), settings(), progress=False)
    assert children() == before
    assert time.monotonic() - start < 60
    assert not torch.distributed.is_initialized()


def test_what_cannot_be_handed_over_is_refused() -> None:
    task = TinyTask()
    task.loss = lambda network, indices: (torch.ones(()), torch.ones(()))  # pyright: ignore
    with pytest.raises(InvalidTypeError, match=r"can be pickled.*in a module"):
        fit(tiny_network(), task, settings(), progress=False)


def test_several_machines_need_torchrun() -> None:
    with pytest.raises(InvalidValueError, match="torchrun --nnodes 2 --nproc-per-node 3"):
        fit(tiny_network(), TinyTask(), settings(nodes=2, devices=3), progress=False)


def test_devices_that_are_not_there_are_refused() -> None:
    many = torch.cuda.device_count() + 1
    with pytest.raises(InvalidValueError, match="of 'cuda' on this machine"):
        fit(tiny_network(), TinyTask(), settings(accelerator="cuda", devices=many))


def test_torchrun_gives_every_process_the_same_weights(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from gatewise.training import FitSettings, fit, storage\n"
        "from support.tiny_task import TinyTask, tiny_network\n"
        "out, rank = Path(sys.argv[1]), os.environ['RANK']\n"
        "network = tiny_network(seed=int(rank), dropout=0.0)\n"  # DDP must spread the first's
        "settings = FitSettings(max_epochs=2, learning_rate=0.02, devices=2)\n"
        "fit(network, TinyTask(), settings, progress=False, directory=out)\n"
        "storage.atomic_write_tensors(out / rank, network.state_dict())\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(  # noqa: S603 - our own script
        [*torchrun, "--nproc-per-node", "2", str(script), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    alone = tiny_network(dropout=0.0)
    fit(alone, TinyTask(), settings(devices=1), progress=False)
    for rank in ("0", "1"):
        tensors, _ = storage.read_tensors(tmp_path / rank)
        torch.testing.assert_close(tensors, dict(alone.state_dict()), rtol=1e-4, atol=1e-5)
