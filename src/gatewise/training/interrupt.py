"""Ctrl-C as a wish that the loop reads between two steps, not as an exception inside one."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

# torchrun hands on a Ctrl-C that its processes got from the terminal too: that is one, not two.
_ONE_PRESS_SECONDS = 0.5


class InterruptGuard:
    """While it is open, the first Ctrl-C sets ``requested`` and the next stops at once.

    Only the main thread may handle signals, and a process that ignores Ctrl-C (``nohup``) goes
    on ignoring it: in both cases the guard changes nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._pressed = 0.0
        self._former = None

    def __enter__(self) -> InterruptGuard:
        former = signal.getsignal(signal.SIGINT)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and former not in (None, signal.SIG_IGN):
            self._former = former
            signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        """Note the first press; leave at once on the second."""
        now = time.monotonic()
        if self.requested and now - self._pressed > _ONE_PRESS_SECONDS:
            raise KeyboardInterrupt
        if not self.requested:
            self.requested, self._pressed = True, now
