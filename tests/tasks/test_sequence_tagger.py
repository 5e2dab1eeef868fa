"""What a tagger learns and gives back: tags in the user's scheme, spans, tables, scores."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from gatewise.data.text import check_tags, convert_tags
from gatewise.tasks import SequenceTagger
from gatewise.tasks.sequence_tagger import TaggedSpan
from tasks.tagging_cases import LEARNS, QUICK_TAGGER, Tagging, conll, tagged_names


@pytest.fixture(scope="module")
def names() -> Tagging:
    return tagged_names()


@pytest.fixture(scope="module")
def fresh() -> Tagging:
    """Sentences that no training has seen."""
    return tagged_names(60, seed=1)


@pytest.fixture(scope="module")
def learned(names: Tagging) -> SequenceTagger:
    return SequenceTagger(**LEARNS).fit(*names, progress=False)


def test_it_learns_what_words_alone_do_not_tell(learned: SequenceTagger, fresh: Tagging):
    scores = learned.evaluate(*fresh)
    assert scores["model"]["f1"] > 0.95
    assert scores["most_frequent_tag_of_word"]["f1"] < 0.6
    assert scores["most_frequent_tag"]["f1"] == 0
    assert learned.score(*fresh) == scores["model"]["f1"]
    assert learned.headline == ("f1", "max")


@pytest.mark.parametrize("trained", ["same", "BIO"])
@pytest.mark.parametrize("scheme", ["IOB1", "BMES"])
def test_predictions_are_in_the_scheme_of_the_data(scheme: str, trained: str, fresh: Tagging):
    model = SequenceTagger(**LEARNS, trained_scheme=trained)
    model.fit(*tagged_names(scheme=scheme), progress=False)
    assert (model.tags_.given, model.tags_.trained) == (
        scheme,
        scheme if trained == "same" else "BIO",
    )
    X, y = tagged_names(60, seed=1, scheme=scheme)
    said = model.predict(X)
    for tags in said:
        check_tags(tags, scheme)
    assert sum(a == b for a, b in zip(said, y, strict=True)) > 50


@pytest.mark.parametrize("head", ["crf", "softmax"])
def test_without_constraints_predictions_still_keep_to_the_scheme(head: str, fresh: Tagging):
    fields = {**QUICK_TAGGER, "max_epochs": 1, "head": head, "constraints": False}
    model = SequenceTagger(**fields).fit(*tagged_names(), progress=False)
    for tags in model.predict(fresh[0]):
        check_tags(tags, "BIO")


def test_tags_that_are_no_spans(names: Tagging):
    X, y = names
    kinds = [["T" if tag == "O" else tag[2:] for tag in tags] for tags in y]
    model = SequenceTagger(**LEARNS).fit(X, kinds, progress=False)
    scores = model.evaluate(X, kinds)
    assert set(scores["model"]) == {"accuracy", "macro_f1"}
    assert model.headline == ("accuracy", "max")
    assert model.score(X, kinds) == scores["model"]["accuracy"] > 0.95
    assert model.tags_.constraints is None
    assert model.predict_spans([["in", "Alva"]])[0][1] == TaggedSpan("LOC", 1, 2, "Alva")


def test_tags_may_be_kept_apart_that_look_like_spans(names: Tagging):
    model = SequenceTagger(**QUICK_TAGGER, scheme="none").fit(*names, progress=False)
    assert set(model.tags_.known.tokens) == {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    assert "f1" not in model.scores_["model"]


def test_a_sentence_is_tagged_alike_alone_and_among_others(learned: SequenceTagger, fresh: Tagging):
    together = learned.predict(fresh[0])
    assert [len(tags) for tags in together] == [len(tokens) for tokens in fresh[0]]
    for tokens, tags in zip(fresh[0][:15], together, strict=False):
        assert learned.predict([tokens]) == [tags]


def test_spans_and_their_texts(learned: SequenceTagger, fresh: Tagging):
    for tokens, tags, spans in zip(
        fresh[0], learned.predict(fresh[0]), learned.predict_spans(fresh[0]), strict=True
    ):
        assert all(one.text == " ".join(tokens[one.start : one.stop]) for one in spans)
        marked = [one.label for one in spans for _ in range(one.start, one.stop)]
        assert marked == [tag[2:] for tag in tags if tag != "O"]
    (spans,) = learned.predict_spans([["Mr", "Alva", "Brin", "in", "Cole"]])
    assert spans == [TaggedSpan("PER", 1, 3, "Alva Brin"), TaggedSpan("LOC", 4, 5, "Cole")]


def test_the_table_has_a_row_for_each_token(learned: SequenceTagger):
    table = learned.predict_table([["Mr", "Alva"], ["in", "Cole"]])
    assert list(table.columns) == ["sentence", "token", "tag"]
    assert table["sentence"].tolist() == [0, 0, 1, 1]
    assert table["token"].tolist() == ["Mr", "Alva", "in", "Cole"]
    assert table["tag"].tolist() == ["O", "B-PER", "O", "B-LOC"]


def test_encode_and_decode_are_the_halves_of_predict(learned: SequenceTagger, fresh: Tagging):
    with torch.no_grad():
        outputs = learned.network_(**learned.encode(fresh[0]))
    assert outputs.shape[1:] == (len(fresh[0]), len(learned.tags_.known))
    assert learned.decode(outputs, fresh[0]) == learned.predict(fresh[0])


def test_each_label_has_scores_of_its_own(learned: SequenceTagger, fresh: Tagging):
    rows = learned.evaluate_labels(*fresh)
    assert set(rows) == {"LOC", "PER"}
    for label, row in rows.items():
        assert row["support"] == sum(tag == f"B-{label}" for tags in fresh[1] for tag in tags)


@pytest.mark.parametrize("ending", ["conll", "conll.gz", "jsonl"])
def test_files_are_read_as_lists_are(
    ending: str, names: Tagging, fresh: Tagging, tmp_path: Path, learned: SequenceTagger
):
    train, test = tmp_path / f"train.{ending}", tmp_path / f"test.{ending}"
    for path, data in ((train, names), (test, fresh)):
        if ending == "jsonl":
            import json

            rows = zip(*data, strict=True)
            path.write_text("".join(json.dumps({"tokens": X, "tags": y}) + "\n" for X, y in rows))
        else:
            text = conll(*data).encode()
            path.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    if ending == "conll":
        model = SequenceTagger(**LEARNS).fit(train, progress=False)
        assert model.scores_ == learned.scores_
    assert learned.predict(str(test)) == learned.predict(fresh[0])
    assert learned.evaluate(test) == learned.evaluate(*fresh)


def test_a_column_of_conllu_is_chosen(tmp_path: Path):
    rows = [("The", "DET", "DT"), ("cat", "NOUN", "NN")]
    lines = "".join(
        f"{n}\t{form}\t_\t{upos}\t{xpos}" + "\t_" * 5 + "\n"
        for n, (form, upos, xpos) in enumerate(rows, 1)
    )
    path = tmp_path / "tiny.conllu"
    path.write_text(f"{lines}\n" * 10)
    fields = {**QUICK_TAGGER, "max_epochs": 1}
    for column, tags in ((None, {"DET", "NOUN"}), ("xpos", {"DT", "NN"})):
        model = SequenceTagger(**fields, tag_column=column).fit(path, progress=False)
        assert set(model.tags_.known.tokens) == tags


@pytest.mark.parametrize("kind", ["pair", "file"])
def test_validation_data_are_what_scores_are_of(
    kind: str, names: Tagging, fresh: Tagging, tmp_path: Path
):
    validation: Any = fresh
    if kind == "file":
        validation = tmp_path / "fresh.conll"
        validation.write_text(conll(*fresh))
    model = SequenceTagger(**QUICK_TAGGER).fit(*names, validation=validation, progress=False)
    assert model.split_ == "validation"
    assert model.scores_ == model.evaluate(*fresh)
    best = model.history_[model.best_epoch_ - 1].scores
    assert best["f1"] == pytest.approx(model.scores_["model"]["f1"])
    assert best["f1"] == max(record.scores["f1"] for record in model.history_)


def test_sentences_are_kept_for_validation(names: Tagging):
    quick = {**QUICK_TAGGER, "max_epochs": 1}
    for size, trained in ((0.2, 120), (50.0, 100), (0.0, 150)):
        model = SequenceTagger(**quick, validation_size=size).fit(*names, progress=False)
        assert model.history_[0].samples == trained
        assert model.split_ == ("validation" if size else "training")


def test_long_sentences_are_read_in_pieces_and_none_is_lost(
    learned: SequenceTagger, fresh: Tagging, monkeypatch: pytest.MonkeyPatch
):
    tokens, truth = ([one for each in part for one in each] for part in fresh)
    pieces = [tokens[k : k + 30] for k in range(0, len(tokens), 30)]
    expected = [tag for tags in learned.predict(pieces) for tag in tags]
    monkeypatch.setattr(learned.model_, "longest", 30)
    with pytest.warns(UserWarning, match=r"number 0: \d+ tokens, more than 30; read in"):
        (said,) = learned.predict([tokens])
    assert said == expected
    with pytest.warns(UserWarning, match="read in"):
        scores = learned.evaluate([tokens], [truth])
    assert scores["model"]["f1"] > 0.95  # with tags known, none is parted inside a span


def test_training_parts_long_sentences_too(names: Tagging):
    X, y = ([[one for each in part for one in each]] * 3 for part in names)
    with pytest.warns(UserWarning, match="read in"):
        model = SequenceTagger(**QUICK_TAGGER, longest=20, validation_size=1.0).fit(
            X, y, progress=False
        )
    assert model.history_[0].samples >= 2 * len(X[0]) / 20


def test_files_that_break_their_scheme_are_repaired_if_asked(tmp_path: Path, names: Tagging):
    X, y = (list(part) for part in names)
    X.append(["in", "Alva", "Brin"])
    y.append(["O", "I-LOC", "I-LOC"])
    with pytest.warns(UserWarning, match=r"1 of 151 sentences break the scheme BIO .*number 150"):
        model = SequenceTagger(**QUICK_TAGGER, repair=True).fit(X, y, progress=False)
    with pytest.warns(UserWarning, match="1 of 1 sentences break the scheme BIO"):
        rows = model.evaluate_labels(X[-1:], y[-1:])
    assert rows["LOC"]["support"] == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.evaluate_labels(X[-1:], [convert_tags(y[-1], None, "BIO")])


def test_a_resumed_fit_is_the_uninterrupted_one(names: Tagging, fresh: Tagging, tmp_path: Path):
    fields = {**QUICK_TAGGER, "unknown_share": 0.5, "word_dropout": 0.1}
    whole = SequenceTagger(**{**fields, "max_epochs": 4}).fit(*names, progress=False)
    SequenceTagger(**fields).fit(*names, run_dir=tmp_path, progress=False)
    resumed = SequenceTagger(**{**fields, "max_epochs": 4})
    resumed.fit(*names, run_dir=tmp_path, resume=True, progress=False)
    for name, weights in whole.network_.state_dict().items():
        assert torch.equal(weights, resumed.network_.state_dict()[name]), name
    losses = [record.train_loss for record in whole.history_]
    assert [record.train_loss for record in resumed.history_] == losses


def test_the_example_suits_the_tagger():
    example = SequenceTagger.example()
    assert len(example.X) == len(example.y) > 500
    roles = {
        (X, tag)
        for tokens, tags in zip(example.X, example.y, strict=True)
        for X, tag in zip(tokens, tags, strict=True)
    }
    assert ("TextWrapper", "class") in roles
    assert ("self", "parameter") in roles
    assert ("len", "builtin") in roles
    assert ("append", "method") in roles
    assert ("re", "module") in roles
    assert ("def", "keyword") in roles
    SequenceTagger(**{**example.settings, "max_epochs": 1, "hidden_size": 8}).fit(
        example.X[:200], example.y[:200], progress=False
    )
