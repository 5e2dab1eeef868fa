"""A text that every Python brings along: the documentation of its own language."""

from __future__ import annotations


def python_documentation() -> list[str]:
    """Return the paragraphs of ``pydoc``'s topics, about 100,000 words of English.

    It is part of the standard library, so nothing has to be shipped for it; another version of
    Python has a slightly different text.
    """
    from pydoc_data.topics import topics

    paragraphs = (
        " ".join(part.split()) for name in sorted(topics) for part in topics[name].split("\n\n")
    )
    return [text for text in paragraphs if any(letter.isalnum() for letter in text)]
