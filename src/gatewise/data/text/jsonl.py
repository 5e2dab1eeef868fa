"""JSON Lines: an object a line, one in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gatewise.data.schema import require_names
from gatewise.data.text.lines import read_lines
from gatewise.data.text.records import Place
from gatewise.errors import InvalidFileError


def read_jsonl(
    source: str | Path, encoding: str = "utf-8", required: Sequence[str] = ()
) -> Iterator[tuple[dict[str, Any], Place]]:
    """Read the objects of a file; blank lines are passed over.

    Args:
        source: The file.
        encoding: Its encoding.
        required: Fields that every object must have.

    Yields:
        Each object and its place.

    Raises:
        InvalidFileError: A line is no JSON object; names it.
        InvalidValueError: A field is missing; names the line.
    """
    for number, line in read_lines(source, encoding):
        if not line.strip():
            continue
        place = Place(str(source), "line", number)
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidFileError(
                str(place), "a JSON object", f"{line!r:.60} ({error})", "Correct the line."
            ) from error
        if not isinstance(fields, dict):
            raise InvalidFileError(str(place), "a JSON object", f"{line!r:.60}")
        require_names(str(place), list(fields), required)
        yield fields, place
