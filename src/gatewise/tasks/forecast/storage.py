"""A fitted forecast model as files, and back; nothing in them is executed."""

from __future__ import annotations

from pathlib import Path

import torch

from gatewise.data import PanelScale, PanelSchema
from gatewise.tasks import saving
from gatewise.tasks.course import Course, Fitted
from gatewise.tasks.forecast.model import ForecastModel
from gatewise.tasks.forecast.network import ForecastNetwork
from gatewise.tasks.forecast.shape import NetworkShape
from gatewise.training import storage


def write(directory: Path, fitted: Fitted[ForecastModel]) -> None:
    """Write weights, schema and metrics into a directory."""
    model = fitted.model
    storage.atomic_write_tensors(directory / saving.WEIGHTS, model.network.state_dict(), {})
    storage.atomic_write_json(
        directory / saving.SCHEMA,
        {
            "schema": model.schema.to_dict(),
            "scale": model.scale.to_dict(),
            "network": model.network.shape.to_dict(),
            "series": list(model.series),
            "seasonal_errors": list(model.seasonal_errors),
        },
    )
    fitted.course.write(directory)


def read(directory: Path) -> Fitted[ForecastModel]:
    """Return what ``write`` wrote.

    Raises:
        InvalidFileError: A file is missing or damaged.
    """
    known = storage.read_json(directory / saving.SCHEMA)
    course = Course.read(directory)
    tensors, _ = storage.read_tensors(directory / saving.WEIGHTS)
    # Without memory of its own: sizes that the weights do not bear out cost nothing.
    with torch.device("meta"):
        network = ForecastNetwork(NetworkShape.from_dict(known["network"]))
    network.load_state_dict(tensors, assign=True)
    model = ForecastModel(
        network.eval(),
        PanelSchema.from_dict(known["schema"]),
        PanelScale.from_dict(known["scale"]),
        tuple(known["series"]),
        tuple(known["seasonal_errors"]),
    )
    return Fitted(model, course)
