"""Word vectors: every format gives the same, damage is named by its line, training repeats."""

from __future__ import annotations

import builtins
import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewise.data.text import Vocabulary, WordVectors, read_vectors, train_vectors
from gatewise.errors import GatewiseError, InvalidFileError, InvalidStateError, InvalidTypeError

Write = Callable[..., Path]
WORDS = ("the", "北京", "naïve", "Paris")
MATRIX = np.array([[1, -2.5, 3e-3], [0, 4, 5], [6, 7, 8], [9, 1, 2]], dtype=np.float32)
ROWS = "".join(
    f"{w} {' '.join(map(repr, map(float, v)))}\n" for w, v in zip(WORDS, MATRIX, strict=True)
)
BINARY = b"4 3\n" + b"".join(
    word.encode() + b" " + struct.pack("<3f", *vector) + b"\n"
    for word, vector in zip(WORDS, MATRIX, strict=True)
)
FILES = {
    "word2vec.txt": f"4 3\n{ROWS}".encode(),
    "windows.txt": f"4 3\n{ROWS}".replace("\n", "\r\n").encode(),
    "fasttext.vec": f"4 3\n{ROWS}".replace("\n", " \n").replace("4 3 ", "4 3").encode(),
    "glove.txt": ROWS.encode(),
    "glove.txt.gz": gzip.compress(ROWS.encode(), mtime=0),
    "word2vec.bin": BINARY,
    "word2vec.bin.gz": gzip.compress(BINARY, mtime=0),
}


def assert_vectors(vectors: WordVectors, words: tuple[str, ...] = WORDS) -> None:
    """Raise unless these are the words, with the vectors that were written."""
    assert vectors.words == words
    np.testing.assert_array_equal(vectors.matrix, MATRIX[[WORDS.index(word) for word in words]])


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_vectors(name: str, write: Write) -> None:
    path = write(FILES[name], name)
    assert_vectors(read_vectors(path))
    assert_vectors(read_vectors(path, {"Paris", "the", "nowhere"}), ("the", "Paris"))
    assert_vectors(read_vectors(path, limit=2), WORDS[:2])


@pytest.mark.parametrize("name", ["word2vec.txt", "word2vec.bin", "glove.txt"])
def test_what_gensim_writes_comes_back(name: str, tmp_path: Path) -> None:
    from gensim.models import KeyedVectors

    keyed = KeyedVectors(3)
    keyed.add_vectors(list(WORDS), MATRIX)
    keyed.save_word2vec_format(
        str(tmp_path / name), binary=name.endswith("bin"), write_header="glove" not in name
    )
    assert_vectors(read_vectors(tmp_path / name))


def test_words_with_spaces_are_passed_over_and_doubles_are_the_first(write: Write) -> None:
    rows = ROWS + ". . 1 2 3\nthe 5 5 5\nat name@domain.com 1 2 3\n"
    assert_vectors(read_vectors(write(rows, "a.txt")))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda v: WordVectors(v.words, v.matrix[::-1]),
        lambda v: WordVectors(v.words[1:], v.matrix[1:]),
        lambda v: WordVectors(v.words, v.matrix + 1e-6),
        lambda v: WordVectors(tuple(w.lower() for w in v.words), v.matrix),
        lambda v: WordVectors(v.words, np.roll(v.matrix, 1, axis=1)),
        lambda v: WordVectors(v.words, v.matrix / np.linalg.norm(v.matrix, axis=1, keepdims=True)),
    ],
    ids=["swapped", "first lost", "rounded", "lower case", "rolled", "normalised"],
)
def test_wrong_vectors_are_rejected(
    wrong: Callable[[WordVectors], WordVectors], write: Write
) -> None:
    vectors = read_vectors(write(FILES["glove.txt"], "glove.txt"))
    with pytest.raises(AssertionError):
        assert_vectors(wrong(vectors))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.vec: expected vectors of the words asked for, got none"),
        ("2 3\na 1 2 3\n", r"a\.vec: expected 2 vectors, as line 1 says, got 1"),
        ("1 3\na 1 2 3\nb 1 2 3\n", "expected 1 vectors, as line 1 says, got 2"),
        ("2 3\na 1 2 3\nb 1\n", r"a\.vec, line 3: expected a word and 3 numbers, got 1 numbers"),
        ("a 1 2 3\nb 1 2 3 4\n", "line 2: expected a word and 3 numbers, got 4 numbers"),
        ("a 1 2 3\nb 1 x 3\n", "line 2: expected a word and numbers, got .*'x'"),
        ("a 1 2 3\nb c 1 x 3\n", "line 2: expected a word and 3 numbers"),
        ("a\nb\n", "line 1: expected a word and 1 numbers, got 0 numbers"),
        ("a 1 2 3\n\nb 1 2 3\n", "line 2: expected a word and 3 numbers, got 0 numbers"),
        ("a 1 nan 3\n", "expected finite numbers, got others for 'a'"),
        ("é 1 2 3\n".encode("latin-1"), "line 1: expected a word in utf-8.*encoding"),
        (BINARY[:-9], "expected a whole binary file of word2vec"),
        (BINARY.replace(b"4 3", b"9 3"), "expected a whole binary file of word2vec"),
        (BINARY.replace(b"the ", b"th\xe9 "), "expected a whole binary file of word2vec"),
    ],
    ids=range(14),
)
def test_damaged_files_are_named(content: str | bytes, message: str, write: Write) -> None:
    with pytest.raises(GatewiseError, match=message):
        read_vectors(write(content, "a.vec"))


