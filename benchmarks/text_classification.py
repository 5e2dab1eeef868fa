"""Classification of texts, English and Chinese, beside a linear model and published scores.

    python benchmarks/text_classification.py --data DIR
    python benchmarks/text_classification.py --data DIR --search
    python benchmarks/text_classification.py --data DIR --sets trec6 --seeds 1

The sets, none with vectors or texts from elsewhere:

- sst2, sst5: sentences of the Stanford Sentiment Treebank, whole sentences alone, with the split of
  its authors (Socher et al. 2013).
- trec6: questions by the kind of their answer, coarse classes (Li & Roth 2002). A tenth of the
  training questions, drawn of each class alike, are the development split.
- chnsenticorp: Chinese reviews. The development split is the test here, without its duplicates and
  without texts that are in the training set too; a tenth of the training texts, duplicates removed,
  are the development split.

The linear model is scikit-learn's logistic regression on TF-IDF of words and bigrams, or of one to
three Chinese characters, with the regularisation that is best on the development split. So are the
settings of ours, among those of `SEARCH` in `text_settings.py`: `--search` tries them, does not see
the test split at all, and writes `results/text_classification_search.md`.

The outcome of the test is in `results/text_classification.md`, two small tables behind it: what
adversarial training does to the development accuracy of one set, and the speed of `predict`, from
texts to labels, beside the same weights in torch.nn.LSTM with packed sequences.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import sklearn
from machine import RESULTS, machine
from options import fit_options
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from table import markdown
from text_settings import SEARCH, SETTINGS, TARGETS, settings_of
from torch_twin import packed_twin, predict_speeds

from gatewise.data.text import Text, read_texts
from gatewise.errors import InvalidFileError
from gatewise.tasks import TextClassifier

Pairs = tuple[list[str], list[str]]
"""Texts and their labels."""


class Splits(NamedTuple):
    """The parts of a set."""

    train: Pairs
    dev: Pairs
    test: Pairs


ADVERSARIAL_SET = "trec6"
ADVERSARIAL = ("none", "fgm", "vat")

COSTS = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Of the logistic regression, C."""


class Outcome(NamedTuple):
    """Accuracies in per cent on the development and the test split, and the time of a fit."""

    dev: float
    test: float
    minutes: float


def main() -> None:
    _, arguments = fit_options(
        __doc__,
        list(SETTINGS),
        data="directory that holds sst/ …",
        search="try settings on the dev split",
    )
    try:
        sets = {name: splits(name, arguments.data) for name in arguments.sets}
    except InvalidFileError as fault:
        raise SystemExit(f"{fault} Pass the directory that holds sst, trec6 and so on.") from None
    if arguments.search:
        search(sets, arguments.threads)
        return
    test(sets, arguments.seeds, arguments.threads)


def test(sets: dict[str, Splits], seeds: int, threads: int) -> None:
    """Fit and test with the chosen settings; a run that is stopped leaves what it has measured."""
    linear = {n: linear_outcome(p, chinese=n == "chnsenticorp") for n, p in sets.items()}
    outcomes: dict[str, list[Outcome]] = {name: [] for name in sets}
    speeds: list[list[str]] = []
    effects: list[list[str]] = []

    def write_page() -> None:
        rows = [row(n, sets[n], linear[n], done) for n, done in outcomes.items() if done]
        write("text_classification.md", test_page(rows, effects, speeds, threads))

    for seed in range(seeds):
        for name, parts in sets.items():
            model, minutes = fitted(parts, settings_of(name), seed)
            dev, tested = (100 * model.score(*part) for part in (parts.dev, parts.test))
            outcomes[name].append(Outcome(dev, tested, minutes))
            print(f"{name}, seed {seed}: {outcomes[name][-1]}", flush=True)
            if not seed:
                speeds.append(speed_row(name, model, parts.test[0]))
            write_page()
    if ADVERSARIAL_SET in sets:
        for kind in ADVERSARIAL:
            done = outcomes[ADVERSARIAL_SET]
            if kind != settings_of(ADVERSARIAL_SET)["adversarial"]:
                done = adversarial_outcomes(kind, sets[ADVERSARIAL_SET], seeds)
            effects.append(adversarial_row(kind, done))
            print(*effects[-1], sep="  ", flush=True)
            write_page()


