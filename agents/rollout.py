"""Rollouts: play S steps with B books.

Where the LSTM sees bars alone its memory is built from the bars behind it with the weights of now, and
its outputs over a whole stretch come from one call; only the heads are stepped. Where it sees the book
(`network.book_input = "lstm"`) everything is stepped and the memory is kept from rollout to rollout.
A rollout is cut into segments where all books start a new episode, so every call is exact.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.env import BookEnv
from agents.networks import ActorCritic, advance, outputs
from agents.policy import action_of, draw
from agents.rewards import Rewards
from agents.sequences import Rollout, Segment, join
from engine.observation import Observation
from engine.policy import decode
from engine.settings_reward import RewardSettings


class Collector:
    """Plays a vectorised environment with the network of now; episodes go on between rollouts."""

    def __init__(
        self,
        env: BookEnv,
        net: ActorCritic,
        reward: RewardSettings,
        generator: np.random.Generator,
    ) -> None:
        self.env, self.net, self.generator = env, net, generator
        self.rewards = Rewards(reward, env.plan.books)
        self.space, self.shorts = env.spec.action, env.spec.limits.allow_short
        self.device = next(net.parameters()).device
        self.begin_episode()

    @torch.no_grad()
    def collect(self, steps: int) -> Rollout:
        """Play `steps` bars with every book."""
        parts: list[Rollout] = []
        while steps:
            take = min(steps, self.left())
            parts.append(self._play(take))
            steps -= take
            if not self.left():
                self.begin_episode()
        return parts[0] if len(parts) == 1 else join(parts)

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on bit for bit, as arrays and plain values."""
        own = {"alive": self.alive.copy(), "memory": self.memory.cpu().numpy().copy()}
        return {"env": self.env.snapshot(), "rewards": self.rewards.state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.env.restore(state["env"])
        self.rewards.restore(state["rewards"])
        self.alive = state["alive"].copy()
        self.memory = self._tensor(state["memory"])
        self.obs = self._look_again()

    def begin_episode(self) -> None:
        """Start a new episode with every book."""
        self.env.reset()
        self.alive = np.ones(self.env.plan.books, dtype=bool)
        self.rewards.begin(self.env.venue.book.equity())
        self.obs = self.env.observe()
        books, symbols, _, _ = self.env.shape
        self.memory = self.net.start(books * symbols)
        if self.net.book_in_lstm:
            self.memory = self.recall()

    def left(self) -> int:
        """Return the steps left in the episode."""
        env = self.env
        return int(min(env.plan.episode_steps - env.steps.max(), (env.last - env.at).min()))

    @torch.no_grad()
    def recall(self) -> Tensor:
        """Return the memory (R, M) before the current bar, from the bars alone.

        From zero, over the burn-in rows before the episode and the rows of the episode so far, with
        the weights of now: what a deployed agent would remember here.
        """
        rows, count = self.past()
        return advance(self.net, rows, count, self.net.start(rows.shape[1]))

    def past(self) -> tuple[Tensor, Tensor]:
        """Return what that memory is built from: rows (L, R, I), and how many of them, (R,)."""
        env, panel = self.env, self.env.panel
        end = panel.rank[env.at[:, None], env.symbol]
        began = panel.rank[(env.at - env.steps)[:, None], env.symbol]
        start = np.maximum(began - env.spec.burn_in, 0)
        span = start + np.arange(int((end - start).max()))[:, None, None]
        market = panel.compact[env.symbol, np.minimum(span, panel.compact.shape[1] - 1)]
        rows = self._rows(market)
        if self.net.book_in_lstm:
            # In a burn-in the book is flat, as it is on the first bar of an episode.
            book = np.repeat(self.obs.book[None], len(market), axis=0)
            rows = self.net.join(rows, self._rows(book))
        return rows, self._tensor((end - start).reshape(-1))

    def _play(self, steps: int) -> Rollout:
        walk = _Stepwise(self) if self.net.book_in_lstm else _Ahead(self, steps)
        log: list[dict[str, np.ndarray]] = []
        books = []
        for step in range(steps):
            books.append(self._rows(self.obs.book))
            log.append(self._act(walk.head(step, books[-1])))
        books.append(self._rows(self.obs.book))
        book = torch.stack(books)
        value = walk.values(book).cpu().numpy()
        value = value.reshape(steps + 1, self.env.plan.books, -1).mean(-1).astype(np.float64)
        fields = {name: np.stack([row[name] for row in log]) for name in log[0]}
        fields["ended"][-1] |= not self.left()
        return Rollout(
            segments=(walk.segment(steps),),
            book=book[:-1],
            raw=self._tensor(fields.pop("raw")),
            ready=self._tensor(fields.pop("ready")),
            valid=self._tensor(fields.pop("valid")) if "valid" in fields else None,
            value=value[:-1],
            after=value[1:],
            **fields,
        )

    def _act(self, policy: Tensor) -> dict[str, np.ndarray]:
        # One bar: sample, and do it.
        books, ready = self.env.plan.books, self.ready.reshape(-1)
        head = policy.cpu().numpy()
        log_std = 0.0 if self.net.log_std is None else float(self.net.log_std)
        masks = {} if self.obs.valid is None else {"valid": self.obs.valid.reshape(head.shape)}
        raw, log_prob = draw(head, log_std, self.space, self.generator, **masks)
        action = action_of(raw, self.space).reshape(books, -1)
        return {
            **masks,
            "raw": raw,
            "ready": ready,
            "log_prob": np.where(ready, log_prob, 0.0).reshape(books, -1).sum(-1),
            **self.step(action),
        }

    def draw_mask(self) -> Tensor | None:
        """Return what dropout drops in the coming stretch; the memory before it was built without."""
        return self.net.draw_mask(self.env.plan.books * self.env.symbols, self.generator)

    @property
    def ready(self) -> np.ndarray:
        """Whose action counts on the current bar, (B, N): a bar of its own, and a memory burnt in."""
        return np.asarray(self.obs.fresh & (self.env.trader.warm > self.env.spec.burn_in))

    def step(self, action: np.ndarray) -> dict[str, np.ndarray]:
        """Do the actions (B, N) of one bar, look at the next one; return what came of it, (B,) each."""
        env, ready = self.env, self.ready
        result = env.step(self.obs, decode(action, self.space, self.shorts))
        paid = self.rewards.of_step(env, result)
        was_alive = self.alive
        self.alive = was_alive & ~result.terminated
        self.obs = env.observe()
        return {
            "reward": np.where(was_alive, paid, 0.0),
            "terminated": result.terminated,
            "ended": result.terminated.copy(),
            "alive": was_alive,
            "acts": was_alive & ready.any(-1),
        }

    def _look_again(self) -> Observation:
        # The bar was counted when it was first seen; seeing it again must not count it twice.
        warm = self.env.trader.warm.copy()
        obs = self.env.observe()
        self.env.trader.warm = warm
        return obs

    def _rows(self, x: np.ndarray) -> Tensor:
        # (..., B, N, W) to (..., R, W)
        return self._tensor(x.reshape(*x.shape[:-3], x.shape[-3] * x.shape[-2], x.shape[-1]))

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.device)


