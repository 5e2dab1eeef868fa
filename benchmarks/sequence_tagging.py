"""Sequence tagging beside published scores, and its speed beside the same network in plain torch.

    python benchmarks/sequence_tagging.py --data DIR
    python benchmarks/sequence_tagging.py --data DIR --search
    python benchmarks/sequence_tagging.py --data DIR --sets wnut17 --seeds 1

Parts of speech (UPOS) of Universal Dependencies' English EWT 2.15; the emerging entities of
WNUT-17, English; the entities of Chinese resumes (Zhang & Yang 2018), by character. No pre-trained
vectors anywhere. The epoch is chosen on the development split, and so were the settings: `--search`
trains with those of `SEARCH` and does not see the test split at all. Entities are counted by
conlleval's rules; where a file breaks its own scheme, it is read as conlleval reads it.

Speed is that of `predict`, from lists of tokens to lists of tags, on the test split: beside it the
same weights in torch.nn.LSTM with packed sequences and Viterbi's algorithm in plain torch, with the
same look-up of tokens before and the same tags behind. That both give the same tags is checked
first.

Published: Z. Yang & Y. Zhang, "Chinese NER using lattice LSTM", ACL 2018; L. Derczynski et al.,
"Results of the WNUT2017 shared task", 2017.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from machine import RESULTS, machine
from options import fit_options
from plain_tagger import plain_twin
from table import judged, markdown
from torch_twin import predict_speeds

from gatewise.data.text import read_tagged
from gatewise.tasks import SequenceTagger

LONG = 10
"""Minutes from which on a fit is not repeated with other seeds."""


@dataclass(frozen=True)
class Set:
    """A corpus.

    Args:
        what: It is, in words.
        files: Of training, development and test.
        score: What counts.
        must: Per cent that the test score has to reach.
        published: What others report.
        settings: Chosen on the development split.
    """

    what: str
    files: tuple[str, str, str]
    score: str
    must: float
    published: str
    settings: dict[str, Any]


_DROPOUT = {"input_dropout": 0.5, "output_dropout": 0.5}
_WORDS: dict[str, Any] = {
    **_DROPOUT,
    "learning_rate": 3e-3,
    "decay": 0.9,
    "max_epochs": 12,
    "patience": 5,
}
_CHINESE: dict[str, Any] = {
    **_DROPOUT,
    "characters": "none",
    "lowercase": False,
    "ngrams": 2,
    "learning_rate": 3e-3,
    "decay": 0.85,
    "max_epochs": 10,
    "patience": 4,
}
_SPEECH: dict[str, Any] = {
    **_DROPOUT,
    "word_dropout": 0.05,
    "character_hidden_size": 75,
    "batch_size": 32,
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "max_epochs": 10,
}
SETS = {
    "resume_ner": Set(
        "Chinese resumes, span F1",
        ("train.char.bmes.gz", "dev.char.bmes", "test.char.bmes"),
        "f1",
        94.0,
        "Lattice LSTM 94.46",
        _CHINESE,
    ),
    "wnut17": Set(
        "WNUT-17, span F1",
        ("wnut17train.conll.gz", "emerging.dev.conll", "emerging.test.annotated"),
        "f1",
        20.0,
        "best of the shared task, with vectors: 41.86",
        _WORDS,
    ),
    "ud_en_ewt": Set(
        "UD English EWT, UPOS accuracy",
        ("en_ewt-ud-train.conllu.gz", "en_ewt-ud-dev.conllu.gz", "en_ewt-ud-test.conllu.gz"),
        "accuracy",
        95.2,
        "transformers about 97",
        _SPEECH,
    ),
}

SEARCH: list[tuple[str, dict[str, Any]]] = [
    ("resume_ner", {}),
    (
        "resume_ner",
        {
            "input_dropout": 0.6,
            "output_dropout": 0.6,
            "unknown_share": 0.3,
            "ngram_size": 100,
            "ngram_minimum_count": 1,
            "hidden_size": 256,
            "learning_rate": 2e-3,
        },
    ),
    ("wnut17", {}),
    ("wnut17", {"learning_rate": 1e-3, "decay": 0.95, "patience": 4}),
    ("wnut17", {"constraints": False}),
    (
        "wnut17",
        {
            "casing_size": 10,
            "word_dropout": 0.2,
            "unknown_share": 0.8,
            "character_hidden_size": 50,
            "max_epochs": 14,
        },
    ),
    (
        "wnut17",
        {
            "casing_size": 10,
            "word_dropout": 0.1,
            "characters": "cnn",
            "character_hidden_size": 50,
            "max_epochs": 14,
        },
    ),
    ("ud_en_ewt", {}),
    (
        "ud_en_ewt",
        {"schedule": "exponential", "decay": 0.75, "hold_epochs": 2, "max_epochs": 9},
    ),
    (
        "ud_en_ewt",
        {
            "input_dropout": 0.4,
            "output_dropout": 0.4,
            "word_dropout": 0.0,
            "character_hidden_size": 50,
            "batch_size": 16,
            "learning_rate": 2e-3,
            "schedule": "exponential",
            "decay": 0.8,
            "max_epochs": 8,
        },
    ),
]
"""A corpus, and what is changed in its settings; seed 0. The best development score decides."""


class Outcome(NamedTuple):
    """Scores of one seed, in per cent."""

    seed: int
    dev: float
    test: float
    baseline: float
    epoch: int
    minutes: float


def main() -> None:
    parser, arguments = fit_options(
        __doc__,
        list(SETS),
        data="directory that holds the sets",
        search="try settings on development splits",
    )
    folders = {name: arguments.data / name for name in arguments.sets}
    for folder in folders.values():
        if not folder.is_dir():
            parser.error(f"{folder}: not found. Pass the directory that holds {folder.name}/.")
    # Two of the sets break their scheme here and there, which is known and not news.
    warnings.filterwarnings("ignore", message=".* break the scheme")
    if arguments.search:
        search(folders, arguments.threads)
        return
    outcomes: dict[str, list[Outcome]] = {name: [] for name in folders}
    speeds: dict[str, tuple[float, float]] = {}
    # Seed by seed: a run that is stopped has measured every set.
    for seed in range(arguments.seeds):
        for name, folder in folders.items():
            if any(run.minutes > LONG for run in outcomes[name]):
                continue
            model, outcome = measured(SETS[name], folder, seed)
            outcomes[name].append(outcome)
            print(f"{name}: {outcome}", flush=True)
            if name not in speeds:
                speeds[name] = speed(model, folder / SETS[name].files[2])
            done = {key: runs for key, runs in outcomes.items() if runs}
            (RESULTS / "sequence_tagging.md").write_text(page(done, speeds, arguments.threads))


def fitted(one: Set, folder: Path, seed: int, changes: Mapping[str, Any]) -> SequenceTagger:
    """A tagger that has seen the training and the development split."""
    model = SequenceTagger(seed=seed, repair=True, **{**one.settings, **changes})
    train, dev, _ = (folder / file for file in one.files)
    return model.fit(train, validation=dev, progress=False)


def measured(one: Set, folder: Path, seed: int) -> tuple[SequenceTagger, Outcome]:
    """Fit and test with one seed."""
    start = time.monotonic()
    model = fitted(one, folder, seed, {})
    minutes = (time.monotonic() - start) / 60
    scores = model.evaluate(folder / one.files[2])
    own = [100 * row[one.score] for row in scores.values()]
    dev = 100 * model.scores_["model"][one.score]
    return model, Outcome(seed, dev, own[0], max(own[1:]), model.best_epoch_, minutes)


def speed(model: SequenceTagger, test: Path) -> tuple[float, float]:
    """Return tokens a second of ``predict``, and of the same network in plain torch."""
    tokens = [list(one.tokens) for one in read_tagged(test, tags=False)]
    return predict_speeds(model, plain_twin(model), tokens, sum(map(len, tokens)))


def search(folders: Mapping[str, Path], threads: int) -> None:
    """Try every line of SEARCH; the test splits are not looked at."""
    rows = []
    for name, changes in SEARCH:
        if name not in folders:
            continue
        start = time.monotonic()
        model = fitted(SETS[name], folders[name], 0, changes)
        minutes = (time.monotonic() - start) / 60
        score = 100 * model.scores_["model"][SETS[name].score]
        told = ", ".join(f"{key} = {value}" for key, value in changes.items()) or "none"
        rows.append([name, told, f"{score:.2f}", f"{model.best_epoch_}", f"{minutes:.1f}"])
        print(*rows[-1], sep="  ", flush=True)
    columns = ["set", "change", "development score", "best epoch", "minutes"]
    lines = [
        "# Settings for sequence tagging, tried on the development splits",
        "",
        f"{machine(threads)}. Seed 0; each line changes the settings of `sequence_tagging.py`.",
        "",
        markdown(columns, rows),
    ]
    (RESULTS / "sequence_tagging_search.md").write_text("\n".join(lines) + "\n")


def page(
    outcomes: Mapping[str, list[Outcome]],
    speeds: Mapping[str, tuple[float, float]],
    threads: int,
) -> str:
    """Return the page of results."""
    rows, settings = [], []
    for name, runs in outcomes.items():
        one, tests = SETS[name], [run.test for run in runs]
        spread = f" ± {stdev(tests):.2f}" if len(tests) > 1 else ""
        rows.append(
            [
                one.what,
                judged(mean(tests), one.must) + spread,
                f"{mean(run.dev for run in runs):.2f}",
                f"{mean(run.baseline for run in runs):.2f}",
                one.published,
                f"{len(runs)}",
                f"{mean(run.minutes for run in runs):.1f}",
            ]
        )
        told = ", ".join(f"{key} = {value}" for key, value in one.settings.items())
        settings.append(f"- {one.what}: {told}")
    columns = [
        *("set", "test score", "development", "best baseline, test", "published"),
        *("seeds", "minutes a fit"),
    ]
    faster = [
        [SETS[name].what, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}"]
        for name, (ours, theirs) in speeds.items()
    ]
    lines = [
        "# Sequence tagging",
        "",
        f"{machine(threads)}. Per cent, means over the seeds ± deviation; no pre-trained vectors.",
        "The baseline is the better one of the most frequent tag and the most frequent tag of each",
        "word. The epoch was chosen on the development split.",
        "",
        markdown(columns, rows),
        "",
        "Settings, chosen on the development splits:",
        "",
        *settings,
        "",
        "## Speed of `predict`",
        "",
        "Tokens a second, from lists of tokens to lists of tags; beside it the same weights in",
        "`torch.nn.LSTM` with packed sequences and Viterbi's algorithm in plain torch.",
        "",
        markdown(["set", "gatewise", "plain torch", "times"], faster),
        "",
        "NCRF++ says of itself: more than 2,000 sentences a second on a GPU that it does not name.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
