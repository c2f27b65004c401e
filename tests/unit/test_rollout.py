"""Rollouts: what the update recomputes is what was played, and what a deployed agent would see."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents.export import StepGraph
from agents.networks import ActorCritic, outputs
from agents.policy import action_of
from agents.sequences import Rollout, evaluate
from engine.bars import Bars
from engine.observation import Observation
from engine.policy import decode
from engine.settings_reward import RewardSettings
from engine.step import StepPolicy
from tests.markets import made_up
from tests.rollouts import BOOKS, BUGS, EPISODE, ON_POLICY, SETUPS, STEPS, Bug, Parts, differences


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_first_ratio_is_one_and_values_are_the_stored_ones(setup: dict[str, Any]) -> None:
    parts = Parts(**setup)
    for _ in range(3):  # later rollouts begin in the middle of an episode
        rollout = parts.collector.collect(STEPS)
        assert rollout.ended.any(axis=1).sum() >= 2
        assert rollout.acts.mean() > 0.8
        for rule in ON_POLICY:
            ratio, value = differences(parts, rollout, rule)
            assert ratio <= 1e-5
            assert value <= 1e-5


@pytest.mark.parametrize("rule", ON_POLICY)
@pytest.mark.parametrize("bug", BUGS)
def test_planted_memory_bugs_move_the_first_ratio(bug: Bug, rule: str) -> None:
    parts = Parts()
    parts.collector.collect(EPISODE // 2)
    rollout = parts.collector.collect(STEPS)
    assert differences(parts, rollout, rule)[0] <= 1e-5
    assert differences(parts, bug(rollout, parts.net), rule)[0] > 1e-3


@pytest.mark.parametrize("rule", ON_POLICY)
def test_dropout_in_the_update_only_would_be_caught(rule: str) -> None:
    # P5
    parts = Parts()
    rollout = parts.collector.collect(STEPS)
    parts.net.actor = nn.Sequential(nn.Dropout(0.2), *parts.net.actor)
    assert differences(parts, rollout, rule)[0] > 1e-3


@pytest.mark.parametrize("kind", ["single", "portfolio"])
def test_every_row_of_a_sequence_is_the_next_bar_of_its_own_symbol(kind: str) -> None:
    # R3, R4: tags (bar, symbol) noted while playing; segments begin exactly where episodes do
    parts = Parts(kind=kind)
    env, tags = parts.collector.env, []
    step = env.step

    def noted(*args: Any) -> Any:
        tags.append((env.at.copy(), env.symbol.copy()))
        return step(*args)

    env.step = noted  # type: ignore[method-assign]
    parts.collector.collect(7)
    tags.clear()
    rollout = parts.collector.collect(STEPS)
    assert [len(s.rows) for s in rollout.segments] == [5, 12, 12, 1]
    rows = torch.cat([s.rows for s in rollout.segments])
    for row, (at, symbol) in zip(rows, tags, strict=True):
        expected = env.panel.market[at[:, None], symbol].reshape(row.shape)
        assert np.array_equal(row.numpy(), expected)
    assert np.flatnonzero(rollout.ended.all(axis=1)).tolist() == [4, 16, 28]


@pytest.mark.parametrize(
    "setup", [s for s in SETUPS.values() if s.get("action") != "continuous"], ids=str
)
def test_memory_of_a_rollout_is_the_memory_of_a_deployed_agent(setup: dict[str, Any]) -> None:
    # The deployed step in the Trader, burnt in and carried bar by bar, along the same actions.
    parts = Parts(**setup)
    policy = StepPolicy(StepGraph(parts.net).as_bytes(), parts.info)
    life = parts.env(policy)
    life.reset()
    rollout = parts.collector.collect(EPISODE // 2)
    wrong = 0.0
    for step in range(EPISODE // 2):
        obs = life.observe()
        life.trader.act(obs)
        raw = rollout.raw[step].numpy()
        action = action_of(raw, parts.spec.action).reshape(BOOKS, -1)
        life.step(obs, decode(action, parts.spec.action, allow_short=True))
    carried = life.trader.memory.reshape(-1, parts.net.memory_width)
    memory = parts.collector.memory if parts.net.book_in_lstm else parts.collector.recall()
    wrong = float(np.abs(memory.numpy() - carried).max())
    assert wrong <= 1e-5


def value_of(net: ActorCritic, obs: Observation, memory: Tensor) -> np.ndarray:
    """Oracle: the value of one bar by a single step, memory held where the bar is not fresh."""
    book = torch.from_numpy(obs.book.reshape(BOOKS, -1))
    row = net.join(torch.from_numpy(obs.market.reshape(BOOKS, -1)), book)
    fresh = torch.from_numpy(obs.fresh)
    out = torch.where(fresh, net.trunk(row[None], memory)[0][0], net.held(memory))
    return net.heads(out, book)[1].numpy()


@pytest.mark.parametrize("name", ["carry", "stepwise", "gaps"])
def test_value_after_the_last_step_is_that_of_the_final_observation(name: str) -> None:
    # R9, and P16: not of the observation after the reset
    parts = Parts(**SETUPS[name])
    env, seen = parts.collector.env, {}
    reset = env.reset

    def noted() -> None:
        seen["final"] = parts.collector.obs
        reset()

    env.reset = noted  # type: ignore[method-assign]
    rollout = parts.collector.collect(EPISODE)
    (segment,), net = rollout.segments, parts.net
    obs = seen["final"]
    with torch.no_grad():
        memory = segment.memory
        if segment.seen is None:
            memory = net.trunk(segment.rows, memory)[1]
        else:
            rows = [segment.rows[: int(n), r] for r, n in enumerate(segment.seen[-1])]
            ends = [net.trunk(x[:, None], memory[r : r + 1])[1] for r, x in enumerate(rows)]
            memory = torch.cat(ends)
        manual = value_of(net, obs, memory)
        wrong = value_of(net, parts.collector.obs, memory)
    assert np.abs(rollout.after[-1] - manual).max() <= 1e-5
    assert np.abs(rollout.after[-1] - wrong).max() > 1e-3


def test_state_restored_in_the_middle_of_an_episode_goes_on_bitwise() -> None:
    for name in ("carry", "stepwise", "portfolio"):
        parts = Parts(**SETUPS[name])
        parts.collector.collect(7)
        state = parts.collector.state()
        draws = parts.collector.generator.bit_generator.state
        starts = parts.collector.env.generator.bit_generator.state
        expected = parts.collector.collect(STEPS)
        other = parts.play(parts.net)
        other.collect(3)
        other.restore(state)
        other.generator.bit_generator.state = draws
        other.env.generator.bit_generator.state = starts
        found = other.collect(STEPS)
        assert torch.equal(found.raw, expected.raw)
        assert np.array_equal(found.log_prob, expected.log_prob)
        assert np.array_equal(found.reward, expected.reward)
        assert np.array_equal(found.value, expected.value)


def test_actions_of_a_symbol_that_is_not_ready_count_for_nothing() -> None:
    # A portfolio in which two symbols list late: their log-probability is not part of the sum.
    parts = Parts(**SETUPS["portfolio"])
    rollout = parts.collector.collect(STEPS)
    assert not rollout.ready.all()
    other = replace(rollout, raw=torch.where(rollout.ready, rollout.raw, 2 - rollout.raw))
    books = torch.arange(BOOKS)
    with torch.no_grad():
        left = evaluate(parts.net, parts.spec.action, rollout, books)
        right = evaluate(parts.net, parts.spec.action, other, books)
    assert torch.equal(left[0], right[0])


def ruinous() -> Bars:
    """A market in which every price triples on one day: a short of one sleeve is ruined."""
    bars = made_up(5, sessions=60, gaps=0.0, late=0, events=0.0)
    ohlcv = bars.ohlcv.copy()
    ohlcv[30:, :, :4] *= 3.0
    return replace(bars, ohlcv=ohlcv)


def ruined_rollout() -> tuple[Parts, Rollout]:
    parts = Parts(bars=ruinous(), burn_in=2)
    with torch.no_grad():
        parts.net.actor[-1].bias.copy_(torch.tensor([50.0, 0.0, 0.0]))  # always sell short
        parts.net.actor[-1].weight.zero_()
    collector = parts.play(parts.net)
    for _ in range(6):
        rollout = collector.collect(EPISODE)
        if rollout.terminated[:-1].any():
            return parts, rollout
    raise AssertionError("no book was short on the day of the jump")


def test_a_ruined_book_is_dead_until_the_next_episode() -> None:
    _, rollout = ruined_rollout()
    book = int(np.argwhere(rollout.terminated[:-1].any(axis=0))[0, 0])
    step = int(np.argmax(rollout.terminated[:, book]))
    assert rollout.alive[: step + 1, book].all()
    assert not rollout.alive[step + 1 :, book].any()
    assert not rollout.acts[step + 1 :, book].any()
    assert rollout.ended[step, book]
    assert rollout.reward[step, book] == -RewardSettings().clip  # type: ignore[operator]
    assert (rollout.reward[step + 1 :, book] == 0).all()


def learned(parts: Parts, rollout: Rollout, rule: str) -> dict[str, Tensor]:
    learner = parts.learner(rule, ppo={"epochs": 1, "minibatches": 2})
    learner.learn(rollout)
    return dict(learner.net.state_dict())


@pytest.mark.parametrize("rule", ON_POLICY)
def test_what_happens_to_a_dead_book_changes_no_weight(rule: str) -> None:
    # R11, R12 on the whole update: dead steps filled with 1e6
    parts, rollout = ruined_rollout()
    dead = ~rollout.alive
    assert dead.any()
    filled = {name: np.where(dead, 1e6, getattr(rollout, name)) for name in ("reward", "log_prob")}
    other = replace(rollout, **filled)
    expected, found = learned(parts, rollout, rule), learned(parts, other, rule)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    alive = replace(rollout, **{n: np.where(dead, getattr(rollout, n), 1e6) for n in ("reward",)})
    assert not all(torch.equal(expected[n], x) for n, x in learned(parts, alive, rule).items())


def test_gradient_flows_through_the_bars_of_a_segment_and_not_past_its_start() -> None:
    # R15: back to the first bar of the segment; the starting memory and other episodes get none
    parts = Parts()
    rollout = parts.collector.collect(STEPS)
    rows = [s.rows.clone().requires_grad_() for s in rollout.segments]
    out = torch.cat(
        [
            outputs(parts.net, x, s.seen, s.memory)
            for x, s in zip(rows, rollout.segments, strict=True)
        ]
    )
    out[EPISODE + 5].sum().backward()  # type: ignore[no-untyped-call]
    assert rows[0].grad is None or not rows[0].grad.any()
    assert rows[1].grad is not None
    assert (rows[1].grad[:6].abs().sum(dim=(1, 2)) > 0).all()
    assert not rows[1].grad[6:].any()
    assert not any(s.memory.requires_grad for s in rollout.segments)
