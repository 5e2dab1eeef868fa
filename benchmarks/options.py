"""The options of benchmarks that fit models to sets of data with several seeds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch


def fit_options(
    description: str | None,
    sets: Sequence[str],
    *,
    data: str,
    search: str = "",
    threads: int = 1,
) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Return the parser and what was given, and let torch use so many threads.

    Args:
        description: The benchmark's docstring; its first line is shown.
        sets: What may be measured.
        data: Help of ``--data``.
        search: Help of ``--search``, which tries settings; empty where there is no such thing.
        threads: How many are used unless ``--threads`` says otherwise.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--sets", nargs="+", default=list(sets), choices=list(sets))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=threads)
    if search:
        parser.add_argument("--search", action="store_true", help=search)
    given = parser.parse_args()
    for flag, count in {"--seeds": given.seeds, "--threads": given.threads}.items():
        if count < 1:
            parser.error(f"{flag}: expected at least 1, got {count}. Give how many to use.")
    torch.set_num_threads(given.threads)
    return parser, given
