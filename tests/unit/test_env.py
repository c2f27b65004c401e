"""The training environment: clocks, ends, starts, sleeves, and Gymnasium's own checker."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from agents.env import BookEnv, BookPlan
from agents.gym_env import MarketEnv, MarketVectorEnv
from agents.panel import Panel
from engine.bars import CLOSE, OPEN, Bars
from engine.costs import Costs
from engine.errors import DataError
from engine.features import FeatureSet
from engine.observation import Scaler
from engine.policy import ActionSpace, Wish
from engine.sources import DataSettings, load
from engine.trader import TraderSpec
from tests.markets import made_up


def env_over(
    bars: Bars,
    books: int = 4,
    kind: str = "single",
    steps: int = 50,
    inputs: tuple[str, ...] = ("position", "unrealised", "cash", "bars_since_trade"),
    action: ActionSpace | None = None,
    **plan: object,
) -> BookEnv:
    features = FeatureSet(("log_return", "sma_ratio(10)"))
    rows, ready = features.history(bars)
    spec = TraderSpec(
        features=features,
        scaler=Scaler.fit(rows, ready),
        book_inputs=inputs,
        action=action or ActionSpace(),
        costs=Costs(slippage_bps=0.0),
        allocation=1.0 if kind == "single" else 1.0 / len(bars.symbols),
        burn_in=8,
    )
    panel = Panel.of(bars, features, spec.scaler)
    chosen = BookPlan(books=books, kind=kind, episode_steps=steps, **plan)  # type: ignore[arg-type]
    return BookEnv(panel, spec, chosen, np.random.default_rng(1))


def all_in(env: BookEnv) -> Wish:
    shape = (env.shape[0], env.shape[1])
    return Wish(np.ones(shape), np.zeros(shape, dtype=bool))


def test_decision_fills_at_the_next_open_and_is_marked_at_the_next_close():
    bars = made_up(1, sessions=200, symbols=1, gaps=0.0, events=0.0)
    env = env_over(bars, books=3)
    env.reset()
    at = env.at.copy()
    result = env.step(env.observe(), all_in(env))
    price = bars.ohlcv[at + 1, 0, OPEN]
    shares = np.trunc(100_000.0 / bars.ohlcv[at, 0, CLOSE])
    assert np.array_equal(result.outcome.price[:, 0], price)
    assert np.array_equal(env.venue.book.qty[:, 0], shares)
    after = 100_000.0 + shares * (bars.ohlcv[at + 1, 0, CLOSE] - price)
    assert result.equity_after == pytest.approx(after, rel=1e-12)


def test_episode_is_truncated_after_its_steps_and_not_terminated():
    env = env_over(made_up(1, sessions=200, gaps=0.0), books=5, steps=20)
    env.reset()
    for step in range(20):
        result = env.step(env.observe(), all_in(env))
        assert result.truncated.all() == (step == 19)
    assert not result.terminated.any()


def test_ruin_is_terminated():
    bars = made_up(2, sessions=60, symbols=1, gaps=0.0, events=0.0)
    env = env_over(bars, books=2, steps=20)
    env.reset()
    env.venue.book.cash[0] = -1e9
    result = env.step(env.observe(), all_in(env))
    assert result.terminated.tolist() == [True, False]


def test_random_starts_leave_room_for_burn_in_and_episode_and_cover_every_symbol():
    bars = made_up(3, sessions=400, gaps=0.1)
    env = env_over(bars, books=500, steps=50)
    env.reset()
    fresh = env.panel.fresh[env.at, env.symbol[:, 0]]
    rows = env.panel.rank[env.at, env.symbol[:, 0]]
    assert fresh.all()
    assert rows.min() >= 8
    assert (env.at + 50 <= 399).all()
    assert set(env.symbol[:, 0]) == {0, 1, 2}


def test_sequential_starts_walk_through_one_symbol_after_the_other():
    bars = made_up(3, sessions=200, symbols=2, gaps=0.0, late=0)
    env = env_over(bars, books=4, steps=60, starts="sequential")
    env.reset()
    # lookback 10 and burn-in 8: the first start is bar 17, the last 199 - 60 = 139; 123 a symbol.
    assert env.at.tolist() == [17, 77, 137, 17 + 180 - 123]
    assert env.symbol[:, 0].tolist() == [0, 0, 0, 1]


def test_too_little_data_for_one_episode_is_refused_with_the_remedy():
    with pytest.raises(DataError, match=r"fewer train\.episode_steps"):
        env_over(made_up(3, sessions=60), steps=100).reset()


def test_rows_for_whole_sequences_are_the_rows_seen_bar_by_bar():
    bars = made_up(5, sessions=300, gaps=0.2)
    env = env_over(bars, books=6, steps=40)
    env.reset()
    lead, count = env.lead()
    rows, index, fresh = env.sequence(40)
    assert (count == 8).all()
    for book in range(6):
        n = env.symbol[book, 0]
        before = env.panel.market[: env.at[book], n][env.panel.fresh[: env.at[book], n]][-8:]
        assert np.array_equal(lead[:8, book, 0], before)
    for step in range(40):
        obs = env.observe()
        seen = rows[index[step, :, 0], np.arange(6), 0]
        where = fresh[step, :, 0]
        assert np.array_equal(where, obs.fresh[:, 0])
        assert np.array_equal(seen[where], obs.market[where, 0])
        env.step(obs, all_in(env))


def ranges_seen(env: BookEnv, hold: float) -> tuple[np.ndarray, np.ndarray]:
    # Every book input over four rounds of episodes; `hold` is how often nothing is done.
    rng = np.random.default_rng(0)
    low, high = np.full(4, np.inf), np.full(4, -np.inf)
    for _ in range(4):
        env.reset()
        for _ in range(250):
            obs = env.observe()
            seen = obs.book.reshape(-1, 4)
            low, high = np.minimum(low, seen.min(axis=0)), np.maximum(high, seen.max(axis=0))
            shape = env.shape[:2]
            keep = rng.random(shape) < hold
            env.step(obs, Wish((rng.random(shape) < 0.7).astype(float), keep))
    return low, high


def test_agent_of_one_symbol_meets_no_input_with_four_that_it_was_not_trained_on():
    bars = load(DataSettings(source="sample"))
    # Training explores: some books trade every bar, some hardly ever.
    trained = [ranges_seen(env_over(bars, books=128, steps=250), hold) for hold in (0.5, 0.98)]
    low = np.minimum(trained[0][0], trained[1][0])
    high = np.maximum(trained[0][1], trained[1][1])
    for hold in (0.3, 0.9, 0.99):
        least, most = ranges_seen(env_over(bars, books=16, kind="portfolio", steps=250), hold)
        # position, cash, bars since the last trade: a fee's worth of slack; the unrealised return
        # also depends on which episodes were drawn.
        slack = np.array([0.01, 0.1, 0.01, 0.0])
        assert (least >= low - slack).all(), (hold, least, low)
        assert (most <= high + slack).all(), (hold, most, high)
        assert most[0] == 1.0  # a whole sleeve of four reads 1, not 0.25


@pytest.mark.parametrize("kind", ["single", "portfolio"])
@pytest.mark.parametrize("action", ["discrete", "levels", "continuous"])
@pytest.mark.parametrize("inputs", [("position", "cash"), ()])
def test_gymnasium_finds_nothing_to_complain_about(kind, action, inputs):
    books = env_over(
        made_up(6, sessions=200), books=1, kind=kind, action=ActionSpace(kind=action), inputs=inputs
    )
    check_env(MarketEnv(books), skip_render_check=True)


def test_gymnasium_can_draw_among_the_valid_actions():
    env = MarketEnv(env_over(made_up(6, sessions=200), books=1, action=ActionSpace(mask=True)))
    _, info = env.reset(seed=0)
    seen = []
    for _ in range(40):
        seen.append(int(info["action_mask"][0]))
        held = env.books.venue.book.qty[0, 0] != 0
        assert info["action_mask"].tolist() == [int(held), 1, 1]
        *_, info = env.step(env.action_space.sample(mask=info["action_mask"]))
    assert set(seen) == {0, 1}


def test_same_seed_gives_the_same_episode():
    def returns(seed: int) -> list[float]:
        env = MarketEnv(env_over(made_up(6, sessions=300), books=1))
        env.reset(seed=seed)
        return [env.step(action)[1] for action in [2, 1, 0, 2, 2, 1, 0, 2] * 4]

    assert returns(3) == returns(3)
    assert returns(3) != returns(4)


def test_vector_form_counts_as_many_transitions_as_its_episodes_are_long():
    env = MarketVectorEnv(env_over(made_up(7, sessions=300), books=5, steps=10))
    assert env.metadata["autoreset_mode"] is gym.vector.AutoresetMode.SAME_STEP
    env.reset(seed=0)
    ends = 0
    for _ in range(40):
        obs, _, ended, cut, info = env.step(np.full(5, 2))
        assert env.observation_space.contains(obs)
        ends += int((ended | cut).sum())
        if cut.any():
            assert info["_final_obs"].all()
            assert not np.array_equal(info["final_obs"]["book"], obs["book"])
    assert ends == 5 * 40 // 10


def test_vector_form_of_one_book_equals_the_single_form():
    bars = made_up(8, sessions=300)
    single = MarketEnv(env_over(bars, books=1))
    many = MarketVectorEnv(env_over(bars, books=1))
    single.reset(seed=5)
    many.reset(seed=5)
    for action in [2, 1, 1, 0, 2, 2, 1, 0] * 3:
        obs, reward, *_ = single.step(action)
        others, rewards, *_ = many.step(np.array([action]))
        assert reward == rewards[0]
        assert np.array_equal(obs["book"], others["book"][0])
