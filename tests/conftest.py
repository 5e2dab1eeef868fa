"""Set-up of the whole suite: deterministic hypothesis runs, no colour in captured output."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile(
    "test", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("test")