def splits(name: str, data: Path) -> Splits:
    """Read a set."""
    if name == "trec6":
        options: dict[str, Any] = {"layout": "label-first", "encoding": "latin-1", "cut_label": ":"}
        whole = pairs(list(read_texts(data / "trec6" / "TREC.train", **options)))
        return Splits(*parted(whole), pairs(read_texts(data / "trec6" / "TREC.test", **options)))
    if name == "chnsenticorp":
        options = {"layout": "label-last", "separator": "\t"}
        train = distinct(list(read_texts(data / name / "train.tsv.gz", **options)))
        seen = {one.text for one in train}
        dev = distinct(list(read_texts(data / name / "dev.tsv", **options)))
        return Splits(*parted(pairs(train)), pairs([one for one in dev if one.text not in seen]))
    kind = {"sst2": "binary", "sst5": "fine"}[name]
    files = [f"stsa.{kind}.{part}" for part in ("train.gz", "dev", "test")]
    return Splits(*(pairs(read_texts(data / "sst" / f, layout="label-first")) for f in files))


def pairs(texts: Any) -> Pairs:
    """Return texts and labels apart."""
    held = list(texts)
    return [one.text for one in held], [one.labels[0] for one in held]


def distinct(texts: Sequence[Text]) -> list[Text]:
    """Return each text once, as it stands first."""
    return list({one.text: one for one in reversed(texts)}.values())[::-1]


def parted(whole: Pairs) -> tuple[Pairs, Pairs]:
    """Part off a tenth, of each class alike."""
    texts, labels = whole
    a, b, c, d = train_test_split(texts, labels, test_size=0.1, random_state=0, stratify=labels)
    return (a, c), (b, d)


def fitted(parts: Splits, settings: dict[str, Any], seed: int) -> tuple[TextClassifier, float]:
    """Return a classifier whose best epoch the development split chose, and the minutes."""
    began = time.perf_counter()
    model = TextClassifier(**settings, seed=seed)
    model.fit(*parts.train, validation=parts.dev, progress=False)
    return model, (time.perf_counter() - began) / 60


def best_dev(model: TextClassifier) -> float:
    """Return the accuracy of the best epoch on the development split, in per cent."""
    return 100 * max(record.scores["accuracy"] for record in model.history_)


def adversarial_outcomes(kind: str, parts: Splits, seeds: int) -> list[Outcome]:
    """Fit with another adversary; the test split is not looked at."""
    settings = {**settings_of(ADVERSARIAL_SET), "adversarial": kind}
    fits = [fitted(parts, settings, seed) for seed in range(seeds)]
    return [Outcome(best_dev(model), math.nan, minutes) for model, minutes in fits]


def adversarial_row(kind: str, outcomes: Sequence[Outcome]) -> list[str]:
    """One line of the table of adversarial training."""
    dev, minutes = [one.dev for one in outcomes], mean(one.minutes for one in outcomes)
    return [kind, f"{mean(dev):.1f}", ", ".join(f"{one:.1f}" for one in dev), f"{minutes:.1f}"]


def speed_row(name: str, model: TextClassifier, texts: list[str]) -> list[str]:
    """One line of the table of speed."""
    tokens = int(model.encode(texts)["lengths"].sum())
    ours, theirs = predict_speeds(model, packed_twin(model), texts, tokens)
    return [name, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}"]


