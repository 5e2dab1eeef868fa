"""A text that every Python brings along: the documentation of its own language."""

from __future__ import annotations

_LETTERS = 0.7
"""Least share of letters and spaces in a paragraph of prose."""


def python_documentation() -> list[str]:
    """Return paragraphs of ``pydoc``'s topics that are prose, each once, in an order of their own.

    They are part of the standard library, so nothing has to be shipped; another version of Python
    has a slightly different text. Topics share paragraphs: one that came twice could be learned and
    then be validated on.
    """
    from pydoc_data.topics import topics

    paragraphs = dict.fromkeys(
        " ".join(part.split()) for name in sorted(topics) for part in topics[name].split("\n\n")
    )
    return [text for text in paragraphs if _is_prose(text)]


def _is_prose(text: str) -> bool:
    letters = sum(letter.isalpha() or letter.isspace() for letter in text)
    return len(text.split()) > 4 and letters >= _LETTERS * len(text)
