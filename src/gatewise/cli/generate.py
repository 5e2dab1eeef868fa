"""``gatewise generate``: text from a saved language model, on the terminal as it is drawn."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from gatewise import tasks
from gatewise.cli.saved import Run, require


def generate(
    run: Run,
    /,
    *,
    prompt: Annotated[str, Parameter(help="The beginning; without it a text is begun")] = "",
    length: Annotated[int, Parameter(help="Tokens at most")] = 200,
    temperature: Annotated[
        float, Parameter(help="Below 1 the probable is more so; 0: always the most probable")
    ] = 1.0,
    top_k: Annotated[
        int | None, Parameter(help="Draw from so many of the most probable tokens")
    ] = None,
    top_p: Annotated[
        float | None,
        Parameter(help="Draw from the fewest tokens that have this probability together"),
    ] = None,
    seed: Annotated[
        int | None, Parameter(help="Of the draws; none: another text each time")
    ] = None,
    stop: Annotated[
        list[str] | None, Parameter(help="A text at which to end; may be repeated", negative="")
    ] = None,
) -> None:
    """Go on with a text, as a language model would."""
    model = tasks.load(run)
    require(model, "generate")
    pieces = model.generate(
        prompt,
        length=length,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop,
    )
    sys.stdout.write(prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
