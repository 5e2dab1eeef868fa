"""Small models of Keras, and their files with other things inside."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

layers = keras.layers
WEIGHTS = "model.weights.h5"
CONFIG = "config.json"


def filled(model: Any, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    model.set_weights([draw.normal(size=w.shape) * 0.3 for w in model.get_weights()])
    return model


def softmax_model() -> Any:
    return keras.Sequential(
        [keras.Input((None, 7)), layers.LSTM(50), layers.Dense(10, activation="softmax")]
    )


def altered(path: Path, **members: Any) -> Path:
    """Write a file with other members; None leaves one out, and ``arrays`` changes the HDF5."""
    arrays = members.pop("arrays", None)
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    if arrays:
        image = io.BytesIO(held[WEIGHTS])
        with h5py.File(image, "r+") as root:
            arrays(root)
        held[WEIGHTS] = image.getvalue()
    for name, value in members.items():
        held[{"config": CONFIG, "metadata": "metadata.json", "weights": WEIGHTS}[name]] = value
    other = path.with_name("altered.keras")
    with zipfile.ZipFile(other, "w") as archive:
        for name, value in held.items():
            if value is not None:
                archive.writestr(name, value)
    return other


def config_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(CONFIG))
