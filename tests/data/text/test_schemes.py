"""Tag schemes against brute force: every set of spans in up to four tokens."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.text import (
    SCHEMES,
    Scheme,
    Span,
    as_tagged,
    check_sentences,
    check_tags,
    convert_tags,
    infer_scheme,
    read_spans,
    write_tags,
)
from gatewise.data.text.schemes import is_allowed
from gatewise.errors import InvalidValueError

INSIDE = {"IOB1": "I", "BIO": "I", "BIOES": "I", "BMES": "M"}


def span_sets(length: int, start: int = 0) -> Iterator[list[Span]]:
    """Every set of spans with labels x and y that do not overlap."""
    yield []
    for begin in range(start, length):
        for stop in range(begin + 1, length + 1):
            for label in "xy":
                for rest in span_sets(length, stop):
                    yield [Span(label, begin, stop), *rest]


def tags_by_hand(spans: list[Span], length: int, scheme: Scheme) -> list[str]:
    """The definition, token by token."""
    tags = []
    for token in range(length):
        mine = [span for span in spans if span.start <= token < span.stop]
        if not mine:
            tags.append("O")
            continue
        (span,) = mine
        first, last = token == span.start, token == span.stop - 1
        touched = any(one.stop == span.start and one.label == span.label for one in spans)
        if scheme == "IOB1":
            prefix = "B" if first and touched else "I"
        elif scheme == "BIO":
            prefix = "B" if first else "I"
        elif first and last:
            prefix = "S"
        else:
            prefix = "B" if first else "E" if last else INSIDE[scheme]
        tags.append(f"{prefix}-{span.label}")
    return tags


def conlleval_spans(tags: list[str]) -> list[Span]:
    """The tables of conlleval (Tjong Kim Sang, 2000) for B, I and O, as they stand there."""
    spans, start, previous, previous_type = [], None, "O", ""
    for position, tag in enumerate([*tags, "O"]):
        now, _, kind = tag.partition("-")
        ends = (previous, now) in {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
        ends = ends or (previous != "O" and previous_type != kind)
        begins = (previous, now) in {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}
        begins = begins or (now != "O" and previous_type != kind)
        if start is not None and ends:
            spans.append(Span(previous_type, start, position))
            start = None
        if begins:
            start = position
        previous, previous_type = now, kind
    return spans


CASES = [(length, spans) for length in range(5) for spans in span_sets(length)]


def assert_writes(write: Callable[..., list[str]]) -> None:
    """Raise unless ``write`` tags every set of spans as the definition does."""
    for scheme, (length, spans) in itertools.product(SCHEMES, CASES):
        assert write(spans, length, scheme) == tags_by_hand(spans, length, scheme)


def assert_reads(read: Callable[[list[str]], list[Span]]) -> None:
    """Raise unless ``read`` finds what was tagged, and reads what is broken as conlleval does."""
    for scheme, (length, spans) in itertools.product(SCHEMES, CASES):
        assert read(tags_by_hand(spans, length, scheme)) == spans
    for length in range(5):
        for tags in itertools.product(["O", "B-x", "I-x", "B-y", "I-y"], repeat=length):
            assert read([*tags]) == conlleval_spans([*tags])


def assert_checks(check: Callable[..., Any]) -> None:
    """Raise unless ``check`` passes just those sequences that some set of spans is tagged as."""
    for scheme in SCHEMES:
        prefixes = {"IOB1": "BI", "BIO": "BI", "BIOES": "BIES", "BMES": "BMES"}[scheme]
        names = ["O", *(f"{p}-{label}" for p in prefixes for label in "xy")]
        right = {tuple(tags_by_hand(spans, n, scheme)) for n, spans in CASES if n == 3}
        for tags in itertools.product(names, repeat=3):
            try:
                check(tags, scheme)
                passed = True
            except InvalidValueError:
                passed = False
            assert passed == (tags in right), (scheme, tags)


def test_every_set_of_spans_is_tagged_read_and_checked() -> None:
    assert_writes(write_tags)
    assert_reads(read_spans)
    assert_checks(check_tags)


def test_every_scheme_becomes_every_other() -> None:
    for length, spans in CASES:
        for before, after in itertools.product(SCHEMES, repeat=2):
            tags = tags_by_hand(spans, length, before)
            assert convert_tags(tags, before, after) == tags_by_hand(spans, length, after)


LONGER = st.lists(
    st.tuples(st.sampled_from(["PER", "creative-work", ""]), st.integers(1, 4), st.integers(0, 2)),
    max_size=8,
)


@given(LONGER, st.sampled_from(SCHEMES), st.sampled_from(SCHEMES))
def test_long_sentences_keep_their_spans(
    pieces: list[tuple[str, int, int]], before: Scheme, after: Scheme
) -> None:
    spans, at = [], 0
    for label, size, gap in pieces:
        spans.append(Span(label, at + gap, at + gap + size))
        at += gap + size
    tags = write_tags(spans, at + 1, before)
    assert read_spans(convert_tags(tags, before, after)) == spans


def merged(tags: list[str]) -> list[Span]:
    """Touching spans of one label read as one."""
    return read_spans([tag.replace("B-", "I-") for tag in tags])


@pytest.mark.parametrize(
    "wrong",
    [
        merged,
        lambda tags: [one for one in read_spans(tags) if tags[one.start][0] in "BS"],
        lambda tags: [one._replace(stop=one.stop - 1) for one in read_spans(tags)],
        lambda tags: read_spans(tags[:-1]),
        lambda tags: read_spans([tag.replace("-y", "-x") for tag in tags]),
        lambda tags: read_spans([tag.replace("S-", "I-") for tag in tags]),
    ],
    ids=["B ignored", "I begins nothing", "stop included", "last lost", "labels", "S as I"],
)
def test_wrong_readings_are_rejected(wrong: Callable[[list[str]], list[Span]]) -> None:
    with pytest.raises(AssertionError):
        assert_reads(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda spans, n, scheme: write_tags(spans, n, "BIO" if scheme == "IOB1" else scheme),
        lambda spans, n, scheme: write_tags(spans, n, "BIOES" if scheme == "BMES" else scheme),
        lambda spans, n, scheme: [t.replace("S-", "B-") for t in write_tags(spans, n, scheme)],
        lambda spans, n, scheme: write_tags(spans[:1], n, scheme),
    ],
    ids=["IOB1 as BIO", "BMES as BIOES", "S as B", "first alone"],
)
def test_wrong_tags_are_rejected(wrong: Callable[..., list[str]]) -> None:
    with pytest.raises(AssertionError):
        assert_writes(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda tags, scheme: None,
        lambda tags, scheme: check_tags(["O", *tags], "BIO" if scheme == "IOB1" else scheme),
        lambda tags, scheme: check_tags(tags[::-1], scheme),
        lambda tags, scheme: check_tags(tags[:2], scheme),
    ],
    ids=["nothing", "IOB1 as BIO", "backwards", "without the last"],
)
def test_wrong_checks_are_rejected(wrong: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        assert_checks(wrong)


@pytest.mark.parametrize(
    ("tags", "scheme", "message"),
    [
        (
            ["O", "I-x"],
            "BIO",
            r"a\.conll, line 11: expected tags in the scheme BIO, got 'I-x' after 'O'",
        ),
        (["I-x"], "BIO", r"line 10: .* got 'I-x' at the beginning"),
        (["B-x", "I-y"], "BIO", "line 11: .* got 'I-y' after 'B-x'"),
        (["O", "B-x"], "IOB1", "line 11: .* got 'B-x' after 'O'"),
        (["O", "B-x"], "BIOES", "line 11: .* got 'B-x' at the end"),
        (["B-x", "O"], "BMES", "line 11: .* got 'O' after 'B-x'"),
        (["S-x"], "BIO", "line 10: .* got 'S-x'"),
        (["NN"], "BIO", "expected O, or B-, I-"),
        (["O-x"], "BIO", "expected O, or B-, I-"),
        (["O"], "BILOU", "scheme: expected one of IOB1, BIO, BIOES, BMES"),
    ],
    ids=range(10),
)
def test_a_broken_sequence_is_named_by_its_line(tags: list[str], scheme: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        convert_tags(tags, scheme, "BIO", lambda k: f"a.conll, line {k + 10}")


def test_broken_sequences_can_be_read_all_the_same() -> None:
    assert convert_tags(["O", "I-x", "I-y"], None, "BIOES") == ["O", "S-x", "S-y"]
    assert convert_tags(["B-x", "M-x", "O"], None, "BMES") == ["B-x", "E-x", "O"]


def test_spans_that_cannot_be_are_refused() -> None:
    for spans in ([Span("x", 0, 4)], [Span("x", 1, 1)], [Span("x", 0, 2), Span("y", 1, 3)]):
        with pytest.raises(InvalidValueError, match="spans: expected stretches of a sentence of 3"):
            write_tags(spans, 3, "BIO")


def test_the_scheme_is_found() -> None:
    spans = [Span("x", 0, 1), Span("x", 1, 4), Span("y", 5, 6)]
    for scheme in SCHEMES:
        tags = write_tags(spans, 7, scheme)
        assert infer_scheme(as_tagged([["t"] * 7], [tags])) == scheme
    assert infer_scheme(as_tagged([["t"] * 2], [["NOUN", "O"]])) is None
    assert infer_scheme(as_tagged([["t"] * 2], [["O", "O"]])) is None
    assert infer_scheme(as_tagged([["t"] * 2], [["O", "S"]])) == "BIOES"


def test_a_scheme_that_some_sentences_break_is_refused_or_warned_of() -> None:
    sentences = list(as_tagged([["a", "b"]] * 3, [["B-x", "I-x"], ["B-x", "O"], ["O", "I-x"]]))
    with pytest.raises(
        InvalidValueError, match=r"number 2, token 1 'b': .*BIO, got 'I-x' after 'O'"
    ):
        infer_scheme(sentences)
    with pytest.warns(UserWarning, match=r"1 of 3 sentences break the scheme BIO .*number 2"):
        assert infer_scheme(sentences, repair=True) == "BIO"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_transitions_are_those_of_the_scheme(scheme: Scheme) -> None:
    prefixes = {"IOB1": "BI", "BIO": "BI", "BIOES": "BIES", "BMES": "BMES"}[scheme]
    tags = ["O", *(f"{prefix}-{label}" for prefix in prefixes for label in "xy")]
    right = {tuple(tags_by_hand(spans, n, scheme)) for n, spans in CASES if n == 2}
    for one, two in itertools.product(tags, repeat=2):
        steps = [(None, one), (one, two), (two, None)]
        assert all(is_allowed(*step, scheme) for step in steps) == ((one, two) in right)


def test_sentences_are_held_to_a_scheme_or_read_as_conlleval_reads_them() -> None:
    sentences = list(as_tagged([["a"], ["b", "c"]], [["B-x"], ["O", "I-x"]]))
    with pytest.raises(InvalidValueError, match=r"number 1, token 1 'c': .* set repair"):
        check_sentences(sentences, "BIO")
    with pytest.warns(UserWarning, match=r"1 of 2 sentences break the scheme BIO .*token 1 'c'"):
        check_sentences(sentences, "BIO", repair=True)
    check_sentences(sentences[:1], "BIO")


def test_a_tag_of_no_scheme_is_named_by_its_place() -> None:
    with pytest.raises(InvalidValueError, match=r"^line 7: expected O, or B-.*got 'NOUN'"):
        check_tags(["O", "NOUN"], "BIO", lambda position: f"line {6 + position}")
