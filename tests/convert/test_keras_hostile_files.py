"""from_keras on files of Keras that are damaged, or that mean harm."""

from __future__ import annotations

import contextlib
import json
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch

import gatewise as gw
from gatewise.convert._keras_parts import refuse_foreign
from gatewise.errors import GatewiseError, InvalidFileError, InvalidValueError
from support.keras_files import CONFIG, WEIGHTS, altered, config_of, filled, softmax_model

layers = keras.layers


@pytest.fixture
def saved(tmp_path) -> Path:
    path = tmp_path / "model.keras"
    filled(softmax_model()).save(path)
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"config": None}, "an archive with config.json"),
        ({"metadata": None}, "an archive with metadata.json"),
        ({"weights": None}, "an archive with model.weights.h5"),
        ({"config": b"{"}, "config.json: expected JSON"),
        ({"config": b"\xff\xfe"}, "config.json: expected JSON"),
        ({"config": b"[1]"}, "expected an object, got list"),
        ({"config": b"[" * 100_000}, "config.json: expected JSON"),
        ({"metadata": b'{"keras_version": "2.13.1"}'}, "a file of Keras 3, got one of 2.13.1"),
        ({"metadata": b"{}"}, "a file of Keras 3"),
        ({"weights": b"not HDF5"}, "expected HDF5"),
    ],
)
def test_a_damaged_member(members, message, saved):
    with pytest.raises(InvalidFileError, match=message):
        gw.from_keras(altered(saved, **members))


def test_no_file_and_another_file(tmp_path):
    with pytest.raises(InvalidFileError, match="no file"):
        gw.from_keras(tmp_path / "nothing.keras")
    with pytest.raises(InvalidFileError, match="no file"):
        gw.from_keras(tmp_path)
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(InvalidFileError, match="zip archive"):
        gw.from_keras(path)


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_are_wrong_or_missing(seed, saved):
    """A refusal or a module, never another error."""
    draw = np.random.default_rng(seed)
    content = bytearray(saved.read_bytes())
    if seed % 4 == 0:
        content = content[: draw.integers(len(content))]
    else:
        for at in draw.integers(0, len(content), 1 + seed % 9):
            content[at] = draw.integers(256)
    saved.write_bytes(content)
    run_over(saved)


@pytest.mark.parametrize("seed", range(40))
def test_wrong_bytes_that_no_checksum_covers(seed, saved):
    """The archive is whole, and what it holds is not."""
    draw = np.random.default_rng(seed)
    name = ["config", "weights"][seed % 2]
    with zipfile.ZipFile(saved) as archive:
        content = bytearray(archive.read({"config": CONFIG, "weights": WEIGHTS}[name]))
    # The structure of an HDF5 file is in front of its numbers, and there is more of it behind.
    for at in draw.integers(0, min(len(content), 4000), 3):
        content[at] = draw.integers(256)
    run_over(altered(saved, **{name: bytes(content)}))


def run_over(path: Path) -> None:
    with contextlib.suppress(GatewiseError):
        assert isinstance(gw.from_keras(path), torch.nn.Module)


def replace_array(root: h5py.File, value: Any, **how: Any) -> None:
    group = root["layers/lstm/cell/vars"]
    del group["1"]
    group.create_dataset("1", data=value, **how)


def link_out(root: h5py.File) -> None:
    del root["layers/lstm"]
    root["layers"]["lstm"] = h5py.ExternalLink("other.h5", "/layers/lstm")


def link_soft(root: h5py.File) -> None:
    del root["layers/lstm/cell/vars/1"]
    root["layers/lstm/cell/vars/1"] = h5py.SoftLink("/layers/dense/vars/0")


def stored_elsewhere(root: h5py.File) -> None:
    group = root["layers/lstm/cell/vars"]
    del group["1"]
    group.create_dataset("1", (50, 200), "f4", external=[("/etc/hostname", 0, 40_000)])


