"""Actions drawn by chance while training: drawn in NumPy, scored with gradients in torch.

What an action means is `engine.policy.decode`; here is only how likely it was. Stored is always
the raw action: the index, or the number before the tanh, so that it can be scored again exactly.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.policy import ActionSpace

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def draw(
    head: np.ndarray, log_std: float, space: ActionSpace, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a raw action for every row, with its log-probability.

    Shapes: head (..., A); raw and log-probability (...). Discrete: from the cumulative
    probabilities. Continuous: u of a Gaussian around the mean, in float32 as it will be stored.
    """
    if space.kind == "discrete":
        shifted = head - head.max(axis=-1, keepdims=True)
        log_prob = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        total = np.cumsum(np.exp(log_prob), axis=-1)
        mark = generator.random(head.shape[:-1]) * total[..., -1]
        raw = (total[..., :-1] <= mark[..., None]).sum(axis=-1)
        return raw, np.take_along_axis(log_prob, raw[..., None], axis=-1)[..., 0]
    mean = head[..., 0].astype(np.float64)
    spread = math.exp(log_std)
    u = (mean + spread * generator.standard_normal(mean.shape)).astype(np.float32)
    density = -0.5 * ((u - mean) / spread) ** 2 - log_std - _HALF_LOG_2PI
    return u, density - 2.0 * (math.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))


def action_of(raw: np.ndarray, space: ActionSpace) -> np.ndarray:
    """Return the action that `engine.policy.decode` reads: the index, or tanh(u) in [-1, 1]."""
    return raw if space.kind == "discrete" else np.tanh(raw)


def score(
    head: Tensor, raw: Tensor, log_std: Tensor | None, space: ActionSpace
) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy of raw actions, with gradients.

    Shapes: head (..., A), raw (...); both results (...). The entropy of the continuous policy is
    that of the Gaussian before the tanh: it has a closed form and keeps the spread alive.
    Source: squashed Gaussian, Haarnoja et al., arXiv:1801.01290, appendix C.
    """
    if space.kind == "discrete":
        log_all = torch.log_softmax(head, dim=-1)
        log_prob = log_all.gather(-1, raw.long()[..., None])[..., 0]
        return log_prob, -(log_all.exp() * log_all).sum(-1)
    assert log_std is not None
    mean = head[..., 0]
    density = -0.5 * ((raw - mean) / log_std.exp()) ** 2 - log_std - _HALF_LOG_2PI
    entropy = (log_std + 0.5 + _HALF_LOG_2PI).expand_as(mean)
    return density - log_slope(raw), entropy


def log_slope(u: Tensor) -> Tensor:
    """Return log(1 - tanh(u)^2) in the form that stays finite for large u."""
    return 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))
