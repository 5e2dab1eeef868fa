"""Language models beside published scores: Penn Treebank, Shakespeare, Chinese quatrains.

    python benchmarks/language_models.py --data DIR
    python benchmarks/language_models.py --data DIR --sets zaremba quatrains --seeds 1

DIR holds the folders ptb, tinyshakespeare and zh_poems_wujue. Each row is a fit of
`gatewise.LanguageModel` with the settings below, which were chosen on the validation texts; the
test text is read once, with the state carried from its first token to its last. The set
``adversaries`` shows what adversarial training does to the quatrains. A row that is measured
replaces the one in results/language_models.md.

Published: W. Zaremba, I. Sutskever, O. Vinyals, "Recurrent neural network regularization",
arXiv:1409.2329 (its small model: test perplexity 114.5).
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from machine import RESULTS, machine
from options import fit_options
from table import judged, markdown

from gatewise.tasks import LanguageModel

FORM = 4, 5
"""Lines of a quatrain, and characters of each."""

SAMPLES = 200

ADVERSARIES = "none", "fgm", "vat"
ADVERSARIES_SET = "adversaries"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Args:
        title: What it is.
        folder: Where its texts are.
        score: What is scored.
        target: What it must reach.
        published: What others reached.
        settings: Fields of the model.
        load: Gives training, validation and test texts from the folder of the data.
        measure: Gives the score of a fitted model on the test texts.
        at_most: Whether less is better.
        seeds: How many are run.
    """

    title: str
    folder: str
    score: str
    target: float
    published: str
    settings: dict[str, Any]
    load: Callable[[Path], tuple[Any, Any, Any]]
    measure: Callable[[LanguageModel, Any], float]
    at_most: bool = True
    seeds: int = 3


def penn(data: Path) -> tuple[Any, Any, Any]:
    """Return the files of the Penn Treebank."""
    folder = data / "ptb"
    return (
        folder / "ptb.train.txt.gz",
        folder / "ptb.valid.txt",
        folder / "ptb.test.txt",
    )


def shakespeare(data: Path) -> tuple[Any, Any, Any]:
    """Return the customary first nine tenths of the characters, and the rest twice."""
    (path,) = (data / "tinyshakespeare").glob("input.txt*")
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    whole = text.decode()
    border = round(0.9 * len(whole))
    first, rest = whole[:border].split("\n"), whole[border:].split("\n")
    return first, rest, rest


def quatrains(data: Path) -> tuple[Any, Any, Any]:
    """Return poems without their titles: nine tenths, and the rest twice."""
    (path,) = (path for path in (data / "zh_poems_wujue").iterdir() if path.is_file())
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    poems = [line.partition(":")[2].strip() for line in raw.decode().splitlines() if ":" in line]
    border = round(0.9 * len(poems))
    return poems[:border], poems[border:], poems[border:]


def perplexity(model: LanguageModel, texts: Any) -> float:
    """Return that of a text, read as one stream."""
    return model.evaluate(texts, streams=1)["model"]["perplexity"]


def nats(model: LanguageModel, texts: Any) -> float:
    """Return the mean of −ln p of a character."""
    return model.evaluate(texts, streams=1)["model"]["nats_per_token"]


def kept_form(model: LanguageModel, _: Any) -> float:
    """Return the share of drawn poems of four lines of five characters, in per cent."""
    kept = 0
    for start in range(0, SAMPLES, 50):
        pieces = model.generate([""] * 50, length=60, temperature=0.8, seed=start, stop="\n")
        texts = ["".join(parts) for parts in zip(*pieces, strict=True)]
        kept += sum(is_quatrain(text) for text in texts)
    return 100 * kept / SAMPLES


def is_quatrain(text: str) -> bool:
    """Return whether a text is four lines of five Chinese characters, parted by marks."""
    for mark in "，。！？；、,.":  # noqa: RUF001 - the marks of Chinese
        text = text.replace(mark, " ")
    lines = text.split()
    count, length = FORM
    return len(lines) == count and all(
        len(line) == length and all("\u3400" <= sign <= "\u9fff" for sign in line) for line in lines
    )


