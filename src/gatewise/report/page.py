"""A report: headline numbers, text, tables and figures, written as one HTML file.

The file holds all it needs, plotly's script included, and may be mailed or opened years later
without a network. A content policy in its head forbids the browser to load anything else.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from gatewise.errors import InvalidFileError, InvalidValueError
from gatewise.report import markup
from gatewise.report.sentences import TaggedSentence, sentence_list


class Report:
    """A page that is filled from top to bottom and then written.

    Args:
        title: The page's heading.
        subtitle: One line under it.

    Example:
        >>> from gatewise.report import Report
        >>> report = Report("Load forecast", "24 hours ahead")
        >>> report = report.number("MASE", 0.82, note="naive: 1.00")
        >>> report = report.table("Scores", ["forecast", "MAE"], [["model", 1.2], ["naive", 1.6]])
        >>> report.to_html().count("<table>")
        1
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._numbers: list[str] = []
        self._sections: list[markup.Section] = []

    def number(self, label: str, value: object, note: str = "") -> Report:
        """Add a key number to the strip under the title.

        Args:
            label: What it is, in one or two words.
            value: A number, or text that stands for one.
            note: What to compare it with.
        """
        self._numbers.append(markup.headline_number(label, value, note))
        return self

    def text(self, heading: str, text: str) -> Report:
        """Add a section of plain paragraphs; an empty line starts a new one."""
        return self._add(heading, markup.paragraphs(text))

    def table(
        self,
        heading: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        note: str = "",
        *,
        emphasise: str | None = None,
    ) -> Report:
        """Add a table.

        Args:
            heading: The section's heading.
            columns: C column names; the first column names the rows.
            rows: Rows of C values each.
            note: A sentence under the table.
            emphasise: The first value of the row that stands out, such as ``"model"``.

        Raises:
            InvalidValueError: A row has not C values.
        """
        for place, row in enumerate(rows, start=1):
            if len(row) != len(columns):
                raise InvalidValueError(
                    f"Report.table {heading!r}: row {place}",
                    f"{len(columns)} values",
                    f"{len(row)}",
                    "Give each row one value for each column.",
                )
        return self._add(heading, markup.table(columns, rows, note, emphasise, caption=heading))

    def figure(self, heading: str, fig: go.Figure, note: str = "") -> Report:
        """Add a plotly figure.

        Args:
            heading: The section's heading.
            fig: A figure; those of `gatewise.report.figures` bring their own caption.
            note: A sentence or two that stand before the figure's own caption.
        """
        return self._add(heading, markup.figure(fig, note, fallback=heading))

    def sentences(
        self,
        heading: str,
        sentences: Sequence[TaggedSentence],
        note: str = "",
        *,
        outside: str | None = None,
    ) -> Report:
        """Add tagged sentences, each token over its tag; where truth and prediction differ, both.

        Args:
            heading: The section's heading.
            sentences: The sentences.
            note: A sentence or two above them.
            outside: A tag that is not shown where it is right, such as ``O``; None: all are shown.

        Raises:
            InvalidValueError: A sentence has not as many tags as tokens.
        """
        content = f"{markup.paragraphs(note)}\n{sentence_list(sentences, outside)}"
        return self._add(heading, content)

    def to_html(self) -> str:
        """Return the whole page."""
        return markup.page(self.title, self.subtitle, self._numbers, self._sections)

    def write(self, path: str | Path) -> Path:
        """Write the page under a temporary name, then rename it: never half a page.

        Args:
            path: Where to write; missing folders are made.

        Returns:
            The path.

        Raises:
            InvalidFileError: The file cannot be written.
        """
        path = Path(path)
        content = self.to_html().encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace_file(path, content)
        except OSError as fault:
            raise InvalidFileError(
                str(path),
                "a place to write the report",
                fault.strerror or str(fault),
                "Choose another path or make room.",
            ) from fault
        return path

    def _add(self, heading: str, content: str) -> Report:
        self._sections.append(markup.Section(heading, content))
        return self


def _replace_file(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files for the owner alone; a report is as readable as any other file.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
