"""Dropout with one mask for a whole sequence, drawn once and kept beside it.

The same mask plays the sequence and scores it again in the update, so that nothing but the weights
can move a probability between the two. Greedy play and deployment drop nothing, nor does the critic's
own path; only layers that it shares with the policy are thinned for both.
Source: one mask for all steps, Gal & Ghahramani, arXiv:1512.05287.
"""

import numpy as np
import torch
from torch import Tensor


def draw(rates: np.ndarray, rows: int, generator: np.random.Generator) -> Tensor | None:
    """Return a mask (R, D) of factors: 0, or 1 / (1 - rate) for what stays; None where D = 0.

    Shapes: rates (D,), the share of sequences in which a number is dropped. Draws nothing if D = 0.
    """
    if not len(rates):
        return None
    stays = generator.random((rows, len(rates))) >= rates
    return torch.from_numpy((stays / (1.0 - rates)).astype(np.float32))
