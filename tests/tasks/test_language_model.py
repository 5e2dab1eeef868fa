"""The language model: what it learns from, what a step is, what it says of a text."""

from __future__ import annotations

import math
import pickle
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gatewise.data.text import IGNORED, as_texts
from gatewise.errors import InvalidStateError
from gatewise.tasks import LanguageModel, load
from gatewise.tasks.language.corpus import (
    TokenFile,
    learn_language,
    split_reader,
    write_corpus,
)
from gatewise.tasks.language.evaluation import mean_loss, token_losses, unigram_loss
from gatewise.tasks.language.network import LanguageNetwork
from gatewise.tasks.language.output import AdaptiveOutput
from gatewise.tasks.language.task import LanguageTask
from gatewise.tasks.language.training import shape_of
from gatewise.training import FitInterrupted, storage
from support.tiny_task import assert_same_weights
from tasks.cases import QUICK_LANGUAGE, sentences


def quick(**changes: Any) -> LanguageModel:
    return LanguageModel(**{**QUICK_LANGUAGE, **changes})


@pytest.fixture(scope="module")
def fitted() -> LanguageModel:
    return quick(max_epochs=6, learning_rate=0.02).fit(sentences(200), progress=False)


def of(texts: list[str]) -> Any:
    return lambda: as_texts(texts)


def prepared(tmp_path: Path, **changes: Any) -> tuple[LanguageModel, LanguageNetwork, TokenFile]:
    """A network with random weights, and a text for it."""
    settings = quick(**changes)._validated()
    language = learn_language(settings, of(sentences()))
    corpus = write_corpus(language, of(sentences()), tmp_path / "tokens.npy")
    torch.manual_seed(0)
    network = LanguageNetwork(shape_of(settings, language))
    return settings, network, corpus


def task_of(corpus: TokenFile, settings: LanguageModel) -> LanguageTask:
    return LanguageTask(corpus, corpus, [1] * (1 + int(corpus.tokens.max())), settings)


# --- what it learns from


def test_ends_are_tokens_and_those_of_exact_tokenizers_are_line_ends() -> None:
    words = learn_language(quick(), of(["a b", "c"]))
    assert words.end == "<eos>"
    assert words.vocabulary.counts[words.end_number or 0] == 2
    for tokens in ("characters", "subwords"):
        language = learn_language(quick(tokens=tokens), of(["a b", "c"]))
        assert language.tokenizer.join([language.end or ""]) == "\n"
    assert learn_language(quick(mark_ends=False), of(["a b"])).end is None


def test_rare_tokens_are_unknown_but_no_subword_is() -> None:
    language = learn_language(quick(minimum_count=2), of(["a a b", "a c"]))
    unknown = language.vocabulary.number("<unk>")
    assert language.encode("a b zebra").tolist()[1:] == [unknown, unknown]
    closed = learn_language(quick(tokens="subwords", minimum_count=9), of(["a a b"]))
    assert closed.vocabulary.unknown is None
    assert closed.tokenizer.join(closed.vocabulary.decode(closed.encode("zebra ☃"))) == "zebra ☃"


@pytest.mark.parametrize("share", [0.1, 0.34, 0.5, 0.9])
@pytest.mark.parametrize(
    "texts", [["one long text of some words " * 9], sentences(), ["a", "", "b" * 99]]
)
def test_parts_of_a_text_are_all_of_it(texts: list[str], share: float) -> None:
    first, second = split_reader(of(texts), share)
    a, b = [t.text for t in first()], [t.text for t in second()]
    total = sum(len(text) + 1 for text in texts)
    assert abs(sum(len(text) + 1 for text in b) / total - share) < 40 / total + 0.02
    assert "".join(a + b) == "".join(texts)
    whole = [*a, *b] == texts
    parted = [*a[:-1], a[-1] + b[0], *b[1:]] == texts
    assert whole or parted
    assert [t.text for t in first()] == a  # it can be read again


def test_a_text_is_parted_behind_a_word_and_blank_lines_stay() -> None:
    first, second = split_reader(of(["some words alone", "", "", "end"]), 0.5)
    assert [t.text for t in first()] == ["some words "]
    assert [t.text for t in second()] == ["alone", "", "", "end"]


def test_the_vocabulary_is_that_of_the_training_part() -> None:
    texts = ["here are words"] * 9 + ["there"]
    model = quick(max_epochs=1, streams=1, validation_size=0.05).fit(texts, progress=False)
    assert "there" not in model.language_.vocabulary
    assert model.split_ == "validation"


