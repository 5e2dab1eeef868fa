"""The network of a tagger: padding is silent, features are read, likelihoods are those of tags."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from gatewise.data.text import Buckets, as_tagged
from gatewise.tasks.tagging.characters import CharacterEncoder
from gatewise.tasks.tagging.network import TaggerNetwork, TaggerShape
from gatewise.tasks.tagging.softmax import SoftmaxTags
from gatewise.tasks.tagging.task import TaggingTask
from gatewise.tasks.tagging.training import fit_tagger
from tasks.tagging_cases import QUICK_TAGGER, tagged_names

SHAPE = TaggerShape(
    words=9, tags=4, embedding_size=5, ngrams=(7, 6), ngram_size=3, character_encoder="lstm",
    characters=8, character_size=3, character_hidden_size=2, casing_size=2, cell="lstm",
    hidden_size=6, num_layers=2, bidirectional=True, head="crf", word_dropout=0.0,
    input_dropout=0.0, hidden_dropout=0.0, output_dropout=0.0, weight_dropout=0.0,
)  # fmt: skip


def network(**changes: Any) -> TaggerNetwork:
    torch.manual_seed(0)
    return TaggerNetwork(dataclasses.replace(SHAPE, **changes)).double()


def inputs() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)

    def some(most: int, *size: int) -> torch.Tensor:
        return torch.randint(1, most, size, generator=draw)

    return {
        "words": some(9, 5, 3),
        "lengths": torch.tensor([5, 2, 4]),
        "casing": some(8, 5, 3),
        "ngrams": some(6, 2, 5, 3),
        "characters": some(8, 6, 4),
        "character_lengths": torch.tensor([6, 1, 3, 4]),
        "spelled": torch.randint(4, (5, 3), generator=draw),
    }


@pytest.mark.parametrize("name", ["words", "casing", "ngrams", "characters", "spelled"])
@pytest.mark.parametrize("encoder", ["lstm", "cnn"])
def test_every_feature_is_read_where_a_token_is_and_nowhere_else(name: str, encoder: str):
    net, before = network(character_encoder=encoder), inputs()
    outputs = net(**before)
    for inside in (True, False):
        after = dict(before)
        value = before[name].clone()
        if name == "characters":
            value[0 if inside else 5, 1] = value[0 if inside else 5, 1] % 7 + 1  # of one letter
        else:
            row = 1 if inside else 2
            limit = 4 if name == "spelled" else 6
            value[..., row, 1] = (value[..., row, 1] + 1) % limit
        after[name] = value
        steps = torch.arange(5)[:, None] < before["lengths"]
        if name == "characters":
            steps &= (before["spelled"] == 1).any(0)
        changed = ((net(**after) - outputs).abs().sum(2) > 1e-9) & steps
        assert bool(changed.any()) == inside


@pytest.mark.parametrize("kind", ["lstm", "cnn"])
def test_a_word_is_spelled_alike_whatever_stands_beside_it(kind: str):
    torch.manual_seed(0)
    encoder = CharacterEncoder(kind, 8, 3, 2).double()
    letters = torch.randint(1, 8, (7, 3))
    lengths = torch.tensor([7, 1, 4])
    together = encoder(letters, lengths)
    assert together.shape == (3, encoder.width)
    for column, length in enumerate(lengths.tolist()):
        alone = encoder(letters[:length, column : column + 1], lengths[column : column + 1])
        torch.testing.assert_close(alone[0], together[column])
    assert (encoder(letters.flip(0), torch.tensor([7, 7, 7])) - together).abs().max() > 1e-3


@pytest.mark.parametrize("head", ["crf", "softmax"])
@torch.no_grad()
def test_the_log_likelihood_is_that_of_the_tags(head: str):
    net, given = network(head=head), inputs()
    tags = torch.randint(4, (5, 3))
    likelihoods = net(**given, tags=tags)
    emissions = net(**given)
    assert emissions.shape == (5, 3, 4)
    every = torch.cartesian_prod(*[torch.arange(4)] * 2)  # all taggings of the sentence of two
    paths = torch.zeros(5, len(every), dtype=torch.int64)
    paths[:2] = every.t()
    of_each = net.head(emissions[:, 1:2].expand(-1, 16, -1), paths, torch.full((16,), 2))
    assert float(of_each.exp().sum()) == pytest.approx(1.0)
    index = int(tags[0, 1]) * 4 + int(tags[1, 1])
    assert float(likelihoods[1]) == pytest.approx(float(of_each[index]))
    marginals = net.head.marginals(emissions, given["lengths"])
    expected = torch.tensor([of_each[every[:, 0] == k].exp().sum() for k in range(4)])
    torch.testing.assert_close(marginals[0, 1], expected.double())
    assert (marginals[2:, 1] == 0).all()
    best = net.head.decode(emissions, given["lengths"])
    assert best[1] == every[int(of_each.argmax())].tolist()
    assert [len(path) for path in best] == [5, 2, 4]


def test_softmax_is_the_cross_entropy():
    scores, tags = torch.randn(4, 2, 3), torch.randint(3, (4, 2))
    found = SoftmaxTags()(scores, tags, torch.tensor([4, 2]))
    entropy = torch.nn.functional.cross_entropy
    for column, length in ((0, 4), (1, 2)):
        expected = -entropy(scores[:length, column], tags[:length, column], reduction="sum")
        torch.testing.assert_close(found[column], expected)


@pytest.mark.parametrize("off", ["ngrams", "characters", "casing"])
def test_features_may_be_left_out(off: str):
    changes: dict[str, Any] = {
        "ngrams": {"ngrams": ()},
        "characters": {"character_encoder": "none"},
        "casing": {"casing_size": 0},
    }[off]
    given = {name: part for name, part in inputs().items() if name != off}
    if off == "characters":
        del given["character_lengths"], given["spelled"]
    assert network(**changes)(**given).shape == (5, 3, 4)


def test_vectors_have_the_same_size_whatever_their_length():
    net = network(words=2000, embedding_size=50, casing_size=4)
    for weights in (net.encoder.embedding.weight, net.ngrams[0].weight):
        assert float(weights.detach().norm(dim=1).mean()) == pytest.approx(1.0, abs=0.2)


def test_the_loss_is_the_likelihood_of_every_token():
    from gatewise.tasks import SequenceTagger

    settings = SequenceTagger(**{**QUICK_TAGGER, "max_epochs": 1, "validation_size": 0.0})
    records = list(as_tagged(*tagged_names(20)))
    fitted, _ = fit_tagger(settings, records, None)
    model = fitted.model
    sentences = model.sentences(records, tagged=True)
    buckets = Buckets(sentences.lengths, tokens=100)
    task = TaggingTask(sentences, sentences, model.tags, model.network.head, buckets, 0.0)
    with torch.no_grad():
        parts = [task.loss(model.network, torch.tensor([k])) for k in range(20)]
        whole = task.loss(model.network, torch.arange(20))
        scores = task.validate(model.network)
    tokens = sum(len(one.tokens) for one in records)
    assert float(whole.weight) == tokens
    assert float(whole.total) == pytest.approx(sum(float(part.total) for part in parts), rel=1e-4)
    each = model.log_likelihoods(sentences)
    assert float(whole.total) == pytest.approx(-each.sum(), rel=1e-4)
    assert scores["loss"] == pytest.approx(-each.sum() / tokens, rel=1e-4)
    epochs = [task.batches(n, torch.Generator()) for n in (1, 2)]
    for batches in epochs:
        assert sorted(torch.cat(list(batches)).tolist()) == list(range(20))
    assert [b.tolist() for b in epochs[0]] != [b.tolist() for b in epochs[1]]
