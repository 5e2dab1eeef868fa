"""Tagged sentences as HTML: each token over its tag, or over both where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from gatewise.errors import InvalidValueError


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence to show.

    Args:
        tokens: N tokens.
        truth: The true tag of each.
        said: The predicted tag of each.
        note: A line above it: where it stands, how likely it is.
    """

    tokens: Sequence[str]
    truth: Sequence[str]
    said: Sequence[str]
    note: str = ""


def sentence_list(sentences: Sequence[TaggedSentence], outside: str | None) -> str:
    """Return sentences one below the other.

    Args:
        sentences: The sentences.
        outside: A tag that is not shown where it is right, such as ``O``; None: all are shown.

    Raises:
        InvalidValueError: A sentence has not as many tags as tokens.
    """
    items = []
    for place, one in enumerate(sentences, start=1):
        if not len(one.tokens) == len(one.truth) == len(one.said):
            raise InvalidValueError(
                f"Report.sentences: sentence {place}", f"{len(one.tokens)} tags, one a token",
                f"{len(one.truth)} true and {len(one.said)} predicted ones",
            )  # fmt: skip
        tokens = "\n".join(
            _token(*each, outside) for each in zip(one.tokens, one.truth, one.said, strict=True)
        )
        note = f'<p class="note">{escape(one.note)}</p>\n' if one.note else ""
        items.append(f'<li>{note}<p class="tokens">{tokens}</p></li>')
    return '<ol class="sentences">\n' + "\n".join(items) + "\n</ol>"


def _token(token: str, truth: str, said: str, outside: str | None) -> str:
    if truth == said:
        tag = "" if truth == outside else f"<small>{escape(truth)}</small>"
        return f'<span class="token">{escape(token)}{tag}</span>'
    return (
        f'<span class="token wrong">{escape(token)}<small>true {escape(truth)}</small>'
        f"<small>said {escape(said)}</small></span>"
    )
