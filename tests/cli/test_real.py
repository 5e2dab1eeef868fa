"""The commands over the real tasks: a small table from fit to show, and bad input on the way."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

SMALL = (
    "--horizon", "7", "--lookback", "14", "--hidden-size", "8",
    "--max-epochs", "2", "--no-progress",
)  # fmt: skip


def table(days: int = 120) -> pd.DataFrame:
    """Two series with a week's season."""
    ds = pd.date_range("2024-01-01", periods=days, freq="D")
    wave = [10 + 3 * math.sin(2 * math.pi * day / 7) + 0.01 * day for day in range(days)]
    series = [pd.DataFrame({"unique_id": name, "ds": ds, "y": wave}) for name in ("a", "b")]
    return pd.concat(series, ignore_index=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.csv and a model trained on it in run/."""
    from gatewise.cli import main

    folder = tmp_path_factory.mktemp("real")
    table().to_csv(folder / "data.csv", index=False)
    assert main(["fit", "forecaster", f"{folder}/data.csv", "--out", f"{folder}/run", *SMALL]) == 0
    return folder


@pytest.fixture
def command(place: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; ``@`` stands for the folder."""
    from gatewise.cli import main

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([argument.replace("@", str(place)) for argument in arguments])
        return status, *capsys.readouterr()

    return run


def test_fit_leaves_a_model_and_a_report(place):
    names = {path.name for path in (place / "run").iterdir()}
    assert {"config.json", "weights.safetensors", "metrics.json", "report.html"} <= names
    fields = json.loads((place / "run" / "config.json").read_text())["fields"]
    assert (fields["horizon"], fields["lookback"], fields["hidden_size"]) == (7, 14, 8)
    page = (place / "run" / "report.html").read_text()
    assert page.count('class="plot"') >= 4


def test_predict_continues_each_series(command):
    status, out, err = command("predict", "@/run", "@/data.csv")
    assert (status, err) == (0, "")
    frame = pd.read_csv(io.StringIO(out), parse_dates=["ds"])
    assert list(frame["unique_id"]) == ["a"] * 7 + ["b"] * 7
    assert frame["ds"].min() == pd.Timestamp("2024-04-30")
    assert frame["forecast"].between(0, 20).all()


def test_evaluate_scores_beside_baselines(command):
    status, out, _ = command("evaluate", "@/run", "@/data.csv", "--json")
    assert status == 0
    scores = json.loads(out)
    assert {"model", "naive", "seasonal_naive"} <= set(scores)
    # A week later the wave is where it was, 0.07 higher.
    assert scores["seasonal_naive"]["mae"] == pytest.approx(0.07, rel=1e-4)


def test_backtest_rolls_the_origin(command):
    status, out, _ = command("backtest", "@/run", "@/data.csv", "--windows", "2")
    assert status == 0
    frame = pd.read_csv(io.StringIO(out))
    assert len(frame) == 2 * 2 * 7
    assert frame["cutoff"].nunique() == 2


def test_show_counts_the_parameters(command, place):
    from safetensors import safe_open

    status, out, _ = command("show", "@/run")
    assert status == 0
    line = next(line for line in out.splitlines() if line.startswith("parameters"))
    shown = int(line.split()[1].replace(",", ""))
    with safe_open(place / "run" / "weights.safetensors", "np") as weights:
        sizes = {name: weights.get_tensor(name).size for name in weights.keys()}  # noqa: SIM118
    # Buffers lie in the same file: the parameters are most of it, not more.
    assert 0.5 * sum(sizes.values()) < shown <= sum(sizes.values())


def spoiled(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    match kind:
        case "text":
            return frame.astype({"y": object}).replace({"y": {frame["y"][30]: "much"}})
        case "infinite":
            return frame.replace({"y": {frame["y"][30]: float("inf")}})
        case "duplicate":
            return pd.concat([frame, frame.iloc[[30]]])
        case "column":
            return frame.drop(columns="y").assign(z="text")
        case _:
            return frame.iloc[:0]


@pytest.mark.parametrize("kind", ["text", "infinite", "duplicate", "column", "empty"])
def test_bad_tables_are_one_message(command, place, tmp_path, kind):
    path = tmp_path / f"{kind}.csv"
    spoiled(table(), kind).to_csv(path, index=False)
    status, out, err = command("fit", "forecaster", str(path), "--out", f"{tmp_path}/run", *SMALL)
    assert (status, out) == (2, "")
    assert err.startswith("Error: ")
    assert kind in err
    assert ": expected " in err
    assert not (tmp_path / "run" / "config.json").exists()


def test_damaged_models_are_one_message(command, place, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(place / "run", run)
    whole = (run / "weights.safetensors").read_bytes()
    (run / "weights.safetensors").write_bytes(whole[: len(whole) // 2])
    status, out, err = command("predict", str(run), "@/data.csv")
    assert (status, out) == (2, "")
    assert "weights.safetensors" in err
    (run / "config.json").unlink()
    assert command("show", str(run))[0] == 2


def test_all_wrong_settings_are_told_at_once(command, tmp_path):
    status, _, err = command(
        "fit", "forecaster", "@/data.csv", "--out", f"{tmp_path}/run",
        "--horizon", "0", "--dropout", "2", "--learning-rate", "-1",
    )  # fmt: skip
    assert status == 2
    for name in ("horizon", "dropout", "learning_rate"):
        assert f"{name}: expected" in err


def test_overwrite_starts_anew_over_an_unfinished_fit(command, place, tmp_path):
    from gatewise.cli import rundir
    from gatewise.training import checkpoint

    assert (rundir.CHECKPOINT, rundir.FORMER) == (checkpoint.FILE, checkpoint.FORMER_FILE)
    run = tmp_path / "run"
    run.mkdir()
    # Bytes that are no checkpoint: they must be moved, not read.
    (run / checkpoint.FILE).write_bytes(b"of an unfinished fit")
    arguments = ("fit", "forecaster", "@/data.csv", "--out", str(run), *SMALL)
    assert command(*arguments)[0] == 2
    assert command(*arguments, "--overwrite")[0] == 0
    assert (run / checkpoint.FORMER_FILE).read_bytes() == b"of an unfinished fit"


def test_a_language_model_from_fit_to_generate(place, command):
    (place / "text.txt").write_text("the cat sees a dog .\na dog hears the cat .\n" * 40)
    run = ("fit", "language-model", "@/text.txt", "--out", "@/words")
    sizes = ("--hidden-size", "8", "--embedding-size", "8", "--streams", "4", "--steps", "8")
    learning = ("--learning-rate", "0.05", "--max-epochs", "5")
    status, out, err = command(*run, *sizes, *learning, "--no-progress")
    assert (status, err) == (0, "")
    assert "perplexity" in out
    assert "unigram" in out
    status, out, err = command("generate", "@/words", "--prompt", "the", "--length", "5",
                               "--temperature", "0")  # fmt: skip
    assert (status, err) == (0, "")
    assert out.startswith("the cat")
    assert out.endswith("\n")
    status, out, _ = command("evaluate", "@/words", "@/text.txt", "--json")
    assert json.loads(out)["model"]["perplexity"] > 1
    status, out, _ = command("predict", "@/words", "@/text.txt")
    assert list(pd.read_csv(io.StringIO(out)).columns) == ["text", "next", "probability"]
    assert command("backtest", "@/words", "@/text.txt", "--windows", "1")[0] == 2
    status, _, err = command("generate", "@/words", "--prompt", "zebra")
    assert status == 2
    assert "prompt 0: expected at least one token that the model knows, got 'zebra'" in err
    status, out, _ = command("show", "@/words")
    assert "flops a token" in out
