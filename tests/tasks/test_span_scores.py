"""Span scores against outputs of conlleval: counted by hand, and by its published example."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gatewise.errors import InvalidValueError
from gatewise.tasks.tagging.span_scores import SpanScores, precision_recall_f1

# Truth and guess of each token. Spans there: PER 0-2, LOC 3-4, LOC 4-6, ORG 7-8. Said: PER 0-2
# (right), ORG 3-4 (label wrong), LOC 4-5 (too short), ORG 7-8 (right, though it begins with I).
SENTENCE = [
    ("B-PER", "B-PER"), ("I-PER", "I-PER"), ("O", "O"), ("B-LOC", "B-ORG"), ("B-LOC", "B-LOC"),
    ("I-LOC", "O"), ("O", "O"), ("B-ORG", "I-ORG"),
]  # fmt: skip
TRUTH, SAID = ([pair[k] for pair in SENTENCE] for k in range(2))


def scored(*pairs: tuple[list[str], list[str]]) -> SpanScores:
    scores = SpanScores()
    for truth, said in pairs:
        scores.add(truth, said)
    return scores


def assert_hand_count(count: Callable[[list[str], list[str]], SpanScores]) -> None:
    """Raise unless the scores of the sentence are those counted by hand."""
    scores = count(TRUTH, SAID)
    assert scores.scores() == pytest.approx(
        {"precision": 2 / 4, "recall": 2 / 4, "f1": 1 / 2, "accuracy": 5 / 8}
    )
    table = scores.by_label()
    assert table["PER"] == {"precision": 1, "recall": 1, "f1": 1, "support": 1}
    assert table["LOC"] == {"precision": 0, "recall": 0, "f1": 0, "support": 2}
    assert table["ORG"] == pytest.approx(
        {"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "support": 1}
    )


def test_a_sentence_counted_by_hand() -> None:
    assert_hand_count(lambda truth, said: scored((truth, said)))


def test_counts_add_up_over_sentences() -> None:
    scores = scored((TRUTH, SAID), (["B-PER", "O"], ["O", "O"]), ([], [])).scores()
    # conlleval: 10 tokens with 5 phrases; found: 4 phrases; correct: 2.
    assert scores == pytest.approx(
        {"precision": 2 / 4, "recall": 2 / 5, "f1": 4 / 9, "accuracy": 6 / 10}
    )


def test_the_example_that_conlleval_is_published_with() -> None:
    # "processed 961 tokens with 459 phrases; found: 539 phrases; correct: 371.
    #  accuracy: 84.08%; precision: 68.83%; recall: 80.83%; FB1: 74.35"
    shown = {
        name: round(100 * value, 2) for name, value in precision_recall_f1(459, 539, 371).items()
    }
    assert shown == {"precision": 68.83, "recall": 80.83, "f1": 74.35}


def test_spans_do_not_depend_on_the_scheme() -> None:
    bio, bmes = ["B-x", "I-x", "O", "B-x"], ["B-x", "E-x", "O", "S-x"]
    assert scored((bio, bmes)).scores()["f1"] == 1
    assert scored((bio, bio)).scores() == {"precision": 1, "recall": 1, "f1": 1, "accuracy": 1}


def test_nothing_said_and_nothing_there_are_zero() -> None:
    assert scored((["O"], ["O"])).scores() == {"precision": 0, "recall": 0, "f1": 0, "accuracy": 1}
    assert scored((["B-x"], ["O"])).scores()["f1"] == 0
    assert scored().scores()["accuracy"] == 0
    assert scored((["O"], ["B-x"])).by_label()["x"]["support"] == 0


def test_sentences_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="tags: expected 2, one a token, got 1"):
        scored((["O", "O"], ["O"]))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda truth, said: scored((said, truth)),
        lambda truth, said: scored((truth, [tag.replace("ORG", "LOC") for tag in said])),
        lambda truth, said: scored((truth, ["O" if tag[0] == "I" else tag for tag in said])),
        lambda truth, said: scored(*(([a], [b]) for a, b in zip(truth, said, strict=True))),
        lambda truth, said: scored((truth[:-1], said[:-1])),
        lambda truth, said: scored((truth, truth)),
    ],
    ids=["swapped", "labels", "I dropped", "by token", "last lost", "truth"],
)
def test_wrong_counts_are_rejected(wrong: Callable[[list[str], list[str]], SpanScores]) -> None:
    with pytest.raises(AssertionError):
        assert_hand_count(wrong)
