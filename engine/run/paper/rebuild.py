"""The memory of an agent that begins: from bars alone, and proven before anybody decides with it.

It is built as every backtest builds it, by a burn-in over the bars up to the last decision. The proof
is that the live windows, pushed session by session, come to the same memory, bit for bit; its hash
is kept, so that any restart can tell whether it stands where the account stood.
"""

import hashlib
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.errors import CheckpointError
from engine.observation import market_part
from engine.policy import Policy
from engine.run.paper.state import State
from engine.trader import Trader, TraderSpec

Proof = dict[str, Any]


def parts(state: State, kept: Bars) -> tuple[Bars, Bars]:
    """Return the bars behind the last decision, and those not decided on yet."""
    after = kept.sessions[-2] if state.decided is None else np.datetime64(state.decided)
    return kept.between(None, after), kept.between(after + 1, None)


def prove(spec: TraderSpec, policy: Policy, history: Bars) -> tuple[Trader, Proof]:
    """Return a trader with a memory of its own and the proof of it.

    Raises: CheckpointError where live windows come to another memory.
    """
    trader = Trader(spec, policy, len(history.symbols))
    trader.prime(history)
    again = _by_live_windows(spec, policy, history)
    if _hash(again) != _hash(trader):
        raise CheckpointError(
            f"expected the memory {_hash(trader)[:12]} of the burn-in up to {history.sessions[-1]}, "
            f"found {_hash(again)[:12]} by live windows; report this: a feature is not the same live "
            "as in a backtest"
        )
    return trader, proof_of(trader, history)


def proof_of(trader: Trader, history: Bars) -> Proof:
    """Return what a rebuilt memory must come to again, and from which bars."""
    through = str(history.sessions[-1]) if len(history.sessions) else ""
    return {"through": through, "bars": history.digest(), "memory": _hash(trader)}


def require_proven(state: State, trader: Trader, history: Bars) -> None:
    """Refuse a memory that is not the one an account's agent was taken up with.

    Raises: CheckpointError with both.
    """
    found, known = proof_of(trader, history), state.proof
    if known is None or known["through"] != found["through"]:
        return  # begun by hand, or not decided since with bars that have gone on
    if found != known:
        raise CheckpointError(
            f"expected the memory {known['memory'][:12]} that agent {str(state.checkpoint)[:12]} was "
            f"taken up with, found {found['memory'][:12]} by a burn-in over the same sessions; "
            "nothing was decided: report this, then resume with --new-checkpoint to begin anew"
        )


def _by_live_windows(spec: TraderSpec, policy: Policy, history: Bars) -> Trader:
    trader = Trader(spec, policy, len(history.symbols))
    rows, fresh = [], []
    for t, session in enumerate(history.sessions):
        row, ready = trader.stream.push(
            session,
            history.ohlcv[t],
            history.traded[t],
            history.split[t],
            history.dividend[t],
        )
        rows.append(row)
        fresh.append(ready)
    if rows:
        market = market_part(np.stack(rows), spec.scaler)
        trader.burn_in(market[:, None], np.stack(fresh)[:, None])
    return trader


def _hash(trader: Trader) -> str:
    state = trader.snapshot()
    return hashlib.sha256(state["memory"].tobytes() + state["warm"].tobytes()).hexdigest()
