"""Where a run goes: a directory of its own, never over somebody's work by accident."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from gatewise.errors import InvalidValueError

CHECKPOINT: Final = "checkpoint.safetensors"
"""What a fit that has not ended leaves, so that it can be resumed."""

FORMER: Final = "checkpoint.former.safetensors"
"""The checkpoint before that."""


def run_directory(task: str, out: Path | None, *, resume: bool, overwrite: bool) -> Path:
    """Return the directory of a run; it is made when there is something to write.

    Args:
        task: Names the directory when ``out`` is None: ``runs/TASK-TIME``.
        out: The user's choice.
        resume: The run goes on in ``out``, which may hold files.
        overwrite: What ``out`` holds may be replaced.

    Raises:
        InvalidValueError: ``out`` is a file, or holds files and neither flag is given; or the
            flags contradict each other.
    """
    if resume and overwrite:
        raise InvalidValueError(
            "fit", "--resume or --overwrite", "both", "Leave out the one you do not mean."
        )
    if out is None:
        if resume:
            raise InvalidValueError(
                "--resume", "--out with the run to go on with", "no --out", "Name its directory."
            )
        return _fresh(Path("runs"), f"{task}-{datetime.now():%Y%m%d-%H%M%S}")
    if out.exists() and not out.is_dir():
        raise InvalidValueError(
            f"--out: '{out}'", "a directory", "a file", "Choose another name for the run."
        )
    if out.is_dir() and any(out.iterdir()) and not (resume or overwrite):
        raise InvalidValueError(
            f"--out: '{out}'",
            "a new or empty directory",
            "one that holds files",
            "Choose another name, add --resume to go on with an interrupted fit,"
            " or --overwrite to replace the model.",
        )
    return out


def set_checkpoint_aside(directory: Path) -> None:
    """Let a new fit start where an unfinished one lies; its checkpoint is kept under FORMER."""
    checkpoint = directory / CHECKPOINT
    if checkpoint.exists():
        checkpoint.replace(directory / FORMER)


def _fresh(parent: Path, name: str) -> Path:
    """The first free name: two runs may start within one second."""
    candidates = [name, *(f"{name}-{count}" for count in range(2, 100))]
    return next(parent / candidate for candidate in candidates if not (parent / candidate).exists())