def linear_outcome(parts: Splits, *, chinese: bool) -> Outcome:
    """Fit logistic regressions on TF-IDF, choose one on the development split, and test it."""
    began = time.perf_counter()
    reads: dict[str, Any] = {"ngram_range": (1, 2), "token_pattern": r"\S+"}
    if chinese:
        reads = {"ngram_range": (1, 3), "analyzer": "char"}
    tfidf = TfidfVectorizer(sublinear_tf=True, **reads)
    train = tfidf.fit_transform(parts.train[0])
    dev, test = (tfidf.transform(part[0]) for part in (parts.dev, parts.test))
    best = Outcome(-1.0, 0.0, 0.0)
    for cost in COSTS:
        model = LogisticRegression(C=cost, max_iter=2000).fit(train, parts.train[1])
        shown = 100 * model.score(dev, parts.dev[1])
        if shown > best.dev:
            best = Outcome(shown, 100 * model.score(test, parts.test[1]), 0.0)
    return best._replace(minutes=(time.perf_counter() - began) / 60)


def row(name: str, parts: Splits, linear: Outcome, outcomes: Sequence[Outcome]) -> list[str]:
    """One line of the table of the test."""
    target, ours = TARGETS[name], mean(one.test for one in outcomes)
    demanded = []
    for word, value in (("must", target.must), ("aim", target.aim)):
        if value is not None:
            demanded.append(f"{word} {value:g}: {'met' if ours >= value else 'MISSED'}")
    demanded.append(f"linear: {'met' if ours >= linear.test else 'MISSED'}")
    return [
        name,
        f"{len(parts.train[0]):,} / {len(parts.dev[0]):,} / {len(parts.test[0]):,}",
        f"**{ours:.1f}**",
        ", ".join(f"{one.test:.1f}" for one in outcomes),
        f"{mean(one.dev for one in outcomes):.1f}",
        f"{linear.test:.1f} ({linear.dev:.1f})",
        f"{mean(one.minutes for one in outcomes):.1f}",
        "; ".join(demanded),
        target.published,
    ]


def test_page(
    rows: list[list[str]], effects: list[list[str]], speeds: list[list[str]], threads: int
) -> str:
    columns = ["set", "train / dev / test", "test", "seeds", "dev", "TF-IDF + LR, test (dev)"]
    columns += ["minutes a fit", "demanded", "published, without vectors"]
    told = "\n".join(f"- {name}: `{json.dumps(settings_of(name))}`" for name, *_ in rows)
    return (
        "# Classification of texts\n\nAccuracy in per cent, mean over the seeds.\n\n"
        f"{markdown(columns, rows)}\n\nSettings, chosen on the development split; all else is the"
        f" default:\n\n{told}\n\n## Adversarial training\n\nAccuracy on the development split of"
        f" {ADVERSARIAL_SET}, all else as above.\n\n"
        f"{markdown(['adversarial', 'dev', 'seeds', 'minutes a fit'], effects)}\n\n"
        "## Speed of `predict`\n\nTokens a second, from texts to labels; beside it the same weights"
        " in `torch.nn.LSTM` with packed sequences.\n\n"
        f"{markdown(['set', 'gatewise', 'plain torch', 'times'], speeds)}\n\n{about(threads)}\n"
    )


def search(sets: dict[str, Splits], threads: int) -> None:
    """Try every line of SEARCH; the test split is not looked at."""
    rows: list[list[str]] = []
    for name, parts in sets.items():
        for change in SEARCH[name]:
            model, minutes = fitted(parts, {**settings_of(name), **change}, 0)
            told = json.dumps(change) if change else "as chosen"
            rows.append(
                [name, told, f"{best_dev(model):.1f}", f"{model.best_epoch_}", f"{minutes:.1f}"]
            )
            print(*rows[-1], sep="  ", flush=True)
            columns = ["set", "changed", "dev accuracy", "best epoch", "minutes"]
            chosen = "\n".join(f"- {name}: `{json.dumps(settings_of(name))}`" for name in sets)
            write(
                "text_classification_search.md",
                "# Settings tried on the development split, seed 0\n\n"
                f"{markdown(columns, rows)}\n\nWhat was chosen:\n\n{chosen}\n\n{about(threads)}\n",
            )


def about(threads: int) -> str:
    return f"{machine(threads, {'scikit-learn': sklearn.__version__})}."


def write(name: str, text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text)


if __name__ == "__main__":
    main()
