"""Peak memory of one training step, measured in a fresh process.

    python benchmarks/memory.py ours 1000 32 256

prints the bytes by which the resident memory rose at most during the step.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

STATUS = Path("/proc/self/status")


def step_peak(library: str, T: int, B: int, H: int) -> int:
    """Return the peak in bytes of a training step of ``ours`` or ``torch``."""
    sizes = [str(size) for size in (T, B, H)]
    done = subprocess.run(
        [sys.executable, __file__, library, *sizes], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def main() -> None:
    from layer_cases import Contest, Shape

    library, *sizes = sys.argv[1:]
    T, B, H = map(int, sizes)
    Contest(Shape(2, B, H)).training(library)()  # loads code and starts threads
    step = Contest(Shape(T, B, H)).training(library)
    print(rise(step))


def rise(call: Callable[[], object]) -> int:
    """Return the bytes by which the resident memory of this process rises at most during a call."""
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    call()
    return _status("VmHWM") - before


def _status(field: str) -> int:
    """Return a field of the process status in bytes."""
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    assert found is not None  # noqa: S101 - Linux has it
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
