"""What stands between a command and the user: every end of a program as one clean message.

====================================  ======  =====================================
end                                   status  message on stderr
====================================  ======  =====================================
bad input, a file or setting at fault 2       what was expected, what to do
Ctrl-C                                130     the command line that goes on
the reader of our output has gone     141     none
anything else                         1       its first line, and how to see the rest
====================================  ======  =====================================
"""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.errors import GatewiseError

if TYPE_CHECKING:
    from cyclopts import CycloptsError
    from rich.text import Text

DEBUG = "GATEWISE_DEBUG"
"""The environment variable that asks for tracebacks."""

_FLAGS_OF_A_START = ("--overwrite", "--resume")


def run(command: Callable[[], Any], tokens: Sequence[str]) -> int:
    """Run a command to its end and return the exit status.

    Args:
        command: What to run.
        tokens: The user's arguments, for the command line that resumes.
    """
    _never_fail_to_print()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command()
        sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:
        # What is still buffered must go somewhere, or the interpreter complains as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interruption:
        say("Interrupted.", _how_to_resume(interruption, tokens))
        return 130
    except GatewiseError as fault:
        return _end_with(fault, "Error", str(fault), status=2)
    except Exception as fault:  # noqa: BLE001 - the last stop before a traceback
        kind = type(fault).__name__
        message = f"{kind}: {fault}\nSet {DEBUG}=1 to see where this happened."
        return _end_with(fault, "Unexpected error", message, status=1)
    return 0


def say(title: str, message: str = "", *, style: str = "bold red") -> None:
    """Print a message for the user on stderr; its text is never read as markup."""
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble((title, style), " " if message else "", message)
    Console(stderr=True).print(text, soft_wrap=True)


def usage_message(error: CycloptsError) -> Text:
    """Return cyclopts' message about wrong arguments in the form of all our errors."""
    from cyclopts import UnusedCliTokensError
    from rich.text import Text

    if isinstance(error, UnusedCliTokensError):
        left = " ".join(error.unused_tokens or ())
        message = Text(f"Unexpected argument: {left}.")
    else:
        message = Text(str(error).strip())
    chain = " ".join(("gatewise", *(error.command_chain or ())))
    return Text.assemble(("Error:", "bold red"), " ", message, f"\nSee {chain} --help.")


def resuming_command(tokens: Sequence[str], directory: Path) -> str:
    """Return the command line that goes on with an interrupted fit.

    Args:
        tokens: The arguments of the interrupted command.
        directory: Its run directory, given by the user or chosen.
    """
    kept = [token for token in tokens if token not in _FLAGS_OF_A_START]
    if not any(token == "--out" or token.startswith("--out=") for token in kept):  # noqa: S105
        kept += ["--out", str(directory)]
    return shlex.join(["gatewise", *kept, "--resume"])


def _end_with(fault: Exception, title: str, message: str, *, status: int) -> int:
    if os.environ.get(DEBUG, "") not in ("", "0"):
        raise fault
    say(f"{title}:", message)
    return status


def _how_to_resume(interruption: KeyboardInterrupt, tokens: Sequence[str]) -> str:
    # A fit that could save its state tells where; any other command has nothing to go on with.
    directory = getattr(interruption, "directory", None)
    if directory is None:
        return ""
    return f"To go on:\n  {resuming_command(tokens, Path(directory))}"


def _never_fail_to_print() -> None:
    """A terminal that lacks a character shows a question mark instead of ending the program."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    say("Note:", str(message), style="bold yellow")