def virtual(root: h5py.File) -> None:
    layout = h5py.VirtualLayout((50, 200), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "weights", (50, 200))
    del root["layers/lstm/cell/vars/1"]
    root["layers/lstm/cell/vars"].create_virtual_dataset("1", layout)


def never_written(root: h5py.File) -> None:
    """A terabyte that takes no room."""
    group = root["layers/lstm/cell/vars"]
    del group["1"]
    group.create_dataset("1", (1 << 19, 1 << 19), "f4", chunks=(1024, 1024))


def missing(root: h5py.File) -> None:
    del root["layers/lstm/cell/vars/1"]


def no_weights(root: h5py.File) -> None:
    del root["layers/lstm/cell/vars"]


def shared(root: h5py.File) -> None:
    """More numbers than the file has, by naming the same ones again."""
    group = root["layers/lstm/cell/vars"]
    for n in range(3, 20):
        group[str(n)] = group["1"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (link_out, "a ExternalLink out of it"),
        (link_soft, "a SoftLink out of it"),
        (stored_elsewhere, "numbers of another file"),
        (virtual, "numbers of another file"),
        (never_written, "bytes where 0 are stored"),
        (missing, "an array 1, got none"),
        (shared, "arrays of the file's size"),
        (
            lambda root: replace_array(root, np.zeros((50, 200), "f4"), compression="gzip"),
            "compressed",
        ),
        (
            lambda root: replace_array(root, np.zeros((50, 200), "i4")),
            "floating-point numbers, got int32",
        ),
        (lambda root: replace_array(root, [b"text"] * 3), "expected"),
        (
            lambda root: replace_array(root, np.zeros((50, 201), "f4")),
            r"weights of shapes .*\(50, 201\)",
        ),
        (lambda root: replace_array(root, np.zeros((50, 200), "f8")), "weights of one dtype"),
        (no_weights, "a layer with weights"),
    ],
    ids=lambda value: getattr(value, "__name__", "")[:20],
)
def test_arrays_that_are_refused(arrays, message, saved):
    with pytest.raises(GatewiseError, match=message):
        gw.from_keras(altered(saved, arrays=arrays))


def rewritten(saved: Path, changes: dict[str, tuple[bytes, int]], claimed: int = 0) -> None:
    """Put other bytes into the archive, compressed by a method, and claim a size for them."""
    with zipfile.ZipFile(saved) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(saved, "w") as archive:
        for name, content in held.items():
            changed, method = changes.get(name, (content, zipfile.ZIP_STORED))
            archive.writestr(name, changed, method)
            if name in changes and claimed:
                archive.getinfo(name).compress_size = claimed  # which goes into the directory


@pytest.mark.parametrize("name", ["metadata.json", CONFIG, WEIGHTS])
@pytest.mark.parametrize("claimed", [0, 1 << 30])
def test_an_archive_that_grows(name, claimed, saved):
    rewritten(saved, {name: (b" " * (10 << 20), zipfile.ZIP_DEFLATED)}, claimed)
    with pytest.raises(
        InvalidFileError, match=rf"{name}: expected at most \d+ bytes, got 10485760"
    ):
        gw.from_keras(saved)


def test_a_text_too_long_to_read(saved):
    rewritten(saved, {CONFIG: (b" " * ((8 << 20) + 1), zipfile.ZIP_STORED)})
    with pytest.raises(InvalidFileError, match=r"config.json: expected at most 8388608 bytes"):
        gw.from_keras(saved)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_of_compression(method, saved):
    """That of zip archives, and none of those whose libraries have faults of their own."""
    config = json.dumps(config_of(saved)).encode()
    rewritten(saved, {CONFIG: (config, zipfile.ZIP_DEFLATED)})
    assert isinstance(gw.from_keras(saved), torch.nn.Module)
    rewritten(saved, {CONFIG: (config, method)})
    with pytest.raises(InvalidFileError, match=rf"stored or deflated bytes, got method {method}"):
        gw.from_keras(saved)


def test_a_wide_configuration_takes_no_memory_of_its_own():
    """What is looked over is not listed first."""
    wide = {"config": [[]] * 30_000}
    tracemalloc.start()
    refuse_foreign(wide)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000


