"""The processes of a fit: this one alone, this one with workers, or one of those of torchrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from torch.distributed.distributed_c10d import Store

from gatewise.errors import GatewiseError, InvalidStateError, InvalidValueError
from gatewise.training.loop import FitJob
from gatewise.training.settings import FitSettings


@dataclass(frozen=True)
class Place:
    """Which of the processes of a fit this one is.

    Args:
        rank: Among all.
        world: Processes in all.
        local_rank: Among those of its machine.
        node: Its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    node: int = 0


class LostContactError(InvalidStateError):
    """Another process of the fit has gone."""


def this_place() -> Place:
    """Return the place that torchrun gave this process, or that of the only one."""
    if not dist.is_torchelastic_launched():
        return Place()
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")
    return Place(*(int(os.environ[name]) for name in names))


@contextmanager
def launched(job: FitJob) -> Iterator[Fabric]:
    """Give a launched Fabric to the caller, and make the other processes take part until it ends.

    Raises:
        InvalidValueError: ``devices`` and ``nodes`` do not fit the machine or torchrun.
        InvalidTypeError: The job cannot be handed to workers.
        InvalidStateError: Another process failed.
    """
    place = this_place()
    settings = _resolved(job.settings, place)
    world = int(settings.devices) * settings.nodes
    with ExitStack() as stack:
        if place.world > 1:
            stack.enter_context(joined(settings, place))
        elif world > 1:
            from gatewise.training.workers import working  # it needs Place: a circle otherwise

            place = Place(world=world)
            stack.enter_context(threads(max(1, torch.get_num_threads() // world)))
            store = stack.enter_context(working(job, settings, world))
            stack.enter_context(joined(settings, place, store))
        yield make_fabric(settings, place)


@contextmanager
def joined(settings: FitSettings, place: Place, store: Store | None = None) -> Iterator[None]:
    """Join the process group, and leave it at the end.

    Made here and not by Fabric, which takes one that exists: so no port is guessed, no environment
    variable set and no banner logged.

    Args:
        settings: Resolved: nothing in them is ``auto``.
        place: Of this process.
        store: Through which the processes meet; that of torchrun if not given.
    """
    if store is None and dist.is_initialized():
        yield  # the user's own, made for torchrun
        return
    hook = sys.excepthook  # torch puts its own there for good
    backend = "nccl" if settings.accelerator == "cuda" else "gloo"
    if store is None:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=store, rank=place.rank, world_size=place.world)
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, GatewiseError) or not _is_lost_contact(error):
            raise
        raise LostContactError(
            f"Fit, process {place.rank} of {place.world}",
            "the other processes to keep in step",
            "a broken connection",
            "Look at the output of the process that failed first.",
        ) from error
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


def make_fabric(settings: FitSettings, place: Place) -> Fabric:
    """Return a launched Fabric for this process.

    Args:
        settings: Resolved: nothing in them is ``auto``.
        place: Of this process.
    """
    fabric = Fabric(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=DDPStrategy() if place.world > 1 else "auto",
        precision=settings.precision,
        plugins=[_Placed(place)],
    )
    with threads(torch.get_num_threads()):  # Fabric would choose a number of its own
        fabric.launch()
    return fabric


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute on ``number`` threads, and put back what was set before."""
    former, variable = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(number)
    os.environ["OMP_NUM_THREADS"] = str(number)
    try:
        yield
    finally:
        torch.set_num_threads(former)
        if variable is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = variable


class _Placed(ClusterEnvironment):
    """Tells Fabric its place, whatever the environment variables of a cluster say."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    @property
    def creates_processes_externally(self) -> bool:
        return True

    # Asked for only where Fabric makes the process group.
    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return 0

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._place.world

    def set_world_size(self, size: int) -> None:
        pass

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        pass

    def local_rank(self) -> int:
        return self._place.local_rank

    def node_rank(self) -> int:
        return self._place.node


def _resolved(settings: FitSettings, place: Place) -> FitSettings:
    """The settings with every ``auto`` decided, and checked against the machine and torchrun."""
    accelerator, devices = settings.accelerator, settings.devices
    present = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if accelerator == "auto":
        accelerator = next((kind for kind in present if present[kind]), "cpu")
    if devices == "auto":
        devices = max(1, present.get(accelerator, 1))
    if accelerator != "cpu" and devices > present[accelerator]:
        raise InvalidValueError(
            "devices",
            f"at most the {present[accelerator]} of '{accelerator}' on this machine",
            str(devices),
            "Ask for fewer, or set accelerator to 'cpu'.",
        )
    by_torchrun = dist.is_torchelastic_launched()
    if by_torchrun and devices * settings.nodes != place.world:
        raise InvalidValueError(
            "devices times nodes",
            f"{place.world}, the processes that torchrun has started",
            f"{devices} times {settings.nodes}",
            "Set devices to torchrun's --nproc-per-node and nodes to its --nnodes.",
        )
    if settings.nodes > 1 and not by_torchrun:
        raise InvalidValueError(
            "nodes",
            "1 where torchrun has not started this process",
            str(settings.nodes),
            f"Start it on each machine with: torchrun --nnodes {settings.nodes} "
            f"--nproc-per-node {devices} --rdzv-backend c10d --rdzv-endpoint HOST:PORT SCRIPT",
        )
    return replace(settings, accelerator=accelerator, devices=devices)


def _is_lost_contact(error: BaseException) -> bool:
    """Whether an error comes from a peer that has gone; gloo has no type of its own for it."""
    return isinstance(error, dist.DistError) or "gloo" in str(error)
