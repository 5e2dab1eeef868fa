"""Saved models: a directory of JSON, safetensors and one HTML page; nothing in it is a pickle.

::

    config.json           task, fields, format and versions
    weights.safetensors   the parameters and buffers of the network
    schema.json           what the data looked like, and what the network was built from
    metrics.json          scores, and the data that they were measured on
    report.html           the pictures
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from gatewise._version import __version__
from gatewise.errors import GatewiseError, InvalidFileError, InvalidValueError
from gatewise.training import storage

FORMAT: Final = 1
"""Version of the layout; a change that older versions cannot read raises it."""

CONFIG: Final = "config.json"
WEIGHTS: Final = "weights.safetensors"
SCHEMA: Final = "schema.json"
METRICS: Final = "metrics.json"
REPORT: Final = "report.html"


def write_model(
    directory: Path, task: str, fields: Mapping[str, Any], write: Callable[[Path], None]
) -> None:
    """Write a model directory in one step.

    Args:
        directory: Its place; a saved model that is there is replaced.
        task: The estimator's task.
        fields: The estimator's settings.
        write: Writes everything but the configuration into an empty directory.

    Raises:
        InvalidValueError: ``directory`` is a file, or holds another program's config.json.
        InvalidFileError: It cannot be written.
    """
    _check_replaceable(directory)

    def write_all(place: Path) -> None:
        config = {
            "format": FORMAT,
            "task": task,
            "versions": {
                "gatewise": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            "fields": dict(fields),
        }
        storage.atomic_write_json(place / CONFIG, config)
        write(place)

    storage.replace_directory(directory, write_all)


def read_task(directory: Path) -> str:
    """Return the task of a saved model.

    Raises:
        InvalidFileError: See ``read_fields``.
    """
    return str(_read_config(directory)["task"])


def read_fields(directory: Path, task: str) -> dict[str, Any]:
    """Return the settings of a saved model.

    Args:
        directory: Of the model.
        task: The task that it must have.

    Raises:
        InvalidFileError: There is no model, it is damaged, of another task, or too new.
    """
    config = _read_config(directory)
    if config["task"] != task:
        raise InvalidFileError(
            f"'{directory / CONFIG}'",
            f"a model of the task '{task}'",
            f"one of '{config['task']}'",
            "Use gatewise.load, which picks the right estimator.",
        )
    fields = config["fields"]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def known_fields(
    directory: Path, fields: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    """Return the settings after a check that this version knows them all."""
    unknown = [name for name in fields if name not in names]
    if unknown:
        raise InvalidFileError(
            f"'{directory / CONFIG}'",
            "settings that this version knows",
            ", ".join(f"'{name}'" for name in unknown),
            "Restore the file from a copy, or update gatewise.",
        )
    return dict(fields)


@contextmanager
def damage_named(directory: Path) -> Iterator[None]:
    """Turn what a damaged file provokes while a model is rebuilt into one clear error."""
    try:
        yield
    except GatewiseError:
        raise
    # Content that is whole JSON and yet not what was written fails in one of these ways.
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        raise InvalidFileError(
            f"'{directory}'",
            "a saved model as gatewise wrote it",
            f"contents that do not fit together ({type(error).__name__}: {error})",
            "Restore the directory from a copy, or fit again.",
        ) from error


def _check_replaceable(directory: Path) -> None:
    """Files of other names survive a save; another program's config.json would not."""
    taken = "a file" if directory.is_file() else ""
    if (directory / CONFIG).exists() and not _is_config(storage.read_json(directory / CONFIG)):
        taken = f"a directory with another program's {CONFIG}"
    if taken:
        raise InvalidValueError(
            f"save: '{directory}'",
            "a new directory, or a saved model to replace",
            taken,
            "Choose another place: what is there would be lost.",
        )


def _is_config(config: Any) -> bool:
    keys = {"format": int, "task": str, "versions": dict, "fields": dict}
    return isinstance(config, dict) and all(
        isinstance(config.get(key), kind) for key, kind in keys.items()
    )


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / CONFIG
    if not path.is_file():
        raise InvalidFileError(
            f"'{directory}'",
            "the directory of a saved model",
            f"none with a {CONFIG}" if directory.is_dir() else "no such directory",
            "Give the directory that save or `gatewise fit --out` wrote.",
        )
    config = storage.read_json(path)
    if not _is_config(config):
        raise InvalidFileError(
            f"'{path}'",
            "format, task, versions and fields of a saved model",
            "something else",
            "Give the directory of a saved model, or restore it from a copy.",
        )
    if config["format"] > FORMAT:
        raise InvalidFileError(
            f"'{path}'",
            f"format {FORMAT} or older",
            f"format {config['format']}, written by gatewise"
            f" {config['versions'].get('gatewise', 'of unknown version')}",
            f"This is gatewise {__version__}: update it.",
        )
    return config
