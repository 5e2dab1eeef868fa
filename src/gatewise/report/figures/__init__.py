"""Pictures of forecasts, texts, classes, tags, training and gates: arrays in, plotly figures out.

Each figure carries its own caption and text alternative in ``layout.meta``, made from the numbers
it shows; the page prints them. Names given by users are escaped, and long data are thinned, which
the caption then says.
"""

from gatewise.report.figures.calibration import calibration_figure
from gatewise.report.figures.confusion import confusion_figure
from gatewise.report.figures.forecast import ForecastPanel, forecast_figure
from gatewise.report.figures.gates import gates_figure
from gatewise.report.figures.horizon import horizon_error_figure
from gatewise.report.figures.reliability import reliability_figure
from gatewise.report.figures.tokens import rarity_figure, surprise_figure
from gatewise.report.figures.training import training_curves_figure
from gatewise.report.figures.transitions import transitions_figure

__all__ = [
    "ForecastPanel",
    "calibration_figure",
    "confusion_figure",
    "forecast_figure",
    "gates_figure",
    "horizon_error_figure",
    "rarity_figure",
    "reliability_figure",
    "surprise_figure",
    "training_curves_figure",
    "transitions_figure",
]
