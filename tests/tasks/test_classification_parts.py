"""The parts of a classifier, each against a formula, another library, or by hand."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import entropy
from sklearn import metrics
from sklearn.naive_bayes import MultinomialNB
from torch import Tensor

from gatewise.data.text import Vocabulary, as_texts
from gatewise.tasks.classification import scores
from gatewise.tasks.classification.baselines import Baselines
from gatewise.tasks.classification.fields import TextClassifierFields
from gatewise.tasks.classification.network import ClassifierNetwork, ClassifierShape
from gatewise.tasks.classification.pooling import Pool
from gatewise.tasks.classification.reading import TextReader
from gatewise.tasks.classification.task import ClassifierTask
from gatewise.tasks.classification.training import split
from gatewise.tasks.text.encoder import EncoderShape


def states(T: int = 7, B: int = 4, F: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    # All below zero, so that padding of zeros would be the maximum.
    return -1 - torch.rand(T, B, F, generator=generator), torch.tensor([7, 1, 3, 5])


@pytest.mark.parametrize("bidirectional", [True, False])
def test_pooling_by_hand(bidirectional: bool):
    y, lengths = states()
    names = ("last", "mean", "max", "attention")
    pool = Pool(names, 6, bidirectional=bidirectional)
    together = pool(y, lengths).split(6, dim=1)
    assert pool.width == 24
    for b, length in enumerate(lengths.tolist()):
        own = y[:length, b]
        last = own[-1].clone()
        if bidirectional:
            last[3:] = own[0, 3:]
        attention = pool.attention
        assert attention is not None
        score = attention.query(torch.tanh(attention.hidden(own)))
        wanted = [last, own.mean(0), own.amax(0), (score.softmax(0) * own).sum(0)]
        for name, got, right in zip(names, together, wanted, strict=True):
            torch.testing.assert_close(got[b], right, msg=f"{name}, text {b}")


def random_case(multi_label: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(5), 300) ** 2
    if multi_label:
        return rng.random((300, 5)) < 0.4, np.clip(shares * 3, 0, 1)
    # The last class is neither there nor predicted.
    shares[:, 4] = 0
    shares /= shares.sum(1, keepdims=True)
    return np.eye(5, dtype=bool)[rng.integers(0, 4, 300)], shares


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_are_those_of_scikit_learn(multi_label: bool):
    truth, shares = random_case(multi_label)
    chosen = scores.decided(shares, multi_label=multi_label)
    got = scores.score(truth, shares, multi_label=multi_label)
    if multi_label:
        plain: tuple[Any, Any] = truth, chosen
        loss = np.mean([metrics.log_loss(truth[:, c], shares[:, c]) for c in range(5)])
        assert got["f1_micro"] == pytest.approx(metrics.f1_score(*plain, average="micro"))
    else:
        plain = truth.argmax(1), shares.argmax(1)
        loss = metrics.log_loss(plain[0], shares[:, :4], labels=range(4))
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(*plain))
    assert got["f1_macro"] == pytest.approx(
        metrics.f1_score(*plain, average="macro", zero_division=0)
    )
    assert got["log_loss"] == pytest.approx(loss, rel=1e-6)
    table = scores.class_table(truth, chosen)
    theirs = metrics.precision_recall_fscore_support(truth, chosen, average=None, zero_division=0)
    for mine, right in zip(
        (table.precision, table.recall, table.f1, table.support), theirs, strict=True
    ):
        np.testing.assert_allclose(mine, right)


def test_a_sure_and_wrong_probability_costs_a_finite_loss():
    truth = np.array([[True, False]])
    assert scores.log_loss(truth, np.array([[0.0, 1.0]]), multi_label=False) == pytest.approx(
        -np.log(np.finfo(np.float64).eps)
    )


def test_calibration_by_hand():
    sure = np.array([0.95, 0.95, 0.55, 0.6, 1.0])
    right = np.array([True, False, True, True, True])
    held = scores.reliability(sure, right)
    np.testing.assert_allclose(held.confidence, [0.575, (0.95 * 2 + 1) / 3])
    np.testing.assert_allclose(held.accuracy, [1, 2 / 3])
    assert held.count.tolist() == [2, 3]
    gaps = [1 - 0.575, abs(2 / 3 - (0.95 * 2 + 1) / 3)]
    assert held.error == pytest.approx((2 * gaps[0] + 3 * gaps[1]) / 5)


def test_calibration_is_that_of_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    truth, shares = random_case(multi_label=False)
    theirs = multiclass_calibration_error(
        torch.from_numpy(shares), torch.from_numpy(truth.argmax(1)), 5, n_bins=10
    )
    got = scores.score(truth, shares, multi_label=False)["calibration_error"]
    assert got == pytest.approx(float(theirs), abs=1e-6)


WORDS = [["a", "b", "a"], ["b", "c"], ["c"], ["a", "c", "c"], ["b"]]


def features(tokens: list[list[str]]) -> tuple[np.ndarray, list[Any]]:
    """Which unigrams and bigrams each text has, each once."""
    sets = [{*map(tuple, ([t] for t in row)), *itertools.pairwise(row)} for row in tokens]
    names = sorted(set().union(*sets))
    return np.array([[name in own for name in names] for own in sets]), names


def test_naive_bayes_is_that_of_scikit_learn():
    truth = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], dtype=bool)
    baselines = Baselines.fit(WORDS, truth, multi_label=False)
    table, _ = features(WORDS)
    # Buckets that no text has are features of zeros there.
    empty = np.zeros((5, baselines.counts.shape[1] - table.shape[1]))
    theirs = MultinomialNB(alpha=1.0).fit(np.hstack([table, empty]), truth[:, 1])
    got = baselines.predictions(WORDS)
    np.testing.assert_allclose(
        got["naive_bayes"], theirs.predict_proba(np.hstack([table, empty])), rtol=1e-6
    )
    np.testing.assert_allclose(got["majority"], np.tile([0.4, 0.6], (5, 1)))


def test_naive_bayes_of_several_labels_asks_of_each_alone():
    truth = np.array([[1, 1], [0, 1], [0, 1], [1, 0], [1, 1]], dtype=bool)
    both = Baselines.fit(WORDS, truth, multi_label=True).predictions(WORDS)["naive_bayes"]
    for c in range(2):
        alone = np.stack([~truth[:, c], truth[:, c]], 1)
        one = Baselines.fit(WORDS, alone, multi_label=False)
        # With the prior of one text more of either kind.
        shares = one.predictions(WORDS)["naive_bayes"]
        odds = np.log(shares[:, 1] / shares[:, 0])
        have, lack = truth[:, c].sum(), (~truth[:, c]).sum()
        odds += np.log((have + 1) / (lack + 1)) - np.log(have / lack)
        np.testing.assert_allclose(both[:, c], 1 / (1 + np.exp(-odds)), rtol=1e-6)


def test_baselines_come_back_from_tensors():
    truth = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]], dtype=bool)
    one = Baselines.fit(WORDS, truth, multi_label=False)
    again = Baselines.from_saved(one.to_dict(), one.to_tensors())
    np.testing.assert_array_equal(again.counts, one.counts)
    assert len(one.to_tensors()["places"]) < 40
    for name, shares in one.predictions(WORDS).items():
        np.testing.assert_array_equal(again.predictions(WORDS)[name], shares)


@pytest.mark.parametrize("size", [0.1, 0.25, 17.0])
def test_each_class_gives_its_share(size: float):
    labels = ["many"] * 120 + ["some"] * 60 + ["two"] * 2 + ["one"]
    texts = list(as_texts([f"text {k}" for k in range(183)], labels))
    train, held = split(texts, size, seed=3)
    count = round(183 * size) if size < 1 else int(size)
    assert len(held) == count
    assert sorted([*train, *held], key=lambda one: one.place.number) == texts
    of = [one.labels[0] for one in held]
    assert abs(of.count("many") - count * 120 / 183) <= 1
    assert abs(of.count("some") - count * 60 / 183) <= 1
    assert "one" not in of
    assert of.count("two") <= 1
    assert split(texts, size, seed=3) == (train, held)
    assert split(texts, size, seed=4) != (train, held)
    assert split(texts, 0.0, seed=3) == (texts, [])


def test_no_class_leaves_the_training_part():
    texts = list(as_texts(["x"] * 41, [f"class {min(k, 20)}" for k in range(41)]))
    for seed in range(5):
        train, held = split(texts, 20.0, seed)
        assert len(held) == 20
        assert len({one.labels for one in train}) == 21


def test_several_labels_are_parted_by_the_rarest():
    labels = [["a", "b"] if k % 10 == 0 else ["a"] for k in range(100)]
    texts = list(as_texts(["x"] * 100, labels))
    _, held = split(texts, 0.2, seed=0)
    assert [len(one.labels) for one in held].count(2) == 2


def task_of(fields: dict[str, Any], truth: Tensor) -> tuple[ClassifierTask, ClassifierNetwork]:
    texts = list(as_texts([f"w{k} w{k % 3} x" for k in range(len(truth))]))
    given = TextClassifierFields(**fields)
    reader = TextReader.fit(given, texts)
    shape = EncoderShape(len(reader.vocabulary), 4, 3, 3, bidirectional=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ClassifierNetwork(ClassifierShape(shape, truth.shape[1], ("max",)))
    numbers = reader.numbers(texts)
    vocabulary = reader.vocabulary
    return ClassifierTask(given, network, vocabulary, numbers, truth, numbers, truth), network


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_the_loss_is_torchs(smoothing: float, weighting: str):
    numbers = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    fields = {"label_smoothing": smoothing, "class_weight": weighting}
    task, network = task_of(fields, numbers[:, None] == torch.arange(3))
    weight = 7 / (3 * torch.tensor([4.0, 2.0, 1.0])) if weighting == "balanced" else None
    chosen = torch.tensor([0, 4, 6, 1])
    outputs = network(**task.train.batch(chosen.numpy(), torch.device("cpu")))
    step = task.loss(network, chosen)
    wanted = F.cross_entropy(outputs, numbers[chosen], weight, label_smoothing=smoothing)
    torch.testing.assert_close(step.total / step.weight, wanted)
    assert step.objective is None


@pytest.mark.parametrize("weighting", ["none", "balanced"])
def test_the_loss_of_several_labels_is_torchs(weighting: str):
    truth = torch.tensor([[1, 0], [1, 1], [0, 1], [1, 0]], dtype=torch.bool)
    task, network = task_of({"multi_label": True, "class_weight": weighting}, truth)
    every = torch.arange(4)
    outputs = network(**task.train.batch(every.numpy(), torch.device("cpu")))
    more = torch.tensor([1 / 3, 1.0]) if weighting == "balanced" else None
    step = task.loss(network, every)
    wanted = F.binary_cross_entropy_with_logits(outputs, truth.float(), pos_weight=more)
    torch.testing.assert_close(step.total / step.weight, wanted)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("kind", ["fgm", "vat"])
def test_the_gradient_is_that_of_the_loss_and_of_what_is_added(kind: str, multi_label: bool):
    truth = torch.eye(2, dtype=torch.bool)[[0, 1, 0, 1]]
    plain = {"multi_label": multi_label}
    task, network = task_of({**plain, "adversarial": kind, "adversarial_radius": 2.0}, truth)
    every = torch.arange(4)
    step = task.loss(network, every)
    # What is reported is the loss alone.
    torch.testing.assert_close(step.total, task_of(plain, truth)[0].loss(network, every).total)
    assert step.objective is not None
    added = step.objective - step.total
    if kind == "fgm":
        assert added > step.total
    weaker, _ = task_of({**plain, "adversarial": kind, "adversarial_radius": 0.2}, truth)
    torch.manual_seed(0)
    less = weaker.loss(network, every)
    assert less.objective is not None
    assert 0 < less.objective - less.total < added


def test_batches_hold_every_text_once_and_change_with_the_epoch():
    task, _ = task_of({"batch_size": 4, "batch_tokens": 12}, torch.eye(30, 2, dtype=torch.bool))
    epochs = [task.batches(k, torch.Generator()) for k in (1, 1, 2)]
    orders = [torch.cat(list(batches)).tolist() for batches in epochs]
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert orders[0] == orders[1] != orders[2]
    assert max(len(batch) for batch in epochs[0]) == 4


def test_unknown_ngrams_add_nothing():
    fields = TextClassifierFields(ngrams=2, ngram_count=1)
    reader = TextReader.fit(fields, list(as_texts(["one two", "two one"])))
    shape = ClassifierShape(
        EncoderShape(len(reader.vocabulary), 4, 3, 3), 2, ("mean",), (len(reader.ngrams[0]),)
    )
    network = ClassifierNetwork(shape).eval()
    known = reader.numbers(list(as_texts(["one two"]))).batch(np.array([0]), torch.device("cpu"))
    new = reader.numbers(list(as_texts(["two two"]))).batch(np.array([0]), torch.device("cpu"))
    assert known["ngrams"][0, 0, 0] == reader.ngrams[0].number("one two") != 0
    assert new["ngrams"][0, 0, 0] == 0
    with torch.no_grad():
        added = [
            network.vectors(one["tokens"], one["ngrams"]) - network.encoder.embed(one["tokens"])
            for one in (known, new)
        ]
    assert added[0][0].any()
    assert not added[1][0].any()


def test_a_vocabulary_is_of_the_texts_alone():
    texts = list(as_texts(["a a b", "a c"]))
    reader = TextReader.fit(TextClassifierFields(minimum_count=2), texts)
    assert set(reader.vocabulary.tokens) == {"<pad>", "<unk>", "a"}
    again = TextReader.from_dict(reader.to_dict())
    assert again == reader
    assert isinstance(again.vocabulary, Vocabulary)


def test_entropy_of_the_frequencies_is_the_loss_of_who_knows_nothing():
    truth = np.eye(2, dtype=bool)[[0, 0, 0, 1]]
    shares = np.tile([0.75, 0.25], (4, 1))
    got = scores.log_loss(truth, shares, multi_label=False)
    assert got == pytest.approx(entropy([0.75, 0.25]))
