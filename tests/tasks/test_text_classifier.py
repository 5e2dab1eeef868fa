"""The classifier learns what it should, says it in the user's own words, and repeats to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score

from gatewise.errors import InvalidStateError
from gatewise.tasks import TextClassifier
from gatewise.training import FitInterrupted
from tasks.cases import QUICK_TEXTS, opinions

LEARNS: dict[str, Any] = {
    **QUICK_TEXTS,
    "embedding_size": 16,
    "hidden_size": 16,
    "max_epochs": 7,
    "batch_size": 16,
    "word_dropout": 0.0,
    "output_dropout": 0.2,
}
"""Settings that learn what a "not" means."""


@pytest.fixture(scope="module")
def model() -> TextClassifier:
    return TextClassifier(**LEARNS).fit(opinions(400), progress=False)


def test_it_learns_what_a_bag_of_words_cannot(model: TextClassifier):
    texts = ["the film is fine", "the film is not fine", "the song is awful", "the song is long"]
    assert model.predict(texts).tolist() == ["good", "bad", "bad", "none"]
    scores = model.evaluate(opinions(300, seed=1))
    # One label in ten is drawn at random, so 93 % is all there is to know.
    assert scores["model"]["accuracy"] > 0.88
    assert scores["model"]["accuracy"] > scores["majority"]["accuracy"] + 0.3
    assert set(scores) == {"model", "majority", "naive_bayes"}


def test_labels_and_probabilities_agree(model: TextClassifier):
    test = opinions(50, seed=2)
    labels, shares = model.predict(test), model.predict_proba(test)
    assert model.classes_.tolist() == ["bad", "good", "none"]
    assert shares.shape == (50, 3)
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_array_equal(model.classes_[shares.argmax(1)], labels)
    assert model.score(test) == np.mean(labels == test["label"])
    assert model.score(list(test["text"]), list(test["label"])) == model.score(test)


def test_each_text_is_classified_by_itself(model: TextClassifier):
    # Of very different lengths, so that they share padding, and not in the order of length.
    texts = [" ".join(["film"] * n) + " is not dull" for n in (1, 90, 7, 300, 2, 40)]
    together = model.predict_proba(texts)
    alone = np.concatenate([model.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert len(np.unique(together.round(6), axis=0)) == len(texts)


def test_the_table_stands_beside_the_texts(model: TextClassifier, tmp_path: Path):
    file = tmp_path / "texts.txt"
    file.write_text("the film is fine\n\nthe song is awful\n", encoding="utf-8")
    with pytest.warns(UserWarning, match=r"1 text\(s\) without a token.*texts.txt, line 2"):
        table = model.predict_table(file)
    assert list(table.columns) == ["text", "label", "p(bad)", "p(good)", "p(none)"]
    assert table["text"].tolist() == ["the film is fine", "", "the song is awful"]
    assert table["label"].tolist()[::2] == ["good", "bad"]
    assert table[["p(bad)", "p(good)", "p(none)"]].sum(axis=1).to_numpy() == pytest.approx(1)


def test_encode_and_decode_are_the_ends_of_the_network(model: TextClassifier):
    test = opinions(20, seed=3)
    with torch.no_grad():
        outputs = model.network_(**model.encode(test))
    np.testing.assert_array_equal(model.decode(outputs), model.predict(test))


def test_numbers_become_the_users_own_texts():
    frame = opinions(120).replace({"label": {"good": "1", "bad": "0", "none": "0"}})
    as_texts = TextClassifier(**QUICK_TEXTS).fit(frame, progress=False)
    numbers = [int(label) for label in frame["label"]]
    model = TextClassifier(**QUICK_TEXTS).fit(list(frame["text"]), numbers, progress=False)
    assert model.classes_.tolist() == ["0", "1"]
    np.testing.assert_array_equal(model.predict_proba(frame), as_texts.predict_proba(frame))


def several(count: int, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Texts with one to three labels, each of which a word says."""
    rng = np.random.default_rng(seed)
    labels = [
        sorted(rng.choice(["ant", "bee", "cat"], rng.integers(1, 4), False)) for _ in range(count)
    ]
    texts = [" ".join(rng.permutation([*own, "and", "the", "sun"])) for own in labels]
    return texts, [[str(name) for name in own] for own in labels]


