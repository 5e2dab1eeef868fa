"""Files are written whole or not at all, and damage is found when they are read."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gatewise.errors import InvalidFileError
from gatewise.training import storage

TENSORS = {
    "weight": torch.randn(3, 4),
    "transposed": torch.randn(3, 4).T,
    "count": torch.tensor(7),
    "empty": torch.zeros(0, 3),
    "half": torch.randn(5).bfloat16(),
    "mask": torch.tensor([True, False]),
}


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let the system itself refuse to write more than ``size`` bytes to a file."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)


def test_json_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    storage.atomic_write_json(path, {"π": [1, 0.1, None, float("inf")]})
    assert storage.read_json(path) == {"π": [1, 0.1, None, float("inf")]}
    assert names(path.parent) == ["a.json"]


def test_tensors_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    storage.atomic_write_tensors(path, TENSORS, {"note": "ü"})
    tensors, metadata = storage.read_tensors(path)
    assert metadata == {"note": "ü"}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_tensors_that_share_memory_come_back(tmp_path: Path) -> None:
    base = torch.randn(4, 4)
    storage.atomic_write_tensors(tmp_path / "a", {"all": base, "row": base[1], "tied": base})
    tensors, _ = storage.read_tensors(tmp_path / "a")
    assert torch.equal(tensors["row"], base[1])
    assert torch.equal(tensors["tied"], base)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_truncated_tensors_are_found(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.safetensors"
    storage.atomic_write_tensors(path, TENSORS)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InvalidFileError, match=r"a\.safetensors: expected a whole.*Restore"):
        storage.read_tensors(path)


def test_any_altered_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    storage.atomic_write_tensors(path, {"w": torch.randn(8)}, {"note": "text"})
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    places = [whole.index(b"text"), *range(header, len(whole))]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InvalidFileError, match="checksum"):
            storage.read_tensors(path)


def test_a_file_of_another_program_needs_no_checksum(tmp_path: Path) -> None:
    import safetensors.torch

    safetensors.torch.save_file({"w": torch.ones(2)}, tmp_path / "a")
    tensors, metadata = storage.read_tensors(tmp_path / "a")
    assert torch.equal(tensors["w"], torch.ones(2))
    assert metadata == {}


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_damaged_json_is_found(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InvalidFileError, match=r"a\.json: expected a whole JSON file"):
        storage.read_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileError, match=r"nowhere.*No such file"):
        storage.read_json(tmp_path / "nowhere")


def test_a_refused_write_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    storage.atomic_write_tensors(path, TENSORS)
    with (
        largest_file(1000),
        pytest.raises(InvalidFileError, match=r"bytes of room.*too large.*untouched"),
    ):
        storage.atomic_write_tensors(path, {"big": torch.zeros(10_000)})
    assert storage.read_tensors(path)[0].keys() == TENSORS.keys()
    assert names(tmp_path) == ["a.safetensors"]


def test_a_full_disk_leaves_the_former_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    storage.atomic_write_json(path, 1)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(full))
    with pytest.raises(InvalidFileError, match="No space left on device"):
        storage.atomic_write_json(path, 2)
    assert storage.read_json(path) == 1
    assert names(tmp_path) == ["a.json"]


def test_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / ".a.json.999999999.tmp").write_text("dead")
    (tmp_path / f".a.json.{os.getppid()}.tmp").write_text("alive")
    (tmp_path / ".a.json.mine.tmp").write_text("not ours")
    storage.atomic_write_json(tmp_path / "a.json", 1)
    assert names(tmp_path) == [
        f".a.json.{os.getppid()}.tmp",
        ".a.json.mine.tmp",
        "a.json",
    ]


def write_two(directory: Path) -> None:
    (directory / "config.json").write_text("new")
    (directory / "weights").write_text("new")


def read_all(directory: Path) -> dict[str, str]:
    return {entry.name: entry.read_text() for entry in directory.iterdir()}


def test_a_directory_is_made(tmp_path: Path) -> None:
    storage.replace_directory(tmp_path / "runs" / "a", write_two)
    assert read_all(tmp_path / "runs" / "a") == {"config.json": "new", "weights": "new"}
    assert names(tmp_path / "runs") == ["a"]


def test_a_directory_is_replaced_and_the_users_files_stay(tmp_path: Path) -> None:
    final = tmp_path / "a"
    final.mkdir()
    (final / "config.json").write_text("old")
    (final / "thesis.tex").write_text("mine")
    storage.replace_directory(final, write_two)
    assert read_all(final) == {"config.json": "new", "weights": "new", "thesis.tex": "mine"}
    assert names(tmp_path) == ["a"]


def test_a_failed_write_leaves_the_former_directory(tmp_path: Path) -> None:
    final = tmp_path / "a"
    final.mkdir()
    (final / "config.json").write_text("old")

    def fail(directory: Path) -> None:
        (directory / "config.json").write_text("new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InvalidFileError, match=r"No space left.*untouched"):
        storage.replace_directory(final, fail)
    assert read_all(final) == {"config.json": "old"}
    assert names(tmp_path) == ["a"]


def test_a_failed_rename_puts_the_former_directory_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "a"
    final.mkdir()
    (final / "config.json").write_text("old")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(InvalidFileError, match="Input/output error"):
        storage.replace_directory(final, write_two)
    assert read_all(final) == {"config.json": "old"}


def test_a_kill_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    final, aside = tmp_path / "a", tmp_path / ".a.999999999.old"
    aside.mkdir()
    (aside / "config.json").write_text("old")
    (aside / "thesis.tex").write_text("mine")
    with pytest.raises(InvalidFileError, match=r"kept as '.*\.old': rename it to 'a'"):
        storage.read_json(final / "config.json")
    storage.replace_directory(final, write_two)
    assert read_all(final) == {"config.json": "new", "weights": "new", "thesis.tex": "mine"}
    assert names(tmp_path) == ["a"]


def test_a_link_to_a_directory_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "a").symlink_to(tmp_path / "disk")
    storage.replace_directory(tmp_path / "a", write_two)
    assert (tmp_path / "a").is_symlink()
    assert read_all(tmp_path / "disk") == {"config.json": "new", "weights": "new"}
