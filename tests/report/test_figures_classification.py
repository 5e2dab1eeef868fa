"""Confusions and reliability: the numbers that were given, thinned as the captions say."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise.errors import InvalidValueError
from gatewise.report import figures


def test_confusions_show_shares_of_rows_and_counts():
    counts = np.array([[8, 2, 0], [0, 3, 3], [0, 0, 0]])
    figure = figures.confusion_figure(counts, ["<b>a</b>", "b", "c"])
    (heatmap,) = figure.data
    np.testing.assert_allclose(heatmap.z[:2], [[0.8, 0.2, 0], [0, 0.5, 0.5]])
    # A class without texts has no shares.
    assert np.isnan(heatmap.z[2]).all()
    assert [list(row) for row in heatmap.text[:2]] == [["8", "2", ""], ["", "3", "3"]]
    assert figure.layout.yaxis.autorange == "reversed"
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;a&lt;/b&gt;  1"
    assert heatmap.hovertext[1][2] == "b taken for c: 3, 50.0% of its row"
    assert "&lt;b&gt;" in heatmap.hovertext[0][0]
    caption = figure.layout.meta["caption"]
    assert "Most often mistaken: b for c, 3 of 6 texts." in caption


def test_many_classes_are_joined_and_no_text_is_lost():
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 5, (30, 30)) + np.diag(np.arange(30) * 50)
    figure = figures.confusion_figure(counts, [f"class {k}" for k in range(30)])
    (heatmap,) = figure.data
    assert np.asarray(heatmap.z).shape == (21, 21)
    assert figure.layout.yaxis.ticktext[0].startswith("class 10 ")
    assert figure.layout.yaxis.ticktext[-1].startswith("10 others")
    # Of the last class of its own: how often it is taken for one of the others.
    assert f"class 29 taken for 10 others: {counts[29, :10].sum()}," in heatmap.hovertext[19][20]
    told = [int(cell.replace(",", "")) for row in heatmap.text for cell in row if cell]
    assert sum(told) == counts.sum()
    assert "20 most frequent of 30 classes" in figure.layout.meta["caption"]
    assert heatmap.texttemplate is None


def test_perfect_confusions_say_nothing_of_mistakes():
    figure = figures.confusion_figure(np.eye(2) * 4, ["a", "b"])
    assert "mistaken" not in figure.layout.meta["caption"]


@pytest.mark.parametrize("counts", [np.ones((2, 3)), np.ones((3, 3)), np.ones(2)])
def test_a_matrix_that_does_not_fit_is_refused(counts):
    with pytest.raises(InvalidValueError, match="2 by 2"):
        figures.confusion_figure(counts, ["a", "b"])
    with pytest.raises(InvalidValueError, match="at least one"):
        figures.confusion_figure(np.zeros((0, 0)), [])


def test_reliability_draws_what_it_is_given():
    figure = figures.reliability_figure([0.55, 0.95], [0.5, 0.8], [10, 90], 0.14)
    model = next(trace for trace in figure.data if trace.name == "model")
    assert (list(model.x), list(model.y)) == ([0.55, 0.95], [0.5, 0.8])
    assert list(figure.data[2].y) == [10, 90]
    caption = figure.layout.meta["caption"]
    assert "The mean gap between confidence and truth is 14.0%" in caption
    assert "too sure, by 14.0%" in caption
    cautious = figures.reliability_figure([0.5], [0.8], [10], 0.3)
    assert "too cautious, by 30.0%" in cautious.layout.meta["caption"]
    with pytest.raises(InvalidValueError, match="expected 2 values"):
        figures.reliability_figure([0.5, 0.6], [0.5], [1, 2], 0.0)
