"""Does a network read the future? Autograd knows: the derivative must be exactly zero."""

from collections.abc import Callable

import torch
from torch import Tensor


def future_gradient(outputs: Callable[[Tensor], Tensor], rows: Tensor) -> float:
    """Return the largest |d output[t] / d row[t' > t]| over all bars, 0.0 for a causal network.

    Shapes: rows (S, R, F), oldest first; outputs (S, R, .).
    """
    worst = 0.0
    for t in range(len(rows) - 1):
        seen = rows.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(outputs(seen)[t].sum(), seen)
        worst = max(worst, float(gradient[t + 1 :].abs().max()))
    return worst
