"""What a fit shows while it runs: a live bar on a terminal, one line an epoch anywhere else."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gatewise.training.outcome import EpochRecord

_REDRAW_SECONDS = 0.1


class ProgressReport:
    """Tells a person how a fit goes, on stderr.

    Args:
        max_epochs: Epochs at most.
        monitor: The score to show.
        shown: Whether to show anything at all.
        console: Where to show it; stderr if not given.
    """

    def __init__(
        self, max_epochs: int, monitor: str, *, shown: bool, console: Console | None = None
    ) -> None:
        self._max_epochs = max_epochs
        self._monitor = monitor
        self._shown = shown
        # force_jupyter: in a notebook the lines go to its stderr; the live bar needs a terminal
        self._console = console or Console(stderr=True, force_jupyter=False)
        self._best = ""
        self._redrawn = self._counted = time.perf_counter()
        self._samples = 0
        live = shown and self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = self._make_bar() if live else None
        self._task = self._bar.add_task("", total=None, facts="") if self._bar else None

    def __enter__(self) -> ProgressReport:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, epoch: int, batch: int, batches: int, loss: float, samples: int) -> None:
        """Tell of a step: ``batch`` of ``batches`` done, the mean loss so far, its samples."""
        if self._bar is None or self._task is None:
            return
        self._samples += samples
        now = time.perf_counter()
        if now - self._redrawn < _REDRAW_SECONDS:
            return
        speed = self._samples / (now - self._counted)
        self._bar.update(
            self._task,
            description=f"epoch {epoch}/{self._max_epochs}",
            total=self._max_epochs * batches,
            completed=(epoch - 1) * batches + batch,
            facts=f"loss {loss:.4g}{self._best}  {speed:,.0f} samples/s",
        )
        self._bar.refresh()
        self._redrawn = now

    def epoch(self, record: EpochRecord, best_epoch: int, best_score: float) -> None:
        """Tell of the end of an epoch."""
        self._best = f"  best {self._monitor} {best_score:.4g} (epoch {best_epoch})"
        if not self._shown or self._bar is not None:
            return
        speed = record.samples / max(record.seconds, 1e-9)
        mark = " (best)" if record.epoch == best_epoch else ""
        self._console.print(
            f"epoch {record.epoch}/{self._max_epochs}  train loss {record.train_loss:.4g}  "
            f"validation {self._monitor} {record.scores[self._monitor]:.4g}{mark}  "
            f"{speed:,.0f} samples/s  {record.seconds:.1f} s",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def _make_bar(self) -> Progress:
        """The live bar, redrawn by ``step``: no thread of its own, so that a fork is safe."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            auto_refresh=False,
        )
