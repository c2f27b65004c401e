"""The replay: sequences of one episode, with the bars that build their memory, as they were."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.replay import Replay
from engine.errors import SettingsError

BOOKS, SYMBOLS = 2, 3


def tag(bar: int) -> np.ndarray:
    """What the row of a bar looks like: (bar, book, symbol) of each."""
    book, symbol = np.indices((BOOKS, SYMBOLS))
    return np.stack([np.full_like(book, bar), book, symbol], axis=-1).astype(np.float32)


def played(
    lengths: list[int],
    lead: int = 0,
    slots: int = 100,
    fresh: dict[int, np.ndarray] | None = None,
    dead: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]
    memories: tuple[int, ...] = (),
) -> Replay:
    """A replay of episodes of these lengths, every number of it telling where it belongs."""
    replay = Replay(slots, (BOOKS, SYMBOLS, 3, 1), memories)
    for length in lengths:
        rows = [tag(replay.head + at) for at in range(lead)]
        count = np.full((BOOKS, SYMBOLS), lead)
        replay.begin(np.stack(rows) if rows else np.zeros((0, BOOKS, SYMBOLS, 3)), count)
        for step in range(length + 1):
            bar, every = replay.head, np.ones((BOOKS, SYMBOLS), dtype=bool)
            own = (fresh or {}).get(bar, every)
            replay.see(tag(bar), own, tag(bar)[..., :1] / 10, own)
            if step == length:
                break
            ends = np.full(BOOKS, step == length - 1)
            alive = np.array([(bar, book) not in dead for book in range(BOOKS)])
            noted = tuple(np.full((BOOKS, SYMBOLS, m), bar) for m in memories)
            reward = bar + np.arange(BOOKS) / 10
            replay.note(-tag(bar)[..., 0] / 100, reward, ends, alive, noted)
    return replay


def crossing(replay: Replay, starts: np.ndarray, steps: int) -> int:
    """How many of the sequences hold a bar of another episode than their first."""
    bars = starts[:, :1] + np.arange(steps + 1)
    origin = replay.ring["origin"][bars % replay.slots]
    return int((origin != origin[:, :1]).any(axis=1).sum())


def test_every_start_inside_an_episode_is_found_and_no_other() -> None:
    # V12: sequences of 3 from episodes of 3 and 4. In transitions: 0, 3, 4; the final observation of
    # the first episode is bar 3, so in bars: 0, 4, 5.
    replay = played([3, 4])
    found = replay.starts(3, 0)
    assert sorted(set(found[:, 0].tolist())) == [0, 4, 5]
    assert len(found) == 3 * BOOKS
    transition = np.cumsum(replay.ring["noted"]) - 1
    assert transition[[0, 4, 5]].tolist() == [0, 3, 4]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=8),
    st.integers(0, 4),
    st.integers(1, 5),
    st.sampled_from([None, 0, 2, 3]),
    st.integers(12, 60),
)
def test_no_sequence_crosses_an_episode_or_what_was_overwritten(
    lengths: list[int], lead: int, steps: int, depth: int | None, slots: int
) -> None:
    # R28
    replay = played(lengths, lead, slots)
    starts = replay.starts(steps, depth)
    assert crossing(replay, starts, steps) == 0
    if not len(starts):
        return
    batch = replay.sample(starts, steps, depth)
    bar = torch.from_numpy(np.repeat(starts[:, 0], SYMBOLS)).float()
    assert torch.equal(batch.rows[:, :, 0], bar + torch.arange(steps + 1)[:, None])
    for column, count in enumerate(batch.count.tolist()):  # the bars right before, oldest first
        expected = bar[column] - count + torch.arange(count)
        assert torch.equal(batch.before[:count, column, 0], expected)
        assert depth is None or count <= depth
    assert not batch.terminated[:-1].any()  # here every episode ends with its last step


def test_starts_that_know_no_episodes_are_caught() -> None:
    # the planted bug: any bar with an action may begin a sequence
    replay = played([3, 4])
    bars = np.flatnonzero(replay.ring["noted"][: replay.head - 3])
    assert crossing(replay, np.stack([bars, np.zeros_like(bars)], axis=1), 3) > 0


def test_a_sample_holds_what_was_seen_done_and_earned_in_its_own_row() -> None:
    # R29: action and reward of a bar stand beside its observation, not the next one's.
    replay = played([6, 6], lead=2, slots=40)
    batch = replay.sample(np.array([[3, 1], [12, 0]]), 3, 2)
    bars = torch.tensor([[3, 12], [4, 13], [5, 14]], dtype=torch.float32)
    assert torch.equal(batch.reward, bars + torch.tensor([0.1, 0.0]))
    assert torch.equal(batch.action[:3], -bars.repeat_interleave(SYMBOLS, 1) / 100)
    assert torch.equal(batch.book[:3, :, 0], bars.repeat_interleave(SYMBOLS, 1) / 10)
    assert torch.equal(batch.rows[:3, :, 0], bars.repeat_interleave(SYMBOLS, 1))
    assert batch.rows[0, :, 1].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch.rows[0, :, 2].tolist() == [0, 1, 2, 0, 1, 2]
    late = batch.reward.roll(1, 0)  # the planted bug: the reward of the step before
    assert not torch.equal(late, bars + torch.tensor([0.1, 0.0]))


def test_bars_without_a_row_are_skipped_by_memory_before_and_inside_a_sequence() -> None:
    one = np.ones((BOOKS, SYMBOLS), dtype=bool)
    gap = one.copy()
    gap[0, 1] = False
    replay = played([8], fresh={2: gap, 5: gap})
    assert replay.gaps
    batch = replay.sample(np.array([[4, 0]]), 3, None)
    assert batch.count.tolist() == [4, 3, 4]
    assert batch.before[:3, 1, 0].tolist() == [0, 1, 3]
    assert batch.seen is not None
    assert batch.seen.T.tolist() == [[1, 2, 3, 4], [1, 1, 2, 3], [1, 2, 3, 4]]
    assert batch.rows[:3, 1, 0].tolist() == [4, 6, 7]
    assert batch.ready[:, 1].tolist() == [True, False, True, True]


def test_a_short_history_stands_right_before_the_first_bar() -> None:
    # Symbol 2 has one burn-in row where the others have three.
    replay = Replay(20, (1, 3, 1, 0))
    rows = np.arange(9, dtype=np.float32).reshape(3, 1, 3, 1)
    replay.begin(rows, np.array([[3, 3, 1]]))
    every = np.ones((1, 3), dtype=bool)
    for _ in range(2):
        replay.see(np.full((1, 3, 1), 99.0), every, np.zeros((1, 3, 0)), every)
        replay.note(np.zeros((1, 3)), np.zeros(1), np.zeros(1, bool), np.ones(1, bool))
    assert not replay.gaps
    for depth, counts in ((None, [3, 3, 1]), (2, [2, 2, 1])):
        batch = replay.sample(np.array([[3, 0]]), 1, depth)
        assert batch.count.tolist() == counts
        assert batch.before[0, 2, 0] == 2.0  # the oldest row of symbol 2 is its only one
        assert batch.before[counts[0] - 1, 0, 0] == 6.0


def test_a_ruined_book_begins_no_sequence_and_its_steps_are_marked() -> None:
    replay = played([6], dead={(bar, 1) for bar in range(3, 6)})
    assert (replay.starts(2, 0)[:, 0] >= 3).sum() == 2  # bars 3 and 4 of the other book
    assert not (replay.starts(2, 0) == (3, 1)).all(axis=1).any()
    assert replay.sample(np.array([[2, 1]]), 2, 0).alive[:, 0].tolist() == [True, False]
    assert replay.steps == 6 + 3


def test_memory_noted_is_that_before_the_first_burn_in_bar() -> None:
    replay = played([8], memories=(2, 4))
    batch = replay.sample(np.array([[5, 0], [1, 1]]), 2, 3)
    assert [tuple(memory.shape) for memory in batch.memory] == [(6, 2), (6, 4)]
    assert batch.memory[0][:, 0].tolist() == [2, 2, 2, 0, 0, 0]
    assert batch.count.tolist() == [3, 3, 3, 1, 1, 1]


def test_restored_replay_gives_the_same_samples_and_goes_on_alike() -> None:
    replay, other = played([5, 7, 6], lead=2, slots=20), Replay(20, (BOOKS, SYMBOLS, 3, 1))
    other.restore(replay.state())
    for part in (replay, other):
        every = np.ones((BOOKS, SYMBOLS), dtype=bool)
        part.see(tag(99), every, tag(99)[..., :1], every)
    starts = replay.starts(3, 2)
    assert np.array_equal(starts, other.starts(3, 2))
    left, right = replay.sample(starts, 3, 2), other.sample(starts, 3, 2)
    fields: list[Any] = ["before", "count", "rows", "book", "action", "ready", "reward", "alive"]
    assert all(torch.equal(getattr(left, name), getattr(right, name)) for name in fields)


def test_a_replay_of_another_size_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"expected rows of shape \(9, 2, 3, 4\)"):
        Replay(20, (BOOKS, SYMBOLS, 4, 1)).restore(played([8]).state())