class _Ahead:
    # Memory depends on bars alone: all outputs of a stretch in one call.
    def __init__(self, owner: Collector, steps: int) -> None:
        rows, index, fresh = owner.env.sequence(steps + 1)
        seen = np.maximum.accumulate(np.where(fresh, index + 1, 0), axis=0)
        self.rows = owner._rows(rows)
        self.seen = owner._tensor(seen.reshape(steps + 1, -1))
        self.dense = bool(fresh.all())
        self.past = owner.past()
        self.memory = advance(owner.net, *self.past, owner.net.start(self.rows.shape[1]))
        self.mask = owner.draw_mask()
        seen_rows = None if self.dense else self.seen
        outs = outputs(owner.net, self.rows, seen_rows, self.memory, self.mask)
        self.policy, self.value = owner.net.ahead(outs)

    def head(self, step: int, book: Tensor) -> Tensor:
        return self.policy.at(step, book)

    def values(self, book: Tensor) -> Tensor:
        return self.value.all(book)

    def segment(self, steps: int) -> Segment:
        if self.dense:
            return Segment(self.rows[:steps], None, self.memory, self.past, self.mask)
        seen = self.seen[:steps]
        rows = self.rows[: max(int(seen.max()), 1)]
        return Segment(rows, seen, self.memory, self.past, self.mask)


class _Stepwise:
    # The LSTM sees the book: one step a bar; the owner's memory moves on fresh bars only.
    def __init__(self, owner: Collector) -> None:
        self.owner, self.memory = owner, owner.memory
        self.mask = owner.draw_mask()
        self.inputs: list[Tensor] = []
        self.fresh: list[Tensor] = []
        self.outs: list[Tensor] = []

    def head(self, step: int, book: Tensor) -> Tensor:
        self.outs.append(self._out(self.owner.obs))
        return self.owner.net.policy(self.outs[-1], book)

    def values(self, book: Tensor) -> Tensor:
        # The last bar is looked at for its value only: the next rollout steps it, or an episode ends.
        kept = self.owner.memory
        outs = [*self.outs, self._out(self.owner.obs)]
        self.owner.memory = kept
        return self.owner.net.value(torch.stack(outs), book)

    def _out(self, obs: Observation) -> Tensor:
        owner = self.owner
        row = owner.net.join(owner._rows(obs.market), owner._rows(obs.book))
        fresh = owner._tensor(obs.fresh.reshape(-1, 1))
        self.inputs.append(row)
        self.fresh.append(fresh[:, 0])
        with owner.net.lowered():
            out, moved = owner.net.trunk(row[None], owner.memory, self.mask)
        if bool(fresh.all()):
            owner.memory = moved
            return out[0]
        held = owner.net.held(owner.memory, self.mask)
        owner.memory = torch.where(fresh, moved, owner.memory)
        return torch.where(fresh, out[0], held)

    def segment(self, steps: int) -> Segment:
        rows, fresh = torch.stack(self.inputs[:steps]), torch.stack(self.fresh[:steps])
        if bool(fresh.all()):
            return Segment(rows, None, self.memory, mask=self.mask)
        order = torch.argsort((~fresh).int(), dim=0, stable=True)  # fresh rows first, in time
        gap_free = rows.gather(0, order[..., None].expand_as(rows))
        return Segment(gap_free, fresh.long().cumsum(0), self.memory, mask=self.mask)
