"""gatewise: recurrent networks, gate by gate: train, look inside, ship.

Names are loaded on first use, so that importing the package costs little more than torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gatewise._version import __version__

if TYPE_CHECKING:
    from gatewise import convert, errors, keras, nn, tasks
    from gatewise.convert import from_keras, from_onnx, from_torch, to_keras, to_torch
    from gatewise.nn import freeze, replace, unfreeze
    from gatewise.ops import use_backend
    from gatewise.tasks import Forecaster, LanguageModel, SequenceTagger, TextClassifier, load

__all__ = [
    "Forecaster",
    "LanguageModel",
    "SequenceTagger",
    "TextClassifier",
    "__version__",
    "convert",
    "errors",
    "freeze",
    "from_keras",
    "from_onnx",
    "from_torch",
    "keras",
    "load",
    "nn",
    "replace",
    "tasks",
    "to_keras",
    "to_torch",
    "unfreeze",
    "use_backend",
]

_HOMES = {
    "Forecaster": "gatewise.tasks",
    "LanguageModel": "gatewise.tasks",
    "SequenceTagger": "gatewise.tasks",
    "TextClassifier": "gatewise.tasks",
    "convert": "gatewise",
    "errors": "gatewise",
    "freeze": "gatewise.nn",
    "from_keras": "gatewise.convert",
    "from_onnx": "gatewise.convert",
    "from_torch": "gatewise.convert",
    "keras": "gatewise",
    "load": "gatewise.tasks",
    "nn": "gatewise",
    "replace": "gatewise.nn",
    "tasks": "gatewise",
    "to_keras": "gatewise.convert",
    "to_torch": "gatewise.convert",
    "unfreeze": "gatewise.nn",
    "use_backend": "gatewise.ops",
}


def __getattr__(name: str) -> Any:
    """Import the module that holds ``name``, then give its ``name``."""
    if name not in _HOMES:
        raise AttributeError(f"module 'gatewise' has no attribute {name!r}")
    home = _HOMES[name]
    if home == "gatewise":
        return importlib.import_module(f"gatewise.{name}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
