"""nn.CRF against every path written out: values, gradients, marginals, best paths."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.errors import InvalidValueError
from gatewise.nn import CRF, TagConstraints
from gatewise.ops import crf_posterior
from support.compare import assert_equal
from support.crf_oracle import (
    answers,
    answers_by_enumeration,
    assert_same_answers,
    random_case,
)

TOLERANCE = 1e-10
SMALL = list(itertools.product(range(1, 5), range(1, 4), range(1, 5)))
N_BEST = 300  # more than there are paths


@pytest.fixture(params=["products", "logarithms"])
def _each_way(request, monkeypatch):
    """Either way to compute, whatever the scores would choose."""
    if request.param == "logarithms":
        monkeypatch.setattr(crf_posterior, "_scaled", lambda *_: None)


def _check(crf, emissions, tags, lengths, *, tolerance=TOLERANCE, n_best=N_BEST):
    want = answers_by_enumeration(crf, emissions, tags, lengths or [len(tags)] * tags.shape[1])
    assert_same_answers(answers(crf, emissions, tags, lengths, n_best), want, tolerance)


@pytest.mark.usefixtures("_each_way")
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize(("T", "B", "K"), SMALL)
def test_every_small_case(T, B, K, constrained):
    case = random_case(T, B, K, seed=T + 10 * B + 100 * K, constrained=constrained)
    _check(*case)


@pytest.mark.parametrize(("T", "B", "K"), SMALL)
def test_without_lengths_all_steps_count(T, B, K):
    crf, emissions, _, _ = random_case(T, B, K, seed=0)
    tags = torch.randint(K, (T, B), generator=torch.Generator().manual_seed(1))
    _check(crf, emissions, tags, None)


@pytest.mark.usefixtures("_each_way")
@pytest.mark.parametrize("constrained", [False, True])
def test_float32_is_right_to_its_rounding(constrained):
    eps = torch.finfo(torch.float32).eps
    for seed in range(10):
        crf, *rest = random_case(4, 3, 4, seed, constrained=constrained, dtype=torch.float32)
        _check(crf, *rest, tolerance=eps)
        assert crf(*rest).dtype == torch.float32


@settings(max_examples=60)
@given(
    T=st.integers(1, 6),
    B=st.integers(1, 4),
    K=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    constrained=st.booleans(),
    # Not 0: many paths would be equally good.
    scale=st.sampled_from([1e-3, 0.1, 3.0, 40.0, 300.0, 1e4]),
)
def test_random_cases(T, B, K, seed, constrained, scale):
    case = random_case(T, B, K, seed, constrained=constrained, scale=scale)
    _check(*case, n_best=1)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("constrained", [False, True])
def test_n_best_are_the_first_of_all_paths(n, constrained):
    for seed in range(5):
        crf, emissions, _, lengths = random_case(4, 3, 3, seed, constrained=constrained)
        every = crf.decode_n_best(emissions, N_BEST, lengths)
        assert crf.decode_n_best(emissions, n, lengths) == [row[:n] for row in every]
        for row, length in zip(every, lengths, strict=True):
            paths = [tuple(path.tags) for path in row]
            assert len(set(paths)) == len(paths)
            assert {len(path) for path in paths} == {length}
            assert sum(torch.tensor([p.log_likelihood for p in row]).exp()) == pytest.approx(1)


def test_marginals_add_up_and_are_the_gradient_of_the_log_partition():
    crf, emissions, tags, lengths = random_case(6, 3, 4, seed=0, constrained=True)
    emissions.requires_grad_()
    found = crf.marginals(emissions, lengths)
    valid = torch.arange(6)[:, None] < torch.tensor(lengths)
    torch.testing.assert_close(found.sum(-1), valid.double())
    # The score of the tags is linear in the emissions: what is left is the gradient of log Z.
    score = emissions.gather(-1, tags[..., None])[..., 0][valid].sum()
    (grad,) = torch.autograd.grad(score - crf(emissions, tags, lengths).sum(), emissions)
    torch.testing.assert_close(found, grad, rtol=0, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(crf.marginals(emissions, lengths), grad, rtol=0, atol=1e-12)


def test_marginals_have_gradients():
    crf, emissions, _, lengths = random_case(3, 2, 3, seed=0, constrained=True)
    emissions.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: crf.marginals(e, lengths), (emissions,))


def test_batch_first_is_the_same_transposed():
    crf, emissions, tags, lengths = random_case(5, 3, 4, seed=0, constrained=True)
    other = CRF(4, batch_first=True, dtype=torch.float64, constraints=crf.constraints)
    other.load_state_dict(crf.state_dict())
    turned = emissions.transpose(0, 1)
    assert torch.equal(other(turned, tags.t(), lengths), crf(emissions, tags, lengths))
    assert other.decode(turned, lengths) == crf.decode(emissions, lengths)
    best = [layer.decode_n_best(e, 3, lengths) for layer, e in ((other, turned), (crf, emissions))]
    assert best[0] == best[1]
    marginals = other.marginals(turned, lengths)
    assert torch.equal(marginals.transpose(0, 1), crf.marginals(emissions, lengths))


@pytest.mark.usefixtures("_each_way")
@pytest.mark.parametrize("filler", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("constrained", [False, True])
def test_padding_changes_nothing(filler, constrained):
    crf, emissions, tags, lengths = random_case(6, 4, 3, seed=3, constrained=constrained)
    valid = torch.arange(6)[:, None] < torch.tensor(lengths)
    spoilt = torch.where(valid[..., None], emissions, filler)
    wrong = torch.where(valid, tags, -100)
    clean, padded = (
        answers(crf, e, y, lengths, 2) for e, y in ((emissions, tags), (spoilt, wrong))
    )
    assert_equal(padded, clean)
    assert not padded["gradient of emissions"][~valid].any()
    assert not padded["marginals"][~valid].any()


def test_a_batch_is_its_sequences_one_by_one():
    crf, emissions, tags, lengths = random_case(7, 5, 4, seed=0, constrained=True)
    together = crf(emissions, tags, lengths)
    for b, n in enumerate(lengths):
        alone = crf(emissions[:n, b : b + 1], tags[:n, b : b + 1])
        torch.testing.assert_close(alone[0], together[b], rtol=0, atol=1e-12)
        assert crf.decode(emissions[:n, b : b + 1]) == [crf.decode(emissions, lengths)[b]]


def _changed(crf, **changes):
    """A copy of the layer with other weights."""
    other = copy.deepcopy(crf)
    for name, value in changes.items():
        getattr(other, name).data = value.detach().clone()
    return other


def _unconstrained(crf):
    other = CRF(crf.tags, dtype=torch.float64)
    other.load_state_dict(crf.state_dict())
    return other


def _shorter(lengths):
    return [max(n - 1, 1) for n in lengths]


SABOTAGE = {
    "transitions transposed": lambda c, e, y, n: (
        (_changed(c, transitions=c.transitions.t()), e, y, n)
    ),
    "start dropped": lambda c, e, y, n: (
        (_changed(c, start_transitions=torch.zeros(c.tags).double()), e, y, n)
    ),
    "end dropped": lambda c, e, y, n: (
        (_changed(c, end_transitions=torch.zeros(c.tags).double()), e, y, n)
    ),
    "start and end exchanged": lambda c, e, y, n: (
        (
            _changed(c, start_transitions=c.end_transitions, end_transitions=c.start_transitions),
            *(e, y, n),
        )
    ),
    "length off by one": lambda c, e, y, n: (c, e, y, _shorter(n)),
    "lengths ignored": lambda c, e, y, n: (c, e, y, None),
    "lengths of other rows": lambda c, e, y, n: (c, e, y, n[1:] + n[:1]),
    "tags shifted": lambda c, e, y, n: (c, e, y.roll(1, 0), n),
    "first emission dropped": lambda c, e, y, n: (c, torch.cat([0 * e[:1], e[1:]]), y, n),
    "time reversed": lambda c, e, y, n: (c, e.flip(0), y.flip(0), n),
    "rounded to half precision": lambda c, e, y, n: (c, e.half().double(), y, n),
}
ONLY_OF_TAGS = {"tags shifted"}


@pytest.mark.parametrize("wrong", SABOTAGE)
def test_wrong_versions_are_rejected(wrong):
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=5)
    want = answers_by_enumeration(crf, emissions, tags, lengths)
    assert_same_answers(answers(crf, emissions, tags, lengths, 3), want, TOLERANCE)
    got = answers(*SABOTAGE[wrong](crf, emissions, tags, lengths), 3)
    names = set(want) - {"best", "marginals"} if wrong in ONLY_OF_TAGS else set(want)
    for name in names - _blind_to(wrong):
        with pytest.raises(AssertionError, match=name):
            assert_same_answers({name: got[name]}, {name: want[name]}, TOLERANCE)


def _blind_to(wrong):
    """Gradients of weights that count the same tags all the same."""
    if wrong == "tags shifted":
        return {f"gradient of {name}_transitions" for name in ("start", "end")}
    return set()


def test_ignored_constraints_are_rejected():
    crf, emissions, tags, lengths = random_case(4, 3, 3, seed=5, constrained=True)
    want = answers_by_enumeration(crf, emissions, tags, lengths)
    got = answers(_unconstrained(crf), emissions, tags, lengths, 3)
    for name in want:
        with pytest.raises(AssertionError, match=name):
            assert_same_answers({name: got[name]}, {name: want[name]}, TOLERANCE)


def test_the_state_dict_is_that_of_pytorch_crf():
    shapes = {"start_transitions": (4,), "end_transitions": (4,), "transitions": (4, 4)}
    theirs = {name: torch.randn(shape) for name, shape in shapes.items()}
    masks = TagConstraints(*(torch.ones(s, dtype=torch.bool) for s in ((4, 4), (4,), (4,))))
    for crf in (CRF(4), CRF(4, constraints=masks)):
        crf.load_state_dict(theirs)
        assert_equal(dict(crf.state_dict()), theirs)
        assert list(crf.state_dict()) == list(shapes)


def test_copies_keep_constraints_and_results():
    crf, emissions, tags, lengths = random_case(4, 2, 3, seed=0, constrained=True)
    want = crf(emissions, tags, lengths)
    for other in (copy.deepcopy(crf), pickle.loads(pickle.dumps(crf))):  # noqa: S301 - our own
        assert torch.equal(other(emissions, tags, lengths), want)
        assert other.constraints is not crf.constraints


def test_the_masks_are_copies():
    masks = TagConstraints(*(torch.ones(s, dtype=torch.bool) for s in ((2, 2), (2,), (2,))))
    crf = CRF(2, constraints=masks)
    masks.transitions.zero_()
    assert crf.constraints.transitions.all()


def test_initial_values_come_from_the_generator():
    one, other = (CRF(5, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert_equal(dict(one.state_dict()), dict(other.state_dict()))
    assert all(0 < weight.abs().max() <= 0.1 for weight in one.parameters())


def test_an_empty_batch_gives_nothing():
    crf, emissions, tags = CRF(3), torch.zeros(4, 0, 3), torch.zeros(4, 0, dtype=torch.int64)
    assert crf(emissions.requires_grad_(), tags).shape == (0,)
    assert crf.decode(emissions) == crf.decode_n_best(emissions, 2) == []
    assert crf.marginals(emissions).shape == (4, 0, 3)


def test_it_learns_to_tag():
    draw = torch.Generator().manual_seed(0)
    tags = torch.randint(2, (6, 40), generator=draw).cumsum(0) % 3  # each stays or goes one on
    crf = CRF(3, generator=draw)
    optimizer = torch.optim.Adam(crf.parameters(), lr=0.1)
    blank = torch.zeros(6, 40, 3)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -crf(blank, tags).mean()
        loss.backward()
        optimizer.step()
    assert loss < 6.2  # of 6 choices of 2, 1.1 for the start and 5 · ln 2 = 3.5 are left
    assert crf.transitions[0, 2] < crf.transitions[0, 1] - 2


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([[2], [0], [0]], r"a first tag that the constraints allow, got 2 at step 0 of sequence 1"),
        ([[0], [2], [0]], r"a tag after tag 0 that .*, got 2 at step 1 of sequence 1"),
        ([[0], [0], [1]], r"a last tag that the constraints allow, got 1 at step 2 of sequence 1"),
    ],
)
def test_forbidden_tags_are_refused_with_their_place(tags, message):
    moves = torch.tensor([[True, True, False], [True, True, True], [True, True, True]])
    ends = (torch.tensor([True, True, False]), torch.tensor([True, False, True]))
    crf = CRF(3, constraints=TagConstraints(moves, *ends))
    tags = torch.cat([torch.zeros(3, 1, dtype=torch.int64), torch.tensor(tags)], 1)
    with pytest.raises(InvalidValueError, match=message):
        crf(torch.zeros(3, 2, 3), tags)


def test_a_sequence_without_a_path_is_refused():
    mask = torch.tensor
    crf = CRF(
        2,
        constraints=TagConstraints(mask([[0, 1], [0, 0]]) > 0, mask([1, 0]) > 0, mask([0, 1]) > 0),
    )
    emissions = torch.zeros(2, 3, 2)
    assert crf.decode(emissions) == [[0, 1]] * 3
    lengths = [2, 1, 2]
    for call in (crf.decode, crf.marginals, lambda e, n: crf.decode_n_best(e, 2, n)):
        with pytest.raises(InvalidValueError, match="none for sequence 1"):
            call(emissions, lengths)
