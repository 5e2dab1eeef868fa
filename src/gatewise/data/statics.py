"""Static covariates: one value per series, a number or a category."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int64

from gatewise.data.numbers import numeric_column
from gatewise.data.places import cell_text, column_of, listed, row_name
from gatewise.data.schema import PanelSchema
from gatewise.errors import InvalidValueError


def static_values(
    frame: pd.DataFrame, schema: PanelSchema, codes: Int64[np.ndarray, "R"], ids: pd.Index
) -> Float64[np.ndarray, "S Ks"]:
    """Return the static inputs of each series.

    Args:
        frame: The table, R rows.
        schema: Its meaning.
        codes: The series of each row.
        ids: The series' identities, S.

    Returns:
        Numbers (NaN where missing) and one-hot categories (all 0 where missing), in the order of
        ``schema.static_names``.

    Raises:
        InvalidValueError: If a value changes within a series, is no number where numbers were
            learned, or no category that was learned.
    """
    blocks = [np.empty((len(ids), 0))]
    for name in schema.static:
        column = column_of(frame, name)
        rows = np.flatnonzero(column.notna().to_numpy())

        def place(position: int, rows: np.ndarray = rows) -> str:
            row = int(rows[position])
            return f"{row_name(frame, row)} (series {str(ids[codes[row]])!r})"

        owner = codes[rows]
        labels, cells = pd.factorize(column.iloc[rows])
        label = np.full(len(ids), -1, dtype=np.int64)
        label[owner[::-1]] = labels[::-1]  # the first filled row of each series wins
        changed = labels != label[owner]
        if changed.any():
            k = int(np.argmax(changed))
            raise InvalidValueError(
                f"{place(k)}, column {name!r}",
                f"the one value of the series, {cell_text(cells[label[owner[k]]])}",
                cell_text(cells[labels[k]]),
                "Correct the cell, or name the column in past=… or future=… as it is not static.",
            )
        categories = schema.static_categories.get(name)
        if categories is None:
            block = np.full((len(ids), 1), np.nan)
            block[owner, 0] = numeric_column(frame.iloc[rows], name, place)
        else:
            known = pd.Index(categories).get_indexer(pd.Index([str(cell) for cell in cells]))
            if (known < 0).any():
                k = int(np.argmax(known[labels] < 0))
                raise InvalidValueError(
                    f"{place(k)}, column {name!r}",
                    f"a category of the training table: {listed(categories)}",
                    cell_text(cells[labels[k]]),
                    "Correct it, leave it empty to mean none of them, or fit a new model.",
                )
            block = np.zeros((len(ids), len(categories)))
            seen = np.flatnonzero(label >= 0)
            block[seen, known[label[seen]]] = 1.0
        blocks.append(block)
    return np.concatenate(blocks, axis=1)
