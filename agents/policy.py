"""Actions drawn by chance while training: drawn in NumPy, scored with gradients in torch.

What an action means is `engine.policy.decode`; here is only how likely it was. Stored is always
the raw action, so that it can be scored again exactly: the index of a choice, or, before it is
squashed into [-1, 1], u with a = tanh(u) (Gaussian) or a = tanh(u / 2) (Beta: u = log(x / (1 - x))).
Probabilities of continuous actions are densities over a in [-1, 1], whatever range of exposures it is.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.policy import ActionSpace, beta_shape

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
LOG_STD_LOW, LOG_STD_HIGH = -5.0, 2.0  # range of a deviation that depends on the bar
_START = math.atanh((-0.5 - LOG_STD_LOW) / (0.5 * (LOG_STD_HIGH - LOG_STD_LOW)) - 1.0)


def draw(
    head: np.ndarray,
    log_std: float,
    space: ActionSpace,
    generator: np.random.Generator,
    valid: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a raw action for every row, with its log-probability.

    Shapes: head (..., A), valid (..., A) bool or None; raw and log-probability (...). Choices: from
    the cumulative probabilities of the valid ones. Continuous: u in float32, as it will be stored.
    """
    if space.kind != "continuous":
        return _draw_choice(head if valid is None else np.where(valid, head, -np.inf), generator)
    if space.distribution == "beta":
        return _draw_beta(head, generator)
    mean = head[..., 0].astype(np.float64)
    if space.spread == "state":
        each = bounded(torch.from_numpy(head[..., 1].astype(np.float64))).numpy()
        return _draw_gaussian(mean, each, np.exp(each), generator)
    return _draw_gaussian(mean, log_std, math.exp(log_std), generator)


def action_of(raw: np.ndarray, space: ActionSpace) -> np.ndarray:
    """Return the action that `engine.policy.decode` reads: the index, or a in [-1, 1]."""
    if space.kind != "continuous":
        return raw
    return np.tanh(raw if space.distribution == "gaussian" else raw / 2.0)


def score(
    head: Tensor,
    raw: Tensor,
    log_std: Tensor | None,
    space: ActionSpace,
    valid: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return log-probability and entropy of raw actions, with gradients.

    Shapes: head (..., A), raw (...), valid (..., A) bool or None; both results (...). Outputs of
    actions that are not valid get a gradient of exactly 0. The entropy of the Gaussian policy is
    that of the Gaussian before the tanh: it has a closed form and keeps the spread alive; that of
    the Beta is the one of a itself.
    Source: squashed Gaussian, Haarnoja et al., arXiv:1801.01290, appendix C.
    """
    if space.kind != "continuous":
        return _score_choice(head, raw, valid)
    if space.distribution == "beta":
        return _score_beta(head, raw)
    if space.spread == "state":
        log_std = bounded(head[..., 1])
    assert log_std is not None
    mean = head[..., 0]
    density = -0.5 * ((raw - mean) / log_std.exp()) ** 2 - log_std - _HALF_LOG_2PI
    entropy = (log_std + 0.5 + _HALF_LOG_2PI).expand_as(mean)
    return density - log_slope(raw), entropy


def log_slope(u: Tensor) -> Tensor:
    """Return log(1 - tanh(u)^2) in the form that stays finite for large u."""
    return 2.0 * (math.log(2.0) - u - F.softplus(-2.0 * u))


def bounded(output: Tensor) -> Tensor:
    """Return the log deviation that an output of the network stands for; 0 stands for -0.5.

    It bends towards its bounds and never stops: a hard limit would leave no gradient back.
    """
    middle, half = 0.5 * (LOG_STD_HIGH + LOG_STD_LOW), 0.5 * (LOG_STD_HIGH - LOG_STD_LOW)
    return middle + half * torch.tanh(output + _START)


def _draw_choice(
    logits: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    shifted = logits - np.maximum.reduce(logits, axis=-1, keepdims=True)
    log_prob = shifted - np.log(np.add.reduce(np.exp(shifted), axis=-1, keepdims=True))
    total = np.add.accumulate(np.exp(log_prob), axis=-1)
    mark = generator.random(logits.shape[:-1]) * total[..., -1]
    raw = np.add.reduce(total[..., :-1] <= mark[..., None], axis=-1, dtype=np.int64)
    flat = log_prob.reshape(-1, logits.shape[-1])
    return raw, flat[np.arange(len(flat)), raw.reshape(-1)].reshape(raw.shape)


def _draw_gaussian(
    mean: np.ndarray, log_std: Any, spread: Any, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    # `log_std` and `spread` are one number for all, or an array like `mean`.
    u = (mean + spread * generator.standard_normal(mean.shape)).astype(np.float32)
    density = -0.5 * ((u - mean) / spread) ** 2 - log_std - _HALF_LOG_2PI
    return u, density - 2.0 * (math.log(2.0) - u - np.logaddexp(0.0, -2.0 * u))


def _score_choice(head: Tensor, raw: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    if valid is not None:
        head = head.masked_fill(~valid, -math.inf)
    log_all = torch.log_softmax(head, dim=-1)
    log_prob = log_all.gather(-1, raw.long()[..., None])[..., 0]
    # 0 x log 0 counts as 0, in the gradient too.
    known = log_all if valid is None else log_all.masked_fill(~valid, 0.0)
    return log_prob, -(log_all.exp() * known).sum(-1)


def _draw_beta(head: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Two gamma draws: the logit of a Beta is the difference of their logs, exact at both edges.
    alpha, beta = beta_shape(head)
    left, right = generator.standard_gamma(alpha), generator.standard_gamma(beta)
    tiny = np.finfo(np.float64).tiny
    u = (np.log(np.maximum(left, tiny)) - np.log(np.maximum(right, tiny))).astype(np.float32)
    density = _beta_density(*(torch.from_numpy(x) for x in (alpha, beta, u.astype(np.float64))))
    return u, density.numpy()


def _score_beta(head: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
    # The shapes of `engine.policy.beta_shape`, with gradients. In float64: the log of a narrow Beta
    # is a small difference of large numbers.
    alpha, beta = (1.0 + F.softplus(head.double())).unbind(-1)
    both = alpha + beta
    entropy = (
        _log_beta(alpha, beta)
        - (alpha - 1.0) * torch.digamma(alpha)
        - (beta - 1.0) * torch.digamma(beta)
        + (both - 2.0) * torch.digamma(both)
        + math.log(2.0)  # a spans 2, x spans 1
    )
    return _beta_density(alpha, beta, raw.double()).to(head.dtype), entropy.to(head.dtype)


def _beta_density(alpha: Tensor, beta: Tensor, u: Tensor) -> Tensor:
    # log p(a) with a = 2x - 1; log x = -softplus(-u), log(1 - x) = -softplus(u).
    kernel = -(alpha - 1.0) * F.softplus(-u) - (beta - 1.0) * F.softplus(u)
    return kernel - _log_beta(alpha, beta) - math.log(2.0)


def _log_beta(alpha: Tensor, beta: Tensor) -> Tensor:
    return torch.lgamma(alpha) + torch.lgamma(beta) - torch.lgamma(alpha + beta)
