"""What a cell may do beyond its plain form, one field each."""

from __future__ import annotations

from typing import NamedTuple


class CellOptions(NamedTuple):
    """Options of a layer's cell; the defaults are the plain cell.

    Peepholes, activations and the clip are the LSTM's; the others are the GRU's too.

    Args:
        activation: The function of the candidate and of the cell state, a name in
            `torch.nn.functional` or of torch: ``tanh``, ``relu``, ``hardtanh``, ``gelu`` ….
        gate_activation: That of the gates: ``sigmoid``, ``hardsigmoid`` ….
        cell_clip: The cell state is held to ±cell_clip; 0 for no limit.
        peephole: Whether gates see the cell state (Gers & Schmidhuber 2000).
        layer_norm: Whether both products, and the LSTM's cell state on its way out, are normalised
            (Ba, Kiros & Hinton 2016).
        batch_norm: Whether the LSTM's are normalised over the batch (Cooijmans et al. 2017); not
            together with ``layer_norm``.
        update_dropout: Probability of zeroing an element of the candidate, anew each step
            (Semeniuta, Severyn & Barth 2016).
        recurrent_dropout: Probability of zeroing an element of h on its way into the product, the
            same for all steps of a sequence (Gal & Ghahramani 2016).
        zoneout_c: Probability that an element of the cell state stays as it was (Krueger et al.
            2017).
        zoneout_h: The same for h.
        stream: Tells apart the masks of layers that share a seed; against time it is one more.
        bf16: Whether the products of x and h take their operands, gradients among them, rounded to
            bfloat16; sums, states and projections stay what they are.
        first_step: Where in its sequence the first step stands: masks go by that.
        reverse: Whether the only direction of a layer runs against time.

    The dropouts act only with a seed; without one, zoneout takes its expectation.
    """

    activation: str = "tanh"
    gate_activation: str = "sigmoid"
    cell_clip: float = 0.0
    peephole: bool = False
    layer_norm: bool = False
    batch_norm: bool = False
    update_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout_c: float = 0.0
    zoneout_h: float = 0.0
    bf16: bool = False
    stream: int = 0
    first_step: int = 0
    reverse: bool = False

    @property
    def plain(self) -> bool:
        """Whether the cell is the plain one, in any precision."""
        return self is PLAIN or (
            self._replace(bf16=False, stream=0, first_step=0, reverse=False) == PLAIN
        )

    @property
    def normed(self) -> bool:
        """Whether there are norms."""
        return self.layer_norm or self.batch_norm

    @property
    def masked(self) -> bool:
        """Whether a dropout or zoneout may act."""
        return any((self.update_dropout, self.recurrent_dropout, self.zoneout_c, self.zoneout_h))


PLAIN = CellOptions()