def test_the_validation_text_may_be_given(tmp_path: Path) -> None:
    path = tmp_path / "valid.txt"
    path.write_text("\n".join(sentences(9, seed=1)))
    model = quick().fit(sentences(), validation=path, progress=False)
    assert model.evaluate(path) == model.scores_
    assert model.history_[-1].scores["perplexity"] != model.history_[0].scores["perplexity"]


def test_without_validation_the_training_text_is_scored() -> None:
    model = quick(validation_size=0.0).fit(sentences(), progress=False)
    assert model.split_ == "training"
    assert model.scores_["model"] == pytest.approx(model.evaluate(sentences())["model"])


# --- what a step is


def test_windows_go_on_from_the_state_before(tmp_path: Path) -> None:
    settings, network, corpus = prepared(
        tmp_path, input_dropout=0.0, hidden_dropout=0.0, output_dropout=0.0, streams=3, steps=5
    )
    task = task_of(corpus, settings)
    batches = task.batches(1, torch.Generator())
    task.carry({})
    with torch.no_grad():
        parts = [task.loss(network, indices) for indices in batches]
    total = sum(part.total.item() for part in parts)
    weight = sum(part.weight.item() for part in parts)
    assert weight == len(corpus.tokens) - 1
    with torch.no_grad():
        assert total / weight == pytest.approx(mean_loss(network, corpus.tokens, 3), rel=1e-5)
        task.carry({})
        task.loss(network, batches[0])
        carried = task.carried()
        second = task.loss(network, batches[1]).total
        task.carry({})
        assert task.loss(network, batches[1]).total != second
        task.carry(carried)
        assert task.loss(network, batches[1]).total == second


def test_parts_of_the_streams_are_the_whole(tmp_path: Path) -> None:
    settings, network, corpus = prepared(
        tmp_path, output_dropout=0.0, input_dropout=0.0, hidden_dropout=0.0, streams=5
    )
    whole = task_of(corpus, settings)
    halves = [task_of(corpus, settings) for _ in range(2)]
    for task in (whole, *halves):
        batches = task.batches(1, torch.Generator())
    for indices in batches[:3]:
        with torch.no_grad():
            want = whole.loss(network, indices)
            got = [half.loss(network, indices[k::2]) for k, half in enumerate(halves)]
        assert sum(part.total.item() for part in got) == pytest.approx(want.total.item(), rel=1e-5)
        assert sum(part.weight.item() for part in got) == want.weight.item()


def test_penalties_are_those_of_the_paper_and_not_part_of_the_loss(tmp_path: Path) -> None:
    settings, network, corpus = prepared(tmp_path, activation_penalty=2.0, slowness_penalty=3.0)
    task = task_of(corpus, settings)
    indices = task.batches(1, torch.Generator())[0]
    torch.manual_seed(1)
    step = task.loss(network, indices)
    window = task._read(corpus).window(0, settings.steps)
    torch.manual_seed(1)
    loss, encoded, _ = network(window.inputs, window.targets)
    penalty = 2 * (encoded.output**2).mean()
    penalty += 3 * ((encoded.raw[1:] - encoded.raw[:-1]) ** 2).mean()
    torch.testing.assert_close(step.total, (loss * step.weight).detach())
    torch.testing.assert_close(step.objective, (loss + penalty) * step.weight)
    assert not encoded.raw.equal(encoded.output)  # before and after dropout


def test_short_windows_count_less(tmp_path: Path) -> None:
    settings, network, corpus = prepared(tmp_path, variable_steps=True, steps=20)
    task = task_of(corpus, settings)
    batches = task.batches(1, torch.Generator())
    lengths = [length for _, length in task._windows]
    assert len(set(lengths)) > 2
    task.batches(2, torch.Generator())
    assert lengths != [length for _, length in task._windows]
    task.batches(1, torch.Generator())
    for indices, length in list(zip(batches, lengths, strict=True))[:3]:
        step = task.loss(network, indices)
        assert step.objective is not None
        assert step.objective.item() == pytest.approx(step.total.item() * length / 20, rel=1e-5)


@pytest.mark.parametrize("adversary", ["fgm", "vat"])
def test_an_adversary_in_mixed_precision(adversary: Any) -> None:
    fields: dict[str, Any] = {"adversarial": adversary, "max_epochs": 2}
    mixed = quick(**fields, precision="bf16-mixed").fit(sentences(), progress=False)
    full = quick(**fields).fit(sentences(), progress=False)
    assert mixed.history_[-1].train_loss == pytest.approx(full.history_[-1].train_loss, rel=0.02)


