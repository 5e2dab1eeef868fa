"""A fitted language model as files, and back; nothing in them is executed."""

from __future__ import annotations

from pathlib import Path

import torch

from gatewise.tasks import saving
from gatewise.tasks.course import Course
from gatewise.tasks.language.corpus import Language
from gatewise.tasks.language.network import LanguageNetwork, LanguageShape
from gatewise.tasks.language.training import LanguageFit
from gatewise.training import storage


def write(directory: Path, fitted: LanguageFit) -> None:
    """Write weights, vocabulary and metrics into a directory."""
    storage.atomic_write_tensors(directory / saving.WEIGHTS, fitted.network.state_dict(), {})
    content = fitted.language.to_dict() | {"network": fitted.network.shape.to_dict()}
    storage.atomic_write_json(directory / saving.SCHEMA, content)
    fitted.course.write(directory)


def read(directory: Path) -> LanguageFit:
    """Return what ``write`` wrote.

    Raises:
        InvalidFileError: A file is missing or damaged.
        InvalidStateError: Vocabulary and weights are not of the same model.
    """
    known = storage.read_json(directory / saving.SCHEMA)
    course = Course.read(directory)
    tensors, _ = storage.read_tensors(directory / saving.WEIGHTS)
    language = Language.from_dict(known)
    rows = len(tensors["encoder.embedding.weight"])
    language.vocabulary.require_rows(rows, f"'{directory / saving.WEIGHTS}'")
    # Without memory of its own: sizes that the weights do not bear out cost nothing.
    with torch.device("meta"):
        network = LanguageNetwork(LanguageShape.from_dict(known["network"]))
    network.load_state_dict(tensors, assign=True)
    network.tie()
    return LanguageFit(network.eval(), language, course)
