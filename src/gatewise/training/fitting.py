"""``fit``: the public face of the one training loop for all tasks."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from torch import nn

from gatewise.errors import InvalidValueError
from gatewise.training import checkpoint
from gatewise.training.outcome import FitResult
from gatewise.training.settings import FitSettings, Mode
from gatewise.training.task import FitTask


def fit(
    network: nn.Module,
    task: FitTask,
    settings: FitSettings,
    *,
    directory: Path | None = None,
    resume: bool = False,
    progress: bool = True,
    monitor: str = "loss",
    mode: Mode = "min",
) -> FitResult:
    """Train a network in place; however the fit ends, it holds the best weights, in eval mode.

    Every draw is a function of the seed, the epoch and the batch, so a fit repeats to the bit at
    the same number of threads, and one that was killed goes on as if it had not been. The random
    state of the caller is neither used nor changed.

    With a ``directory``, the checkpoint in it is written at the start, every
    ``checkpoint_seconds``, after each epoch and on Ctrl-C. Without ``resume``, the checkpoint of
    a fit that has ended is renamed to ``checkpoint.former.safetensors`` and that of one that has
    not is never touched: it is an error.

    Args:
        network: What to train; moved to the device of the fit.
        task: Gives batches, loss and scores.
        settings: How to train.
        directory: For the checkpoint, or None to keep none.
        resume: Go on from the checkpoint in ``directory``, which must be there. A fit that has
            ended returns its result at once, or goes on if ``max_epochs`` or ``patience`` allow.
        progress: Show a bar on a terminal, or a line an epoch elsewhere, on stderr.
        monitor: The score that decides which epoch is best and when to stop.
        mode: Whether a lower (``min``) or a higher (``max``) score is better.

    Returns:
        The course of the fit.

    Raises:
        InvalidSettingsError: Settings out of range, or other than those of the checkpoint.
        InvalidFileError: No checkpoint to resume from, a damaged one, one of an unfinished fit
            in the way, or a disk that is full.
        DivergedError: Loss, gradient or score is no longer finite.
        FitInterrupted: Ctrl-C; the step was finished and all is saved.
    """
    settings.check()
    if mode not in get_args(Mode):
        raise InvalidValueError("mode", " or ".join(get_args(Mode)), repr(mode))
    if resume and directory is None:
        raise InvalidValueError("directory", "the directory to resume from", "None")
    # Here and not above: lightning takes two seconds to import.
    from gatewise.training.loop import FitJob, FitLoop, kept_random_state
    from gatewise.training.processes import launched, this_place

    content = None
    if directory is not None and this_place().rank == 0:
        if resume:
            content = checkpoint.read(directory)
        else:
            checkpoint.set_aside(directory)
    job = FitJob(
        network=network,
        task=task,
        settings=settings,
        directory=directory,
        progress=progress,
        monitor=monitor,
        mode=mode,
    )
    with launched(job) as fabric, kept_random_state(fabric):
        return FitLoop(fabric, job, content).run()


def is_first_process() -> bool:
    """Whether this process is the one that writes, if torchrun has started several."""
    from gatewise.training.processes import this_place

    return this_place().rank == 0
