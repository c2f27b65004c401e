"""Every kind of action as deployed: torch decides the same, and so do all three paths of a run."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from agents.checkpoint import Writer
from engine.policy import ActionSpace, greedy, valid_actions
from engine.run.check.parity import check_parity, through_replay
from engine.step import StepPolicy
from tests.markets import made_up
from tests.rollouts import Parts

BARS, ROWS, NEAR_TIE = 1_000, 4, 1e-5
LEVELS = (-1.0, 0.0, 0.25, 0.5, 1.0)
SPACES = {
    "masked": ActionSpace(mask=True),
    "levels": ActionSpace(kind="levels", levels=LEVELS, mask=True),
    "spread by bar": ActionSpace(kind="continuous", spread="state"),
    "beta": ActionSpace(kind="continuous", distribution="beta"),
}


def centre(parts: Parts) -> None:
    """Let no action be the favourite of a flat book: untrained, it would do one thing for ever."""
    rows = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    flat = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(500, 4)
    with torch.no_grad():
        for weight in parts.net.parameters():
            weight.mul_(2.0)
        head, _ = parts.net.step(rows, flat, parts.net.start(500))
        parts.net.actor[-1].bias.sub_(head.mean(0))


def played(head: torch.Tensor, space: ActionSpace, valid: np.ndarray | None) -> np.ndarray:
    """What torch would play: oracle for `engine.policy.greedy`."""
    if space.names:
        assert valid is not None
        odds = torch.softmax(head.masked_fill(~torch.from_numpy(valid), -torch.inf), -1)
        return odds.argmax(-1).numpy()
    if space.distribution == "beta":
        shape = 1 + torch.nn.functional.softplus(head)
        return (2 * torch.distributions.Beta(shape[:, 0], shape[:, 1]).mean - 1).numpy()
    return torch.tanh(head[:, 0]).numpy()


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_deployed_step_plays_what_torch_would_over_1000_carried_bars(
    space: ActionSpace, record_property: Callable[[str, object], None]
) -> None:
    parts = Parts(action=space.model_dump(), shorts=False)
    policy = StepPolicy(Writer(parts.net).graph(), parts.info)
    rng = np.random.default_rng(1)
    memory, theirs = np.zeros((ROWS, policy.memory_width), np.float32), parts.net.start(ROWS)
    ties, seen = [], set()
    for bar in range(BARS):
        market = rng.normal(size=(ROWS, 2)).astype(np.float32)
        book = rng.normal(size=(ROWS, 4)).astype(np.float32)
        valid = valid_actions(space, rng.integers(0, 2, ROWS), allow_short=False)
        head, memory = policy.run(market, book, memory)
        with torch.no_grad():
            expected, theirs = parts.net.step(*map(torch.from_numpy, (market, book)), theirs)
        action, other = greedy(head, space, valid), played(expected, space, valid)
        seen |= set(np.round(action, 1).tolist())
        if not space.names:
            assert np.abs(action - other).max() < 1e-5
            continue
        assert valid is not None
        assert np.take_along_axis(valid, action[:, None], -1).all()
        for row in np.flatnonzero(action != other):
            gap = abs(float(expected[row, action[row]] - expected[row, other[row]]))
            assert gap < NEAR_TIE, (bar, row, gap)
            ties.append((bar, int(row), gap))
    record_property("near_ties", ties)
    assert len(ties) <= BARS * ROWS // 1_000, f"too many to be ties: {ties}"
    assert len(seen) >= len(set(space.names) - {"level -1"}) > 0 or len(seen) > 5


def test_environment_replay_and_backtrader_agree_on_deployed_levels() -> None:
    parts = Parts(action=SPACES["levels"].model_dump(), shorts=False)
    centre(parts)
    policy = StepPolicy(Writer(parts.net).graph(), parts.info)
    bars = made_up(21, sessions=260, gaps=0.08, late=20)
    spec = replace(parts.spec, allocation=1.0 / 3)
    found = check_parity(bars, spec, policy, 60, 259, 100_000.0)
    assert found.fills > 50
    assert found.equal, [item for item in found.differences if not item.within]
    record = through_replay(bars, spec, policy, 60, 259, 100_000.0).arrays()
    assert (record["qty"] >= 0).all()
    asked = set(np.unique(record["exposure"]).tolist())
    assert asked <= {0.0, 0.25, 0.5, 1.0}
    assert len(asked) > 2
