"""From names of tags to what may follow what: BIO, IOB1, BIOES, BILOU and BMES.

A tag is a letter, or a letter and the type of its span, ``B-PER``; ``O`` is outside of every span.
A pure function of the names: nothing here knows a layer.

Sources: L. Ramshaw, M. Marcus, "Text chunking using transformation-based learning", Workshop on
Very Large Corpora 1995, for IOB1; E. Tjong Kim Sang, J. Veenstra, "Representing text chunks", EACL
1999, for IOB2, which is BIO, and the others with ends; L. Ratinov, D. Roth, "Design challenges and
misconceptions in named entity recognition", CoNLL 2009, for BILOU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch

from gatewise.errors import InvalidTypeError, InvalidValueError
from gatewise.ops.reference.crf import TagConstraints

Scheme = Literal["BIO", "IOB1", "BIOES", "BILOU", "BMES"]

SCHEMES: Final[tuple[str, ...]] = get_args(Scheme)

_LETTERS: Final = {
    "BIO": {"B": "begin", "I": "inside", "O": "outside"},
    "IOB1": {"B": "begin", "I": "inside", "O": "outside"},
    "BIOES": {"B": "begin", "I": "inside", "E": "end", "S": "single", "O": "outside"},
    "BILOU": {"B": "begin", "I": "inside", "L": "end", "U": "single", "O": "outside"},
    "BMES": {"B": "begin", "M": "inside", "E": "end", "S": "single", "O": "outside"},
}

_Tag = tuple[str, str]
"""The part of a span that a tag is, and the type of the span."""


def tag_constraints(names: Sequence[str], scheme: Scheme) -> TagConstraints:
    """Return which tags may follow each other, come first, and come last.

    Args:
        names: Of the tags, in the order of their numbers: ``["O", "B-PER", "I-PER"]``. Types may
            be missing, as in ``["B", "M", "E", "S"]``.
        scheme: ``BIO`` (IOB2): every span begins with B. ``IOB1``: B only where a span follows
            another of its type. ``BIOES``, ``BILOU``, ``BMES``: spans have an end, and spans of one
            tag a letter of their own; ``O`` belongs to all of them.

    Returns:
        Masks, True for what may be: ``transitions`` K×K (from, to), ``starts`` K, ``ends`` K.

    Raises:
        InvalidValueError: An unknown scheme, a name outside of it, or one that comes twice.
        InvalidTypeError: A name that is no string.

    Example:
        >>> allowed = tag_constraints(["O", "B-PER", "I-PER"], "BIO")
        >>> allowed.transitions[0].tolist(), allowed.starts.tolist()
        ([True, True, False], [True, True, False])
    """
    if scheme not in SCHEMES:
        raise InvalidValueError(
            "tag_constraints(scheme)", " or ".join(map(repr, SCHEMES)), repr(scheme)
        )
    tags = _parsed(names, scheme)
    if scheme == "IOB1":
        moves = [[_iob1(before, after) for after in tags] for before in tags]
        starts = [part != "begin" for part, _ in tags]
        ends = [True] * len(tags)
    else:
        closes = scheme != "BIO"  # whether spans must be seen to end
        moves = [[_move(before, after, closes=closes) for after in tags] for before in tags]
        starts = [part not in ("inside", "end") for part, _ in tags]
        ends = [not closes or part not in ("begin", "inside") for part, _ in tags]
    return TagConstraints(*(torch.tensor(mask, dtype=torch.bool) for mask in (moves, starts, ends)))


def _parsed(names: Sequence[str], scheme: str) -> list[_Tag]:
    where, letters = "tag_constraints(names)", _LETTERS[scheme]
    if isinstance(names, str) or not names:
        raise InvalidValueError(where, "a sequence of names", repr(names))
    tags: dict[_Tag, str] = {}
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise InvalidTypeError(where, "strings", f"{name!r} for tag {number}")
        letter, _, kind = name.partition("-")
        part = letters.get(letter)
        if part is None or (part == "outside" and kind):
            raise InvalidValueError(
                where,
                f"O, or a letter of {scheme} ({', '.join(sorted(set(letters) - {'O'}))}) before "
                "the type of the span",
                f"{name!r} for tag {number}",
                "Name the tags B-PER, O and the like, or choose another scheme.",
            )
        if (part, kind) in tags:
            raise InvalidValueError(where, "each name once", f"{name!r} again for tag {number}")
        tags[part, kind] = name
    return list(tags)


def _move(before: _Tag, after: _Tag, *, closes: bool) -> bool:
    """Whether a tag may follow where every span begins with a letter of its own."""
    is_open = before[0] in ("begin", "inside")
    if after[0] in ("inside", "end"):
        return is_open and before[1] == after[1]
    return not (closes and is_open)


def _iob1(before: _Tag, after: _Tag) -> bool:
    """Whether a tag may follow where B stands only between spans of one type."""
    return after[0] != "begin" or (before[0] != "outside" and before[1] == after[1])