ZAREMBA: dict[str, Any] = {
    "tokens": "spaces",
    "embedding_size": 200,
    "hidden_size": 200,
    "tied": False,
    "init_range": 0.1,
    "input_dropout": 0.0,
    "hidden_dropout": 0.0,
    "output_dropout": 0.0,
    "streams": 20,
    "steps": 20,
    "optimizer": "sgd",
    "momentum": 0.0,
    # The paper sums the loss over 20 steps: its rate of 1 and its norm of 5 are these of the mean.
    "learning_rate": 20.0,
    "gradient_clip": 0.25,
    "schedule": "exponential",
    "decay": 0.5,
    "hold_epochs": 4,
    "max_epochs": 13,
    "patience": None,
}

ROWS = {
    "zaremba": Row(
        "Penn Treebank, Zaremba's small model (2 x 200, 13 epochs)",
        "ptb",
        "test perplexity",
        115.0,
        "114.5 (Zaremba et al. 2014)",
        ZAREMBA,
        penn,
        perplexity,
    ),
    "zaremba_mixed": Row(
        "The same with products in bfloat16",
        "ptb",
        "test perplexity",
        115.0,
        "114.5 (Zaremba et al. 2014)",
        {**ZAREMBA, "precision": "bf16-mixed"},
        penn,
        perplexity,
    ),
    "penn": Row(
        "Penn Treebank, at most 5 million parameters and 45 minutes",
        "ptb",
        "test perplexity",
        87.0,
        "-",
        {
            "tokens": "spaces",
            "embedding_size": 256,
            "hidden_size": 480,
            "num_layers": 2,
            "word_dropout": 0.1,
            "input_dropout": 0.3,
            "hidden_dropout": 0.3,
            "output_dropout": 0.4,
            "weight_dropout": 0.3,
            "streams": 32,
            "steps": 48,
            "max_epochs": 46,
            "patience": None,
            "learning_rate": 4e-3,
            "gradient_clip": 0.5,
            "schedule": "cosine",
            "precision": "bf16-mixed",
        },
        penn,
        perplexity,
        seeds=1,
    ),
    "shakespeare": Row(
        "Shakespeare by character, last tenth",
        "tinyshakespeare",
        "nats a character",
        1.435,
        "-",
        {
            "tokens": "characters",
            "embedding_size": 128,
            "hidden_size": 768,
            "num_layers": 2,
            "tied": False,
            "input_dropout": 0.0,
            "hidden_dropout": 0.2,
            "output_dropout": 0.3,
            "weight_dropout": 0.2,
            "streams": 64,
            "steps": 50,
            "max_epochs": 8,
            "patience": None,
            "learning_rate": 3e-3,
            "schedule": "cosine",
            "precision": "bf16-mixed",
        },
        shakespeare,
        nats,
    ),
    "quatrains": Row(
        "Chinese quatrains by character",
        "zh_poems_wujue",
        "per cent of 200 samples (temperature 0.8) that keep the form 4 x 5",
        95.0,
        "-",
        {
            "tokens": "characters",
            "minimum_count": 5,
            "carry_over": False,
            "precision": "bf16-mixed",
            "embedding_size": 192,
            "hidden_size": 384,
            "num_layers": 2,
            "output_dropout": 0.3,
            "hidden_dropout": 0.2,
            "streams": 32,
            "steps": 48,
            "max_epochs": 12,
            "patience": None,
            "learning_rate": 3e-3,
            "schedule": "cosine",
        },
        quatrains,
        kept_form,
        at_most=False,
    ),
}


def run(name: str, data: Path, seeds: int, threads: int) -> dict[str, Any]:
    """Fit and score one row; return what its line says."""
    row = ROWS[name]
    train, valid, test = row.load(data)
    scores, minutes, parameters = [], [], 0
    for seed in range(min(seeds, row.seeds)):
        begun = time.perf_counter()
        model = LanguageModel(**row.settings, seed=seed).fit(train, validation=valid)
        minutes.append((time.perf_counter() - begun) / 60)
        scores.append(row.measure(model, test))
        parameters = model.describe()["parameters"]
        print(f"{name}, seed {seed}: {scores[-1]:.4g} after {minutes[-1]:.1f} minutes")
    return {
        "scores": scores,
        "minutes": mean(minutes),
        "parameters": parameters,
        "machine": machine(threads),
    }


