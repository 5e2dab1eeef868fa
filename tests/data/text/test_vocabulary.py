"""Vocabularies, labels and tags: numbers that repeat, come back, and refuse the unknown."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.text import (
    Vocabulary,
    as_tagged,
    as_texts,
    label_matrix,
    label_numbers,
    label_vocabulary,
    tag_numbers,
    tag_vocabulary,
)
from gatewise.errors import InvalidFileError, InvalidStateError, InvalidValueError

TEXT = [["b", "a", "b"], ["c", "北", "b", "a"], []]
TOKENS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3)


def test_the_frequent_come_first_and_ties_by_code_point() -> None:
    vocabulary = Vocabulary.build(iter(TEXT), include=["<eos>"])
    assert vocabulary.tokens == ("<pad>", "<unk>", "<eos>", "b", "a", "c", "北")
    assert vocabulary.counts == (0, 0, 0, 3, 2, 1, 1)
    assert Vocabulary.build(TEXT[::-1], include=["<eos>"]) == vocabulary
    assert vocabulary.encode(["a", "zebra", "b"]).tolist() == [4, 1, 3]
    assert vocabulary.encode(["a"]).dtype == np.int32
    assert vocabulary.encode([]).tolist() == []
    assert vocabulary.decode(np.array([4, 1, 3])) == ["a", "<unk>", "b"]
    assert vocabulary.number("北") == 6
    assert "c" in vocabulary
    assert len(vocabulary) == 7


def test_rare_tokens_and_large_vocabularies_are_cut() -> None:
    assert Vocabulary.build(TEXT, minimum_count=2).tokens == ("<pad>", "<unk>", "b", "a")
    assert Vocabulary.build(TEXT, maximum_size=3).tokens == ("<pad>", "<unk>", "b")
    kept = Vocabulary.build(TEXT, minimum_count=2, include=["c"], padding=None)
    assert kept.tokens == ("<unk>", "c", "b", "a")


def test_an_unknown_token_that_stands_in_the_text_is_counted() -> None:
    vocabulary = Vocabulary.build([["<unk>", "a", "<unk>"]], padding=None)
    assert vocabulary.tokens == ("<unk>", "a")
    assert vocabulary.counts == (2, 1)


@given(st.lists(st.lists(TOKENS, max_size=6), min_size=1, max_size=4).filter(any), st.data())
def test_known_tokens_come_back(sequences: list[list[str]], data: st.DataObject) -> None:
    vocabulary = Vocabulary.build(sequences, unknown=None, padding=None)
    counted = Counter(token for one in sequences for token in one)
    assert dict(zip(vocabulary.tokens, vocabulary.counts, strict=True)) == counted
    sequence = data.draw(st.sampled_from(sequences))
    assert vocabulary.decode(vocabulary.encode(sequence)) == sequence
    assert Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict()))) == vocabulary


def test_a_closed_vocabulary_refuses_others_by_their_place() -> None:
    tags = Vocabulary.build([["B-PER", "O"]], unknown=None, padding=None)
    with pytest.raises(InvalidValueError, match=r"a\.conll, line 8: .* got 'B-PRE'.*mean 'B-PER'"):
        tags.encode(["O", "B-PRE"], lambda k: f"a.conll, line {k + 7}")
    with pytest.raises(InvalidValueError, match="'X': expected one of 'B-PER', 'O', got 'X'"):
        tags.number("X")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minimum_count": 0}, "minimum_count: expected at least 1, got 0"),
        ({"maximum_size": 2}, "maximum_size: expected at least 3, got 2"),
        ({"sequences": [[], []]}, "expected a text with at least one token, got none"),
    ],
)
def test_what_makes_no_vocabulary_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Vocabulary.build(**{"sequences": TEXT, **options})


def test_contradictions_are_refused() -> None:
    for tokens, counts, unknown in (
        (("a", "a"), (1, 1), None),
        (("a",), (), None),
        (("a",), (1,), "u"),
    ):
        with pytest.raises(InvalidValueError, match="Vocabulary: expected"):
            Vocabulary(tokens, counts, unknown, None)
    vocabulary = Vocabulary.build(TEXT)
    for number in (-1, len(vocabulary)):
        with pytest.raises(InvalidValueError, match=f"0 to {len(vocabulary) - 1}, got {number}"):
            vocabulary.decode([0, number])


def test_weights_of_another_vocabulary_are_refused() -> None:
    vocabulary = Vocabulary.build(TEXT)
    vocabulary.require_rows(6, "the embedding")
    with pytest.raises(
        InvalidStateError, match="the embedding: expected a row for each of the 6 tokens"
    ):
        vocabulary.require_rows(7, "the embedding")
    other = dataclasses.replace(vocabulary, tokens=("<pad>", "<unk>", "b", "a", "北", "c"))
    assert other.fingerprint != vocabulary.fingerprint
    assert Vocabulary.build(TEXT).fingerprint == vocabulary.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.pop("counts"),
        lambda v: v.update(more=1),
        lambda v: v["tokens"].reverse(),
        lambda v: v["tokens"].__setitem__(3, "z"),
        lambda v: v.update(unknown=None),
    ],
    ids=["lost", "newer", "reordered", "edited", "closed"],
)
def test_a_damaged_file_is_refused(change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(json.dumps(Vocabulary.build(TEXT).to_dict()))
    change(values)
    with pytest.raises(InvalidFileError, match="Vocabulary: expected"):
        Vocabulary.from_dict(values)


def test_labels_are_numbered_by_name() -> None:
    texts = list(as_texts(["a", "b", "c"], ["pos", "neg", ["neg", "pos"]]))
    labels = label_vocabulary(texts)
    assert labels.tokens == ("neg", "pos")
    assert labels.counts == (2, 2)
    assert label_numbers(texts[:2], labels).tolist() == [1, 0]
    assert label_matrix(texts, labels).tolist() == [[False, True], [True, False], [True, True]]
    with pytest.raises(InvalidValueError, match="number 2: expected one label, got 2"):
        label_numbers(texts, labels)


def test_labels_that_cannot_be_learned_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="at least two classes, got 'x' alone"):
        label_vocabulary(as_texts(["a", "b"], ["x", "x"]))
    with pytest.raises(InvalidValueError, match="number 0: expected a label, got none"):
        label_vocabulary(as_texts(["a"]))
    with pytest.raises(InvalidValueError, match="got no text"):
        label_vocabulary([])
    labels = label_vocabulary(as_texts(["a", "b"], ["x", "y"]))
    new = list(as_texts(["a", "b"], ["x", "z"]))
    for encode in (label_numbers, label_matrix):
        with pytest.raises(
            InvalidValueError, match="the texts, number 1: expected one of 'x', 'y'"
        ):
            encode(new, labels)


def test_tags_are_numbered_by_name() -> None:
    sentences = list(as_tagged([["a", "b"]], [["O", "B-x"]]))
    tags = tag_vocabulary(sentences)
    assert tags.tokens == ("B-x", "O")
    assert tag_numbers(sentences[0], tags).tolist() == [1, 0]
    (other,) = as_tagged([["a", "b"]], [["O", "I-x"]])
    with pytest.raises(InvalidValueError, match="number 0, token 1 'b': expected one of"):
        tag_numbers(other, tags)
    with pytest.raises(InvalidValueError, match="at least two, got 'O' alone"):
        tag_vocabulary(as_tagged([["a"]], [["O"]]))
    with pytest.raises(InvalidValueError, match="number 0: expected a tag for each token"):
        tag_vocabulary(as_tagged([["a"]]))
