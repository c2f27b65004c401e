"""Attention over the last K outputs of the LSTM, the one of now included.

It looks back only, and only on outputs that are in the memory: a mark beside each says whether it
was made by a bar; places that memory started with, zero, get no weight at all.
"""

import math

import torch
from torch import Tensor, nn

from engine.settings_agent import NetworkSettings


class Attention(nn.Module):
    """What was seen lately, weighted by how much it matters to what is seen now.

    score_k = h_k . W h_now / sqrt(H); the context is the sum of the h_k by the softmax of scores.
    Source: Luong et al., arXiv:1508.04025, the "general" score; scaled as in arXiv:1706.03762.
    """

    def __init__(self, hidden: int, network: NetworkSettings) -> None:
        super().__init__()
        self.score = nn.Linear(hidden, hidden, bias=False)
        if network.init == "orthogonal":
            nn.init.orthogonal_(self.score.weight)

    def forward(self, past: Tensor, known: Tensor) -> Tensor:
        """Return the output of now and its context, side by side.

        Shapes: past (K, ..., H) oldest first, the last one is now; known (K, ...); result (..., 2H).
        """
        now = past[-1]
        scores = (past * self.score(now)).sum(-1) / math.sqrt(now.shape[-1])
        weights = torch.softmax(torch.where(known, scores, -1e9), dim=0)
        weights = torch.where(known, weights, 0.0)  # nothing known yet: no context
        return torch.cat([now, (weights[..., None] * past).sum(0)], -1)
