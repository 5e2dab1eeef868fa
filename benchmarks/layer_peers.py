"""The layers beside libraries that run in a process of their own: onnxruntime, Keras on JAX."""

from __future__ import annotations

from dataclasses import dataclass, field

from layer_cases import Contest, Shape, assert_same
from peer import Layer, LayerTask, Peer
from table import judged, markdown


@dataclass(frozen=True)
class Library:
    """A peer, and what it is compared in."""

    title: str
    packages: tuple[str, ...]
    passes: tuple[str, ...]
    forward: dict[str, float] = field(default_factory=dict)  # target by kind
    bf16: tuple[str, ...] = ()  # kinds that run in it
    packs: bool = False  # its weights when a model is loaded, as `gatewise.freeze` does


LIBRARIES = {
    "onnxruntime": Library(
        "onnxruntime",
        ("onnxruntime",),
        ("forward",),
        {"LSTM": 1.05, "GRU": 1.0, "RNN": 1.0},
        packs=True,
    ),
    # A GRU with torch's reset gate fails in Keras 3.15 in bfloat16, unless it is unrolled.
    "keras": Library(
        "Keras on JAX", ("keras", "jax"), ("forward", "training"), bf16=("LSTM", "RNN")
    ),
}
"""By the name of the script, see `peer.start_peer`."""


def against(kind: str, shapes: list[Shape], rounds: int, peer: Peer, precision: str = "f32") -> str:
    """Return the table of shapes beside a peer's, after a silence before each turn."""
    library = LIBRARIES[peer.name]
    heading = f"## {kind}: beside {library.title}, in a process of its own"
    if precision == "bf16" and kind not in library.bf16:
        return f"{heading}\n\nLeft out: it does not run this layer in bfloat16."
    rows = [
        (f"{shape}, {what}", *_measured(Contest(shape, precision), what, rounds, peer))
        for shape in shapes
        for what in library.passes
    ]
    ours = ("frozen", "as it is") if library.packs else ("ours",)
    columns = (
        f"{kind}, I = H",
        *(f"{name}, times {library.title}" for name in ours),
        *(f"{name}, ms" for name in (*ours, "theirs")),
        "theirs is",
    )
    wanted = columns if any(row[-1] for row in rows) else columns[:-1]
    table = markdown(wanted, [row[: len(wanted)] for row in rows])
    return f"{heading}\n\n{table}"


def _measured(contest: Contest, what: str, rounds: int, peer: Peer) -> tuple[str, ...]:
    weights = [w.detach().numpy() for w in contest.layers["torch"].parameters()]
    task = LayerTask(
        contest.shape.kind,
        [Layer(*weights[n : n + 4]) for n in range(0, len(weights), 4)],
        contest.x.numpy(),
        contest.grad_y.numpy() if what == "training" else None,
        contest.precision.name,
    )
    answer = peer.load(task)
    # A wrong result has no speed.
    assert_same(contest.arrays("ours"), answer.arrays, contest.precision.tolerance)
    library = LIBRARIES[peer.name]
    calls = [contest.frozen()] if library.packs else []
    *ours, theirs = peer.beside(rounds, *calls, getattr(contest, what)("ours"))
    target = library.forward.get(contest.shape.kind)
    ratios = [theirs / each for each in ours]
    return (
        judged(ratios[0], target) if target else f"{ratios[0]:.2f}",
        *(f"{ratio:.2f}" for ratio in ratios[1:]),
        *(f"{1e3 * each:.2f}" for each in (*ours, theirs)),
        answer.choice,
    )
