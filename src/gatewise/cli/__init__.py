"""The shell face: ``gatewise fit``, ``predict``, ``evaluate``, ``backtest`` and ``show``.

Options of ``fit`` are made from the fields of the estimators; nothing is written twice. Torch and
pandas are imported by the commands that need them, so that ``--help`` and ``--version`` are quick.
"""

from gatewise.cli.app import main

__all__ = ["main"]
