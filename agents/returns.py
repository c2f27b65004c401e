"""How much better each action was than the critic expected: GAE and n-step returns, in NumPy.

Source: Schulman et al., arXiv:1506.02438; n steps, Mnih et al., arXiv:1602.01783; time limits,
Pardo et al., arXiv:1712.00378.
"""

import numpy as np


def advantages(
    reward: np.ndarray,
    value: np.ndarray,
    after: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Estimate how much better each action was than the critic expected.

    Shapes: (S, B) each, row 0 the oldest bar. `after` is the value of the state the step led to,
    seen with the memory it led to (at an episode's end: its final observation, not the next
    episode's first). `ended` = terminated or truncated; only ruin drops the value after it.
    """
    delta = reward + gamma * np.where(terminated, 0.0, after) - value
    result: np.ndarray = np.zeros_like(delta)
    carried = np.zeros_like(delta[0])
    for step in range(len(delta) - 1, -1, -1):
        carried = delta[step] + gamma * lam * np.where(ended[step], 0.0, carried)
        result[step] = carried
    return result


def n_step_advantages(
    reward: np.ndarray,
    value: np.ndarray,
    after: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    steps: int,
) -> np.ndarray:
    """Return n-step returns less the values: `steps` rewards, then the critic's word.

    Shapes and fields as in `advantages`. A return looks no further than the end of its episode or of
    the rollout; at `steps` = S it is the return of the whole rollout, which is GAE with lambda = 1.
    """
    bootstrap = np.where(terminated, 0.0, after)
    returns = reward + gamma * bootstrap
    for _ in range(min(steps, len(reward)) - 1):
        later = np.concatenate([returns[1:], bootstrap[-1:]])
        returns = reward + gamma * np.where(ended, bootstrap, later)
        returns[-1] = reward[-1] + gamma * bootstrap[-1]
    return np.asarray(returns - value)


def normalise(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return x with mean 0 and sample deviation 1 over the valid steps, 0 elsewhere."""
    kept = x[valid]
    if kept.size < 2:
        return np.zeros_like(x)
    scaled = (x - kept.mean()) / (kept.std(ddof=1) + 1e-8)
    return np.where(valid, scaled, 0.0)


def explained_variance(value: np.ndarray, target: np.ndarray, valid: np.ndarray) -> float:
    """Return the part of the targets' variance that the critic foresaw; 1 is perfect."""
    spread = target[valid].var() if valid.any() else 0.0
    return float(1.0 - (target - value)[valid].var() / spread) if spread > 0 else 0.0
