"""Parts of tokens: by hand, in a batch as alone, and read where a word was never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gatewise.data.text import as_texts
from gatewise.errors import InvalidSettingsError
from gatewise.tasks import TextClassifier
from gatewise.tasks.classification.fields import TextClassifierFields
from gatewise.tasks.classification.network import ClassifierNetwork, ClassifierShape
from gatewise.tasks.classification.parts import (
    CHARACTERS_AT_EACH_END,
    END,
    START,
    TokenParts,
    parts,
)
from gatewise.tasks.classification.reading import TextReader
from gatewise.tasks.text.encoder import EncoderShape
from tasks.cases import QUICK_TEXTS, opinions

CPU = torch.device("cpu")


def case(word_dropout: float = 0.0) -> tuple[TextReader, ClassifierNetwork]:
    fields = TextClassifierFields(token_parts=(2, 3), ngram_count=1)
    reader = TextReader.fit(fields, list(as_texts(["where there", "here a"])))
    assert reader.parts is not None
    shape = ClassifierShape(
        EncoderShape(len(reader.vocabulary), 4, 3, 3, word_dropout=word_dropout),
        2,
        ("mean",),
        parts=len(reader.parts.vocabulary),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return reader, ClassifierNetwork(shape)


def test_parts_are_those_of_the_paper():
    assert parts("where", [3]) == [f"{START}wh", "whe", "her", "ere", f"re{END}"]
    assert parts("a", [2, 3, 4]) == [f"{START}a", f"a{END}", f"{START}a{END}"]
    # That of the word "her", and that within "where", are two.
    assert f"{START}her{END}" in parts("her", [5])
    assert parts("", [3]) == []


def test_of_a_long_token_the_ends_are_read():
    end = CHARACTERS_AT_EACH_END
    token = "a" * end + "b" * 1000 + "c" * end
    assert parts(token, [2]) == parts("a" * end + "c" * end, [2])
    assert len(parts("b" * 2 * end, [1])) == 2 * end + 2


def test_the_mean_of_the_known_parts_is_added():
    reader, network = case()
    network.eval()
    # "the" is no word of the training set: its parts are, but for that at its end.
    inputs = reader.numbers(list(as_texts(["the zz"]))).batch(np.array([0]), CPU)
    assert inputs["tokens"].flatten().tolist() == [reader.vocabulary.number("<unk>")] * 2
    assert reader.parts is not None
    known, table = reader.parts.vocabulary, network.parts
    assert table is not None
    rows = [known.number(part) for part in parts("the", (2, 3)) if part in known]
    assert 0 < len(rows) < len(parts("the", (2, 3)))
    with torch.no_grad():
        added = network.vectors(inputs["tokens"], None, inputs["parts"])
        added -= network.encoder.embed(inputs["tokens"])
        torch.testing.assert_close(added[0, 0], table.weight[rows].mean(0))
        torch.testing.assert_close(added[1, 0], torch.zeros(4))


def test_a_batch_is_as_its_texts_alone():
    reader, network = case()
    network.eval()
    texts = ["a", "where", "there a here", "zz", "here where where there"]
    numbers = reader.numbers(list(as_texts(texts)))
    with torch.no_grad():
        together = network(**numbers.batch(np.arange(5), CPU))
        alone = [network(**numbers.batch(np.array([k]), CPU)) for k in range(5)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_dropped_parts_are_gone_wherever_they_occur():
    reader, network = case(word_dropout=0.5)
    network.train()
    table = network.parts
    assert table is not None
    inputs = reader.numbers(list(as_texts(["where where"]))).batch(np.array([0]), CPU)
    torch.manual_seed(0)
    with torch.no_grad():
        network.encoder.embedding.weight.zero_()
        shown = [network.vectors(inputs["tokens"], None, inputs["parts"]) for _ in range(50)]
    own = table.weight[inputs["parts"][:, 0, 0]].detach()
    for vectors in shown:
        torch.testing.assert_close(vectors[0], vectors[1])
        # Never larger than the largest part: a mean of those that are left, and no rescaled sum.
        assert bool((vectors[0, 0] <= own.amax(0) + 1e-6).all())
    assert len({tuple(one[0, 0].tolist()) for one in shown}) > 10


def test_a_word_that_was_never_seen_is_read_by_its_ending(tmp_path: Path):
    rng = np.random.default_rng(0)

    def words(count: int) -> tuple[list[str], list[str]]:
        stems = ["".join(rng.choice(list("bdfgklmnprst"), 6)) for _ in range(count)]
        kinds = [str(kind) for kind in rng.choice(["ness", "ical"], count)]
        return [f"the {stem}{kind}" for stem, kind in zip(stems, kinds, strict=True)], kinds

    train, test = words(300), words(100)
    settings = {**QUICK_TEXTS, "max_epochs": 6}
    blind = TextClassifier(**settings).fit(*train, progress=False)
    assert blind.score(*test) < 0.7
    model = TextClassifier(**settings, token_parts=(3, 4)).fit(*train, progress=False)
    assert model.score(*test) > 0.95
    loaded = TextClassifier.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(loaded.predict_proba(test[0]), model.predict_proba(test[0]))
    assert loaded.describe()["token_parts_known"] > 10


def test_no_more_parts_are_known_than_asked_for():
    held = TokenParts.fit((1, 2), ["abc", "abd"], 2, None)
    assert set(held.vocabulary.tokens) == {"<unk>", START, END, "a", "b", f"{START}a", "ab"}
    assert len(TokenParts.fit((1, 2), ["abc", "abd"], 1, 5).vocabulary) == 5
    assert TokenParts.from_dict(held.to_dict()) == held


def test_a_blank_text_is_classified_all_the_same():
    model = TextClassifier(**QUICK_TEXTS, token_parts=(3,)).fit(opinions(60), progress=False)
    with pytest.warns(UserWarning, match="without a token"):
        assert model.predict_proba(["", "the film is fine"]).shape == (2, 3)
    assert np.isfinite(model.predict_proba(["zzzz"])).all()


def test_wrong_lengths_are_refused():
    for wrong in ((3, 3), (0,), (2.5,)):
        model = TextClassifier().set_params(token_parts=wrong)
        with pytest.raises(InvalidSettingsError, match="token_parts"):
            model.fit(opinions(30), progress=False)
