"""Forecasting: one LSTM for many series, all steps ahead at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gatewise.data import Panel, PanelSchema, build_panel, load_example, read_frame
from gatewise.errors import InvalidTypeError
from gatewise.tasks.course import Fitted
from gatewise.tasks.estimator import AbstractEstimator, Example
from gatewise.tasks.forecast import storage
from gatewise.tasks.forecast.backtest import backtest, last_origins
from gatewise.tasks.forecast.describe import describe
from gatewise.tasks.forecast.evaluation import evaluate
from gatewise.tasks.forecast.fields import ForecastFields
from gatewise.tasks.forecast.frames import forecast_frame
from gatewise.tasks.forecast.model import ForecastModel
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.training import HeldOut, fit_forecast
from gatewise.training import Mode


@dataclass(kw_only=True, eq=False, repr=False)
class Forecaster(ForecastFields, AbstractEstimator):
    """Forecast time series with an LSTM.

    One model for all series of a table: long (one row per series and time) or wide (one column per
    series). Missing values and gaps are accepted. ``fit`` learns, ``predict`` forecasts after the
    last row of each series, ``evaluate`` and ``backtest`` score beside naive forecasts.

    Point forecasts have intervals too: from the residuals of each step ahead on the validation
    windows, as in split conformal prediction. They hold as far as the future resembles that part.

    Args:
        horizon, …: The fields of ``ForecastFields``, by name; ``fit`` checks them all at once.

    Attributes:
        network_: The trained ``ForecastNetwork``.
        schema_: What the columns of the table mean.
        history_: One ``EpochRecord`` an epoch.
        scores_: Scores on the validation part, of the model and of the baselines.
        split_: On what ``scores_`` were measured: ``validation`` or ``training``.

    Example:
        >>> import pandas as pd
        >>> from gatewise.tasks import Forecaster
        >>> frame = pd.DataFrame({"ds": range(60), "y": [t % 6 for t in range(60)]})
        >>> model = Forecaster(horizon=6, max_epochs=1).fit(frame, progress=False)
        >>> model.predict(frame).shape
        (6, 7)
    """

    task: ClassVar[str] = "forecaster"

    @property
    def headline(self) -> tuple[str, Mode]:
        """The mean absolute error."""
        return "mae", "min"

    @classmethod
    def example(cls) -> Example:
        """Return weeks of carbon dioxide in the air, and settings for them."""
        frame = load_example()
        name = f"an embedded series of {len(frame):,} rows"
        return Example(name, frame, settings={"horizon": 52, "lookback": 104})

    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        validation: Any = None,
        run_dir: str | Path | None = None,
        resume: bool = False,
        progress: bool = True,
    ) -> Forecaster:
        """Learn from a table.

        Args:
            X: A path, a pandas or polars frame; long or wide.
            y: Nothing: the target is a column of ``X``.
            validation: A table that continues the series of ``X``, to stop early and to score on;
                None keeps the last part of each series for that (``validation_size``).
            run_dir: Where checkpoints and, in the end, the model are written; None for nowhere.
            resume: Go on with the interrupted fit in ``run_dir``.
            progress: Show a progress bar.

        Returns:
            The estimator.

        Raises:
            InvalidSettingsError: Fields are wrong; all faults at once.
            InvalidValueError: The table is; the message names place and remedy.
        """
        settings = self._validated()
        if y is not None:
            raise InvalidTypeError(
                "Forecaster.fit: y",
                "nothing",
                type(y).__name__,
                "Put the target into the table X, in the column that the field target names.",
            )
        frame = _table("fit", X)
        schema = settings.schema_of(frame)
        panel, later = build_panel(frame, schema), None
        if validation is not None:
            trained = dict(zip(panel.ids, panel.lengths, strict=True))
            panel = build_panel(pd.concat([frame, _table("fit", validation)]), schema)
            lengths = zip(panel.ids, panel.lengths, strict=True)
            later = [int(length - trained.get(name, 0)) for name, length in lengths]
        directory = None if run_dir is None else Path(run_dir)
        fitted, held_out = fit_forecast(
            settings, panel, later, directory=directory, resume=resume, progress=progress
        )
        self._adopt(fitted)
        return self._finish(held_out, directory)

    def predict(self, X: Any, future: Any = None) -> pd.DataFrame:
        """Forecast the ``horizon`` steps after the last row with a target of each series.

        Args:
            X: A table with at least the columns of the training table; series may be new, or
                shorter than the look-back. Rows after the last target are known covariates.
            future: Further rows of known covariates, without the target.

        Returns:
            ``unique_id``, ``ds``, ``forecast``, the intervals' ends ``lo_80``, ``hi_80`` …, and
            one column for each quantile of the quantile head; ``horizon`` rows for each series.

        Raises:
            InvalidStateError: The estimator is not fitted.
            InvalidValueError: A column, or a covariate that must be known ahead, is missing.
        """
        panel = self._panel("predict", X, future)
        windows = self.model_.ahead(panel)
        outputs = [self.model_.outputs(windows, indices) for indices in windows.indices()]
        return self._frame(panel, outputs)

    def predict_table(self, X: Any, future: Any = None) -> pd.DataFrame:
        """Return what ``predict`` returns."""
        return self.predict(X, future)

    def evaluate(self, X: Any) -> dict[str, dict[str, float]]:
        """Score the model on every window of a table, beside naive forecasts.

        All windows count whose look-back and horizon lie in the table, one at each step; so a test
        table starts one look-back before the first value to be forecast.

        Args:
            X: A table with the columns of the training table.

        Returns:
            For ``model``, ``naive`` and ``seasonal_naive`` the scores by name, in the units of the
            target: ``mse``, ``mae``, ``mase``, ``smape``, for distributions ``crps``, and for the
            model the coverage of its intervals.
        """
        panel = self._panel("evaluate", X)
        return evaluate(self.model_, self.model_.windows(panel, None)).scores

    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002 - scikit-learn's signature
        """Return 1 - MAE / MAE of the seasonal naive forecast: 1 is perfect, 0 no better."""
        scores = self.evaluate(X)
        return 1 - scores["model"]["mae"] / scores["seasonal_naive"]["mae"]

    def backtest(
        self, X: Any, windows: int = 1, *, stride: int | None = None, refit: bool = False
    ) -> pd.DataFrame:
        """Forecast from several origins in the past, and put each forecast beside what happened.

        Args:
            X: A table with the columns of the training table.
            windows: Origins of each series; the last one is a horizon before the end.
            stride: Steps from one origin to the next; a horizon if not given.
            refit: Fit anew before each origin, on what was known then.

        Returns:
            ``cutoff`` (the last time that was known), then the columns of ``predict`` with ``y``
            after ``ds``; NaN where nothing was observed.

        Raises:
            InvalidValueError: No series is long enough.
        """
        panel = self._panel("backtest", X)
        stride = self.model_.network.shape.horizon if stride is None else stride
        origins = last_origins(panel, self.model_.network.shape.horizon, windows, stride)
        refitted = self._validated() if refit else None
        return backtest(self.model_, panel, origins, refitted)

    def encode(self, X: Any, future: Any = None) -> dict[str, Tensor]:
        """Return the arguments of ``network_`` that ``predict`` would give it, one row a series."""
        panel = self._panel("encode", X, future)
        windows = self.model_.ahead(panel)
        return windows.batch(torch.arange(len(windows)), torch.device("cpu")).inputs

    def decode(self, outputs: Tensor, X: Any, future: Any = None) -> pd.DataFrame:
        """Return what ``network_`` said as the table that ``predict`` gives.

        Args:
            outputs: Of ``network_`` for ``encode(X, future)``, N×h×P.
            X: The table that was encoded.
            future: The known covariates that were encoded.
        """
        panel = self._panel("decode", X, future)
        windows = self.model_.ahead(panel)
        batch = windows.batch(torch.arange(len(windows)), torch.device("cpu"))
        return self._frame(panel, [self.model_.decoded(outputs, batch.center, batch.scale)])

    def describe(self) -> dict[str, Any]:
        """Return layers, parameters, shapes, memory and the work of one step."""
        self._check_fitted("describe")
        return describe(self.model_)

    def write_report(self, path: str | Path, X: Any = None) -> Path:
        """Write forecasts, errors by horizon, training, gates, scores and settings as one page.

        Args:
            path: The HTML file.
            X: A table to forecast the last windows of; None takes the validation part, which is
                there until the model is saved and loaded.

        Returns:
            The path.
        """
        self._check_fitted("write_report")
        # Here and not above: plotly is needed by nothing else.
        from gatewise.tasks.forecast.report import write_report

        held_out = self._held_out
        if X is not None:
            panel = self._panel("write_report", X)
            held_out = HeldOut(panel, [(0, len(series)) for series in panel.series], "given table")
        self._check_shown(held_out, "a table")
        fitted = Fitted(self.model_, self._course)
        return write_report(Path(path), fitted, held_out, self.get_params())

    def _panel(self, method: str, X: Any, future: Any = None) -> Panel:
        self._check_fitted(method)
        panel = build_panel(_table(method, X), self.schema_)
        return panel if future is None else panel.with_future(_table(method, future))

    def _frame(self, panel: Panel, outputs: list[Any]) -> pd.DataFrame:
        every = np.arange(len(panel.series))
        return forecast_frame(
            panel, self.model_.network.head, np.concatenate(outputs), every, panel.lengths
        )

    def _adopt(self, fitted: Fitted[ForecastModel]) -> None:
        self.model_: ForecastModel = fitted.model
        self.network_: ForecastNetwork = fitted.model.network
        self.schema_: PanelSchema = fitted.model.schema
        self._adopt_course(fitted.course)

    def _write(self, directory: Path) -> None:
        storage.write(directory, Fitted(self.model_, self._course))

    def _read(self, directory: Path) -> None:
        self._adopt(storage.read(directory))


def _table(method: str, source: Any) -> pd.DataFrame:
    if source is None:
        raise InvalidTypeError(
            f"Forecaster.{method}: X",
            "a path or a table",
            "None",
            "Pass the table with the columns that the fields name.",
        )
    return read_frame(source)
