"""What every estimator promises, checked on every estimator."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from pandas.testing import assert_frame_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from gatewise import tasks
from gatewise.errors import (
    InvalidFileError,
    InvalidSettingsError,
    InvalidStateError,
    InvalidValueError,
)
from gatewise.tasks import ESTIMATORS
from tasks.cases import QUICK, QUICK_LANGUAGE, QUICK_TEXTS, opinions, sentences, waves
from tasks.tagging_cases import QUICK_TAGGER, tagged_file

CASES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "forecaster": (QUICK, waves, {"horizon": -1, "optimizer": "magic"}),
    "language-model": (QUICK_LANGUAGE, sentences, {"streams": 0, "tied": "no"}),
    "text-classifier": (QUICK_TEXTS, opinions, {"hidden_size": 0, "cell": "magic"}),
    "sequence-tagger": (QUICK_TAGGER, tagged_file, {"hidden_size": 0, "scheme": "BILOU"}),
}
"""For each task: quick settings, a function that makes data, and settings that are wrong."""


@pytest.fixture(scope="module", params=list(ESTIMATORS))
def task(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def data(task: str) -> Any:
    return CASES[task][1]()


def new(task: str, **changes: Any) -> Any:
    return ESTIMATORS[task](**{**CASES[task][0], **changes})


@pytest.fixture(scope="module")
def fitted(task: str, data: Any) -> Any:
    return new(task).fit(data, progress=False)


def same(a: Any, b: Any) -> None:
    if isinstance(a, pd.DataFrame):
        assert_frame_equal(a, b, check_exact=True)
    elif isinstance(a, list):
        assert a == b
    else:
        np.testing.assert_array_equal(a, b)


def test_every_estimator_has_a_case():
    assert set(CASES) == set(ESTIMATORS)
    assert all(ESTIMATORS[name].task == name for name in ESTIMATORS)


def test_the_constructor_only_stores(task: str):
    for wrong in CASES[task][2].items():
        estimator = ESTIMATORS[task]().set_params(**dict([wrong]))
        assert getattr(estimator, wrong[0]) is wrong[1]
        assert set(vars(estimator)) == set(estimator.get_params())


def test_params_are_the_fields(task: str):
    estimator = new(task)
    params = estimator.get_params(deep=True)
    assert set(params) == set(inspect.signature(type(estimator)).parameters)
    again = type(estimator)().set_params(**params)
    assert again.get_params() == params
    assert repr(again) == repr(estimator)


def test_an_unknown_param_is_refused(task: str):
    with pytest.raises(InvalidValueError, match=r"set_params: expected one of .*, got 'nonsense'"):
        new(task).set_params(nonsense=1)


def test_clone_copies_settings_and_nothing_learned(fitted: Any):
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "network_")


def test_fit_returns_self_and_keeps_the_settings(task: str, data: Any):
    estimator = new(task)
    before = copy.deepcopy(estimator.get_params())
    assert estimator.fit(data, progress=False) is estimator
    assert estimator.get_params() == before


def test_what_is_learned_ends_in_an_underscore(fitted: Any):
    learned = set(vars(fitted)) - set(fitted.get_params())
    assert learned
    assert all(name.endswith("_") or name.startswith("_") for name in learned)


def test_is_fitted(task: str, fitted: Any):
    check_is_fitted(fitted)
    with pytest.raises(NotFittedError):
        check_is_fitted(new(task))


@pytest.mark.parametrize("method", ["predict", "evaluate", "save"])
def test_use_before_fit_is_a_clear_error(task: str, method: str, tmp_path: Any):
    with pytest.raises(InvalidStateError, match=rf"{method}: expected a fitted .* Call fit first"):
        getattr(new(task), method)(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_all_wrong_settings_are_reported_at_once_by_fit(task: str, data: Any):
    wrong = CASES[task][2]
    with pytest.raises(InvalidSettingsError) as caught:
        ESTIMATORS[task]().set_params(**wrong).fit(data)
    assert {fault.where for fault in caught.value.faults} == set(wrong)


def test_scikit_learn_reads_the_tags(task: str):
    with sklearn.config_context(enable_metadata_routing=False):
        tags = sklearn.utils.get_tags(new(task))
    assert tags.input_tags.allow_nan
    assert not tags.target_tags.required


def test_a_fit_repeats_to_the_bit_and_leaves_the_global_generator_alone(task: str, data: Any):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = new(task).fit(data, progress=False).predict(data)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    same(new(task).fit(data, progress=False).predict(data), first)
    other = new(task, seed=1).fit(data, progress=False).predict(data)
    with pytest.raises(AssertionError):
        same(other, first)


def test_refitting_forgets(task: str, data: Any, fitted: Any):
    estimator = new(task, seed=3).fit(data, progress=False).set_params(seed=0)
    same(estimator.fit(data, progress=False).predict(data), fitted.predict(data))


def test_evaluate_stands_beside_baselines(fitted: Any, data: Any):
    scores = fitted.evaluate(data)
    assert next(iter(scores)) == "model"
    assert len(scores) > 1
    assert all(np.isfinite(value) for row in scores.values() for value in row.values())
    assert isinstance(fitted.score(data), float)


def test_a_saved_model_says_the_same_to_the_bit(fitted: Any, data: Any, tmp_path: Any):
    fitted.save(tmp_path / "model")
    for loaded in (tasks.load(tmp_path / "model"), type(fitted).load(str(tmp_path / "model"))):
        assert type(loaded) is type(fitted)
        assert loaded.get_params() == fitted.get_params()
        assert loaded.scores_ == fitted.scores_
        assert loaded.history_ == fitted.history_
        same(loaded.predict(data), fitted.predict(data))


def test_a_saved_model_is_no_pickle(fitted: Any, tmp_path: Any):
    files = sorted(path.name for path in fitted.save(tmp_path / "model").iterdir())
    assert files == [
        "config.json",
        "metrics.json",
        "report.html",
        "schema.json",
        "weights.safetensors",
    ]
    for name in files:
        with pytest.raises((pickle.UnpicklingError, KeyError, ValueError, IndexError, EOFError)):
            pickle.loads((tmp_path / "model" / name).read_bytes())  # noqa: S301


@pytest.mark.parametrize(
    "name", ["config.json", "schema.json", "metrics.json", "weights.safetensors"]
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "altered"])
def test_a_damaged_model_is_a_clear_error(fitted: Any, tmp_path: Any, name: str, damage: str):
    path = fitted.save(tmp_path / "model") / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "altered" and name.endswith("json"):
        path.write_text(json.dumps({"format": 1, "nothing": "else"}))
    elif damage == "altered":
        path.write_bytes(content[:-8] + bytes(8))
    else:
        path.write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    with pytest.raises(InvalidFileError, match="model"):
        tasks.load(tmp_path / "model")


def edited(directory: Any, name: str, **changes: Any) -> None:
    path = directory / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_of_a_newer_version_is_refused(fitted: Any, tmp_path: Any):
    directory = fitted.save(tmp_path / "model")
    edited(directory, "config.json", format=99, versions={"gatewise": "9.0"})
    with pytest.raises(InvalidFileError, match=r"format 99, written by gatewise 9\.0.*update it"):
        tasks.load(directory)


def test_a_model_of_an_unknown_task_or_field_is_refused(fitted: Any, tmp_path: Any):
    directory = fitted.save(tmp_path / "model")
    fields = json.loads((directory / "config.json").read_text())["fields"]
    edited(directory, "config.json", fields={**fields, "sorcery": 1})
    with pytest.raises(InvalidFileError, match="'sorcery'"):
        tasks.load(directory)
    edited(directory, "config.json", task="soothsayer")
    with pytest.raises(InvalidFileError, match="soothsayer"):
        tasks.load(directory)


def test_no_model_at_all(tmp_path: Any):
    with pytest.raises(InvalidFileError, match="no such directory"):
        tasks.load(tmp_path / "nowhere")
    with pytest.raises(InvalidFileError, match=r"none with a config\.json"):
        tasks.load(tmp_path)


def test_saving_replaces_a_model_and_nothing_else(fitted: Any, data: Any, tmp_path: Any):
    fitted.save(tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("mine")
    fitted.save(tmp_path / "model")
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    same(tasks.load(tmp_path / "model").predict(data), fitted.predict(data))
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"editor": "vi"}')
    with pytest.raises(InvalidValueError, match=r"another program's config\.json"):
        fitted.save(other)
    assert (other / "config.json").read_text() == '{"editor": "vi"}'
    (tmp_path / "file").write_text("text")
    with pytest.raises(InvalidValueError, match="a file"):
        fitted.save(tmp_path / "file")


def test_describe_counts_the_parameters(fitted: Any):
    facts = fitted.describe()
    assert facts["parameters"] == sum(p.numel() for p in fitted.network_.parameters())
    assert sum(row["parameters"] for row in facts["layers"]) == facts["parameters"]
