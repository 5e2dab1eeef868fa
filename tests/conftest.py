"""Set-up of the whole suite: deterministic hypothesis runs, and Keras on torch."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import hypothesis

# Keras reads both when it is imported; it writes its settings into its home.
os.environ["KERAS_BACKEND"] = "torch"
os.environ["KERAS_HOME"] = str(Path(tempfile.gettempdir()) / "gatewise-tests-keras")

hypothesis.settings.register_profile(
    "test", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("test")

# A shell lets the jobs that it starts in the background ignore Ctrl-C; the tests of it press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