def test_several_labels_a_text(tmp_path: Path):
    model = TextClassifier(**{**LEARNS, "multi_label": True}).fit(*several(200), progress=False)
    assert list(model.predict(["bee sun", "cat and the ant"])) == [("bee",), ("ant", "cat")]
    scores = model.evaluate(*several(100, seed=1))
    assert scores["model"]["f1_micro"] > 0.95
    assert model.score(*several(100, seed=1)) == scores["model"]["f1_micro"]
    shares = model.predict_proba(["ant bee cat"])
    assert (shares > 0.5).all()
    assert model.predict_table(["cat and the ant"])["label"].tolist() == ["ant,cat"]
    page = model.write_report(tmp_path / "report.html").read_text()
    assert "Micro F1" in page
    assert "Confusions" not in page


@pytest.mark.parametrize(
    "change",
    [
        {"ngrams": 3, "ngram_count": 1},
        {"tokens": "characters", "ngrams": 2},
        {"tokens": "subwords", "vocabulary_size": 300},
        {"pooling": ("last", "attention")},
        {"pooling": ("last",), "bidirectional": False, "num_layers": 2, "cell": "gru"},
        {"weight_dropout": 0.2, "label_smoothing": 0.1},
        {"cell": "slstm"},
        {"cell": "xlstm", "pooling": ("last", "max")},
        {"adversarial": "fgm", "adversarial_radius": 0.5},
        {"adversarial": "vat", "adversarial_radius": 0.5},
        {"validation_size": 0.0, "monitor": "loss"},
    ],
    ids=str,
)
def test_every_kind_of_network_learns_and_is_saved(change: dict[str, Any], tmp_path: Path):
    fields = {**LEARNS, "max_epochs": 4, **change}
    model = TextClassifier(**fields).fit(opinions(240), progress=False)
    test = opinions(100, seed=1)
    assert model.score(test) > 0.55, change
    loaded = TextClassifier.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(test), model.predict_proba(test))
    assert loaded.evaluate(test) == model.evaluate(test)


def test_bigrams_are_read_and_not_only_counted():
    frame = opinions(100)
    model = TextClassifier(**{**QUICK_TEXTS, "ngrams": 2}).fit(frame, progress=False)
    inputs = model.encode(["the film is not fine"])
    assert inputs["ngrams"].shape == (1, 5, 1)
    known = model.model_.reader.ngrams[0]
    assert known.decode(inputs["ngrams"][0, :, 0].numpy())[3] == "not fine"
    with torch.no_grad():
        whole = model.network_(**inputs)
        blind = model.network_(**{**inputs, "ngrams": torch.zeros_like(inputs["ngrams"])})
    assert (whole - blind).abs().max() > 0.01


def test_an_interrupted_fit_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from gatewise.tasks.classification.task import ClassifierTask

    fields = {**QUICK_TEXTS, "adversarial": "vat"}
    whole = TextClassifier(**fields).fit(opinions(), progress=False)
    steps, loss = [0], ClassifierTask.loss

    def interrupted(self: Any, network: Any, indices: Any) -> Any:
        steps[0] += 1
        if steps[0] == 20:
            raise KeyboardInterrupt
        return loss(self, network, indices)

    monkeypatch.setattr(ClassifierTask, "loss", interrupted)
    with pytest.raises((KeyboardInterrupt, FitInterrupted)):
        TextClassifier(**fields, checkpoint_seconds=1e-6).fit(
            opinions(), run_dir=tmp_path / "run", progress=False
        )
    monkeypatch.setattr(ClassifierTask, "loss", loss)
    resumed = TextClassifier(**fields).fit(
        opinions(), run_dir=tmp_path / "run", resume=True, progress=False
    )
    np.testing.assert_array_equal(
        resumed.predict_proba(opinions()), whole.predict_proba(opinions())
    )


