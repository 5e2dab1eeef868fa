"""A tagger's network in plain torch: torch.nn.LSTM on packed sequences, Viterbi step by step."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_twin import PackedLSTM, packed_twin

from gatewise.nn import CRF
from gatewise.tasks import SequenceTagger


def plain_twin(model: SequenceTagger) -> SequenceTagger:
    """Return the same tagger with nothing of ours but the look-up of tokens."""
    twin = packed_twin(model)
    network = twin.network_
    if network.characters is not None and network.characters.lstm is not None:
        network.characters.lstm = PackedLSTM(network.characters.lstm)
    if isinstance(network.head, CRF):
        network.head = PlainCRF(network.head)
    return twin


class PlainCRF(nn.Module):
    """Decoding as torch code customarily does it: a step in time after the other, in float32."""

    def __init__(self, crf: CRF) -> None:
        super().__init__()
        starts, moves, ends = crf.start_transitions, crf.transitions, crf.end_transitions
        if crf.constraints is not None:
            allowed = crf.constraints
            starts = starts.masked_fill(~allowed.starts, -1e4)
            moves = moves.masked_fill(~allowed.transitions, -1e4)
            ends = ends.masked_fill(~allowed.ends, -1e4)
        self.starts, self.moves, self.ends = (part.detach() for part in (starts, moves, ends))

    def decode(self, emissions: Tensor, lengths: Tensor) -> list[list[int]]:
        score = self.starts + emissions[0]
        before = []
        for step in range(1, len(emissions)):
            best, place = (score[:, :, None] + self.moves).max(1)
            inside = (step < lengths)[:, None]
            score = torch.where(inside, best + emissions[step], score)
            before.append(place)
        last = (score + self.ends).argmax(1)
        paths = []
        for row, length in enumerate(lengths.tolist()):
            path = [int(last[row])]
            for step in range(length - 2, -1, -1):
                path.append(int(before[step][row, path[-1]]))
            paths.append(path[::-1])
        return paths
