"""Batches by length: each text once an epoch, within the budget; padding; long texts in pieces."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.text import Buckets, pad, split_long
from gatewise.errors import InvalidValueError

LENGTHS = np.random.default_rng(0).integers(0, 40, 500)
Batches = list[np.ndarray]


def assert_epoch(batches: Batches, lengths: np.ndarray, tokens: int, sequences: int | None) -> None:
    """Raise unless each sequence is in one batch, and every batch within its budget."""
    numbers = np.concatenate(batches)
    assert sorted(numbers.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * lengths[batch].max() <= tokens or len(batch) == 1
        assert sequences is None or len(batch) <= sequences


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=80),
    st.integers(1, 100),
    st.none() | st.integers(1, 9),
    st.integers(0, 3),
)
def test_each_text_is_in_one_batch(
    lengths: list[int], tokens: int, sequences: int | None, epoch: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buckets = Buckets(lengths, tokens=tokens, sequences=sequences)
    for batches in (buckets.epoch(epoch), buckets.in_order()):
        assert_epoch(batches, np.array(lengths), tokens, sequences)


def test_epochs_differ_and_repeat() -> None:
    def flat(seed: int, epoch: int) -> list[list[int]]:
        return [one.tolist() for one in Buckets(LENGTHS, tokens=200, seed=seed).epoch(epoch)]

    assert flat(0, 1) == flat(0, 1)
    assert flat(0, 1) != flat(0, 2)
    assert flat(0, 1) != flat(1, 1)


def test_little_is_padding() -> None:
    def padded(batches: Batches) -> float:
        laid = sum(len(one) * LENGTHS[one].max() for one in batches)
        return 1 - LENGTHS.sum() / laid

    assert padded(Buckets(LENGTHS, tokens=200).epoch(0)) < 0.1
    assert padded([np.arange(k, k + 10) for k in range(0, 500, 10)]) > 0.3  # without buckets
    longest = [LENGTHS[one].max() for one in Buckets(LENGTHS, tokens=200).in_order()]
    assert longest == sorted(longest, reverse=True)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda batches: batches[:-1],
        lambda batches: [*batches, batches[0]],
        lambda batches: [np.concatenate(batches[:2]), *batches[2:]],
        lambda batches: [one[:-1] for one in batches],
        lambda batches: [np.delete(batches[0], 0), *batches[1:], batches[1][:1]],
        lambda batches: [one + 1 for one in batches],
    ],
    ids=["batch lost", "twice", "over budget", "rests lost", "another instead", "shifted"],
)
def test_wrong_batches_are_rejected(wrong: Callable[[Batches], Batches]) -> None:
    batches = Buckets(LENGTHS, tokens=200).epoch(0)
    assert_epoch(batches, LENGTHS, 200, None)
    with pytest.raises((AssertionError, IndexError)):
        assert_epoch(wrong(batches), LENGTHS, 200, None)


def test_what_is_over_the_budget_is_alone_and_warned_of() -> None:
    with pytest.warns(
        UserWarning, match=r"1 sequence\(s\) longer than the 8 .* a\.txt, line 2, 9 "
    ):
        buckets = Buckets([3, 9, 4], tokens=8, place_of=lambda k: f"a.txt, line {k + 1}")
    assert [1] in [one.tolist() for one in buckets.epoch(0)]


@pytest.mark.parametrize(
    ("lengths", "options", "message"),
    [
        ([], {"tokens": 5}, "Buckets: expected at least one sequence, got none"),
        ([1], {"tokens": 0}, "tokens: expected at least 1, got 0"),
        ([1], {"tokens": 5, "sequences": 0}, "sequences: expected at least 1, got 0"),
    ],
)
def test_no_batches_are_refused(lengths: list[int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Buckets(lengths, **options)


def test_sequences_stand_side_by_side() -> None:
    columns, lengths = pad([np.array([1, 2, 3], np.int32), torch.tensor([4]), np.array([], int)], 9)
    assert columns.T.tolist() == [[1, 2, 3], [4, 9, 9], [9, 9, 9]]
    assert lengths.tolist() == [3, 1, 0]
    assert columns.dtype == torch.int64
    with pytest.raises(InvalidValueError, match="pad: expected at least one sequence"):
        pad([], 0)


@given(st.integers(0, 60), st.integers(1, 20), st.sets(st.integers(0, 60)))
def test_pieces_are_the_whole(length: int, longest: int, breaks: set[int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pieces = split_long(length, longest, where="a", breaks=sorted(breaks))
    assert [k for piece in pieces for k in range(*piece)] == list(range(length))
    assert all(stop - start <= longest for start, stop in pieces)
    for start, stop in pieces[:-1]:
        inside = [k for k in breaks if start < k <= start + longest]
        assert stop == max(inside, default=start + longest)


def test_long_texts_come_in_pieces_with_a_warning() -> None:
    with pytest.warns(
        UserWarning, match=r"a\.txt, line 3: 10 tokens, more than 4; read in 3 pieces"
    ):
        assert split_long(10, 4, where="a.txt, line 3") == [(0, 4), (4, 8), (8, 10)]
    assert split_long(4, 4, where="a") == [(0, 4)]
    with pytest.raises(InvalidValueError, match="longest: expected at least 1"):
        split_long(4, 0, where="a")
