"""From files and frames to windows of tensors.

``read_frame`` reads a table, ``infer_schema`` finds out what its columns mean, ``build_panel`` lays
its series on regular grids, ``WindowSet`` cuts them into batches.
"""

from gatewise.data.building import build_panel
from gatewise.data.calendar import CALENDAR_FEATURES
from gatewise.data.example import load_example
from gatewise.data.frequency import infer_frequency, season_length
from gatewise.data.inference import infer_schema
from gatewise.data.panel import Panel
from gatewise.data.reading import read_frame
from gatewise.data.scaling import PanelScale
from gatewise.data.schema import PanelSchema
from gatewise.data.series import Series
from gatewise.data.splits import Part, split_at, split_counts, split_last
from gatewise.data.windows import WindowBatch, WindowSet

__all__ = [
    "CALENDAR_FEATURES",
    "Panel",
    "PanelScale",
    "PanelSchema",
    "Part",
    "Series",
    "WindowBatch",
    "WindowSet",
    "build_panel",
    "infer_frequency",
    "infer_schema",
    "load_example",
    "read_frame",
    "season_length",
    "split_at",
    "split_counts",
    "split_last",
]
