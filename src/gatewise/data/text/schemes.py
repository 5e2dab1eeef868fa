"""Spans as tags of tokens: IOB1, BIO, BIOES and BMES, checked, read and turned into each other.

====== ============================================================================================
IOB1   I-x inside a span; B-x only where a span of x touches the span of x before it
       (Ramshaw & Marcus 1995)
BIO    B-x begins a span, I-x goes on; also called IOB2
BIOES  B-x begins, I-x goes on, E-x ends, S-x is a span of one token; also IOBES, BILOU's sister
BMES   the same with M-x for I-x
====== ============================================================================================

Outside of spans is O everywhere. What follows the first hyphen is the label, and may be absent.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, cast, get_args

from gatewise.data.text.records import Tagged
from gatewise.errors import InvalidValueError

Scheme = Literal["IOB1", "BIO", "BIOES", "BMES"]
SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

_PREFIXES: Final[dict[Scheme, str]] = {
    "IOB1": "BIO",
    "BIO": "BIO",
    "BIOES": "BIOES",
    "BMES": "BMESO",
}


class Span(NamedTuple):
    """The tokens [start, stop) with a label."""

    label: str
    start: int
    stop: int


def read_spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans of a sentence, of any scheme, as conlleval reads them.

    Tags that keep to their scheme mean what it says. In others, such as a network's guesses, a
    span begins wherever a label does not continue the one before, and ends before the next one:
    the reading of ``conlleval`` (CoNLL-2000), of which E, S and M are the natural extension.

    Args:
        tags: A tag for each token.

    Returns:
        The spans, in order.

    Raises:
        InvalidValueError: A tag has a prefix of no scheme.
    """
    spans: list[Span] = []
    start, before = 0, ("O", "")
    for position, tag in enumerate([*tags, "O"]):
        prefix, label = parse_tag(tag)
        begins = prefix in "BS" or (
            prefix != "O" and (before[0] in "OES" or before[1] != label)
        )  # fmt: skip
        if before[0] != "O" and (begins or prefix == "O" or before[0] in "ES"):
            spans.append(Span(before[1], start, position))
        if begins:
            start = position
        before = prefix, label
    return spans


def write_tags(spans: Iterable[Span], length: int, scheme: str) -> list[str]:
    """Return the tags of a sentence that has these spans.

    Args:
        spans: Spans that do not overlap, in any order.
        length: Tokens of the sentence.
        scheme: How to tag.

    Returns:
        ``length`` tags.

    Raises:
        InvalidValueError: A span is empty, reaches out of the sentence, or overlaps another.
    """
    named = _scheme(scheme)
    tags = ["O"] * length
    last = Span("", 0, 0)
    for span in sorted(spans, key=lambda one: one.start):
        if not last.stop <= span.start < span.stop <= length:
            raise InvalidValueError(
                "spans",
                f"stretches of a sentence of {length} tokens that do not overlap",
                f"{span}",
            )
        tags[span.start : span.stop] = _tags_of(span, last, named)
        last = span
    return tags


def convert_tags(
    tags: Sequence[str],
    before: str | None,
    after: str,
    place_of: Callable[[int], object] | None = None,
) -> list[str]:
    """Return the tags of the same spans in another scheme.

    Args:
        tags: A tag for each token.
        before: Their scheme, which they must keep to; None: they are read as ``read_spans`` does.
        after: The scheme to turn them into.
        place_of: Names the place of a token in a message.

    Returns:
        As many tags.

    Raises:
        InvalidValueError: A tag breaks the scheme; names the place.
    """
    if before is not None:
        check_tags(tags, before, place_of)
    return write_tags(read_spans(tags), len(tags), after)


def check_tags(
    tags: Sequence[str], scheme: str, place_of: Callable[[int], object] | None = None
) -> None:
    """Raise InvalidValueError at the first tag that breaks the scheme.

    Args:
        tags: A tag for each token.
        scheme: The scheme they should keep to.
        place_of: Names the place of a token, counted from 0, in the message.
    """
    named = _scheme(scheme)
    parse_tags(tags, place_of)
    ends = [None, *tags, None]
    for position, (before, after) in enumerate(itertools.pairwise(ends)):
        at = min(position, len(tags) - 1)  # an unfinished span is named by its last token
        if is_allowed(before, after, named):
            continue
        where = f"tag {at}" if place_of is None else str(place_of(at))
        context = "at the beginning" if before is None else f"after {before!r}"
        got = f"{before!r} at the end" if after is None else f"{after!r} {context}"
        raise InvalidValueError(
            where, f"tags in the scheme {scheme}", got,
            "Correct the tag, or name the scheme that the file is in.",
        )  # fmt: skip


def check_sentences(sentences: Sequence[Tagged], scheme: str, *, repair: bool = False) -> None:
    """Raise InvalidValueError at the first tag of all sentences that breaks the scheme.

    Args:
        sentences: Sentences with tags.
        scheme: The scheme that they should keep to.
        repair: Whether some may break it, with a warning: ``convert_tags`` with no scheme named
            then reads them as conlleval would. Tags of no scheme are refused all the same.
    """
    for sentence in sentences:
        parse_tags(sentence.tags, sentence.place_of)
    _settle(_faults(sentences, _scheme(scheme)), len(sentences), scheme, repair=repair)


