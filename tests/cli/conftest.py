"""The command line over a stand-in for the tasks, in this process and in one of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FAKES = Path(__file__).with_name("fakes.py")


@dataclass(frozen=True)
class Ending:
    """How a command ended."""

    status: int
    out: str
    err: str

    def given(self, directory: Path) -> dict[str, Any]:
        """Return what the estimator of a run was given."""
        assert self.status == 0, self.err
        return json.loads((directory / "given.json").read_text())


@pytest.fixture
def gatewise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., Ending]]:
    """Run a command in this process, in an empty directory: ``gatewise("fit", "sleeper")``."""
    import gatewise
    from gatewise.cli import main

    spec = importlib.util.spec_from_file_location("gatewise_cli_fakes", FAKES)
    fakes = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up to resolve annotations.
    monkeypatch.setitem(sys.modules, "gatewise_cli_fakes", fakes)
    spec.loader.exec_module(fakes)
    tasks = fakes.module()
    monkeypatch.setitem(sys.modules, "gatewise.tasks", tasks)
    monkeypatch.setattr(gatewise, "tasks", tasks, raising=False)
    monkeypatch.chdir(tmp_path)
    forget_commands()

    def run(*arguments: str) -> Ending:
        status = main(arguments)
        printed = capsys.readouterr()
        return Ending(status, printed.out, printed.err)

    yield run
    forget_commands()


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Ending]:
    """Run a command in a process of its own, in an empty directory."""

    def run(*arguments: str, **environment: str) -> Ending:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, FAKES, *arguments],
            capture_output=True,
            cwd=tmp_path,
            env=os.environ | environment,
            encoding=environment.get("PYTHONIOENCODING", "utf-8"),
            timeout=60,
        )
        return Ending(done.returncode, done.stdout, done.stderr)

    return run


def forget_commands() -> None:
    """The commands hold the tasks that they were imported with."""
    for name in ("gatewise.cli.fit", "gatewise.cli.generate", "gatewise.cli.saved"):
        sys.modules.pop(name, None)
