"""What a page of results says about where it was measured."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from gatewise import __version__
from gatewise.ops import kernels

RESULTS = Path(__file__).parent / "results"
FAMILY = ("cpu family", "model", "stepping")


def machine(threads: int, peers: Mapping[str, str] | None = None) -> str:
    """Return date, versions, processor and threads in one line, without a full stop.

    Args:
        threads: How many each library may use.
        peers: Versions of other libraries than torch, by name.
    """
    libraries = {"torch": torch.__version__, **(peers or {}), "Python": platform.python_version()}
    versions = ", ".join(f"{name} {version}" for name, version in libraries.items())
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, gatewise {__version__} ({kernels.isa_name()}), "
        f"{versions}, {processor()}, {threads} of {os.cpu_count()} cores"
    )


def processor() -> str:
    """Return the name of the processor, and the numbers that tell it from its relatives."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().partition("\n\n")[0].splitlines() if about.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    name = facts.get("model name") or platform.processor() or platform.machine()
    numbers = [f"{key.removeprefix('cpu ')} {facts[key]}" for key in FAMILY if key in facts]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def page(stem: str, threads: int) -> Path:
    """Return the file of a table of results measured on ``threads`` threads."""
    return RESULTS / f"{stem}_{threads}_thread{'s' if threads > 1 else ''}.md"
