"""What a classifier refuses, by file and line, and what it warns of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gatewise.errors import GatewiseError, InvalidSettingsError
from gatewise.tasks import TextClassifier, load
from tasks.cases import QUICK_TEXTS, opinions

GOOD = "good\tthe film is fine\nbad\tthe film is dull\n" * 10


def fit(X: Any, y: Any = None, **fields: Any) -> TextClassifier:
    return TextClassifier(**{**QUICK_TEXTS, "max_epochs": 1, **fields}).fit(X, y, progress=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD.encode() + b"good\tcaf\xe9\n", r"line 21.*UTF-8"),
        (b"", "at least one text"),
        (b"\n \n", "at least one text"),
        (b"good\ta text\ngood\tanother\n", "at least two classes, got 'good' alone"),
        (GOOD.encode() + b"good\n", r"line 21: expected a label and a text"),
        (GOOD.encode() + b"go\0od\tx\n", "line 21"),
    ],
)
def test_faults_of_a_file_name_it(tmp_path: Path, content: bytes, message: str):
    file = tmp_path / "texts.txt"
    file.write_bytes(content)
    with pytest.raises(GatewiseError, match=rf"(?s){message}") as caught:
        fit(file, layout="label-first", separator="\t")
    assert "texts.txt" in str(caught.value) or "classes" in str(caught.value)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (None, None, "fit: X: expected a path"),
        (["a", "b"], None, "fit: y: expected a label for each text, got None"),
        (["a", "b"], ["x"], "the labels: expected 2, one a text, got 1"),
        (["a", " \t"], ["x", "y"], r"the texts, number 1: expected a text, got a blank"),
        (["a", None], ["x", "y"], r"number 1: expected a text, got nothing"),
        (["a", 3.5], ["x", "y"], r"number 1: expected a text, got 3.5"),
        (["a", "b"], ["x", float("nan")], r"number 1: expected a label, got none"),
        (["a", "b"], ["x", None], r"number 1: expected a label, got none"),
        (["a", "b"], ["x", []], r"number 1: expected a label, got none"),
        (["a", "b"], ["x", ["x", "y"]], r"number 1: expected one label, got 2"),
        (["a", "b"], ["x", "x"], "at least two classes"),
        ("one text alone", ["x"], "expected nothing beside a file"),
        (pd.DataFrame({"text": ["a", "b"]}), None, "label"),
        (pd.DataFrame({"text": ["a", None], "label": ["x", "y"]}), None, "row 1: expected a text"),
        (pd.DataFrame({"text": ["a", "b"], "label": ["x", None]}), None, "row 1: expected a label"),
        (pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}), ["x", "y"], "expected nothing"),
    ],
)
def test_faults_of_lists_and_frames_name_the_row(X: Any, y: Any, message: str):
    with pytest.raises(GatewiseError, match=message):
        fit(X, y)


def test_a_class_that_was_never_seen_is_named_by_its_place():
    model = fit(opinions())
    with pytest.raises(
        GatewiseError, match=r"number 1: expected one of 'bad', 'good', 'none', got 'gud'"
    ):
        model.evaluate(["a", "b"], ["good", "gud"])
    with pytest.raises(GatewiseError, match="number 0: expected one of"):
        TextClassifier(**QUICK_TEXTS).fit(
            opinions(), validation=(["a"], ["strange"]), progress=False
        )
    with pytest.raises(GatewiseError, match="validation: y: expected a label"):
        TextClassifier(**QUICK_TEXTS).fit(opinions(), validation=["a", "b"], progress=False)
    with pytest.raises(GatewiseError, match="a pair, texts and labels, got 3"):
        TextClassifier(**QUICK_TEXTS).fit(
            opinions(), validation=(["a"], ["good"], 1), progress=False
        )


def test_a_text_without_a_known_token_is_classified_as_the_frequencies_say():
    texts = ["a film"] * 30 + ["a book"] * 10
    model = fit(texts, ["film"] * 30 + ["book"] * 10, max_epochs=6)
    shares = model.predict_proba(["zxq wvut", "qqq"])
    assert np.isfinite(shares).all()
    with pytest.warns(UserWarning, match=r"1 text\(s\) without a token.*number 1"):
        assert model.predict(["zxq", ""]).shape == (2,)


def test_long_texts_are_cut_with_a_warning_that_names_the_first():
    long = "the film is fine " + "and on " * 50
    frame = pd.concat([opinions(40), pd.DataFrame({"text": [long], "label": ["good"]})])
    with pytest.warns(UserWarning, match=r"1 text\(s\) longer than 20 tokens.*row \d+, 104 tokens"):
        model = fit(frame, longest=20, validation_size=0.0)
    with pytest.warns(UserWarning, match=r"number 0, 104 tokens"):
        cut = model.predict_proba([long])
    np.testing.assert_array_equal(cut, model.predict_proba([" ".join(long.split()[:20])]))
    whole = fit(frame, longest=None, validation_size=0.0)
    assert whole.encode([long])["tokens"].shape == (104, 1)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"pooling": ("median",)}, "pooling"),
        ({"pooling": ()}, "pooling"),
        ({"pooling": ("max", "max")}, "pooling"),
        ({"tokens": "syllables"}, "tokens"),
        ({"tokens": "subwords", "vocabulary_size": 20}, "vocabulary_size"),
        ({"weight_dropout": 0.1, "cell": "rnn"}, "weight_dropout"),
        ({"freeze_vectors": True}, "freeze_vectors"),
        ({"pretrained": "somewhere", "hidden_size": 7}, "hidden_size"),
        ({"pretrained": "somewhere", "tokens": "characters"}, "tokens"),
        ({"adversarial": "pgd"}, "adversarial"),
        ({"word_dropout": 1.0}, "word_dropout"),
        ({"adversarial_radius": 0.0}, "adversarial_radius"),
    ],
)
def test_settings_that_make_no_sense(fields: dict[str, Any], named: str):
    with pytest.raises(InvalidSettingsError) as caught:
        TextClassifier(**fields).fit(opinions(), progress=False)
    assert [fault.where for fault in caught.value.faults] == [named]


def test_too_many_validation_texts():
    with pytest.raises(GatewiseError, match="validation_size: expected at most 37 of 40 texts"):
        fit(opinions(40), validation_size=38.0)


def test_a_vocabulary_of_other_weights_is_refused(tmp_path: Path):
    one = fit(opinions(60), ngrams=2).save(tmp_path / "one")
    other = opinions(60, seed=1)
    other["text"] += " platypus"
    two = fit(other, ngrams=2).save(tmp_path / "two")
    schema = json.loads((one / "schema.json").read_text())
    theirs = json.loads((two / "schema.json").read_text())
    for name in ("vocabulary", "ngrams", "labels"):
        changed = {**schema, name: theirs[name]}
        if name == "labels":
            changed["labels"] = {**theirs["vocabulary"], "unknown": None, "padding": None}
            changed["labels"].pop("fingerprint")
            from gatewise.data.text import Vocabulary

            tokens, counts = changed["labels"]["tokens"], changed["labels"]["counts"]
            changed["labels"] = Vocabulary(tuple(tokens), tuple(counts), None, None).to_dict()
        (one / "schema.json").write_text(json.dumps(changed))
        with pytest.raises(GatewiseError, match=r"a row for each of the .* tokens"):
            load(one)


def test_a_loss_that_is_no_number_ends_the_fit():
    with pytest.raises(GatewiseError, match="expected a finite"):
        fit(opinions(), learning_rate=1e38, gradient_clip=None, max_epochs=3)
