"""The parts of a tagger: features of tokens, tag sets, sentences as numbers, baselines, counts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from gatewise.data.text import as_tagged, check_tags
from gatewise.errors import InvalidValueError
from gatewise.tasks.tagging.baselines import TagBaselines
from gatewise.tasks.tagging.features import CASINGS, TokenFeatures, casing, spelling
from gatewise.tasks.tagging.sentences import SentenceSet
from gatewise.tasks.tagging.tag_scores import TagScores
from gatewise.tasks.tagging.tags import TagSet

X = [["Rome", "in", "1999"], ["rome", "U.S.", "iPhone"], ["in", "B2B", "ROME", "…"]]


def learned(**options: object) -> TokenFeatures:
    return TokenFeatures.learn(X, **options)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("rome", "lower"), ("ROME", "upper"), ("U.S.", "upper"), ("Rome", "title"),
        ("iPhone", "mixed"), ("1999", "digits"), ("B2B", "with digits"), ("…", "other"),
        ("罗马", "other"), ("A", "upper"),
    ],
)  # fmt: skip
def test_casings(token: str, kind: str):
    assert CASINGS[casing(token)] == kind


def test_words_are_normalised_and_characters_keep_their_case():
    features = learned(lowercase=True, replace_digits=True, characters=True)
    assert features.words.tokens[:3] == ("<pad>", "<unk>", "rome")
    assert features.words.counts[2] == 3
    assert features.word("XY9") == "xy0"
    assert features.spelling("XY9") == "XY0"
    assert "R" in features.characters.tokens
    assert "B" in features.characters.tokens
    assert "P" not in features.characters.tokens  # once: such are unknown, and teach the unknown
    plain = learned()
    assert plain.characters is None
    assert "Rome" in plain.words
    assert "1999" in plain.words


def test_of_a_long_word_the_ends_are_read():
    address = "https://" + "x" * 100 + ".org"
    read = spelling(address, replace_digits=False)
    assert len(read) == 40
    assert read.startswith("https://")
    assert read.endswith(".org")


def test_features_travel_as_json():
    features = learned(
        lowercase=True, characters=True, casing=True, longest_ngram=3, further_words=["Paris"]
    )
    assert "paris" in features.words
    again = TokenFeatures.from_dict(json.loads(json.dumps(features.to_dict())))
    assert again == features
    assert len(again.ngrams) == 2
    assert "in b2b rome" in again.ngrams[1]


def test_a_batch_holds_what_each_token_is():
    features = learned(lowercase=True, characters=True, casing=True, longest_ngram=2)
    sentences = SentenceSet(list(as_tagged(X)), features, None, 99)
    inputs = sentences.batch([2, 0])
    assert inputs["lengths"].tolist() == [4, 3]
    assert features.words.decode(inputs["words"][:, 1].numpy()) == ["rome", "in", "1999", "<pad>"]
    assert [CASINGS[k] for k in inputs["casing"][:, 0]] == [
        "lower",
        "with digits",
        "upper",
        "other",
    ]
    assert CASINGS[inputs["casing"][3, 1]] == "padding"
    bigrams = features.ngrams[0].decode(inputs["ngrams"][0, :, 0].numpy())
    assert bigrams == ["in b2b", "b2b rome", "rome …", "…"]
    known = features.characters
    for row, token in enumerate(X[2]):
        column = int(inputs["spelled"][row, 0])
        length = int(inputs["character_lengths"][column])
        spelled = known.decode(inputs["characters"][:length, column].numpy())
        assert spelled == [one if one in known else "<unk>" for one in token]
        assert (inputs["characters"][length:, column] == 0).all()
    assert inputs["characters"].shape[1] == 7  # six words and the padding, each once


def test_words_that_occur_once_are_unknown_now_and_then():
    features = learned(lowercase=True)
    sentences = SentenceSet(list(as_tagged(X)), features, None, 99)
    unknown = features.words.number("<unk>")
    whole = sentences.batch([0, 1, 2])["words"]
    assert unknown not in whole
    all_gone = sentences.batch([0, 1, 2], replaced=1.0)["words"]
    once = torch.tensor(features.words.counts)[whole] == 1
    assert torch.equal(all_gone == unknown, once)
    assert torch.equal(all_gone[~once], whole[~once])
    torch.manual_seed(0)
    gone = [
        (sentences.batch([0, 1, 2], replaced=0.3)["words"] == unknown).sum() for _ in range(200)
    ]
    assert np.mean(gone) == pytest.approx(0.3 * int(once.sum()), rel=0.15)


@pytest.mark.parametrize("wanted", [True, False])
def test_long_sentences_are_parted_where_it_hurts_least(wanted: bool):
    tokens = ["a", "b", ".", "d", "e", "f", "g"]
    tags = ["O", "B-X", "I-X", "I-X", "O", "B-X", "O"]
    records = list(as_tagged([tokens, ["z"]], [tags, ["O"]]))
    known = TagSet.learn(records, "BIO", "BIOES")
    with pytest.warns(UserWarning, match="number 0: 7 tokens, more than 3; read in"):
        sentences = SentenceSet(records, learned(), known if wanted else None, 3)
    starts = [piece.start for piece in sentences.pieces]
    # Outside of spans where they are known, else behind a full stop.
    assert starts == ([0, 1, 4, 0] if wanted else [0, 3, 6, 0])
    parts = [[f"{number}"] * int(length) for number, length in enumerate(sentences.lengths)]
    assert "".join(sentences.joined(parts)[0]) == ("0111222" if wanted else "0001112")
    assert sentences.joined(parts)[1] == ["3"]


def test_pieces_keep_the_ngrams_of_the_whole_sentence():
    records = list(as_tagged([["a", "b", "c", "d", "e"]]))
    features = TokenFeatures.learn([records[0].tokens], longest_ngram=2)
    with pytest.warns(UserWarning, match="read in 2 pieces"):
        sentences = SentenceSet(records, features, None, 3)
    bigrams = [
        features.ngrams[0].decode(sentences.batch([k])["ngrams"][0, :, 0].numpy()) for k in (0, 1)
    ]
    assert bigrams == [["a b", "b c", "c d"], ["d e", "e"]]


def test_a_span_longer_than_a_piece_is_cut_and_stays_whole_in_its_scheme():
    records = list(as_tagged([["a"] * 7], [["B-X"] + ["I-X"] * 5 + ["O"]]))
    known = TagSet.learn(records, "BIO", "BIOES")
    with pytest.warns(UserWarning, match="read in 3 pieces"):
        sentences = SentenceSet(records, learned(), known, 3)
    for numbers in sentences.tags:
        check_tags(known.known.decode(numbers), "BIOES")
    assert known.known.decode(sentences.tags[1]) == ["B-X", "I-X", "E-X"]


@pytest.mark.parametrize("given", ["IOB1", "BIO", "BIOES", "BMES"])
@pytest.mark.parametrize("trained", ["IOB1", "BIO", "BIOES", "BMES"])
def test_every_part_of_every_label_can_be_said(given: str, trained: str):
    single = {"IOB1": "I-X"}.get(given, "B-X" if given == "BIO" else "S-X")
    records = list(as_tagged([["a", "b"]], [[single, "O"]]))
    tags = TagSet.learn(records, given, trained)
    sizes = {"IOB1": 3, "BIO": 3, "BIOES": 5, "BMES": 5}
    assert len(tags.known) == sizes[trained]
    assert tags.labels == ("X",)
    for spans in ([], [("X", 0, 1), ("X", 1, 2), ("X", 2, 6)]):
        from gatewise.data.text import Span, write_tags

        own = write_tags([Span(*one) for one in spans], 6, given)
        assert tags.decode(tags.encode(own).tolist()) == own
    again = TagSet.from_dict(json.loads(json.dumps(tags.to_dict())))
    assert again == tags


def test_unknown_labels_are_named_by_their_place():
    records = list(as_tagged([["a", "b"]], [["B-X", "O"]]))
    tags = TagSet.learn(records, "BIO", "BIOES")
    for wrong in ("B-Y", "NOUN"):
        later = list(as_tagged([["a", "b"]], [["O", wrong]]))
        with pytest.raises(InvalidValueError, match=rf"number 0, token 1 'b': .*'{wrong}'"):
            tags.settled(later, repair=True)


def test_baselines_count():
    records = list(
        as_tagged(
            [["a", "b"], ["a", "c"], ["a", "d"]], [["X", "Y"], ["Y", "Y"], ["Y", "Z"]]
        )
    )  # fmt: skip
    baselines = TagBaselines.learn(records)
    assert baselines.predict(["a", "d", "new"]) == {
        "most_frequent_tag": ["Y"] * 3,
        "most_frequent_tag_of_word": ["Y", "Z", "Y"],
    }
    tie = TagBaselines.learn(list(as_tagged([["a", "b"]], [["Q", "P"]])))
    assert tie.tag == "P"


def test_counts_of_tags_by_hand():
    counts = TagScores()
    counts.add(["N", "V", "N"], ["N", "N", "N"])
    counts.add(["V"], ["V"])
    assert counts.scores() == {"accuracy": 0.75, "macro_f1": pytest.approx((0.8 + 2 / 3) / 2)}
    assert counts.by_label()["N"] == {
        "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "support": 2.0,
    }  # fmt: skip
    with pytest.raises(InvalidValueError, match="2, one a token, got 1"):
        counts.add(["N", "V"], ["N"])
    empty = TagScores()
    assert empty.scores() == {"accuracy": 0.0, "macro_f1": 0.0}
