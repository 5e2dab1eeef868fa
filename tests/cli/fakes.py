"""A stand-in for `gatewise.tasks`: an estimator that learns nothing and tells what it was given.

The shell face is tested against it, so that its tests need neither torch nor a training. Run as a
program, this file is the command line over the stand-in: ``python fakes.py fit sleeper …``.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import types
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from gatewise.errors import (
    InvalidFileError,
    InvalidSettingsError,
    InvalidStateError,
    InvalidTypeError,
    InvalidValueError,
)


def setting(default: Any, text: str, unit: str = "", group: str = "model") -> Any:
    metadata = {"help": text, "unit": unit, "group": group}
    return dataclasses.field(default=default, metadata=metadata)


EXAMPLE_SETTINGS = {"horizon": 52, "target": "co2"}


@dataclasses.dataclass
class Example:
    name: str
    X: Any
    y: Any = None
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


class FakeInterruption(KeyboardInterrupt):
    def __init__(self, directory: Path) -> None:
        self.directory = directory


@dataclasses.dataclass
class Sleeper:
    """Forecast nothing.

    This line is not for the summary.
    """

    horizon: int = setting(24, "Steps to forecast", "steps", "data")
    target: str = setting("y", "Column to forecast", group="data")
    covariates: tuple[str, ...] = setting((), "Columns known ahead", group="data")
    levels: tuple[float, ...] = setting((0.1, 0.9), "Quantile levels")
    clip: float | None = setting(1.0, "Largest norm of the gradient")
    widths: tuple[int, ...] | None = setting(None, "Sizes of the layers", "units")
    devices: int | str = setting(1, "Processes", group="training")
    head: Literal["point", "quantile"] = setting("point", "What is forecast")
    calendar: bool = setting(True, "Use features of the [date] and *time*", group="data")
    fate: str = setting("well", "How the fit ends", group="training")

    headline = ("mae", "min")

    @classmethod
    def example(cls):
        return Example("an embedded series of 3 rows", [1, 2, 3], settings=EXAMPLE_SETTINGS)

    def fit(self, X, y=None, *, validation, run_dir, resume, progress):
        given = dataclasses.asdict(self) | {
            "X": X if isinstance(X, list) else str(X),
            "validation": validation and str(validation),
            "run_dir": str(run_dir),
            "resume": resume,
            "progress": progress,
        }
        self._end()
        if self.fate == "interrupted" and not resume:
            raise FakeInterruption(run_dir)
        run_dir.mkdir(parents=True, exist_ok=True)
        (run_dir / "given.json").write_text(json.dumps(given))
        self.scores_ = {
            "model": {"mae": 0.41234, "mase": 0.5, "crps": 0.3},
            "seasonal_naive": {"mae": 1.68, "mase": 1.0},
        }
        return self

    def _end(self):
        match self.fate:
            case "value":
                raise InvalidValueError("Series 'a', row 3", "a number", "'x [bold]'", "Mend it.")
            case "settings":
                faults = [
                    InvalidValueError("horizon", "a number > 0", "-1"),
                    InvalidTypeError("clip", "a number", "'x'"),
                ]
                raise InvalidSettingsError("Sleeper", faults)
            case "bug":
                raise ZeroDivisionError("a fault of ours")
            case "warning":
                import warnings

                warnings.warn("3 gaps were filled", UserWarning, stacklevel=2)
            case "sleep":
                sys.stderr.write("asleep\n")
                sys.stderr.flush()
                time.sleep(60)


class FakeModel:
    """A saved model; its directory decides how it behaves."""

    task = "sleeper"

    def predict_table(self, X, future=None):
        if Path(X).stem == "missing":
            raise InvalidFileError(f"'{X}'", "a table", "no such file", "Check the path.")
        day = pd.Timestamp("2024-01-01")
        rows = {"unique_id": ["ä", "b"], "ds": [day, day], "forecast": [1.5, 2.0]}
        return pd.DataFrame(rows | {"future": [str(future)] * 2})

    def evaluate(self, X):
        return {
            "model": {"mse": 1234.5678, "mae": 0.25, "crps": 0.125},
            "naive": {"mse": 5.0, "mae": float("nan")},
        }

    def backtest(self, X, windows):
        if windows < 1:
            raise InvalidValueError("backtest: windows", "at least 1", str(windows))
        return pd.DataFrame({"window": range(windows), "mae": [0.5] * windows})

    def generate(self, prompt, **options):
        yield from (" and", " so", f" on {options['temperature']} {options['stop']}")

    def describe(self):
        return {
            "task": "sleeper",
            "parameters": 1234567,
            "layers": [
                {"name": "lstm", "shape": (64, 128), "parameters": 99000},
                {"name": "head", "shape": (24,), "parameters": None},
            ],
            "step": {"flops": 2.5e6, "memory": "1.2 MB"},
        }


class BareModel:
    """Of a task that can do little."""

    task = "bare"

    def predict_table(self, X):
        raise AssertionError(X)


def load(directory):
    if directory.name == "bare":
        return BareModel()
    if directory.name != "model":
        raise InvalidStateError(f"'{directory}'", "a saved model", "nothing", "Check the path.")
    return FakeModel()


def module() -> types.ModuleType:
    fake = types.ModuleType("gatewise.tasks")
    vars(fake).update(ESTIMATORS={"sleeper": Sleeper}, load=load, Example=Example)
    return fake


if __name__ == "__main__":
    sys.modules["gatewise.tasks"] = module()
    from gatewise.cli import main

    raise SystemExit(main())
