"""Streams of one long text: no token lost, windows that go on, and a corpus larger than memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gatewise.data.text import (
    IGNORED,
    Streams,
    StreamWindow,
    Vocabulary,
    as_texts,
    open_tokens,
    read_texts,
    token_numbers,
    tokenizer,
    write_tokens,
)
from gatewise.errors import InvalidFileError, InvalidStateError, InvalidValueError

Windows = list[StreamWindow]
WORDS = tokenizer("spaces")
VOCABULARY = Vocabulary.build([[*"abc", "<eos>"]], padding=None)


def assert_reads_all(windows: Windows, tokens: np.ndarray, streams: int) -> None:
    """Raise unless the streams, one after another, are the text, and inputs precede targets."""
    inputs = torch.cat([one.inputs for one in windows])
    targets = torch.cat([one.targets for one in windows])
    kept = targets != IGNORED
    text = torch.from_numpy(np.array(tokens)).long()
    assert inputs.shape[1] == streams
    assert torch.equal(targets.T[kept.T], text[1:])
    assert torch.equal(inputs.T[kept.T], text[:-1])
    # A gap stands only at the end of a stream, and in none is more than one.
    assert (~kept).sum() < streams
    assert bool(kept[:-1].all())
    assert [one.begins for one in windows] == [True] + [False] * (len(windows) - 1)


CASES = st.integers(1, 9).flatmap(
    lambda streams: st.tuples(st.just(streams), st.integers(streams + 1, 90), st.integers(1, 12))
)


@given(CASES, st.booleans(), st.integers(0, 3))
def test_no_token_is_lost(case: tuple[int, int, int], variable: bool, epoch: int) -> None:
    streams, length, steps = case
    tokens = np.arange(length, dtype=np.int32)
    read = Streams(tokens, streams, steps, variable=variable)
    windows = list(read.epoch(epoch))
    assert_reads_all(windows, tokens, streams)
    assert [len(one.inputs) for one in windows] == read.window_lengths(epoch)
    if not variable:
        assert all(len(one.inputs) == steps for one in windows[:-1])


def test_variable_windows_are_those_of_the_paper() -> None:
    tokens = np.zeros(400_001, dtype=np.int32)
    streams = Streams(tokens, 2, 70, variable=True, seed=3)
    lengths = np.array(streams.window_lengths(0)[:-1])
    assert streams.window_lengths(0) == Streams(
        tokens, 2, 70, variable=True, seed=3
    ).window_lengths(0)
    assert streams.window_lengths(0) != streams.window_lengths(1)
    assert streams.window_lengths(0) != Streams(tokens, 2, 70, variable=True).window_lengths(0)
    assert lengths.min() >= 5
    short = (lengths < 52).mean()
    assert 0.03 < short < 0.07
    assert abs(lengths[lengths > 52].mean() - 69.5) < 0.6  # int() rounds down
    assert abs(lengths[lengths > 52].std() - 5) < 0.4


def shifted(windows: Windows) -> Windows:
    return [StreamWindow(one.targets, one.targets, one.begins) for one in windows]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda windows: windows[:-1],
        lambda windows: windows[::-1],
        shifted,
        lambda windows: [windows[0], *windows],
        lambda windows: [StreamWindow(w.inputs[:-1], w.targets[:-1], w.begins) for w in windows],
        lambda windows: [StreamWindow(w.inputs.flip(1), w.targets.flip(1), True) for w in windows],
        lambda windows: [StreamWindow(w.inputs, w.targets, True) for w in windows],
        lambda windows: [
            StreamWindow(w.inputs, w.targets.masked_fill(w.targets == 50, IGNORED), w.begins)
            for w in windows
        ],
    ],
    ids=["tail lost", "backwards", "off by one", "twice", "steps lost", "streams swapped",
         "always begins", "hole"],
)  # fmt: skip
def test_wrong_windows_are_rejected(wrong: Callable[[Windows], Windows]) -> None:
    tokens = np.arange(101, dtype=np.int32)
    windows = list(Streams(tokens, 3, 7).epoch(0))
    assert_reads_all(windows, tokens, 3)
    with pytest.raises(AssertionError):
        assert_reads_all(wrong(windows), tokens, 3)


def test_texts_that_are_too_short_are_refused() -> None:
    with pytest.raises(
        InvalidValueError, match="the text: expected at least 5 tokens for 4 streams, got 4"
    ):
        Streams(np.zeros(4, np.int32), 4, 2)
    for streams, steps, name in ((0, 2, "streams"), (2, 0, "steps")):
        with pytest.raises(InvalidValueError, match=f"{name}: expected at least 1, got 0"):
            Streams(np.zeros(4, np.int32), streams, steps)


def test_the_file_holds_the_text(tmp_path: Path) -> None:
    texts = list(as_texts(["a b", "", "c z a"]))
    path = tmp_path / "tokens.npy"
    assert write_tokens(path, token_numbers(texts, WORDS, VOCABULARY, "<eos>")) == 8
    tokens = open_tokens(path, VOCABULARY)
    assert " ".join(VOCABULARY.decode(tokens)) == "a b <eos> <eos> c <unk> a <eos>"
    assert isinstance(tokens, np.memmap)
    assert np.array_equal(np.load(path), tokens)
    assert [*tmp_path.iterdir()] == [path]
    assert_reads_all(list(Streams(tokens, 2, 3).epoch(0)), tokens, 2)
    closed = Vocabulary.build([[*"abc"]], unknown=None, padding=None)
    with pytest.raises(InvalidValueError, match="the texts, number 2: expected one of"):
        list(token_numbers(texts, WORDS, closed, None))


def test_characters_come_back_with_their_line_ends(tmp_path: Path) -> None:
    text = "ein\n\nzwei 北\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    characters = tokenizer("characters")
    vocabulary = Vocabulary.build([[*text]], unknown=None, padding=None)
    rows = token_numbers(
        read_texts(tmp_path / "a.txt", keep_blank=True), characters, vocabulary, "\n"
    )
    write_tokens(tmp_path / "tokens.npy", rows)
    tokens = open_tokens(tmp_path / "tokens.npy", vocabulary)
    assert characters.join(vocabulary.decode(tokens)) == text


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.npy"
    with pytest.raises(
        InvalidFileError, match=r"tokens\.npy: expected at least one token, got none"
    ):
        write_tokens(path, [])
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(InvalidFileError, match="expected a file of token numbers"):
        open_tokens(path, VOCABULARY)
    write_tokens(path, [np.array([0, 4, 1], np.int32)])
    smaller = Vocabulary.build([[*"ab"]], padding=None)
    with pytest.raises(
        InvalidStateError, match="numbers of the 3 tokens of its vocabulary, got 0 to 4"
    ):
        open_tokens(path, smaller)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InvalidFileError, match="expected a file of token numbers"):
        open_tokens(path, VOCABULARY)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InvalidFileError, match="expected a file of token numbers"):
        open_tokens(path, VOCABULARY)
    np.save(path, np.zeros((2, 2)))
    with pytest.raises(
        InvalidFileError, match=r"a row of int32, got float64 of the shape \(2, 2\)"
    ):
        open_tokens(path, VOCABULARY)
    with pytest.raises(InvalidFileError, match="room and leave to write, got 'No such file"):
        write_tokens(tmp_path / "absent" / "tokens.npy", [])


def peak(work: Callable[[], object]) -> int:
    """Bytes that Python and NumPy hold at most during ``work``, above what they hold before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_a_corpus_larger_than_memory_streams_from_disk(tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "tokens.npy"
    with source.open("w", encoding="utf-8") as file:
        file.writelines("a b c d " * 100 + "\n" for _ in range(1_000))

    def stream() -> None:
        def sentences() -> Iterator[list[str]]:
            return (WORDS.split(text.text) for text in read_texts(source))

        vocabulary = Vocabulary.build(sentences(), include=["<eos>"], padding=None)
        rows = token_numbers(read_texts(source), WORDS, vocabulary, "<eos>")
        assert write_tokens(target, rows) == 401_000
        for window in Streams(open_tokens(target, vocabulary), 10, 50).epoch(0):
            assert window.inputs.shape[1] == 10

    def at_once() -> None:
        assert len([text.text for text in read_texts(source)]) == 1_000

    size = source.stat().st_size
    assert peak(at_once) > size  # what is held back is seen
    assert peak(stream) < size / 4
