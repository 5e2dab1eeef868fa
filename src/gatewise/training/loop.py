"""The one fit loop: epochs, steps, early stopping, checkpoints.

How it is spread over processes is in ``processes``, the learning rate in ``optimization``.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric import Fabric, wrappers
from torch import Tensor, nn

from gatewise.errors import InvalidStateError, InvalidValueError
from gatewise.training import checkpoint
from gatewise.training.averaging import WeightAverage, averages
from gatewise.training.checkpoint import FitState
from gatewise.training.interrupt import InterruptGuard
from gatewise.training.optimization import (
    epochs_without_gain,
    is_better,
    learning_rates,
    make_optimizer,
)
from gatewise.training.outcome import (
    DivergedError,
    EpochRecord,
    FitInterrupted,
    FitResult,
    StopReason,
)
from gatewise.training.progress import ProgressReport
from gatewise.training.settings import FitSettings, Mode
from gatewise.training.task import FitTask, StatefulTask, StepLoss


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """All that a process needs to take part in a fit."""

    network: nn.Module
    task: FitTask
    settings: FitSettings
    directory: Path | None = None
    progress: bool = False
    monitor: str = "loss"
    mode: Mode = "min"


@contextmanager
def _own_gradients() -> Iterator[None]:
    """Let a task take gradients inside its loss, as an adversary does.

    Fabric lets nothing but its own backward through a network of mixed precision, lest the scale of
    the loss be forgotten: that of the step, which those of a task do not touch.
    """
    wrappers._in_fabric_backward = True  # noqa: SLF001 - it offers no other way
    try:
        yield
    finally:
        wrappers._in_fabric_backward = False  # noqa: SLF001


class FitLoop:
    """One process's part in a fit; every process takes the same steps and decisions.

    Args:
        fabric: Launched.
        job: What to fit.
        content: Of the checkpoint to go on from, or None; only that of the first process counts.
    """

    def __init__(self, fabric: Fabric, job: FitJob, content: checkpoint.Content | None) -> None:
        self._fabric = fabric
        self._job = job
        self._settings = job.settings
        trained = [held for held in job.network.parameters() if held.requires_grad]
        if not trained:
            raise InvalidStateError(
                "Fit",
                "a network with parameters to train",
                "none",
                "Set requires_grad on some of them.",
            )
        self._optimizer = make_optimizer(trained, job.settings)
        self._wrapped, self._stepper = fabric.setup(job.network, self._optimizer)
        self._identity = checkpoint.describe(job.settings, job.monitor, job.mode, job.network)
        content = fabric.broadcast(content)
        if content is None:
            self._state = FitState(best=_copy(job.network))
        else:
            self._state = checkpoint.restore(content, job.network, self._optimizer, self._identity)
            self._check_order()
        self._average = WeightAverage(job.network)
        self._average.mean, self._average.steps = self._state.mean, self._state.mean_steps
        self._clock = time.perf_counter()
        self._saved = time.monotonic()

    def run(self) -> FitResult:
        """Train to the end; however it ends, the network holds the best weights."""
        settings, job = self._settings, self._job
        shown = job.progress and self._fabric.is_global_zero
        report = ProgressReport(settings.max_epochs, job.monitor, shown=shown)
        try:
            with InterruptGuard() as guard, report:
                if self._state.ordered_epoch == 0:
                    self._save()  # from here on a killed fit can be resumed
                while (reason := self._reason_to_stop()) is None:
                    self._train(guard, report)
                    self._validate(guard, report)
                if guard.requested:
                    self._interrupt()
        finally:
            job.network.load_state_dict(self._state.best)
            job.network.eval()
        best = self._state.history[self._state.best_epoch - 1]
        score = best.scores[job.monitor]
        return FitResult(list(self._state.history), best.epoch, score, reason)

    def _reason_to_stop(self) -> StopReason | None:
        """Why no further epoch is to come, or None: a function of the history alone."""
        patience, scores = self._settings.patience, self._scores()
        idle = epochs_without_gain(scores, self._job.mode, self._settings.min_delta)
        if patience is not None and idle >= patience:
            return "patience"
        return "max_epochs" if len(scores) >= self._settings.max_epochs else None

    def _train(self, guard: InterruptGuard, report: ProgressReport) -> None:
        """Take the steps of the epoch under way that are not yet done."""
        state = self._state
        batches = self._batches(state.epoch)
        state.order, state.ordered_epoch = checkpoint.order_of(batches), state.epoch
        rates = learning_rates(
            self._settings, state.epoch, len(batches), self._scores(), self._job.mode
        )
        averaged = averages(self._settings, self._scores(), self._job.mode)
        self._carry()
        self._wrapped.train()
        self._clock = time.perf_counter()
        for batch in range(state.batch, len(batches)):
            self._reseed("step", state.epoch, batch, self._fabric.global_rank)
            due = time.monotonic() - self._saved >= self._settings.checkpoint_seconds
            loss, weight, stop, due = self._step(batches[batch], rates(batch), guard, due)
            if averaged:
                self._average.add()
            state.batch = batch + 1
            state.loss_sum += loss
            state.weight_sum += weight
            state.samples += len(batches[batch])
            mean = state.loss_sum / max(state.weight_sum, 1e-300)
            report.step(state.epoch, batch + 1, len(batches), mean, len(batches[batch]))
            if stop:
                self._interrupt()
            if due:
                self._save()

    def _step(
        self, indices: Tensor, rate: float, guard: InterruptGuard, due: bool
    ) -> tuple[float, float, bool, bool]:
        """Take one step; return loss and weight over all processes, whether to stop and to save."""
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._stepper.zero_grad()
        total, weight, objective = self._loss_of_shard(indices)
        loss, weights, stop, due = self._sum_over_processes(total, weight, guard.requested, due)
        step = f"step {self._state.batch + 1}"
        self._check_finite(step, "loss", loss)
        if weights > 0:  # else nothing to learn here, as in a batch of missing values
            # DDP takes the mean over processes; the gradient is that of sum / weights
            aim = total if objective is None else objective
            self._fabric.backward(aim * (self._fabric.world_size / weights))
            clip = self._settings.gradient_clip
            norm = self._fabric.strategy.clip_gradients_norm(
                self._job.network,
                self._optimizer,
                math.inf if clip is None else clip,
                error_if_nonfinite=False,
            )
            self._check_finite(step, "gradient", norm.item())
            self._stepper.step()
        return loss, weights, stop, due

    def _loss_of_shard(self, indices: Tensor) -> StepLoss:
        """Loss of this process's part of a global batch."""
        rank, world = self._fabric.global_rank, self._fabric.world_size
        with _own_gradients():
            if rank < len(indices):
                return self._job.task.loss(self._wrapped, indices[rank::world])
            # More processes than samples: DDP waits for every gradient, so give one that is zero.
            total, weight, objective = self._job.task.loss(self._wrapped, indices[:1])
        return StepLoss(total * 0, weight * 0, None if objective is None else objective * 0)

    def _sum_over_processes(
        self, total: Tensor, weight: Tensor, stop: bool, due: bool
    ) -> tuple[float, float, bool, bool]:
        """Sums that are the same in every process, and whether any would stop, and save."""
        if self._fabric.world_size == 1:
            return total.item(), weight.item(), stop, due
        flags = torch.tensor((stop, due), dtype=torch.float64, device=total.device)
        sums = torch.stack([total.detach().double(), weight.detach().double()])
        local = torch.cat([sums, flags])
        dist.all_reduce(local)
        loss, weights, stops, saves = local.tolist()
        return loss, weights, stops > 0, saves > 0

    def _check_finite(self, place: str, what: str, value: float) -> None:
        """Raise if the fit has diverged."""
        if math.isfinite(value):
            return
        best = self._state.best_epoch
        kept = f"of epoch {best}, the best" if best else "that it had at the start"
        raise DivergedError(
            f"Fit, epoch {self._state.epoch}, {place}",
            f"a finite {what}",
            repr(value),
            f"The network holds the weights {kept}. "
            "Lower learning_rate or gradient_clip, or look for extreme values in the data.",
        )

    def _validate(self, guard: InterruptGuard, report: ProgressReport) -> None:
        """Score the network, close the epoch, keep the weights if they are the best."""
        state, job = self._state, self._job
        self._reseed("validate", state.epoch)
        self._wrapped.eval()
        with torch.no_grad(), self._average.applied():
            scores = job.task.validate(self._wrapped)
            weights = _copy(job.network)
        # The first process decides: rounding may differ between machines.
        scores, stop = self._fabric.broadcast((scores, guard.requested))
        if job.monitor not in scores:
            raise InvalidValueError(
                "monitor", "one of the scores " + ", ".join(scores), repr(job.monitor)
            )
        score = scores[job.monitor]
        self._check_finite("validation", job.monitor, score)
        self._tick()
        record = EpochRecord(
            epoch=state.epoch,
            train_loss=state.loss_sum / state.weight_sum if state.weight_sum else math.nan,
            scores=scores,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            seconds=state.seconds,
            samples=state.samples,
        )
        best = self._scores()[state.best_epoch - 1] if state.best_epoch else None
        state.next_epoch(record)
        if best is None or is_better(score, best, job.mode):
            state.best, state.best_epoch, best = weights, record.epoch, score
        report.epoch(record, state.best_epoch, best)
        if stop:
            self._interrupt()
        self._save()

    def _interrupt(self) -> None:
        """Save, and leave as Ctrl-C asked."""
        self._save()
        state = self._state
        raise FitInterrupted(self._job.directory, state.epoch, state.batch)

    def _save(self) -> None:
        """Write the checkpoint, in the first process; all come here at the same step."""
        self._tick()
        self._state.mean, self._state.mean_steps = self._average.mean, self._average.steps
        if self._job.directory is not None and self._state.batch:
            self._state.carried = self._carried()
        if self._job.directory is not None and self._fabric.is_global_zero:
            checkpoint.save(
                self._job.directory,
                self._state,
                self._job.network,
                self._optimizer,
                self._identity,
                finished=self._reason_to_stop() is not None,
            )
        self._saved = time.monotonic()

    def _carry(self) -> None:
        """Let a stateful task go on from where the checkpoint stood, else from the beginning."""
        if isinstance(self._job.task, StatefulTask):
            carried = self._state.carried
            self._job.task.carry(carried[self._fabric.global_rank] if carried else {})

    def _carried(self) -> list[dict[str, Tensor]]:
        """What the tasks of all processes carry from step to step."""
        if not isinstance(self._job.task, StatefulTask):
            return []
        own = self._job.task.carried()
        parts: list[Any] = [own] * self._fabric.world_size
        if self._fabric.world_size > 1:
            dist.all_gather_object(parts, own)
        return parts

    def _tick(self) -> None:
        """Book the time since the last call on the epoch under way."""
        now = time.perf_counter()
        self._state.seconds += now - self._clock
        self._clock = now

    def _batches(self, epoch: int) -> Sequence[Tensor]:
        """The global batches of an epoch."""
        generator = torch.Generator().manual_seed(_seed(self._settings.seed, "batches", epoch))
        batches = self._job.task.batches(epoch, generator)
        if not len(batches):
            raise InvalidStateError(
                f"Fit, epoch {epoch}", "at least one batch", "none", "Give more data."
            )
        return batches

    def _check_order(self) -> None:
        """Raise if the data are not those of the checkpoint."""
        epoch = self._state.ordered_epoch
        if epoch and checkpoint.order_of(self._batches(epoch)) != self._state.order:
            raise InvalidValueError(
                "Fit with resume=True",
                "the data of the checkpoint",
                f"other batches in epoch {epoch}",
                "Give the same data, or start afresh in another directory.",
            )

    def _scores(self) -> list[float]:
        """The monitored score of every epoch that has ended."""
        return [record.scores[self._job.monitor] for record in self._state.history]

    def _reseed(self, *place: str | int) -> None:
        """Make the draws of torch's default generators a function of the seed and the place."""
        seed = _seed(self._settings.seed, *place)
        # Not torch.manual_seed: it queues a call with a stack trace where CUDA is not in use.
        torch.default_generator.manual_seed(seed)
        if self._fabric.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self._fabric.device.type == "mps":
            torch.mps.manual_seed(seed)


@contextmanager
def kept_random_state(fabric: Fabric) -> Iterator[None]:
    """Leave torch's default generators as they were."""
    device = fabric.device
    devices = [device] if device.type in ("cuda", "mps") else []
    kind = device.type if devices else "cuda"
    with torch.random.fork_rng(devices, device_type=kind):
        yield


def _seed(*place: str | int) -> int:
    """63 bits that are a function of the place alone."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _copy(network: nn.Module) -> dict[str, Any]:
    """The state dict, with tensors that later steps do not change."""
    held = network.state_dict()
    return {k: v.detach().clone() if isinstance(v, Tensor) else v for k, v in held.items()}
