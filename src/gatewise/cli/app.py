"""The program and its commands; what they do is imported when one of them is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gatewise._version import __version__
from gatewise.cli import guard

if TYPE_CHECKING:
    from cyclopts import App

_HELP = "Recurrent networks, gate by gate: fit, predict, evaluate, look inside."

_EPILOGUE = """\
Start with: gatewise fit forecaster
It trains on a series that ships with gatewise, and draws a report."""

_COMMANDS = (
    ("fit", "gatewise.cli.fit:app", "Train a model and write a report."),
    (
        "predict",
        "gatewise.cli.saved:predict",
        "Predict with a saved model: steps, labels, tags.",
    ),
    (
        "evaluate",
        "gatewise.cli.saved:evaluate",
        "Score a model on data with answers, beside baselines.",
    ),
    ("backtest", "gatewise.cli.saved:backtest", "Forecast from several origins in the past."),
    ("generate", "gatewise.cli.generate:generate", "Go on with a text, as a language model would."),
    ("show", "gatewise.cli.saved:show", "Show what a saved model is made of."),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: The arguments after the program's name; those of the process by default.

    Returns:
        The exit status: 0 for success, 2 for bad input, 130 after Ctrl-C, 1 for a fault of ours.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    return guard.run(lambda: program()(tokens, result_action="return_none"), tokens)


def program() -> App:
    """Return the cyclopts application."""
    from cyclopts import App

    app = App(
        name="gatewise",
        help=_HELP,
        help_epilogue=_EPILOGUE,
        help_format="plaintext",
        version=__version__,
        error_formatter=guard.usage_message,
        suppress_keyboard_interrupt=False,
    )
    for place, (name, target, help_line) in enumerate(_COMMANDS):
        app.command(target, name=name, help=help_line, sort_key=place)
    return app