@pytest.mark.parametrize("changes", [{}, {"cell": "gru", "weight_dropout": 0.3}, {"cell": "mlstm"}])
def test_a_stopped_fit_goes_on_to_the_same_bits(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = sentences()
    whole = quick(**changes).fit(texts, progress=False)
    calls = 0
    inner = LanguageTask.loss

    def stopping(self: LanguageTask, network: Any, indices: Tensor) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            signal.raise_signal(signal.SIGINT)
        return inner(self, network, indices)

    monkeypatch.setattr(LanguageTask, "loss", stopping)
    with pytest.raises(FitInterrupted):
        quick(**changes).fit(texts, run_dir=tmp_path, progress=False)
    monkeypatch.undo()
    model = quick(**changes).fit(texts, run_dir=tmp_path, resume=True, progress=False)
    assert_same_weights(model.network_, whole.network_)
    assert model.scores_ == whole.scores_


def test_two_processes_learn_as_one() -> None:
    plain = {"input_dropout": 0.0, "hidden_dropout": 0.0, "output_dropout": 0.0, "max_epochs": 1}
    one = quick(**plain).fit(sentences(), progress=False)
    two = quick(**plain, devices=2).fit(sentences(), progress=False)
    assert two.history_[0].train_loss == pytest.approx(one.history_[0].train_loss, rel=1e-5)
    assert two.scores_["model"] == pytest.approx(one.scores_["model"], rel=1e-4)


def test_dropout_of_every_kind_matters(tmp_path: Path) -> None:
    kinds = ["word_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_dropout"]
    for kind in kinds:
        changes = {**dict.fromkeys(kinds, 0.0), kind: 0.6}
        _, network, corpus = prepared(tmp_path, **changes)
        tokens = torch.from_numpy(np.array(corpus.tokens[:20])).long()[:, None]
        with torch.no_grad():
            first, again = network.encoder(tokens).output, network.encoder(tokens).output
            calm = network.eval().encoder(tokens).output
        assert not first.equal(again), kind
        assert calm.equal(network.encoder(tokens).output), kind


# --- what it says of a text


def test_the_mean_loss_is_that_of_every_token(fitted: LanguageModel, tmp_path: Path) -> None:
    network, language = fitted.network_, fitted.language_
    corpus = write_corpus(language, of(sentences(60, seed=3)), tmp_path / "t.npy")
    tokens = torch.from_numpy(np.array(corpus.tokens)).long()
    with torch.inference_mode():
        encoded = network.encoder(tokens[:-1, None])
        want = F.cross_entropy(network.output.logits(encoded.output[:, 0]), tokens[1:])
        assert mean_loss(network, corpus.tokens, 1) == pytest.approx(want.item(), rel=1e-5)
        each = token_losses(network, corpus.tokens)  # in several windows
        assert len(each) == len(tokens) - 1 > 256
        assert each.mean() == pytest.approx(want.item(), rel=1e-5)
        apart = mean_loss(network, corpus.tokens, 4)
    assert apart == pytest.approx(want.item(), rel=0.2)
    assert apart != pytest.approx(want.item(), rel=1e-4)
    scores = fitted.evaluate(sentences(60, seed=3), streams=1)["model"]
    assert scores["perplexity"] == pytest.approx(math.exp(want.item()), rel=1e-5)
    characters = sum(len(text) + 1 for text in sentences(60, seed=3))
    bits = want.item() * (len(tokens) - 1) / math.log(2) / characters
    assert scores["bits_per_character"] == pytest.approx(bits, rel=1e-5)


def test_validation_is_in_the_precision_of_the_training(tmp_path: Path) -> None:
    held_out = sentences(60, seed=3)
    model = quick(precision="bf16-mixed", max_epochs=1)
    model.fit(sentences(), validation=held_out, progress=False)
    corpus = write_corpus(model.language_, of(held_out), tmp_path / "t.npy")
    with torch.inference_mode():
        exact = mean_loss(model.network_, corpus.tokens)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = mean_loss(model.network_, corpus.tokens)
    assert model.history_[0].scores["loss"] == mixed != exact


def test_the_baseline_knows_frequencies_alone(fitted: LanguageModel) -> None:
    vocabulary = fitted.language_.vocabulary
    tokens = vocabulary.encode(["the", "cat", "sees"])
    counts = {t: c + 1 for t, c in zip(vocabulary.tokens, vocabulary.counts, strict=True)}
    total = sum(counts.values())
    want = -(math.log(counts["cat"] / total) + math.log(counts["sees"] / total)) / 2
    assert unigram_loss(vocabulary, tokens) == pytest.approx(want)
    scores = fitted.scores_
    assert scores["model"]["perplexity"] < 0.5 * scores["unigram"]["perplexity"]


def test_a_score_is_the_chain_rule(fitted: LanguageModel) -> None:
    score = fitted.score("the cat sees Ada .")
    assert score.tokens == ("the", "cat", "sees", "Ada", ".", "<eos>")
    words = list(score.tokens)
    for k in range(len(words)):
        given = fitted.encode([" ".join(words[:k])])
        with torch.inference_mode():
            logits, _ = fitted.network_.logits(given["tokens"], lengths=given["lengths"])
        want = logits.log_softmax(1)[0, fitted.language_.vocabulary.number(words[k])]
        assert score.log_probabilities[k] == pytest.approx(want.item(), abs=1e-5)
    assert isinstance(score, float)
    again = pickle.loads(pickle.dumps(score))  # noqa: S301 - as searches in several processes do
    assert (again, again.tokens, again.perplexity) == (score, score.tokens, score.perplexity)
    assert score == pytest.approx(score.log_probabilities.mean())
    assert score.perplexity == pytest.approx(math.exp(-score))
    bits = -score.log_probabilities.sum() / math.log(2) / len("the cat sees Ada .\n")
    assert score.bits_per_character == pytest.approx(bits)
    assert "6 tokens" in repr(score)


def test_texts_are_scored_each_by_itself(fitted: LanguageModel) -> None:
    texts = [*sentences(70, seed=5), "cat", "the the the the the the the the the"]
    together = fitted.score(texts)
    apart = [fitted.score(text) for text in texts]
    assert together.tokens == tuple(token for one in apart for token in one.tokens)
    np.testing.assert_allclose(
        together.log_probabilities,
        np.concatenate([one.log_probabilities for one in apart]),
        atol=1e-5,
    )
    assert together.characters == sum(one.characters for one in apart)
    assert fitted.score(sentences(50, seed=7)) > fitted.score(["cat the . Ada sees sees"])


def test_predictions_are_the_most_probable_tokens(fitted: LanguageModel) -> None:
    table = fitted.predict_table(["the", "the cat sees Ada", ""])
    assert table["next"].tolist()[0] in ("cat", "dog")
    assert table["next"].tolist()[1] == "."
    assert table["probability"][1] > 0.9
    assert fitted.predict(["the", "the cat sees Ada", ""]).tolist() == table["next"].tolist()
    given = fitted.encode(["the cat sees Ada"])
    logits, _ = fitted.network_.logits(given["tokens"], lengths=given["lengths"])
    assert fitted.decode(logits) == ["."]


# --- the output layers, and files


def test_the_adaptive_output_has_all_probabilities() -> None:
    torch.manual_seed(0)
    output = AdaptiveOutput(32, 50, (10, 30))
    y, targets = torch.randn(4, 3, 32), torch.randint(50, (4, 3))
    targets[1, 2] = IGNORED
    logits = output.logits(y)
    torch.testing.assert_close(logits.exp().sum(-1), torch.ones(4, 3))
    want = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    torch.testing.assert_close(output.losses(y, targets), want.view(4, 3))
    torch.testing.assert_close(output(y, targets), want.sum() / 11)


def test_a_model_with_adaptive_output_is_fitted_and_saved(tmp_path: Path) -> None:
    model = quick(tied=False, output="adaptive", cutoffs=(3, 6), hidden_size=16, learning_rate=0.03)
    model.fit(sentences(), progress=False)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").score("the cat") == model.score("the cat")
    assert isinstance("".join(model.generate("the", length=5, seed=0)), str)


def test_tied_weights_are_one_after_loading(fitted: LanguageModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    network = load(tmp_path / "model").network_
    assert network.output.weight is network.encoder.embedding.weight
    loose = quick(tied=False).fit(sentences(), progress=False).network_
    assert loose.output.weight is not loose.encoder.embedding.weight


def test_all_weights_may_be_drawn_from_one_range() -> None:
    model = quick(init_range=0.03, max_epochs=1, learning_rate=1e-12, optimizer="sgd")
    model.fit(sentences(), progress=False)
    for name, weight in model.network_.named_parameters():
        assert weight.abs().max() <= 0.03, name
        assert weight.abs().max() > 0.02, name


def test_a_vocabulary_of_another_model_is_refused(fitted: LanguageModel, tmp_path: Path) -> None:
    other = quick().fit(["a b c d e f g h"] * 20, progress=False)
    fitted.save(tmp_path / "a")
    other.save(tmp_path / "b")
    known = storage.read_json(tmp_path / "a" / "schema.json")
    known["vocabulary"] = storage.read_json(tmp_path / "b" / "schema.json")["vocabulary"]
    storage.atomic_write_json(tmp_path / "a" / "schema.json", known)
    with pytest.raises(InvalidStateError, match=r"a row for each of the .* tokens"):
        load(tmp_path / "a")
