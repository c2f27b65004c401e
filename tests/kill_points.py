"""The moments of a paper look at which a process can be killed, reached from outside the product.

Each is named after the boundary it follows: B0 lock, B1 preflight, B2 reconciled, B3 bars accepted,
B4 decision, B5 intents, B6 acknowledged, B7 fills, B8 session closed.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import event

from brokers.alpaca.records import TERMINAL
from engine.journal import Journal
from engine.run.paper import cycle, decide, look, rebuild

POSTED = "POST accepted, answer unread"  # the exchange kills there
POINTS = (
    "after B0", "after B1", "after B2", "after B3", "inside B4", "after B4", "after B5", POSTED,
    "after B6", "after a partial B7", "after the last B7", "after B8",
)  # fmt: skip
UNWRITTEN = "filled, before B7"  # one more: the venue has filled, the journal does not know

PROVING, BEFORE, INSIDE, AFTER, REBUILT = CHANGES = (  # the points of a change of agents
    "the new memory is being proven", "before the change", "inside the change", "after the change",
    "the memory is rebuilt",
)  # fmt: skip


class Points:
    """Counts the points that are reached and kills this very process at the chosen one."""

    def __init__(self, point: str | None = None, nth: int = 1) -> None:
        self.point, self.nth = point, nth
        self.counts: Counter[str] = Counter()

    def reached(self, name: str) -> None:
        """Count a point; nothing after it happens where it is the chosen one."""
        self.counts[name] += 1
        if name == self.point and self.counts[name] == self.nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Wrap the steps of a look; for a process that ends soon."""
        held = cycle.held

        @contextmanager
        def locked(path: Path) -> Iterator[None]:
            with held(path):
                self.reached("after B0")
                yield

        cycle.held = locked
        self._after("preflight", "after B1")
        self._after("reconcile", "after B2")
        self._after("fetch_bars", "after B3")
        self._after("_by_live_windows", PROVING, rebuild)
        self._after("require_proven", REBUILT, decide)
        self._arm_commits()

    def _after(self, step: str, point: str, module: ModuleType = look) -> None:
        real: Callable[..., Any] = getattr(module, step)

        def stepped(*args: Any) -> Any:
            found = real(*args)
            self.reached(point)
            return found

        setattr(module, step, stepped)

    def _arm_commits(self) -> None:
        real = Journal.commit

        def commit(journal: Journal) -> None:
            rows = [(row["kind"], json.loads(row["body"])) for row in journal._waiting]
            kinds = {kind for kind, _ in rows}
            if "promoted" in kinds:
                self.reached(BEFORE)
            for kind, inside in (("decision", "inside B4"), ("promoted", INSIDE)):
                if kind in kinds:
                    reached = partial(lambda point, _: self.reached(point), inside)
                    event.listen(journal._engine, "commit", reached, once=True)
            if "fill" in kinds:
                self.reached(UNWRITTEN)
            real(journal)
            for point in _passed(journal, rows):
                self.reached(point)

        Journal.commit = commit  # type: ignore[method-assign]


def _passed(journal: Journal, rows: list[tuple[str, dict[str, Any]]]) -> list[str]:
    # Which boundaries lie behind us now that these rows are durable.
    kinds = {kind for kind, _ in rows}
    simple = {"decision": "after B4", "intent": "after B5", "closed": "after B8", "promoted": AFTER}
    passed = [point for kind, point in simple.items() if kind in kinds]
    news = [body["cid"] for kind, body in rows if kind == "order"]
    if not news:
        return passed
    told: dict[str, list[dict[str, Any]]] = {}
    for entry in journal.entries("order"):
        told.setdefault(entry.body["cid"], []).append(entry.body)
    if any(len(told[cid]) == 1 for cid in news):
        passed.append("after B6")
    live = [bodies[-1] for bodies in told.values() if bodies[-1]["status"] not in TERMINAL]
    if "fill" in kinds and any(body["filled"] for body in live):
        passed.append("after a partial B7")
    if not live and any(told[cid][-1]["filled"] for cid in news):
        passed.append("after the last B7")
    return passed
