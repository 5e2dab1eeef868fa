"""Bad input to a tagger: each fault is one message, with file and line where there are any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewise import tasks
from gatewise.data.text import Vocabulary
from gatewise.errors import (
    GatewiseError,
    InvalidFileError,
    InvalidSettingsError,
    InvalidStateError,
    InvalidTypeError,
    InvalidValueError,
)
from gatewise.tasks import SequenceTagger
from tasks.tagging_cases import QUICK_TAGGER, tagged_file, tagged_names

GOOD = "Ada B-PER\nwrote O\n\nin O\nRome B-LOC\n\n"


@pytest.fixture(scope="module")
def fitted() -> SequenceTagger:
    return SequenceTagger(**QUICK_TAGGER).fit(tagged_file(), progress=False)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "bad.conll"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (GOOD.encode() + "Zürich B-LOC\n".encode("latin-1"), 7, "text in UTF-8, got the byte 0xfc"),
        (GOOD + "Bern\n", 7, "2 columns, as above, got 1"),
        (GOOD + "Bern x B-LOC\n", 7, "2 columns, as above, got 3"),
        (GOOD + "Bern\0 B-LOC\n", 7, "text, got a NUL"),
        (GOOD + "in O\nBern I-LOC\n", 8, r"tags in the scheme BIO, got 'I-LOC'.* set repair"),
    ],
)  # fmt: skip
def test_faults_of_a_file_name_the_line(write: Any, content: Any, line: int, message: str):
    with pytest.raises(GatewiseError, match=rf"bad\.conll, line {line}: expected {message}"):
        SequenceTagger(**QUICK_TAGGER).fit(write(content), progress=False)


@pytest.mark.parametrize("content", ["", "\n \n", "-DOCSTART- O\n\n"])
def test_an_empty_file_is_refused(write: Any, content: str, fitted: SequenceTagger):
    path = write(content)
    for call in (SequenceTagger(**QUICK_TAGGER).fit, fitted.predict, fitted.evaluate):
        with pytest.raises(InvalidFileError, match=r"bad\.conll: expected at least one sentence"):
            call(path)


def test_a_file_that_is_not_there(fitted: SequenceTagger):
    with pytest.raises(InvalidFileError, match="nowhere"):
        fitted.predict("nowhere.conll")


@pytest.mark.parametrize("method", ["evaluate", "score", "evaluate_labels", "write_report"])
def test_tags_that_training_had_not_are_named(write: Any, fitted: SequenceTagger, method: str):
    path = write("in O\nBern B-CITY\n")
    arguments = [path.with_suffix(".html"), path] if method == "write_report" else [path]
    with pytest.raises(
        InvalidValueError, match=r"line 2: expected a span of 'LOC', 'PER', got 'B-CITY'"
    ):
        getattr(fitted, method)(*arguments)


def test_validation_with_other_tags_is_refused_before_training(write: Any):
    held = write("in O\n\nBern B-CITY\n")
    with pytest.raises(
        InvalidValueError, match=r"bad\.conll, line 3: expected a span of 'LOC', 'PER'"
    ):
        SequenceTagger(**QUICK_TAGGER).fit(*tagged_names(), validation=held, progress=False)
    kinds = [["a" if tag == "O" else "b" for tag in tags] for tags in tagged_names()[1]]
    with pytest.raises(InvalidValueError, match=r"line 1: expected one of 'a', 'b', got 'O'"):
        SequenceTagger(**QUICK_TAGGER).fit(
            tagged_names()[0], kinds, validation=held, progress=False
        )


def test_a_scheme_named_by_the_user_is_held_to(write: Any):
    path = write(GOOD + "Bern I-LOC\n")
    with pytest.raises(InvalidValueError, match=r"line 2: .*scheme BIOES, got 'O' after 'B-PER'"):
        SequenceTagger(**QUICK_TAGGER, scheme="BIOES").fit(path, progress=False)
    path = write("a DET\nb NOUN\n")
    for repair in (False, True):
        model = SequenceTagger(**QUICK_TAGGER, scheme="BIO", repair=repair)
        with pytest.raises(InvalidValueError, match=r"bad\.conll, line 1: expected O, or B-"):
            model.fit(path, progress=False)


def test_text_instead_of_tokens(fitted: SequenceTagger):
    for wrong in (["Ada wrote"], [["Ada"], "wrote"]):
        with pytest.raises(InvalidTypeError, match="a text: part it into tokens first"):
            fitted.predict(wrong)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ([["a", "b"], ["c"]], [["O", "O"]], "2 lists, one a sentence, got 1"),
        ([["a", "b"]], [["O"]], "number 0: expected 2 tags, one a token, got 1"),
        ([["a", "b"]], None, "a list of tags for each sentence, got None"),
        ([["a", ""]], [["O", "O"]], "at least one token, and none without a letter"),
        ([[]], [[]], "at least one token"),
        ([], [], "at least one sentence, got none"),
        ([["a", "b"]], [["O", "O"]], "at least two, got 'O' alone"),
        ([["a", "b"]], ["OO"], "a list of tags"),
        (None, None, "a path, a table or a list of texts, got None"),
        (np.zeros((2, 2)), None, "a path or a list of lists of tokens, got ndarray"),
    ],
)  # fmt: skip
def test_lists_that_are_none(X: Any, y: Any, message: str):
    with pytest.raises(GatewiseError, match=message):
        SequenceTagger(**QUICK_TAGGER).fit(X, y, progress=False)


def test_tags_beside_a_file_are_refused(fitted: SequenceTagger):
    with pytest.raises(InvalidTypeError, match=r"y: expected nothing beside a file, got list"):
        SequenceTagger(**QUICK_TAGGER).fit(tagged_file(), [["O"]], progress=False)
    with pytest.raises(InvalidTypeError, match=r"validation: expected a file or a pair"):
        SequenceTagger(**QUICK_TAGGER).fit(*tagged_names(), validation=[[["a"]]], progress=False)


def test_too_few_sentences_to_keep_some():
    with pytest.raises(InvalidValueError, match="validation_size: expected less than the 1 sent"):
        SequenceTagger(**QUICK_TAGGER).fit([["a", "b"]], [["N", "V"]], progress=False)


def test_settings_that_contradict_each_other():
    model = SequenceTagger(cell="rnn", weight_dropout=0.2, vector_words=10)
    with pytest.raises(InvalidSettingsError) as caught:
        model.fit(*tagged_names(), progress=False)
    assert {fault.where for fault in caught.value.faults} == {"weight_dropout", "vector_words"}


def test_a_vocabulary_of_other_weights_is_refused(fitted: SequenceTagger, tmp_path: Path):
    fitted.save(tmp_path / "model")
    path = tmp_path / "model" / "schema.json"
    whole = json.loads(path.read_text())
    few = Vocabulary.build([["a", "b"]])
    for part in ("words", "characters"):
        broken = {**whole, "features": {**whole["features"], part: few.to_dict()}}
        path.write_text(json.dumps(broken))
        with pytest.raises(
            InvalidStateError, match=r"embedding.weight: expected a row for each of"
        ):
            tasks.load(tmp_path / "model")
    tags = {**whole["tags"], "known": Vocabulary(("O", "B-X"), (0, 0), None, None).to_dict()}
    path.write_text(json.dumps({**whole, "tags": tags}))
    with pytest.raises(InvalidStateError, match=r"output.bias: expected a row for each of the 2"):
        tasks.load(tmp_path / "model")
    path.write_text(json.dumps(whole))
    assert tasks.load(tmp_path / "model").predict([["Mr"]]) == fitted.predict([["Mr"]])


def test_a_loaded_model_needs_sentences_for_a_report(fitted: SequenceTagger, tmp_path: Path):
    fitted.save(tmp_path / "model")
    loaded = tasks.load(tmp_path / "model")
    with pytest.raises(InvalidValueError, match="write_report: X: expected tagged sentences"):
        loaded.write_report(tmp_path / "report.html")
    assert "given" in loaded.write_report(tmp_path / "r.html", *tagged_names(30)).read_text()
