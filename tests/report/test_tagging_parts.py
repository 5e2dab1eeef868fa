"""What pages on taggers are made of: the heatmap of transitions, and sentences with their tags."""

from __future__ import annotations

import numpy as np
import pytest

from gatewise.errors import InvalidValueError
from gatewise.report import Report, TaggedSentence, figures


def caption(figure) -> str:
    return figure.layout.meta["caption"]


def test_transitions_are_drawn_from_row_to_column():
    scores = np.array([[0.5, -2.0, 0.1], [3.0, 0.0, -0.2], [0.3, np.nan, np.nan]])
    figure = figures.transitions_figure(["O", "<B>"], scores)
    (heatmap,) = figure.data
    np.testing.assert_array_equal(heatmap.z, scores)
    assert list(heatmap.y) == ["O", "&lt;B&gt;", "(start)"]
    assert list(heatmap.x) == ["O", "&lt;B&gt;", "(end)"]
    assert (heatmap.zmin, heatmap.zmax) == (-3, 3)
    assert "Most favoured: &lt;B&gt; then O, +3.00." in caption(figure)
    assert "Most avoided: O then &lt;B&gt;, -2.00." in caption(figure)
    assert "impossible" in caption(figure)


def test_the_corner_alone_is_no_impossible_step():
    scores = np.zeros((3, 3))
    scores[2, 2] = np.nan
    assert "impossible" not in caption(figures.transitions_figure(["a", "b"], scores))


def test_many_tags_are_cut_and_the_caption_says_so():
    names = [f"T{n}" for n in range(60)]
    scores = np.arange(61.0 * 61).reshape(61, 61)
    figure = figures.transitions_figure(names, scores)
    assert "Shown: 48 of 60 tags." in caption(figure)
    assert figure.data[0].z.shape == (49, 49)
    np.testing.assert_array_equal(figure.data[0].z[-1, :48], scores[60, :48])


@pytest.mark.parametrize(("names", "shape"), [([], (1, 1)), (["a"], (1, 1)), (["a"], (2, 3))])
def test_scores_of_another_shape_are_refused(names, shape):
    with pytest.raises(InvalidValueError, match="transitions_figure: scores: expected shape"):
        figures.transitions_figure(names, np.zeros(shape))


def test_sentences_show_both_tags_where_they_differ():
    one = TaggedSentence(["a<b", "c", "d"], ["O", "B-X", "B-Y"], ["O", "B-X", "O"], "line 3")
    page = Report("Tags").sentences("Hardest", [one], "What <they> are.", outside="O").to_html()
    part = page[page.index('<ol class="sentences">') : page.index("</ol>")]
    assert '<span class="token">a&lt;b</span>' in part
    assert '<span class="token">c<small>B-X</small></span>' in part
    assert "d<small>true B-Y</small><small>said O</small>" in part
    assert '<p class="note">line 3</p>' in part
    assert "What &lt;they&gt; are." in page
    shown = Report("Tags").sentences("Hardest", [one]).to_html()
    assert "a&lt;b<small>O</small>" in shown


def test_sentences_with_too_few_tags_are_refused():
    with pytest.raises(
        InvalidValueError, match="sentence 1: expected 2 tags, one a token, got 1 t"
    ):
        Report("Tags").sentences("Hardest", [TaggedSentence(["a", "b"], ["O"], ["O", "O"])])
