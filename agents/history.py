"""The last K rows of something as flat memory: joined with new rows, unfolded, carried on.

Shape letters: S steps, R rows of a batch, W numbers of one row, L = K + S rows of a history.
"""

import torch
from torch import Tensor


def joined(memory: Tensor, rows: Tensor) -> Tensor:
    """Return the K rows in memory (R, K x W), oldest first, and the new ones (S, R, W): (L, R, W)."""
    width = rows.shape[2]
    past = memory.reshape(memory.shape[0], -1, width).transpose(0, 1)
    return torch.cat([past, rows])


def unfolded(history: Tensor, size: int) -> Tensor:
    """Return for every new row the K rows that end with it, oldest first: (K, S, R, W)."""
    steps = history.shape[0] - size
    index = torch.arange(1, steps + 1)[:, None] + torch.arange(size)
    return history[index.to(history.device)].transpose(0, 1)


def last(history: Tensor, size: int, counts: Tensor | None = None) -> Tensor:
    """Return the memory (R, K x W) after all new rows, or after the first `counts` (R,) of them."""
    if counts is None:
        kept = history[-size:]
    else:
        place = counts + torch.arange(size, device=history.device)[:, None]  # (K, R)
        kept = history.gather(0, place[..., None].expand(-1, -1, history.shape[2]))
    return kept.transpose(0, 1).reshape(history.shape[1], -1)
