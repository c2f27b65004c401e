"""Attention over the last K outputs of the LSTM, the one of now included.

It looks back only, and only on outputs that are in the memory: a mark beside each says whether it
was made by a bar; places that memory started with, zero, get no weight at all.

Shape letters: S bars to look from, R rows of a batch, H width of an output, L outputs in all.
"""

import math

import torch
from torch import Tensor, nn

from engine.settings_agent import NetworkSettings

BLOCK = 128  # bars looked from at once: memory grows with S, not with its square


class Attention(nn.Module):
    """What was seen lately, weighted by how much it matters to what is seen now.

    score_k = h_k . W h_now / sqrt(H); the context is the sum of the h_k by the softmax of scores.
    Source: Luong et al., arXiv:1508.04025, the "general" score; scaled as in arXiv:1706.03762.
    """

    def __init__(self, hidden: int, size: int, network: NetworkSettings) -> None:
        super().__init__()
        self.size = size
        self.score = nn.Linear(hidden, hidden, bias=False)
        if network.init == "orthogonal":
            nn.init.orthogonal_(self.score.weight)

    def forward(self, history: Tensor, steps: int) -> Tensor:
        """Return the last `steps` outputs, each with its context beside it.

        Shapes: history (L, R, H + 1), oldest first, the mark last; result (S, R, 2H).
        """
        outs = history[..., :-1].transpose(0, 1)
        known = history[..., -1].transpose(0, 1) > 0.5
        length = history.shape[0]
        starts = range(length - steps, length, BLOCK)
        blocks = [self._block(outs, known, at, min(at + BLOCK, length)) for at in starts]
        return torch.cat(blocks, 1).transpose(0, 1)

    def _block(self, outs: Tensor, known: Tensor, begin: int, end: int) -> Tensor:
        # From the bars `begin` to `end`, each on the last K up to itself.
        oldest = max(begin - self.size + 1, 0)
        now, past = outs[:, begin:end], outs[:, oldest:end]
        scores = self.score(now) @ past.transpose(1, 2) / math.sqrt(now.shape[-1])  # (R, S, L)
        at = torch.arange(begin, end, device=outs.device)[:, None]
        of = torch.arange(oldest, end, device=outs.device)
        allowed = known[:, None, oldest:end] & (of <= at) & (of > at - self.size)
        weights = torch.softmax(torch.where(allowed, scores, -1e9), dim=-1)
        weights = torch.where(allowed, weights, 0.0)  # nothing known yet: no context
        return torch.cat([now, weights @ past], -1)
