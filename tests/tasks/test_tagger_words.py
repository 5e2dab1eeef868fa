"""What a tagger knows of words it has not seen: their characters, casing, n-grams, vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewise.errors import InvalidFileError, InvalidValueError
from gatewise.tasks import SequenceTagger, load
from tasks.tagging_cases import LEARNS, QUICK_TAGGER, Tagging, tagged_names


def kinds(count: int, seed: int, words: dict[str, list[str]]) -> Tagging:
    """Single words whose tag follows from what they look like."""
    rng = np.random.default_rng(seed)
    tags = [str(rng.choice(list(words))) for _ in range(count)]
    return [[str(rng.choice(words[tag]))] for tag in tags], [[tag] for tag in tags]


def spelled(seed: int, end: str, size: int = 60) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abdegik"), 4)) + end for _ in range(size)]


@pytest.mark.parametrize("characters", ["none", "lstm", "cnn"])
def test_unseen_words_are_known_by_their_characters(characters: str):
    train = kinds(300, 0, {"N": spelled(0, "os"), "V": spelled(1, "are")})
    test = kinds(100, 1, {"N": spelled(2, "os"), "V": spelled(3, "are")})
    fields = {**LEARNS, "characters": characters, "character_size": 8, "character_hidden_size": 8}
    score = SequenceTagger(**fields, validation_size=0.0).fit(*train, progress=False).score(*test)
    if characters == "none":
        assert score < 0.75
    else:
        assert score > 0.95


@pytest.mark.parametrize("size", [0, 4])
def test_unseen_words_are_known_by_their_casing(size: int):
    lower = {"n": spelled(0, ""), "P": [one.capitalize() for one in spelled(1, "")]}
    other = {"n": spelled(2, ""), "P": [one.capitalize() for one in spelled(3, "")]}
    fields = {**LEARNS, "characters": "none", "casing_size": size}
    model = SequenceTagger(**fields, validation_size=0.0)
    score = model.fit(*kinds(300, 0, lower), progress=False).score(*kinds(100, 1, other))
    assert score > 0.95 if size else score < 0.75


def test_chinese_characters_with_their_bigrams(tmp_path: Path):
    X = [list("我在北京大学学习"), list("他在上海工作"), list("北京很大")] * 8
    y = [
        ["O", "O", "B-ORG", "M-ORG", "M-ORG", "E-ORG", "O", "O"],
        ["O", "O", "B-LOC", "E-LOC", "O", "O"],
        ["B-LOC", "E-LOC", "O", "O"],
    ] * 8
    fields: dict[str, Any] = {
        **LEARNS, "characters": "none", "ngrams": 2, "ngram_size": 8, "max_epochs": 12,
    }  # fmt: skip
    model = SequenceTagger(**fields, validation_size=0.0).fit(X, y, progress=False)
    assert model.predict(X[:3]) == y[:3]
    assert model.tags_.given == "BMES"
    assert [one.text for one in model.predict_spans(X[:1])[0]] == ["北京大学"]
    bigrams = model.model_.features.ngrams[0]
    assert "北 京" in bigrams.tokens
    assert load(model.save(tmp_path / "zh")).predict(X[:3]) == y[:3]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_unknown_word_learns_from_words_that_occur_once(share: float):
    X, y = tagged_names()
    assert sum(tokens.count("3") for tokens in X) > 1
    model = SequenceTagger(**QUICK_TAGGER, unknown_share=share, validation_size=0.0)
    words = model.fit(X, y, progress=False).model_.features.words
    rows = model.network_.encoder.embedding.weight
    other = SequenceTagger(**{**QUICK_TAGGER, "max_epochs": 1, "learning_rate": 1e-9})
    before = other.set_params(validation_size=0.0).fit(X, y, progress=False)
    moved = (rows - before.network_.encoder.embedding.weight).abs().amax(1)
    assert bool(moved[words.number("<unk>")] > 1e-4) == (share > 0)
    assert moved[words.number("<pad>")] < 1e-4
    assert moved[words.number("mr")] > 1e-4


def write_vectors(path: Path, words: dict[str, list[float]]) -> Path:
    path.write_text(
        "".join(f"{word} {' '.join(map(str, vector))}\n" for word, vector in words.items())
    )
    return path


def test_words_begin_with_the_vectors_of_a_file(tmp_path: Path):
    file = {"mr": [1.0, 2.0, 3.0], "In": [4.0, 5.0, 6.0], "zurich": [7.0, 8.0, 9.0]}
    path = write_vectors(tmp_path / "some.vec", file)
    fields = {**QUICK_TAGGER, "max_epochs": 1, "learning_rate": 1e-9, "vectors": str(path)}
    model = SequenceTagger(**fields, lowercase=False).fit(*tagged_names(), progress=False)
    rows, words = model.network_.encoder.embedding.weight, model.model_.features.words
    assert rows.shape == (len(words), 3)
    # Found by its lower case; "in" is not there, "In" is not in the text.
    torch.testing.assert_close(rows[words.number("Mr")], torch.tensor(file["mr"]))
    assert "zurich" not in words
    assert "1 of" in model.describe()["vectors"]
    assert "1 of them by their lower case" in model.describe()["vectors"]
    wide = SequenceTagger(**fields, lowercase=True, vector_words=3)
    wide.fit(*tagged_names(), progress=False)
    rows, words = wide.network_.encoder.embedding.weight, wide.model_.features.words
    for word in ("mr", "zurich"):
        torch.testing.assert_close(rows[words.number(word)], torch.tensor(file[word]))
    wide.save(tmp_path / "model")
    assert load(tmp_path / "model").describe() == wide.describe()


def test_vectors_that_are_none(tmp_path: Path):
    path = write_vectors(tmp_path / "other.vec", {"qqq": [1.0, 2.0]})
    model = SequenceTagger(**QUICK_TAGGER, vectors=str(path))
    with pytest.raises(InvalidValueError, match="vectors of the words asked for"):
        model.fit(*tagged_names(), progress=False)
    with pytest.raises(InvalidFileError, match=r"nowhere\.vec"):
        SequenceTagger(**QUICK_TAGGER, vectors="nowhere.vec").fit(*tagged_names(), progress=False)
