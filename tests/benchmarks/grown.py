"""One backtest of one size in a process of its own; it prints what it cost as JSON. No torch here.

    python -m tests.benchmarks.grown CHECKPOINT SYMBOLS SESSIONS agent|flat

The market is a random walk of so many symbols and sessions, with a warm-up before them. "agent" is
the checkpoint's; "flat" is the same trader with a policy that wants nothing: no network, no order.
"""

import json
import resource
import sys
import time
from pathlib import Path

from engine.policy import Policy
from engine.run.backtest import through_backtrader
from engine.sources import DataSettings, load
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue, VenueSettings
from strategies.baselines import Rule, flat

WARM_UP = 250
CASH_A_SYMBOL = 25_000.0
KIB = 1024


def main() -> None:
    """Run and print: CPU seconds, bytes at the peak above those of the libraries, orders filled."""
    checkpoint, symbols, sessions, kind = sys.argv[1:]
    print(json.dumps(grown(Path(checkpoint), int(symbols), int(sessions), kind)))  # noqa: T201


def grown(checkpoint: Path, symbols: int, sessions: int, kind: str) -> dict[str, float]:
    """Backtest through Backtrader and say what it took."""
    backtest(checkpoint, 2, 5, kind)  # libraries are loaded, and not counted
    before = peak_bytes()
    seconds, orders = backtest(checkpoint, symbols, sessions, kind)
    return {"seconds": seconds, "bytes": peak_bytes() - before, "orders": orders}


def backtest(checkpoint: Path, symbols: int, sessions: int, kind: str) -> tuple[float, int]:
    """Return CPU seconds, the making of the market not counted, and how many orders were filled."""
    made = {"kind": "gbm", "sessions": WARM_UP + sessions, "symbols": symbols, "seed": 1}
    asked = {"source": "synthetic", "calendar": "none", "synthetic": made}
    bars = load(DataSettings.model_validate(asked))
    policy: Policy = StepPolicy.load(checkpoint)
    settings = VenueSettings()
    spec = TraderSpec.of_checkpoint(policy.info, str(checkpoint), settings, 1.0 / symbols)
    policy = policy if kind == "agent" else Rule(flat)
    venue = SimVenue(CASH_A_SYMBOL * symbols, (1, symbols), spec.costs, settings)
    trader = Trader(spec, policy, symbols)
    began = time.process_time()
    found = through_backtrader(bars, trader, venue, WARM_UP, len(bars.sessions) - 1)
    took = time.process_time() - began
    return took, sum(int((row["filled"] != 0).sum()) for row in found.rows)


def peak_bytes() -> int:
    """Return the most memory this program ever held in its process.

    Where Linux tells it: `ru_maxrss` also counts what the process held before it became this program.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * KIB


if __name__ == "__main__":
    main()
