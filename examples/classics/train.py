"""One short loop for all problems: Adam, clipped gradients, an end when the criterion is met."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from nets import Network
from problem import Problem

POINTS = 60
"""Of a learning curve that spends the whole budget."""

CLIP = 1.0
"""Norm that gradients are clipped to."""

Tell = Callable[[int, float, float], None]
"""Called at each point of the curve: items seen, mean loss, share of wrong ones."""


class Run(NamedTuple):
    """How one net did.

    Args:
        net: Its name in the problem.
        seed: Of its weights and its batches.
        weights: How many it has.
        solved: Whether the criterion was met within the budget.
        seen: Items it was trained on until then.
        minutes: Processor time of training and tests: wall time on one thread left to itself.
        test: What the last test says.
        loss: The mean loss in that test.
        curve: Items seen and mean loss since the point before.
    """

    net: str
    seed: int
    weights: int
    solved: bool
    seen: int
    minutes: float
    test: str
    loss: float
    curve: list[tuple[int, float]]


class Recent:
    """The most recent items: how many are wrong, and their mean error.

    Args:
        window: How many are looked back on.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.parts: deque[tuple[int, int, float]] = deque()
        self.items = self.wrong = 0
        self.errors = 0.0

    def add(self, items: int, wrong: int, mean_error: float) -> None:
        """Add a batch, and drop those that are no longer needed to fill the window."""
        self._count(items, wrong, mean_error * items)
        self.parts.append((items, wrong, mean_error * items))
        while self.items - self.parts[0][0] >= self.window:
            items, wrong, error = self.parts.popleft()
            self._count(-items, -wrong, -error)

    def meets(self, problem: Problem) -> bool:
        """Whether the window is full and as good as the problem's criterion asks."""
        return (
            problem.allowed is not None
            and self.items >= self.window
            and self.wrong <= problem.allowed
            and self.errors / self.items < problem.mean_error
        )

    def _count(self, items: int, wrong: int, error: float) -> None:
        self.items += items
        self.wrong += wrong
        self.errors += error


def fit(problem: Problem, name: str, seed: int, tell: Tell | None = None) -> Run:
    """Train one net of a problem until its criterion is met, or its budget is spent.

    Args:
        problem: The problem.
        name: One of its nets.
        seed: Decides the weights and the batches. The n-th test is the same for all seeds.
        tell: Is told how it goes.
    """
    began = time.process_time()
    net = built(problem, name, seed)
    optimizer = torch.optim.Adam(net.parameters(), problem.learning_rate)
    recent = Recent(problem.window)
    curve: list[tuple[int, float]] = []
    losses: list[float] = []
    seen, attempts, state, score = 0, 0, None, None
    for batch in problem.batches(seed):
        output, state = net(batch, None if batch.fresh else state)
        state = state.detach()
        loss = problem.answer.losses(output, batch.target)[batch.counts].mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), CLIP)
        if problem.halving:
            for group in optimizer.param_groups:
                group["lr"] = problem.learning_rate * 0.5 ** (seen / problem.halving)
        optimizer.step()
        judged = problem.judged(output, batch)
        recent.add(*judged)
        seen += judged[0]
        losses.append(loss.item())
        met = recent.meets(problem)
        spent = seen >= problem.budget
        if met or spent or seen * POINTS >= (len(curve) + 1) * problem.budget:
            curve.append((seen, sum(losses) / len(losses)))
            losses.clear()
            if tell is not None:
                tell(seen, curve[-1][1], recent.wrong / recent.items)
        score = None
        if met:
            score = problem.test(net, attempts)
            attempts += 1
            if score.solved:
                break
            recent.clear()
        if spent:
            break
    # A net that learned to its last batch, or whose data has no criterion of training.
    score = score or problem.test(net, attempts)
    solved = score.solved and (problem.allowed is None or recent.meets(problem))
    minutes = (time.process_time() - began) / 60
    return Run(name, seed, net.weights, solved, seen, minutes, score.text, score.loss, curve)


def built(problem: Problem, name: str, seed: int) -> Network:
    """Return a net of a problem with the weights of a seed; torch's own state stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(problem.nets[name], problem.outputs)


def saved(run: Run) -> dict[str, Any]:
    """Return a run as JSON holds it, with as many digits as are looked at."""
    curve = [(seen, float(f"{loss:.4g}")) for seen, loss in run.curve]
    return run._asdict() | {"curve": curve, "minutes": round(run.minutes, 3)}


def restored(entry: dict[str, Any]) -> Run:
    """Return the run that `saved` made an entry of, whatever else the entry holds."""
    fields = {field: entry[field] for field in Run._fields}
    return Run(**fields | {"curve": [(seen, loss) for seen, loss in entry["curve"]]})
