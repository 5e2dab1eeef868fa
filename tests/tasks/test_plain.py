"""Runs the checks in `plain/` in a process without the shape checks of the rest of the suite.

Those wrap every function: torch's tracer cannot look through them, and they would refuse wrong
types before our own errors can.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = sorted((Path(__file__).parent / "plain").glob("check_*.py"))


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.stem)
def test_plain(path):
    command = [sys.executable, "-m", "pytest", str(path), "-q", "-p", "no:cacheprovider"]
    command += ["-o", "addopts=--import-mode=importlib", "--tb=short", "--show-capture=no"]
    environment = os.environ | {"PYTEST_ADDOPTS": ""}
    done = subprocess.run(  # noqa: S603 - our own checks
        command, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
