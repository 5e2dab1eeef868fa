"""The order of a layer's weights in the flat list that everything takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gatewise.errors import InvalidValueError
from gatewise.ops.reference.options import PLAIN, CellOptions


class Weights(NamedTuple):
    """The weights of one direction; absent ones are None.

    Args:
        w_ih: G·H×I.
        w_hh: G·H×P; None for a minimal cell, like b_hh.
        b_ih: G·H.
        b_hh: G·H.
        w_hr: P×H, the projection of h.
        peephole: A row of H for each gate but the candidate, one after the other.
        norms: Weight and bias of the norms of the input product (G·H), the recurrent product (G·H)
            and, for the LSTM, the cell state (H); or none.
    """

    w_ih: Any
    w_hh: Any = None
    b_ih: Any = None
    b_hh: Any = None
    w_hr: Any = None
    peephole: Any = None
    norms: tuple[Any, ...] = ()


def count_plain(
    count: int, directions: int, options: CellOptions, states: int, *, feeds_back: bool = True
) -> int:
    """Return how many weights a direction has but those of options: 3 or 5 with a projection.

    Args:
        count: How many there are in all directions.
        directions: D.
        options: Of the cell.
        states: How many the cell has.
        feeds_back: Whether it has weights of h.

    Raises:
        InvalidValueError: No layer has as many.
    """
    each, rest = divmod(count, directions)
    extra = options.peephole + (2 * (1 + states) if options.normed else 0)
    usual = (2, 3, 4, 5) if feeds_back else (1, 2)
    if rest or each - extra not in usual:
        *few, most = usual
        raise InvalidValueError(
            "weights",
            f"{', '.join(map(str, few))} or {most} for each of {directions} direction(s), "
            f"and {extra} for options",
            str(count),
        )
    return each - extra


def weight_shapes(
    plain: int,
    options: CellOptions,
    *,
    states: int,
    gates: int,
    I: int,  # noqa: E741
    H: int,
    P: int,
    feeds_back: bool = True,
) -> list[tuple[int, ...]]:
    """Return the shapes of one direction's weights, in their order.

    Args:
        plain: How many there are but those of options, from `count_plain`.
        options: Of the cell.
        states: How many the cell has.
        gates: How many H-wide parts the weights stack.
        I: Width of the input.
        H: Hidden size.
        P: Width of h.
        feeds_back: Whether there are weights of h.
    """
    joint = gates * H
    shapes: list[tuple[int, ...]] = [(joint, I)]
    if not feeds_back:
        return [*shapes, (joint,)][:plain]
    shapes.append((joint, P))
    if plain >= 4:
        shapes += [(joint,)] * 2
    if plain in (3, 5):
        shapes.append((P, H))
    if options.peephole:
        shapes.append(((gates - 1) * H,))
    if options.normed:
        shapes += [(joint,)] * 4 + [(H,)] * (2 * (states - 1))
    return shapes


def split_weights(
    weights: Sequence[Any],
    directions: int,
    options: CellOptions = PLAIN,
    states: int = 2,
    *,
    feeds_back: bool = True,
) -> list[Weights]:
    """Split a layer's flat list of weights by direction and name its parts.

    Args:
        weights: What `Weights` lists, as far as there is, for each direction: the tensors, or
            anything that goes with each of them.
        directions: D.
        options: Of the cell.
        states: How many states the cell has: those beside h have a norm of their own.
        feeds_back: Whether there are weights of h.

    Raises:
        InvalidValueError: The list does not hold as many weights as that makes.
    """
    plain = count_plain(len(weights), directions, options, states, feeds_back=feeds_back)
    count, norms = len(weights) // directions, plain + options.peephole
    parts = [weights[start : start + count] for start in range(0, len(weights), count)]
    if not feeds_back:
        return [Weights(part[0], b_ih=part[1] if plain == 2 else None) for part in parts]
    return [
        Weights(
            part[0],
            part[1],
            b_ih=part[2] if plain >= 4 else None,
            b_hh=part[3] if plain >= 4 else None,
            w_hr=part[plain - 1] if plain in (3, 5) else None,
            peephole=part[plain] if options.peephole else None,
            norms=tuple(part[norms:]),
        )
        for part in parts
    ]
