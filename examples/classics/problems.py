"""All problems by name, in the order of the tables."""

from __future__ import annotations

from collections.abc import Mapping

from adding import ADDING
from copy_memory import COPY
from framewise import FRAMEWISE
from multiplication import MULTIPLICATION
from problem import Problem
from reber import CONTINUAL_REBER
from spikes import GENERATING, MEASURING
from temporal_order import ORDER_2, ORDER_3

PROBLEMS: Mapping[str, Problem] = {
    problem.name: problem
    for problem in (
        ADDING,
        MULTIPLICATION,
        ORDER_2,
        ORDER_3,
        COPY,
        CONTINUAL_REBER,
        MEASURING,
        GENERATING,
        FRAMEWISE,
    )
}
