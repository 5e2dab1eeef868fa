"""A classifier that begins with what another has learned, or with word vectors from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatewise.data.text import Vocabulary, tokenizer
from gatewise.errors import GatewiseError
from gatewise.tasks import LanguageModel, TextClassifier, saving
from gatewise.tasks.text.encoder import EncoderShape, TokenEncoder
from gatewise.training import storage
from tasks.cases import QUICK_LANGUAGE, QUICK_TEXTS, opinions

STARTS: dict[str, Any] = {
    name: value
    for name, value in QUICK_TEXTS.items()
    if name not in ("embedding_size", "hidden_size")
}
TOUCHES_NOTHING = {"learning_rate": 1e-12, "max_epochs": 1}


@pytest.fixture
def language_model(tmp_path: Path) -> Path:
    """What a saved language model holds of which a classifier has a use."""
    rules = tokenizer("words", lowercase=True)
    vocabulary = Vocabulary.build(
        (rules.split(text) for text in opinions()["text"]), include=["<eos>"], padding=None
    )
    shape = EncoderShape(
        len(vocabulary), 6, 5, 6, num_layers=2, cell="gru", word_dropout=0.4, weight_dropout=0.5
    )
    torch.manual_seed(3)
    encoder = TokenEncoder(shape)

    def write(directory: Path) -> None:
        weights = {f"encoder.{name}": held for name, held in encoder.state_dict().items()}
        decoder = {"output.weight": torch.zeros(len(vocabulary), 6)}
        storage.atomic_write_tensors(directory / "weights.safetensors", weights | decoder)
        schema = {
            "tokenizer": rules.to_dict(),
            "vocabulary": vocabulary.to_dict(),
            "network": {"encoder": shape.to_dict(), "tied": True},
        }
        storage.atomic_write_json(directory / "schema.json", schema)

    saving.write_model(tmp_path / "lm", "language-model", {}, write)
    return tmp_path / "lm"


def test_it_begins_with_the_encoder_of_a_language_model(language_model: Path, tmp_path: Path):
    held, _ = storage.read_tensors(language_model / "weights.safetensors")
    model = TextClassifier(**{**STARTS, **TOUCHES_NOTHING}, pretrained=str(language_model))
    model.fit(opinions(), progress=False)
    encoder = model.network_.encoder
    for name, weight in encoder.state_dict().items():
        torch.testing.assert_close(weight, held[f"encoder.{name}"], atol=1e-9, rtol=0)
    assert (encoder.shape.cell, encoder.shape.num_layers, encoder.shape.bidirectional) == (
        "gru", 2, False,
    )  # fmt: skip
    # The dropouts are the classifier's own.
    assert (encoder.shape.word_dropout, encoder.shape.weight_dropout) == (0.1, 0.0)
    assert model.model_.reader.tokenizer == tokenizer("words", lowercase=True)
    assert model.model_.reader.vocabulary.padding is None
    # What was saved needs the other directory no more.
    directory = model.save(tmp_path / "model")
    (language_model / "config.json").unlink()
    loaded = TextClassifier.load(directory)
    np.testing.assert_array_equal(loaded.predict_proba(opinions()), model.predict_proba(opinions()))


@pytest.mark.parametrize("tokens", ["words", "subwords"])
def test_it_begins_with_a_language_model_of_ours(tokens: str, tmp_path: Path):
    frame = opinions(40)
    texts = list(frame["text"])
    fields = {"tokens": tokens, "vocabulary_size": 300 if tokens == "subwords" else None}
    quick = {**QUICK_LANGUAGE, "max_epochs": 1}
    first = LanguageModel(**quick, **fields).fit(texts, progress=False)
    start = str(first.save(tmp_path / "lm"))
    model = TextClassifier(**{**STARTS, **TOUCHES_NOTHING}, pretrained=start)
    model.fit(frame, progress=False)
    theirs = first.network_.encoder.state_dict()
    for name, weight in model.network_.encoder.state_dict().items():
        torch.testing.assert_close(weight, theirs[name], atol=1e-9, rtol=0)
    assert model.predict(texts).shape == (len(texts),)


def test_it_learns_on_from_there(language_model: Path):
    fields = {**STARTS, "pretrained": str(language_model), "ngrams": 2, "pooling": ("last", "max")}
    model = TextClassifier(**fields).fit(opinions(200), progress=False)
    assert model.score(opinions(100, seed=1)) > 0.55
    frozen = TextClassifier(**fields, freeze_vectors=True).fit(opinions(200), progress=False)
    held, _ = storage.read_tensors(language_model / "weights.safetensors")
    first = held["encoder.embedding.weight"]
    assert torch.equal(frozen.network_.encoder.embedding.weight.detach(), first)
    assert not torch.equal(model.network_.encoder.embedding.weight.detach(), first)
    name = "layers.0.weight_hh_l0"
    assert not torch.equal(frozen.network_.encoder.state_dict()[name], held[f"encoder.{name}"])


def test_it_begins_with_another_classifier(tmp_path: Path):
    first = TextClassifier(**QUICK_TEXTS, ngrams=2).fit(opinions(), progress=False)
    start = str(first.save(tmp_path / "first"))
    frame = opinions(80).replace({"label": {"none": "good"}})
    model = TextClassifier(**{**STARTS, **TOUCHES_NOTHING}, pretrained=start)
    model.fit(frame, progress=False)
    assert model.classes_.tolist() == ["bad", "good"]
    for name, weight in first.network_.encoder.state_dict().items():
        torch.testing.assert_close(
            model.network_.encoder.state_dict()[name], weight, atol=1e-9, rtol=0
        )


def test_what_is_no_start_is_a_clear_error(language_model: Path, tmp_path: Path):
    def message(directory: Path, **fields: Any) -> str:
        with pytest.raises(GatewiseError) as caught:
            TextClassifier(**STARTS, pretrained=str(directory), **fields).fit(
                opinions(), progress=False
            )
        return str(caught.value)

    assert "no such directory" in message(tmp_path / "nowhere")
    schema = json.loads((language_model / "schema.json").read_text())
    short = Vocabulary.build([["a", "b"]]).to_dict()
    (language_model / "schema.json").write_text(json.dumps({**schema, "vocabulary": short}))
    assert "a row for each of the 4 tokens" in message(language_model)
    wrong = {"encoder": {**schema["network"]["encoder"], "hidden_size": 9}}
    (language_model / "schema.json").write_text(json.dumps({**schema, "network": wrong}))
    assert "contents that do not fit together" in message(language_model)
    (language_model / "schema.json").write_text(json.dumps({"network": {}}))
    assert "expected a model that reads tokens, got a language-model" in message(language_model)


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    rows = {"film": [1.0, 2.0, 3.0], "fine": [-1.0, 0.5, 0.25], "elsewhere": [9.0, 9.0, 9.0]}
    lines = [" ".join([word, *map(str, row)]) for word, row in rows.items()]
    (tmp_path / "vectors.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "vectors.txt"


def test_words_get_their_vectors(vectors: Path):
    frame = opinions(40)
    frame["text"] = frame["text"].str.replace("film", "Film")
    fields = {**STARTS, "vectors": str(vectors), "hidden_size": 4}
    model = TextClassifier(**fields, freeze_vectors=True).fit(frame, progress=False)
    vocabulary, weight = model.model_.reader.vocabulary, model.network_.encoder.embedding.weight
    assert weight[vocabulary.number("Film")].tolist() == [1.0, 2.0, 3.0]
    assert weight[vocabulary.number("fine")].tolist() == [-1.0, 0.5, 0.25]
    # Words without a vector are as large as those with one; unknown ones and padding are zero.
    other = weight[vocabulary.number("the")]
    assert 0.05 < float(other.abs().max()) < 6
    assert not weight[vocabulary.number("<unk>")].any()
    assert not weight[vocabulary.number("<pad>")].any()
    trained = TextClassifier(**fields).fit(frame, progress=False)
    row = trained.network_.encoder.embedding.weight[vocabulary.number("fine")]
    assert row.tolist() != [-1.0, 0.5, 0.25]


def test_vectors_of_another_size_or_language_are_refused(vectors: Path, tmp_path: Path):
    with pytest.raises(GatewiseError, match="embedding_size: expected 3"):
        TextClassifier(**QUICK_TEXTS, vectors=str(vectors)).fit(opinions(), progress=False)
    with pytest.raises(GatewiseError, match="vectors of the words asked for"):
        TextClassifier(**STARTS, vectors=str(vectors)).fit(
            ["ja", "nein"] * 10, ["a", "b"] * 10, progress=False
        )
    with pytest.raises(GatewiseError, match="nowhere"):
        TextClassifier(**STARTS, vectors=str(tmp_path / "nowhere.vec")).fit(
            opinions(), progress=False
        )