def test_other_faults_are_named(write: Write, tmp_path: Path) -> None:
    path = write(FILES["glove.txt"], "glove.txt")
    with pytest.raises(GatewiseError, match=r"words asked for, got none\. Check its language"):
        read_vectors(path, {"nowhere"})
    with pytest.raises(InvalidFileError, match="No such file"):
        read_vectors(tmp_path / "absent.vec")
    with pytest.raises(InvalidFileError, match="expected a whole gzip file"):
        read_vectors(write(b"a 1 2", "a.gz"))
    assert read_vectors(write("é 1 2\n".encode("latin-1"), "b.txt"), encoding="latin-1").words == (
        "é",
    )


def test_a_vocabulary_gets_its_rows_and_a_count() -> None:
    vocabulary = Vocabulary.build([["the", "The", "the", "Paris", "zebra", "paris"]])
    rows, report = WordVectors(WORDS, MATRIX).rows_for(vocabulary)
    for token, row in zip(vocabulary.tokens, rows, strict=True):
        source = {"the": 0, "The": 0, "Paris": 3}.get(token)
        assert row.tolist() == ([0, 0, 0] if source is None else MATRIX[source].tolist())
    assert report.found.tolist() == [False, False, True, True, True, False, False]
    assert report.by_lowercase == 1
    assert report.missing == ("paris", "zebra")
    assert report.covered == pytest.approx(4 / 6)
    assert str(report) == (
        "3 of 7 tokens have a vector, 1 of them by their lower case; they are 66.7% of the "
        "training text. Without: 'paris', 'zebra'."
    )
    strict = WordVectors(WORDS, MATRIX).rows_for(vocabulary, lowercase=False)[1]
    assert strict.missing == ("The", "paris", "zebra")


SENTENCES = [["king", "rules", "land"], ["queen", "rules", "land"], ["dog", "eats", "bone"]] * 40


def test_training_repeats_and_finds_neighbours() -> None:
    vectors = train_vectors(SENTENCES, 16, epochs=20, seed=1)
    again = train_vectors(SENTENCES, 16, epochs=20, seed=1)
    assert vectors.words == again.words
    assert set(vectors.words) == {word for one in SENTENCES for word in one}
    np.testing.assert_array_equal(vectors.matrix, again.matrix)
    other = train_vectors(SENTENCES, 16, epochs=20, seed=2)
    assert not np.array_equal(vectors.matrix, other.matrix)

    def likeness(a: str, b: str) -> float:
        one, two = (vectors.matrix[vectors.words.index(word)] for word in (a, b))
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))

    assert likeness("king", "queen") > likeness("king", "bone")


@pytest.mark.parametrize(
    ("sentences", "options", "message"),
    [
        ([["a"]], {}, "a word that occurs 2 times, got none"),
        ([], {"minimum_count": 1}, "a word that occurs 1 times, got none"),
        ([["a"]], {"size": 0}, "size: expected at least 1"),
        ([["a"]], {"epochs": 0}, "epochs: expected at least 1"),
    ],
)
def test_nothing_to_train_on_is_refused(
    sentences: list[list[str]], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GatewiseError, match=message):
        train_vectors(sentences, **options)


def test_what_can_be_read_once_is_refused() -> None:
    with pytest.raises(InvalidTypeError, match="what can be read several times, got an iterator"):
        train_vectors(iter(SENTENCES))


def test_an_absent_gensim_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "gensim":
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    path = write(FILES["glove.txt"], "glove.txt")
    for call in (lambda: read_vectors(path), lambda: train_vectors(SENTENCES)):
        with pytest.raises(InvalidStateError, match=r"pip install 'gatewise\[vectors\]'"):
            call()
