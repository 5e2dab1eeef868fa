"""A library in a process of its own, commanded over a pipe: both ends of it.

Its threads go on spinning after a call, as torch's do, and would slow each other down in one
process; so it gets its own, and at least 50 ms of silence before each turn, which begins with a
call that is not timed. Its interpreter may be that of another environment: this file needs Python
and NumPy alone.

A peer is a script that ends in ``serve(start)``. ``start(threads)`` imports the library and returns
``prepare``; ``prepare(task)`` returns the call to be timed, and what the client is told once.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from clock import seconds_awake

IDLE = 0.05
Prepare = Callable[[Any], tuple[Callable[[], object], Any]]

VERSIONS = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"


class Layer(NamedTuple):
    """Weights of one layer in torch's layout."""

    weight_ih: np.ndarray
    weight_hh: np.ndarray
    bias_ih: np.ndarray
    bias_hh: np.ndarray


class LayerTask(NamedTuple):
    """Layers above each other to be run on x, T×B×I; forward only without grad_y, T×B×H."""

    kind: str
    layers: list[Layer]
    x: np.ndarray
    grad_y: np.ndarray | None = None
    precision: str = "f32"


class LayerAnswer(NamedTuple):
    """What a peer computes for a task, by the names of `Contest.gradients`, and how it does it."""

    arrays: dict[str, np.ndarray]
    choice: str = ""


class Peer:
    """The client's end of the pipe."""

    def __init__(self, name: str, connection: Connection, process: subprocess.Popen) -> None:
        self.name = name
        self.connection = connection
        self.process = process

    def load(self, task: Any, *, limit: float | None = None) -> Any:
        """Prepare a task and return the answer.

        Args:
            task: What the peer's ``prepare`` takes; not None.
            limit: Seconds to wait.

        Raises:
            TimeoutError: No answer in time. The process is ended.
            RuntimeError: The process has failed; what it said stands on stderr.
        """
        return self._ask(task, limit)

    def seconds(self) -> float:
        """Return how long one run of the task takes, after a silence."""
        time.sleep(IDLE)
        return self._ask(None, None)

    def beside(self, rounds: int, *calls: Callable[[], object]) -> list[float]:
        """Return the median seconds of calls in this process and of the task, in turn."""
        turns: list[list[float]] = [[] for _ in (*calls, self)]
        for _ in range(rounds):
            for took, call in zip(turns, calls, strict=False):
                time.sleep(IDLE)
                took.append(seconds_awake(call))
            turns[-1].append(self.seconds())
        return [median(took) for took in turns]

    def _ask(self, command: Any, limit: float | None) -> Any:
        try:
            self.connection.send(command)
            if self.connection.poll(limit):
                return self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise RuntimeError(f"{self.name}: its process has failed, see above.") from error
        self.process.kill()
        raise TimeoutError(f"{self.name}: no answer in {limit} s.")


@contextmanager
def start_peer(name: str, threads: int, python: str = sys.executable) -> Iterator[Peer]:
    """Run ``name``_peer.py on ``threads`` threads in a fresh process of an interpreter."""
    ours, theirs = Pipe()
    script = Path(__file__).with_name(f"{name}_peer.py")
    handle = theirs.fileno()
    command = [python, str(script), str(handle), str(threads)]
    with subprocess.Popen(command, pass_fds=[handle]) as process:
        theirs.close()
        try:
            yield Peer(name, ours, process)
        finally:
            ours.close()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()


def serve(start: Callable[[int], Prepare]) -> None:
    """Answer the client until it hangs up: the end of a peer's script."""
    handle, threads = map(int, sys.argv[1:])
    connection, prepare, call = Connection(handle), start(threads), None
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        if task is not None:
            call, answer = prepare(task)
            connection.send(answer)
        elif call is not None:
            connection.send(seconds_awake(call))


def versions(packages: Sequence[str], python: str = sys.executable) -> dict[str, str] | None:
    """Return the versions of packages in an interpreter's environment; None if one is missing."""
    done = subprocess.run(
        [python, "-c", VERSIONS, *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return None
    return dict(zip(packages, done.stdout.split(), strict=True))