def test_validation_texts_decide_and_are_not_learned_from():
    train, held = opinions(200), opinions(60, seed=5)
    held["text"] += " platypus"
    model = TextClassifier(**QUICK_TEXTS).fit(train, validation=held, progress=False)
    pair = (list(held["text"]), list(held["label"]))
    again = TextClassifier(**QUICK_TEXTS).fit(train, validation=pair, progress=False)
    assert model.split_ == "validation"
    assert model.scores_ == again.scores_
    assert model.scores_["model"]["accuracy"] == model.score(held)
    assert "platypus" not in model.model_.reader.vocabulary
    best = max(record.scores["accuracy"] for record in model.history_)
    assert model.scores_["model"]["accuracy"] == pytest.approx(best)


def test_without_validation_the_scores_say_so():
    model = TextClassifier(**QUICK_TEXTS, validation_size=0.0).fit(opinions(), progress=False)
    assert model.split_ == "training"
    assert model.scores_["model"]["accuracy"] == model.score(opinions())


def test_scikit_learn_searches_and_stratifies():
    frame = opinions(90)
    texts, labels = list(frame["text"]), list(frame["label"])
    assert is_classifier(TextClassifier())
    scores = cross_val_score(QuietClassifier(**QUICK_TEXTS), texts, labels, cv=2)
    assert scores.shape == (2,)
    search = GridSearchCV(QuietClassifier(**QUICK_TEXTS), {"hidden_size": [2, 8]}, cv=2)
    assert set(search.fit(texts, labels).predict(texts)) <= set(labels)


class QuietClassifier(TextClassifier):
    """Without a progress bar, which a search cannot turn off."""

    def fit(self, X: Any = None, y: Any = None, **options: Any) -> TextClassifier:
        return super().fit(X, y, **{**options, "progress": False})


def test_a_text_may_be_any_of_the_layouts(tmp_path: Path):
    frame = opinions(60)
    files = {
        "a.csv": {},
        "b.txt": {"layout": "label-first", "separator": " | "},
        "c.jsonl": {},
    }
    frame.to_csv(tmp_path / "a.csv", index=False)
    lines = [f"{row.label}:in detail | {row.text}" for row in frame.itertuples()]
    (tmp_path / "b.txt").write_text("\n".join(lines), encoding="utf-8")
    frame.to_json(tmp_path / "c.jsonl", orient="records", lines=True)
    expected = TextClassifier(**QUICK_TEXTS).fit(frame, progress=False).predict_proba(frame)
    for name, fields in files.items():
        cut = {"cut_label": ":"} if name == "b.txt" else {}
        model = TextClassifier(**QUICK_TEXTS, **fields, **cut).fit(tmp_path / name, progress=False)
        np.testing.assert_array_equal(model.predict_proba(tmp_path / name), expected, name)
        assert model.score(tmp_path / name) == np.mean(
            model.predict(list(frame["text"])) == frame["label"]
        )


def test_describe_counts_by_hand(model: TextClassifier):
    facts = model.describe()
    rows = {row["layer"]: row for row in facts["layers"]}
    words = len(model.model_.reader.vocabulary)
    assert rows["encoder.embedding"]["parameters"] == 16 * words
    # Two directions, four gates of 16 units that read 16 features and 16 states; two biases each.
    assert rows["encoder.layers.0"]["parameters"] == 2 * (4 * 16 * 32 + 2 * 4 * 16)
    assert facts["flops_a_token"] == 2 * 2 * 4 * 16 * 32
    # max and mean of two directions, three classes.
    assert rows["head"]["parameters"] == 3 * 64 + 3
    assert facts["flops_a_text"] == 2 * 3 * 64


def test_the_example_ships_with_python():
    given = TextClassifier.example()
    again = TextClassifier.example()
    assert (given.X, given.y) == (again.X, again.y)
    assert len(given.X) == len(given.y) > 3000
    assert len(set(given.y)) == 12
    assert dict(zip(given.X, given.y, strict=True)).get("latin letter small capital b") in (
        None,
        "lowercase letter",
    )
    assert pd.Series(given.y).value_counts().max() == 400


def test_unfitted_use_is_a_clear_error():
    for method in ("predict_proba", "predict_table", "encode", "score"):
        with pytest.raises(InvalidStateError, match="Call fit first"):
            getattr(TextClassifier(), method)(["a text"])
    with pytest.raises(InvalidStateError, match="write_report: expected a fitted"):
        TextClassifier().write_report("nowhere.html")
    with pytest.raises(InvalidStateError, match="describe: expected a fitted"):
        TextClassifier().describe()
