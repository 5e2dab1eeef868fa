"""The program of a worker process of a fit: ``workers`` starts it and talks to it over a pipe."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from typing import Any

from gatewise.errors import InvalidTypeError
from gatewise.training.loop import FitLoop, kept_random_state
from gatewise.training.outcome import FitInterrupted
from gatewise.training.processes import joined, make_fabric
from gatewise.training.workers import meet


def main() -> None:
    """Take part in the fit that the first process describes on standard input."""
    pipe = sys.stdin.buffer
    place, port, settings = _Unpickler(pipe).load()
    job = _Unpickler(pipe).load()
    # The first process keeps the pipe open as long as the fit lasts, and sends no more.
    threading.Thread(target=_die_with_the_first, daemon=True).start()
    with joined(settings, place, meet(place, port)):
        fabric = make_fabric(settings, place)
        with kept_random_state(fabric):
            try:
                FitLoop(fabric, job, None).run()
            except FitInterrupted:
                return  # the first process tells the user


def _die_with_the_first() -> None:
    """Wait for the end of the pipe; what is still running then has no one to work for."""
    os.read(sys.stdin.fileno(), 1)  # not through the buffer, whose lock would hinder the exit
    os._exit(1)


class _Unpickler(pickle.Unpickler):
    """Reads what the first process sent; the user's script is not run a second time for it."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if module_name == "__main__":
            raise InvalidTypeError(
                "Fit on several devices",
                "a network and a task whose classes live in a module",
                f"'{global_name}' of the script itself",
                "Move it to a module, or start the script with torchrun.",
            )
        return super().find_class(module_name, global_name)


if __name__ == "__main__":
    main()
