"""What a rollout is, and how its sequences are scored again with gradients for the update.

Shape letters: S steps, B books, N symbols a book, R = B x N rows, I inputs of the LSTM, P book inputs.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.networks import ActorCritic, advance, outputs
from agents.policy import action_of, score
from engine.policy import ActionSpace


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive bars of one episode, as the trunk sees them.

    Shapes: rows (L, R, I) gap-free; seen (S, R) = rows each bar can look back on, None without
    gaps; memory (R, M) before the first row, without gradient; `past` what that memory was built
    from, rows (L', R, I) and how many of them (R,), None where it came from stepping;
    mask (R, D) of what dropout dropped in these bars, None without dropout.
    """

    rows: Tensor
    seen: Tensor | None
    memory: Tensor
    past: tuple[Tensor, Tensor] | None = None
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """What was seen, done and earned in S steps of B books of N symbols; R = B x N rows.

    Shapes: book (S, R, P), raw action and ready (S, R) tensors, and valid actions (S, R, A), None =
    all of them; the rest (S, B) arrays. `value` of the state a step began in, `after` of the one it
    led to; `alive`: not ruined before the step; `acts`: alive, and some symbol was ready, so the
    action counted. Units: scaled reward.
    """

    segments: tuple[Segment, ...]
    book: Tensor
    raw: Tensor
    ready: Tensor
    log_prob: np.ndarray
    reward: np.ndarray
    value: np.ndarray
    after: np.ndarray
    terminated: np.ndarray
    ended: np.ndarray
    alive: np.ndarray
    acts: np.ndarray
    valid: Tensor | None = None

    @property
    def books(self) -> int:
        """B."""
        return int(self.reward.shape[1])


def evaluate(
    net: ActorCritic,
    space: ActionSpace,
    rollout: Rollout,
    books: Tensor,
    bptt_steps: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-probability, entropy and value of some books' sequences, with gradients.

    Shapes: books (b,) indices; results (S, b). `bptt_steps`: bars that gradients reach back, counted
    from the start of each segment; None = to that start. It changes gradients and no result.
    A book's log-probability is the sum over its ready symbols, its value the mean over all of them:
    one action and one value a book.
    """
    symbols = rollout.raw.shape[1] // rollout.books
    rows = books.to(rollout.raw.device)
    if symbols > 1:
        rows = (rows[:, None] * symbols + torch.arange(symbols, device=rows.device)).flatten()
    outs = [_outputs(net, segment, rows, bptt_steps) for segment in rollout.segments]
    out = outs[0] if len(outs) == 1 else torch.cat(outs)
    head, value = net.heads(out, rollout.book[:, rows])
    valid = None if rollout.valid is None else rollout.valid[:, rows]
    log_prob, entropy = score(head, rollout.raw[:, rows], net.log_std, space, valid)
    ready = rollout.ready[:, rows]
    if not bool(ready.all()):
        log_prob, entropy = (torch.where(ready, x, 0.0) for x in (log_prob, entropy))
    if symbols == 1:
        return log_prob, entropy, value
    shape = (len(out), len(books), symbols)
    return (
        log_prob.reshape(shape).sum(-1),
        entropy.reshape(shape).sum(-1),
        value.reshape(shape).mean(-1),
    )


def _outputs(net: ActorCritic, segment: Segment, rows: Tensor, bptt_steps: int | None) -> Tensor:
    seen = None if segment.seen is None else segment.seen[:, rows]
    mask = None if segment.mask is None else segment.mask[rows]
    return outputs(net, segment.rows[:, rows], seen, segment.memory[rows], mask, bptt_steps)


@torch.no_grad()
def refreshed(net: ActorCritic, rollout: Rollout) -> tuple[Rollout, dict[str, float]]:
    """Return the rollout with the memories that the weights of now would have begun it with.

    Beside it, how stale the stored ones were: `memory_drift` |stored - new| / |new| (L2 over the
    numbers of a row) and `memory_cosine` between the two, means over the rows that remember something.
    Source: Kapturowski et al., R2D2, ICLR 2019, sec. 3.
    """
    segments, drift, cosine = [], [], []
    for segment in rollout.segments:
        if segment.past is not None:
            memory = advance(net, *segment.past, net.start(segment.memory.shape[0]))
            kept = memory.abs().amax(-1) > 0
            old, new = segment.memory[kept], memory[kept]
            drift.append((old - new).norm(dim=-1) / new.norm(dim=-1))
            cosine.append(torch.cosine_similarity(old, new, dim=-1))
            segment = replace(segment, memory=memory)
        segments.append(segment)
    watched = {}
    if drift and len(torch.cat(drift)):
        watched["memory_drift"] = torch.cat(drift).mean().item()
        watched["memory_cosine"] = torch.cat(cosine).mean().item()
    return replace(rollout, segments=tuple(segments)), watched


def mix(rollout: Rollout, space: ActionSpace) -> dict[str, Any]:
    """Return steps played, mean reward, and what was done where a symbol was ready."""
    paid = float(rollout.reward[rollout.alive].mean())
    row: dict[str, Any] = {"steps": rollout.reward.size, "reward": paid}
    raw = rollout.raw[rollout.ready]
    if space.kind == "continuous":
        return {**row, "action_mean": float(action_of(raw.cpu().numpy(), space).mean())}
    shares = torch.bincount(raw, minlength=space.width) / max(len(raw), 1)
    return {**row, **dict(zip(space.names, shares.tolist(), strict=True))}


def join(parts: list[Rollout]) -> Rollout:
    """Put rollouts of the same books end to end; their segments stay apart."""

    def cat(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        if found[0] is None:
            return None
        return torch.cat(found) if isinstance(found[0], Tensor) else np.concatenate(found)

    names = [name for name in Rollout.__dataclass_fields__ if name != "segments"]
    segments = tuple(segment for part in parts for segment in part.segments)
    return Rollout(segments=segments, **{name: cat(name) for name in names})
