"""What nn.CRF refuses, and nn.CRF under torch.compile.

Run without the shape checks, which would refuse wrong types before the layer can, and which torch's
compiler cannot look through.
"""

from __future__ import annotations

import pytest
import torch

from gatewise.errors import GatewiseError, InvalidTypeError, InvalidValueError
from gatewise.nn import CRF, TagConstraints, tag_constraints
from support.compare import assert_close
from support.crf_oracle import random_case

T, B, K = 5, 3, 4


def _masks(**changed):
    ones = {"transitions": (K, K), "starts": (K,), "ends": (K,)}
    masks = {name: torch.ones(shape, dtype=torch.bool) for name, shape in ones.items()}
    return TagConstraints(**masks | changed)


none = torch.zeros(K, dtype=torch.bool)

CONSTRUCTORS = [
    ((0,), {}, ValueError, r"CRF\(tags\): expected at least 1, got 0"),
    ((2.0,), {}, TypeError, r"CRF\(tags\): expected an int, got"),
    ((True,), {}, TypeError, r"CRF\(tags\)"),
    ((K,), {"batch_first": 1}, TypeError, r"CRF\(batch_first\): expected a bool, got .*1"),
    ((K,), {"constraints": torch.ones(K, K)}, TypeError, "expected TagConstraints, got Tensor"),
    ((K + 1,), {"constraints": _masks()}, ValueError, "3 setting"),
    ((K,), {"constraints": _masks(starts=none)}, ValueError, "starts: expected at least one tag"),
    ((K,), {"constraints": _masks(ends=none.float())}, TypeError, "ends: expected a bool tensor"),
    ((K,), {"constraints": _masks(ends=[True])}, TypeError, "ends: .* got list"),
    ((K,), {"constraints": _masks(ends=none[:2])}, ValueError, r"ends: .*\(4,\), got \(2,\)"),
]


@pytest.mark.parametrize(("sizes", "options", "kind", "message"), CONSTRUCTORS)
def test_the_constructor_refuses(sizes, options, kind, message):
    with pytest.raises(kind, match=message) as refusal:
        CRF(*sizes, **options)
    assert isinstance(refusal.value, GatewiseError)


def _tags(**at):
    tags = torch.zeros(T, B, dtype=torch.int64)
    for place, value in at.items():
        step, row = map(int, place.strip("_").split("_"))
        tags[step, row] = value
    return tags


x = torch.zeros(T, B, K)

CALLS = {
    "emissions: no tensor": (([1.0], _tags()), TypeError, "emissions.* a tensor, got list"),
    "emissions: 2-D": ((x[0], _tags()), ValueError, r"3-D, \[T, B, K\], got 2-D"),
    "emissions: K": ((x[..., 1:], _tags()), RuntimeError, "tags=4, got shape .5, 3, 3."),
    "emissions: no step": ((x[:0], _tags()[:0]), RuntimeError, "at least one time step"),
    "emissions: dtype": ((x.double(), _tags()), ValueError, "torch.float32, got torch.float64"),
    "emissions: integers": ((x.long(), _tags()), ValueError, "got torch.int64"),
    "emissions: device": ((x.to("meta"), _tags()), RuntimeError, "device cpu, got meta"),
    "tags: no tensor": ((x, [[0]]), TypeError, r"tags\): expected a tensor, got list"),
    "tags: dtype": ((x, _tags().float()), TypeError, "expected integers, got torch.float32"),
    "tags: bool": ((x, _tags().bool()), TypeError, "expected integers, got torch.bool"),
    "tags: shape": ((x, _tags().t()), RuntimeError, r"shape \(5, 3\), .*, got shape \(3, 5\)"),
    "tags: device": ((x, _tags().to("meta")), RuntimeError, "device cpu, got meta"),
    "tags: too large": (
        (x, _tags(_2_1=4)),
        ValueError,
        "tags from 0 to 3, got 4 at step 2 of sequence 1",
    ),
    "tags: negative": ((x, _tags(_4_2=-1)), ValueError, "got -1 at step 4 of sequence 2"),
    "tags: wrong before the end": (
        (x, _tags(_1_0=9), [2, 5, 5]),
        ValueError,
        "got 9 at step 1 of sequence 0",
    ),
    "lengths: floats": ((x, _tags(), [1.0, 2, 3]), TypeError, r"CRF\(lengths\).*integers"),
    "lengths: a mask": ((x, _tags(), torch.ones(T, B).bool()), TypeError, "got torch.bool"),
    "lengths: too few": ((x, _tags(), [1, 2]), RuntimeError, r"shape \(3,\), got shape \(2,\)"),
    "lengths: zero": ((x, _tags(), [1, 0, 5]), ValueError, "got 0 for sequence 1"),
    "lengths: too long": ((x, _tags(), [1, 2, 6]), ValueError, "T=5, got 6 for sequence 2"),
}


