"""The real series that ships with the package, for a first try without a file of one's own."""

from __future__ import annotations

from importlib import resources
from typing import Final

import pandas as pd

_NAME: Final = "mauna_loa_co2.csv.gz"


def load_example() -> pd.DataFrame:
    """Return the weekly concentration of carbon dioxide on Mauna Loa, Hawaii, 1958 to 2001.

    2,284 weeks, 59 of them missing: a trend, a yearly season and gaps in one series. Public domain;
    see ``mauna_loa_co2.md`` beside the data.

    Returns:
        A long frame: ``unique_id`` (``co2``), ``ds`` (Saturdays), ``y`` (parts per million by
        volume; NaN where missing).

    Example:
        >>> load_example().shape
        (2284, 3)
    """
    with (resources.files("gatewise.data") / _NAME).open("rb") as file:
        table = pd.read_csv(file, compression="gzip", parse_dates=["ds"])
    table.insert(0, "unique_id", "co2")
    return table