def run_adversaries(data: Path, seeds: int, threads: int) -> dict[str, Any]:
    """Fit the quatrains under each adversary, all else the same; return what its table says."""
    row = ROWS["quatrains"]
    train, valid, _ = row.load(data)
    held: dict[str, Any] = {"machine": machine(threads)}
    for adversary in ADVERSARIES:
        settings = {**row.settings, "adversarial": adversary}
        scores, minutes = [], []
        for seed in range(seeds):
            begun = time.perf_counter()
            model = LanguageModel(**settings, seed=seed).fit(train, validation=valid)
            minutes.append((time.perf_counter() - begun) / 60)
            scores.append(nats(model, valid))
        print(f"{adversary}: {scores}", flush=True)
        held[adversary] = {"scores": scores, "minutes": mean(minutes)}
    return held


def adversaries_table(held: dict[str, Any]) -> str:
    """Return the part of the page on adversarial training."""
    lines = [
        [
            adversary,
            f"{mean(held[adversary]['scores']):.3f}",
            ", ".join(f"{score:.3f}" for score in held[adversary]["scores"]),
            f"{held[adversary]['minutes']:.1f}",
        ]
        for adversary in ADVERSARIES
    ]
    columns = ["adversarial", "nats a character", "each seed", "minutes a fit"]
    return (
        "## Adversarial training\n\nValidation texts of the quatrains, by which the best epoch was "
        f"chosen; all else as above.\n\n{markdown(columns, lines)}\n\n{held['machine']}.\n"
    )


def written(results: dict[str, dict[str, Any]]) -> str:
    """Return the page of all rows."""
    lines, notes = [], []
    for name, row in ROWS.items():
        if name not in results:
            continue
        held = results[name]
        each = ", ".join(f"{score:.4g}" for score in held["scores"])
        lines.append(
            [
                row.title,
                f"{row.score}: {judged(mean(held['scores']), row.target, at_most=row.at_most)}",
                each,
                row.published,
                f"{held['parameters'] / 1e6:.2f} M",
                f"{held['minutes']:.1f}",
            ]
        )
        given = ", ".join(f"{field}={value!r}" for field, value in row.settings.items())
        notes.append(f"- **{row.title}**: {given}. {held['machine']}.")
    effect = ""
    if ADVERSARIES_SET in results:
        effect = "\n" + adversaries_table(results[ADVERSARIES_SET])
    columns = ["", "mean of the seeds", "each seed", "published", "parameters", "minutes a fit"]
    return (
        "# Language models\n\n`benchmarks/language_models.py`; settings were chosen on the "
        "validation texts. Where there is no test text, the score is that of the validation text, "
        f"by which the best epoch was chosen too.\n\n{markdown(columns, lines)}\n\n"
        "Settings and machines:\n\n" + "\n".join(notes) + "\n" + effect
    )


def main() -> None:
    """Run rows, and write the page with those of former runs."""
    threads = torch.get_num_threads()
    sets = [*ROWS, ADVERSARIES_SET]
    held_by = "directory that holds ptb/ and the others"
    parser, options = fit_options(__doc__, sets, data=held_by, threads=threads)
    for name in options.sets:
        folder = options.data / ROWS.get(name, ROWS["quatrains"]).folder
        if not folder.is_dir():
            parser.error(f"{folder}: not found. Pass the directory that holds {folder.name}/.")
    held = RESULTS / "language_models.json"
    results = json.loads(held.read_text()) if held.exists() else {}
    for name in options.sets:
        given = options.data, options.seeds, options.threads
        results[name] = run_adversaries(*given) if name == ADVERSARIES_SET else run(name, *given)
        held.write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "language_models.md").write_text(written(results), encoding="utf-8")
    print(written(results))


if __name__ == "__main__":
    main()