def is_allowed(before: str | None, after: str | None, scheme: Scheme) -> bool:
    """Tell whether one tag may follow another.

    Args:
        before: The tag before; None: ``after`` is the first.
        after: The tag after; None: ``before`` is the last.
        scheme: The scheme.
    """
    one, old = parse_tag(before or "O")
    two, new = parse_tag(after or "O")
    if one not in _PREFIXES[scheme] or two not in _PREFIXES[scheme]:
        return False
    inside = one not in "OES" and old == new
    if scheme == "IOB1":
        return two != "B" or (one != "O" and old == new)
    if scheme == "BIO":
        return two != "I" or inside
    # Between B and E nothing but what is inside; elsewhere nothing that is inside.
    return inside and two in "IME" if one in "BIM" else two in "OBS"


def infer_scheme(sentences: Iterable[Tagged], *, repair: bool = False) -> Scheme | None:
    """Find out which scheme tags keep to.

    Args:
        sentences: Sentences with tags.
        repair: Whether some sentences may break it, with a warning: ``convert_tags`` with no
            scheme named then reads them as conlleval would. Else they are refused.

    Returns:
        The scheme; None if the tags are no spans, as parts of speech are not. What fits both BIO
        and IOB1 is BIO.

    Raises:
        InvalidValueError: The tags look like spans and do not all keep to one scheme; names the
            line where the likeliest one is first broken.
    """
    kept = list(sentences)
    tags = {tag for sentence in kept for tag in sentence.tags}
    prefixes = {tag[0] for tag in tags if _is_span_tag(tag)}
    if not prefixes or not all(tag == "O" or _is_span_tag(tag) for tag in tags):
        return None
    faults: dict[Scheme, list[InvalidValueError]] = {
        scheme: _faults(kept, scheme) for scheme in _likely(prefixes)
    }
    scheme: Scheme = min(faults, key=lambda one: len(faults[one]))
    _settle(faults[scheme], len(kept), scheme, repair=repair)
    return scheme


def _likely(prefixes: set[str]) -> tuple[Scheme, ...]:
    """Return the schemes that have these prefixes, the preferred one first."""
    if "M" in prefixes:
        return ("BMES",)
    if prefixes & {"E", "S"}:
        return ("BIOES",) if "I" in prefixes else ("BIOES", "BMES")
    return ("BIO", "IOB1")


def _faults(sentences: Sequence[Tagged], scheme: Scheme) -> list[InvalidValueError]:
    """Return the first fault of each sentence that breaks the scheme."""
    faults = []
    for sentence in sentences:
        try:
            check_tags(sentence.tags, scheme, sentence.place_of)
        except InvalidValueError as error:
            faults.append(error)
    return faults


def _settle(faults: list[InvalidValueError], count: int, scheme: str, *, repair: bool) -> None:
    """Raise the first fault, or warn of all of them where they may be repaired."""
    if faults and not repair:
        first = faults[0]
        raise InvalidValueError(
            first.where, first.expected, first.got,
            "Correct the tag, name the right scheme, or set repair to read it as conlleval does.",
        )  # fmt: skip
    if faults:
        warnings.warn(
            f"{len(faults)} of {count} sentences break the scheme {scheme} and are read as "
            f"conlleval would. The first: {faults[0]}",
            stacklevel=3,
        )


def parse_tag(tag: str) -> tuple[str, str]:
    """Return prefix and label of a tag.

    Raises:
        InvalidValueError: The prefix is not one of B, I, M, E, S, O.
    """
    prefix, _, label = tag.partition("-")
    if prefix not in ("B", "I", "M", "E", "S", "O") or (prefix == "O" and label):
        raise InvalidValueError(
            "tag", "O, or B-, I-, M-, E- or S- and a label", repr(tag),
            "Tags that are no spans have no scheme.",
        )  # fmt: skip
    return prefix, label


def parse_tags(
    tags: Sequence[str], place_of: Callable[[int], object] | None = None
) -> list[tuple[str, str]]:
    """Return prefix and label of each tag of a sentence.

    Args:
        tags: A tag for each token.
        place_of: Names the place of a token, counted from 0, in a message.

    Raises:
        InvalidValueError: A prefix is not one of B, I, M, E, S, O; names the place.
    """
    parsed = []
    for position, tag in enumerate(tags):
        try:
            parsed.append(parse_tag(tag))
        except InvalidValueError as error:
            where = f"tag {position}" if place_of is None else str(place_of(position))
            raise InvalidValueError(where, error.expected, error.got, error.remedy) from None
    return parsed


def _is_span_tag(tag: str) -> bool:
    return tag[:1] in "BIMES" and tag[1:2] in ("", "-")


def _scheme(name: str) -> Scheme:
    if name not in SCHEMES:
        raise InvalidValueError("scheme", f"one of {', '.join(SCHEMES)}", repr(name))
    return cast("Scheme", name)


def _tags_of(span: Span, last: Span, scheme: Scheme) -> list[str]:
    """Tag the tokens of one span, ``last`` being the one before it."""
    size = span.stop - span.start
    if scheme == "BIO":
        prefixes = "B" + "I" * (size - 1)
    elif scheme == "IOB1":
        touches = last.stop == span.start and last.stop > 0 and last.label == span.label
        prefixes = ("B" if touches else "I") + "I" * (size - 1)
    else:
        inner = "M" if scheme == "BMES" else "I"
        prefixes = "S" if size == 1 else "B" + inner * (size - 2) + "E"
    return [f"{prefix}-{span.label}" if span.label else prefix for prefix in prefixes]
