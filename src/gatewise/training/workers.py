"""Starts the other processes of a fit on one machine, and sees that none outlives it.

Workers are neither forked (torch hangs in a fork once its threads have run) nor re-runs of the
user's script: each is a fresh Python that runs ``worker_main`` and is handed the job over a pipe.
So a fit on several devices works alike in a script, a notebook, pytest and the shell. The pipe
stays open as a lifeline: when this process goes, however it goes, the workers go too.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.distributed_c10d import Store

from gatewise.errors import InvalidStateError, InvalidTypeError
from gatewise.training.loop import FitJob
from gatewise.training.processes import LostContactError, Place
from gatewise.training.settings import FitSettings

_START_SECONDS = 300.0  # to import torch and lightning takes seconds, from a slow disk longer
_EXIT_SECONDS = 10.0


@contextmanager
def working(job: FitJob, settings: FitSettings, world: int) -> Iterator[Store]:
    """Start the workers of ``job``; they end with the context.

    Args:
        job: What to fit.
        settings: Resolved: nothing in them is ``auto``.
        world: Processes in all, this one included.

    Yields:
        The store in which all of them meet.

    Raises:
        InvalidTypeError: The job cannot be handed to another process.
        InvalidStateError: A worker failed; all that it said is a note of the error.
    """
    parcel = _pack(job)
    # Port 0: a free one, and no other program can take it between choice and use.
    store = TCPStore("127.0.0.1", 0, world, is_master=True, wait_for_workers=False)
    workers = [_Worker(Place(rank, world, rank)) for rank in range(1, world)]
    try:
        for worker in workers:
            worker.hand_over(pickle.dumps((worker.place, store.port, settings)) + parcel)
        for worker in workers:
            worker.await_ready(store)
        yield store
    except LostContactError as error:
        for worker in workers:
            if worker.status(_EXIT_SECONDS / world):
                raise worker.failure() from error
        raise
    finally:
        for worker in workers:
            worker.cut()
        for worker in workers:
            worker.end()


def meet(place: Place, port: int) -> Store:
    """Return a worker's end of the store, having told the first process that it is there."""
    store = TCPStore("127.0.0.1", port, place.world, is_master=False)
    store.set(_ready(place), "yes")
    return store


class _Worker:
    """One worker process, from the side of the first."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        # -P and PYTHONPATH: it imports from where this process imports, and nowhere else.
        variables = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": str(torch.get_num_threads()),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "gatewise.training.worker_main"],
            stdin=subprocess.PIPE,
            stdout=self._said,
            stderr=self._said,
            env=os.environ | variables,
            start_new_session=True,  # Ctrl-C in the terminal is for the first process to handle
        )
        self._pipe: IO[bytes] | None = self._process.stdin

    def hand_over(self, parcel: bytes) -> None:
        """Send the job, and leave the pipe open."""
        if self._pipe is None:
            return
        try:
            self._pipe.write(parcel)
            self._pipe.flush()
        except BrokenPipeError:
            self.status(_EXIT_SECONDS)
            raise self.failure() from None

    def await_ready(self, store: Store) -> None:
        """Wait until it stands in the store."""
        deadline = time.monotonic() + _START_SECONDS
        while not store.check([_ready(self.place)]):
            if self.status(0.02) is not None or time.monotonic() > deadline:
                raise self.failure()

    def status(self, seconds: float) -> int | None:
        """Its exit status, waiting for it some seconds at most."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def failure(self) -> InvalidStateError:
        """The error for one that has ended too early."""
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()
        last = reason_of(said) or f"exit status {self._process.returncode}"
        where = f"Fit, process {self.place.rank} of {self.place.world}"
        error = InvalidStateError(where, "to train to the end", f"'{last}'")
        error.add_note(said)
        return error

    def cut(self) -> None:
        """Cut the lifeline: it ends, if it has not."""
        if self._pipe is not None:
            self._pipe.close()

    def end(self) -> None:
        """See that it is gone."""
        if self.status(_EXIT_SECONDS) is None:
            self._process.kill()
            self._process.wait()
        self._said.close()


def reason_of(said: str) -> str:
    """Return the line that says why a process ended: of its last traceback, else its last line.

    Threads of C++ that an exception leaves behind may have had a word after it.
    """
    _, traceback, rest = said.rpartition("Traceback (most recent call last):")
    told = [line for line in rest.splitlines() if line and not line.startswith(" ")]
    return "" if not told else told[0 if traceback else -1]


def _pack(job: FitJob) -> bytes:
    """The job as bytes. A pickle, but one that lives in a pipe between two of our processes."""
    try:
        return pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidTypeError(
            "Fit on several devices",
            "a network and a task that can be pickled, to hand them to the other processes",
            f"'{error}'",
            "Define their classes in a module, or start the script with torchrun.",
        ) from error


def _ready(place: Place) -> str:
    """The key under which a worker tells that it is there."""
    return f"ready/{place.rank}"
