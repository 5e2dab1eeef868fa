"""Which tags may follow each other: against spans that are written out by each scheme."""

from __future__ import annotations

import itertools

import pytest
import torch

from gatewise.nn import CRF, TagConstraints, tag_constraints

T = 4
KINDS = ("X", "Y")
LETTERS = {"BIO": "BI", "IOB1": "BI", "BIOES": "BIES", "BILOU": "BILU", "BMES": "BMES"}


def _names(scheme):
    return ["O"] + [f"{letter}-{kind}" for kind in KINDS for letter in LETTERS[scheme]]


def _segmentations(length):
    """Every way to cut steps into spans, with a type, and single steps outside, with None."""
    if length == 0:
        yield []
        return
    for rest in _segmentations(length - 1):
        yield [(1, None), *rest]
    for size in range(1, length + 1):
        for rest in _segmentations(length - size):
            for kind in KINDS:
                yield [(size, kind), *rest]


def _written(spans, scheme):
    """The tags of spans, as the scheme writes them."""
    tags = []
    before = None
    for size, kind in spans:
        if kind is None:
            tags.append("O")
        elif scheme in ("BIO", "IOB1"):
            begins = scheme == "BIO" or before == kind
            tags += [("B-" if begins else "I-") + kind] + [f"I-{kind}"] * (size - 1)
        else:
            begin, inside, end, single = LETTERS[scheme]
            letters = single if size == 1 else begin + inside * (size - 2) + end
            tags += [f"{letter}-{kind}" for letter in letters]
        before = kind
    return tuple(tags)


def _allowed(names, constraints):
    """Every path that the masks allow."""
    moves, starts, ends = constraints
    return {
        tuple(names[tag] for tag in path)
        for path in itertools.product(range(len(names)), repeat=T)
        if starts[path[0]]
        and ends[path[-1]]
        and all(moves[before, after] for before, after in itertools.pairwise(path))
    }


@pytest.mark.parametrize("scheme", LETTERS)
def test_allowed_is_exactly_what_spans_are_written_as(scheme):
    names = _names(scheme)
    written = {_written(spans, scheme) for spans in _segmentations(T)}
    assert _allowed(names, tag_constraints(names, scheme)) == written


@pytest.mark.parametrize(
    ("scheme", "other"), list(itertools.permutations(["BIO", "IOB1", "BIOES"], 2))
)
def test_other_schemes_are_told_apart(scheme, other):
    names = [name for name in _names(scheme) if name in _names(other)]
    mine, theirs = (_allowed(names, tag_constraints(names, s)) for s in (scheme, other))
    assert mine != theirs


def test_the_order_of_names_is_that_of_the_masks():
    names = _names("BIOES")
    turned = names[::-1]
    one, other = tag_constraints(names, "BIOES"), tag_constraints(turned, "BIOES")
    assert torch.equal(one.transitions, other.transitions.flip(0, 1))
    assert torch.equal(one.starts, other.starts.flip(0))
    assert torch.equal(one.ends, other.ends.flip(0))


def test_types_may_be_missing():
    moves, starts, ends = tag_constraints(["B", "M", "E", "S"], "BMES")
    assert starts.tolist() == [True, False, False, True]
    assert ends.tolist() == [False, False, True, True]
    assert moves.int().tolist() == [[0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1]]


def test_types_may_hold_hyphens():
    moves = tag_constraints(["B-a-b", "I-a-b", "I-a"], "BIO").transitions
    assert moves[0].tolist() == [True, True, False]


def test_decoded_tags_keep_the_scheme():
    names = _names("BIOES")
    crf = CRF(len(names), constraints=tag_constraints(names, "BIOES"))
    written = {_written(spans, "BIOES") for spans in _segmentations(T)}
    emissions = 5 * torch.randn(T, 50, len(names), generator=torch.Generator().manual_seed(0))
    paths = [tuple(names[tag] for tag in path) for path in crf.decode(emissions)]
    assert set(paths) <= written
    free = CRF(len(names)).decode(emissions)
    assert not {tuple(names[tag] for tag in path) for path in free} <= written


def test_masks_fit_the_layer():
    found = tag_constraints(["O", "B-PER", "I-PER"], "BIO")
    assert isinstance(found, TagConstraints)
    assert {mask.dtype for mask in found} == {torch.bool}