@pytest.mark.parametrize("names", [["a", "a"], ["a", ["b"]], ["a", None]], ids=str)
def test_a_graph_without_names(names, saved):
    rows = [{"class_name": "Dropout", "config": {}, "name": name} for name in names]
    config = {"class_name": "Functional", "config": {"name": "model", "layers": rows}}
    with pytest.raises(InvalidValueError, match="layers with names of their own"):
        gw.from_keras(altered(saved, config=json.dumps(config).encode()))


def test_nothing_that_a_file_names_is_imported(saved, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gatewise_trap.py").write_text("raise SystemExit('imported')")
    config = config_of(saved)
    trap = {
        "module": "gatewise_trap",
        "class_name": "Trap",
        "config": {},
        "registered_name": "a>Trap",
    }
    lstm, dense = config["config"]["layers"][1:]
    for place, value in (
        (lstm["config"], {"activation": trap}),
        (lstm["config"], {"kernel_initializer": trap}),
        (dense, trap),
        (config["config"], {"layers": [trap]}),
    ):
        held = dict(place)
        place |= value
        changed = json.dumps(config).encode()
        place.clear()
        place |= held
        with pytest.raises(InvalidValueError, match=r"Trap .*a>Trap of gatewise_trap"):
            gw.from_keras(altered(saved, config=changed))
    assert "gatewise_trap" not in sys.modules


@pytest.mark.filterwarnings("ignore:.*lambda")
def test_code_is_refused(tmp_path):
    model = keras.Sequential(
        [keras.Input((None, 3)), layers.LSTM(2), layers.Lambda(lambda x: 2 * x)]
    )
    model.save(tmp_path / "model.keras")
    for given in (tmp_path / "model.keras", model):
        with pytest.raises(InvalidValueError, match=r"Lambda 'lambda.*code inside"):
            gw.from_keras(given)


def test_what_it_was_compiled_with(saved):
    config = config_of(saved)
    own = {
        "module": "shop",
        "class_name": "function",
        "config": "loss",
        "registered_name": "shop>loss",
    }
    config["compile_config"] = {"loss": own}
    gw.from_keras(altered(saved, config=json.dumps(config).encode()))
    config["compile_config"] = {"loss": {"class_name": "__lambda__", "config": {"value": "4wA="}}}
    with pytest.raises(InvalidValueError, match="code inside the configuration"):
        gw.from_keras(altered(saved, config=json.dumps(config).encode()))


def test_a_deep_configuration(saved):
    config = config_of(saved)
    for _ in range(300):
        config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [config]}}
    with pytest.raises(InvalidValueError, match="objects within each other"):
        gw.from_keras(altered(saved, config=json.dumps(config).encode()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": "50"}, r"LSTM layer 'lstm.*\(units\): expected a int, got '50'"),
        ({"units": 51}, "weights of shapes"),
        ({"units": True}, r"\(units\)"),
        ({"use_bias": 1}, r"\(use_bias\)"),
        ({"activation": ["tanh"]}, r"\(activation\)"),
        ({"dropout": "all"}, r"\(dropout\): expected a number"),
    ],
)
def test_options_of_the_wrong_type(options, message, saved):
    config = config_of(saved)
    config["config"]["layers"][1]["config"] |= options
    with pytest.raises(GatewiseError, match=message):
        gw.from_keras(altered(saved, config=json.dumps(config).encode()))


def test_two_directions_that_are_one(tmp_path):
    """Keras makes no such layer; its file can say so."""
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((None, 3)), layers.Bidirectional(layers.GRU(2))]).save(path)
    config = config_of(path)
    back = config["config"]["layers"][1]["config"]["backward_layer"]["config"]
    assert back["go_backwards"] is True
    back["go_backwards"] = False
    with pytest.raises(InvalidValueError, match=r"\(layer\): .*go_backwards=False"):
        gw.from_keras(altered(path, config=json.dumps(config).encode()))
