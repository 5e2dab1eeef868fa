"""Python code in a process of its own, for what is decided once, at import."""

from __future__ import annotations

import os
import subprocess
import sys


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` with these environment variables on top, and return what it printed."""
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
