"""AttentionalGru: a recurrent unit that an entry moves as far as its attention allows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AttentionalGru(nn.Module):
    """A GRU whose update gate is multiplied by an attention weight: h = (1 - a u) h + a u n.

    u = sigmoid(W_u x + U_u h), r = sigmoid(W_r x + U_r h), n = tanh(W_n x + r * (U_n h + b)), each W with a bias.
    Padding is skipped wherever it stands; it costs no step either, since histories are sorted by length.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 3 * hidden)
        self.recurrent = nn.Linear(hidden, 3 * hidden)
        self.hidden = hidden

    def forward(self, gates: Tensor, attention: Tensor, history: Tensor, mask: Tensor) -> Tensor:
        """Last states [b, hidden]; zero for an empty history.

        `gates` [m, 3 hidden] is `inputs` of all encoded items, computed once an item; `attention` float [b, l],
        `history` and `mask` [b, l] as in `Batch`.
        """
        # Entries to the front of their row in their order, then rows from the longest history to the shortest.
        place = mask.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices
        lengths, rows = mask.sum(1).sort(descending=True, stable=True)
        history, attention = (tensor.gather(1, place)[rows] for tensor in (history, attention))
        steps = torch.arange(mask.shape[1], device=mask.device)
        active = (lengths[:, None] > steps).sum(0).tolist()

        state = attention.new_zeros(len(mask), self.hidden)
        finished = []
        for step, count in enumerate(active):
            finished.append(state[count:])
            state = state[:count]
            if not count:
                break
            inputs = gates.index_select(0, history[:count, step]).chunk(3, 1)
            recurrent = self.recurrent(state).chunk(3, 1)
            update = (inputs[0] + recurrent[0]).sigmoid() * attention[:count, step, None]
            reset = (inputs[1] + recurrent[1]).sigmoid()
            proposal = (inputs[2] + reset * recurrent[2]).tanh()
            state = state + update * (proposal - state)
        states = torch.cat([state, *reversed(finished)])
        return states.index_select(0, rows.argsort())