@pytest.mark.parametrize("fault", CALLS)
def test_a_call_refuses(fault):
    arguments, kind, message = CALLS[fault]
    crf = CRF(K)
    with pytest.raises(kind, match=message) as refusal:
        crf(*arguments)
    assert isinstance(refusal.value, GatewiseError)
    if not fault.startswith("tags"):
        emissions, _, *lengths = arguments
        for call in (crf.decode, crf.marginals, lambda e, *n: crf.decode_n_best(e, 2, *n)):
            with pytest.raises(kind, match=message):
                call(emissions, *lengths)


def test_batch_first_names_its_own_layout():
    crf = CRF(K, batch_first=True)
    with pytest.raises(ValueError, match=r"\[B, T, K\].*unsqueeze\(0\)"):
        crf(x[0], _tags())
    with pytest.raises(RuntimeError, match=r"shape \(3, 5\)"):
        crf(x.transpose(0, 1), _tags())


@pytest.mark.parametrize(("n", "kind"), [(0, ValueError), (1.0, TypeError), (True, TypeError)])
def test_numbers_of_paths_are_refused(n, kind):
    with pytest.raises(kind, match=r"CRF\(n\)"):
        CRF(K).decode_n_best(x, n)


@pytest.mark.parametrize(
    ("names", "scheme", "message"),
    [
        (["O"], "IOB", r"scheme\): expected 'BIO' or .*, got 'IOB'"),
        (["O", "E-X"], "BIO", r"a letter of BIO \(B, I\) .*got 'E-X' for tag 1"),
        (["O", "<pad>"], "BIO", "got '<pad>' for tag 1"),
        (["O-X"], "BIO", "got 'O-X' for tag 0"),
        (["O", "B-X", "B-X"], "BIO", "each name once, got 'B-X' again for tag 2"),
        ([], "BIO", r"a sequence of names, got \[\]"),
    ],
)
def test_wrong_names_are_refused(names, scheme, message):
    with pytest.raises(InvalidValueError, match=message):
        tag_constraints(names, scheme)


def test_names_that_are_no_strings_are_refused():
    with pytest.raises(InvalidTypeError, match="strings, got 3 for tag 1"):
        tag_constraints(["O", 3], "BIO")
    with pytest.raises(GatewiseError, match="a sequence of names, got 'BIO'"):
        tag_constraints("BIO", "BIO")


@pytest.fixture
def _fresh_compiler():
    torch.compiler.reset()


# torch's compiler warns of what it does itself.
compiled = pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor:UserWarning",
    "ignore:`torch.jit.script:DeprecationWarning",
)


class _Tagger(torch.nn.Module):
    def __init__(self, crf: CRF) -> None:
        super().__init__()
        self.crf, self.linear = crf, torch.nn.Linear(K, K).double()

    def forward(self, emissions, tags, lengths):
        return self.crf(self.linear(emissions), tags, lengths)


@compiled
@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_compiled_in_one_graph(constrained, scale):
    crf, emissions, tags, lengths = random_case(*(T, B, K), 0, constrained=constrained, scale=scale)
    tagger, lengths = _Tagger(crf), torch.tensor(lengths)
    whole = torch.compile(tagger, fullgraph=True, backend="aot_eager")
    found = []
    for module in (tagger, whole):
        value = module(emissions, tags, lengths)
        grads = torch.autograd.grad(value.sum(), list(tagger.parameters()))
        found.append({"value": value, **{str(n): grad for n, grad in enumerate(grads)}})
    assert_close(found[1], found[0], tolerance=1e-12)


@compiled
@pytest.mark.usefixtures("_fresh_compiler")
def test_compiled_decoding_and_marginals():
    crf, emissions, _, lengths = random_case(T, B, K, 0, constrained=True)
    assert torch.compile(crf.decode, backend="aot_eager")(emissions, lengths) == crf.decode(
        emissions, lengths
    )
    marginals = torch.compile(crf.marginals, backend="aot_eager")(emissions, lengths)
    assert_close(
        {"marginals": marginals}, {"marginals": crf.marginals(emissions, lengths)}, tolerance=1e-12
    )


@compiled
@pytest.mark.parametrize("constrained", [False, True])
def test_the_operator_is_sound(constrained):
    crf, emissions, tags, lengths = random_case(T, B, K, 0, constrained=constrained)
    weights = (crf.start_transitions, crf.transitions, crf.end_transitions)
    masks = crf.constraints or (None, None, None)
    operands = (emissions.requires_grad_(), *weights, torch.tensor(lengths), *masks, tags)
    torch.library.opcheck(torch.ops.gatewise.crf.default, operands)
    torch.library.opcheck(
        torch.ops.gatewise.crf_backward.default,
        (torch.ones(B).double(), *(t if t is None else t.detach() for t in operands)),
    )
