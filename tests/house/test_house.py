"""What holds for the project as a whole: sizes of files, light imports, one OpenMP, versions."""

from __future__ import annotations

import ast
import re
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise import __version__

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "native", "tests", "benchmarks", "examples")
SOURCES = {".py", ".pyi", ".h", ".cc", ".css", ".js", ".sh", ".txt"}
HEAVY = {
    *("h5py", "keras", "lightning", "narwhals", "onnx", "pandas", "plotly", "pyarrow"),
    *("pydantic", "rich", "tokenizers", "gensim"),
}


def fresh_python(code: str) -> str:
    """What a new interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(  # noqa: S603 - our own code
        command, capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_longer_than_the_wall(folder):
    files = [path for path in (ROOT / folder).rglob("*") if path.suffix in SOURCES]
    long = {
        str(path.relative_to(ROOT)): lines
        for path in files
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert files
    assert long == {}


@pytest.mark.parametrize(
    ("name", "lines"), [("README.md", 120), ("README.zh.md", 120), ("CONTRIBUTING.md", 50)]
)
def test_a_page_stays_short(name, lines):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= lines


def test_the_changes_name_this_version():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?<![\d.]){re.escape(__version__)}(?![\d.]*\d)", changes)


def test_only_ops_names_the_compiled_extension():
    package = ROOT / "src" / "gatewise"
    importers = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if "gatewise._native" in imported_names(path)
    }
    assert importers == {"ops"}


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def test_the_package_is_light_to_import():
    printed = fresh_python(
        "import gatewise, sys; print(*{name.split('.')[0] for name in sys.modules})"
    )
    assert set(printed.split()) & HEAVY == set()


def test_the_layers_need_no_tables_and_no_training():
    printed = fresh_python("import gatewise.nn, sys; print(*sys.modules)")
    assert (
        set(printed.split()) & {"lightning", "pandas", "plotly", "onnx", "gatewise.tasks"} == set()
    )


def test_importing_costs_little_more_than_torch():
    # Processor time, medians of turns taken alternately; a machine in trouble gets more of them.
    ratios = []
    for _ in range(4):
        turns = [(seconds("import torch"), seconds("import gatewise.nn")) for _ in range(3)]
        torch, ours = (statistics.median(column) for column in zip(*turns, strict=True))
        ratios.append(ours / torch)
        if ratios[-1] < 1.3:
            break
    assert min(ratios) < 1.3, ratios


def seconds(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    fresh_python(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="needs /proc to see what is mapped"
)
def test_one_openmp_runtime_serves_torch_and_us():
    code = "import gatewise.nn; print(open('/proc/self/maps').read())"
    mapped = set(re.findall(r"\S*/lib(?:g|i)omp\S*", fresh_python(code)))
    assert len(mapped) == 1, mapped
