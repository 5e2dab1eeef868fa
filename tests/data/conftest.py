"""Fixtures of the data tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tables import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function that writes text or bytes to a file and returns its path."""

    def to_file(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file
