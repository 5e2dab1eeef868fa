"""Commands on a saved model: predict, evaluate, backtest, show."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from gatewise import tasks
from gatewise.cli import output
from gatewise.errors import InvalidValueError

Run = Annotated[Path, Parameter(help="Directory of a saved model, as fit wrote it")]
Data = Annotated[Path, Parameter(help="The data, as fit takes it")]
Out = Annotated[
    Path | None, Parameter(help="Where to write: .csv, .tsv or .parquet; stdout as CSV without it")
]


def predict(
    run: Run,
    file: Data,
    /,
    *,
    future: Annotated[
        Path | None, Parameter(help="Table of the covariates that are known for the coming steps")
    ] = None,
    out: Out = None,
) -> None:
    """Predict with a saved model: steps, labels, tags."""
    output.check_frame_path(out)
    model = tasks.load(run)
    options = {} if future is None else {"future": future}
    require(model, "predict_table", *options)
    output.write_frame(model.predict_table(file, **options), out)


def evaluate(
    run: Run,
    file: Data,
    /,
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative="", help="Print JSON, for programs")
    ] = False,
) -> None:
    """Score a model on data with answers, beside baselines."""
    scores = tasks.load(run).evaluate(file)
    console = output.console()
    if as_json:
        console.print(Text(json.dumps(_json_scores(scores), indent=2)), soft_wrap=True)
    else:
        console.print(output.score_table(scores))


def backtest(
    run: Run,
    file: Data,
    /,
    *,
    windows: Annotated[int, Parameter(help="How many origins, each one horizon after the other")],
    out: Out = None,
) -> None:
    """Forecast from several origins in the past and put each forecast beside what happened."""
    output.check_frame_path(out)
    model = tasks.load(run)
    require(model, "backtest")
    output.write_frame(model.backtest(file, windows=windows), out)


def show(run: Run, /) -> None:
    """Show layers, parameters, shapes, memory and the work of one step."""
    console = output.console()
    for part in output.description(tasks.load(run).describe()):
        console.print(part)


def require(model: Any, method: str, *options: str) -> None:
    """Refuse what the task of a saved model has not.

    Args:
        model: An estimator.
        method: What it must have.
        options: What the method must take.

    Raises:
        InvalidValueError: It has not.
    """
    command = method.removesuffix("_table")
    if not hasattr(model, method):
        raise InvalidValueError(command, "a model of a task that has it", f"a {model.task}")
    known = inspect.signature(getattr(model, method)).parameters
    if unknown := [f"--{name}" for name in options if name not in known]:
        got = f"{unknown[0]} for a {model.task}"
        raise InvalidValueError(command, "options that the task has", got, "Leave it out.")


def _json_scores(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    # JSON has no NaN: a score that does not exist is null.
    return {
        name: {
            metric: value if value is not None and math.isfinite(value) else None
            for metric, value in row.items()
        }
        for name, row in scores.items()
    }
