"""``gatewise fit TASK [FILE]``: one command for each estimator, with its fields as options."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Group, Parameter
from rich.text import Text

from gatewise import tasks
from gatewise.cli import output
from gatewise.cli.options import field_parameters
from gatewise.cli.rundir import run_directory, set_checkpoint_aside
from gatewise.tasks import Example

_RUN = Group("Run", sort_key=1)
_FLAG: Final[dict[str, Any]] = {"negative": "", "group": _RUN, "show_default": False}


def fit_app(estimators: Mapping[str, type]) -> App:
    """Return the command ``fit`` with one command under it for each estimator.

    Args:
        estimators: Estimator classes by the name of their task.
    """
    app = App(name="fit", help="Train a model and write a report.", help_epilogue="")
    for task, estimator in estimators.items():
        summary = (inspect.getdoc(estimator) or "").partition("\n")[0]
        app.command(fit_command(task, estimator), name=task, help=summary)
    return app


def fit_command(task: str, estimator: type) -> Callable[..., None]:
    """Return the function behind ``gatewise fit TASK``, with a signature for cyclopts to read."""

    def command(
        file: Annotated[
            Path | None,
            Parameter(help="The data; without it, an example that ships with gatewise"),
        ] = None,
        /,
        *,
        out: Annotated[
            Path | None,
            Parameter(help="Run directory; runs/TASK-TIME without it", group=_RUN),
        ] = None,
        validation: Annotated[
            Path | None,
            Parameter(help="Data to validate on; a part of FILE without it", group=_RUN),
        ] = None,
        resume: Annotated[
            bool, Parameter(help="Go on with the interrupted fit in --out", **_FLAG)
        ] = False,
        overwrite: Annotated[bool, Parameter(help="Replace the model in --out", **_FLAG)] = False,
        progress: Annotated[bool, Parameter(help="Show a progress bar", group=_RUN)] = True,
        **settings: Any,
    ) -> None:
        # Under torchrun each process runs this program; one of them speaks and writes for all.
        leading = os.environ.get("RANK", "0") == "0"
        directory = run_directory(task, out, resume=resume, overwrite=overwrite or not leading)
        if overwrite and leading:
            set_checkpoint_aside(directory)
        data = Example("", file) if file is not None else _example(estimator)
        model = estimator(**{**data.settings, **settings}).fit(
            data.X,
            data.y,
            validation=validation,
            run_dir=directory,
            resume=resume,
            progress=progress,
        )
        if leading:
            _conclude(model, directory, file)

    own = list(inspect.signature(command, eval_str=True).parameters.values())[:-1]
    fields = field_parameters(estimator)
    command.__signature__ = inspect.Signature([*own, *fields])  # pyright: ignore[reportFunctionMemberAccess]
    return command


def _example(estimator: type) -> Example:
    """The embedded data, which the user is told of."""
    example: Example = estimator.example()  # pyright: ignore[reportAttributeAccessIssue]
    output.console().print(f"No file given: training on {example.name}.")
    return example


def _conclude(model: Any, directory: Path, file: Path | None) -> None:
    console = output.console()
    console.print()
    console.print(output.score_table(model.scores_))
    console.print()
    if sentence := output.verdict(model.scores_, *model.headline):
        console.print(Text(sentence), end="\n\n")
    lines = {"Model": str(directory), "Report": str(directory / "report.html")}
    if file is not None:
        lines["Next"] = shlex.join(["gatewise", "predict", str(directory), str(file)])
    for label, value in lines.items():
        console.print(Text(f"{label:7} {value}"), soft_wrap=True)


app = fit_app(tasks.ESTIMATORS)
