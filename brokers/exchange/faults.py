"""The fault script: which request is spoilt, how, and a record of everything that came in.

Deterministic: a rule counts the requests that match its method and path and strikes at the n-th.
Stream events count as requests with method STREAM and the event's name as path.
"""

import hashlib
import re
import threading
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from engine.clock import Clock
from engine.errors import UsageError

STREAM = "STREAM"
KEPT = 100_000  # requests in the log; the oldest go first

Action = Literal[
    # never reaches the exchange
    "status", "redirect", "hang", "drop", "reset", "hold_until_next",
    # is carried out, and the answer is lost or late
    "delay", "accept_then_hang", "accept_then_status", "accept_then_504", "accept_then_reset",
    # is carried out, and the answer is spoilt
    "slow", "cut", "stale", "empty200", "html200", "truncate", "mutate", "edit",
    # of the stream only
    "close", "duplicate", "reorder", "omit", "mute",
]  # fmt: skip
OF_STREAM = frozenset(
    {"status", "drop", "reset", "hang", "edit", "close", "duplicate", "reorder", "omit", "mute"}
)
STREAM_ONLY = frozenset({"close", "duplicate", "reorder", "omit", "mute"})
UNPROCESSED = frozenset({"status", "redirect", "hang", "drop", "reset", "hold_until_next"})


class Rule(BaseModel, frozen=True, extra="forbid"):
    """One fault: what it strikes, and what it does there."""

    action: Action
    method: str = Field("*", description="GET, POST, ..., STREAM; * = every one but STREAM")
    path: str = Field(".*", description="regular expression of the whole path, without the query")
    nth: int = Field(1, ge=1, description="the first match that is struck, counted from 1")
    times: int = Field(1, ge=0, description="how many are struck in a row; 0 = for ever")
    status: int = Field(504, ge=200, le=599, description="of status and accept_then_status")
    body: Any = Field(None, description="of these: a text or an object; None = Alpaca's words")
    headers: dict[str, str] = Field({}, description="of these: Retry-After, ...")
    seconds: float = Field(60.0, ge=0, description="of delay and of a hang; a leaver ends it")
    bytes_per_s: float = Field(1.0, gt=0, description="of slow")
    to: str = Field("", description="of redirect")
    seed: int = Field(0, ge=0, description="of mutate")
    add: dict[str, Any] = Field({}, description="of edit: dotted key and its new value")
    remove: tuple[str, ...] = Field((), description="of edit: dotted keys that disappear")

    @field_validator("path")
    @classmethod
    def _is_expression(cls, path: str) -> str:
        try:
            re.compile(path)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return path

    def matches(self, method: str, path: str) -> bool:
        """Tell whether a request is one of those this rule counts."""
        mine = self.method == method or (self.method == "*" and method != STREAM)
        return mine and re.fullmatch(self.path, path) is not None

    def strikes(self, count: int) -> bool:
        """Tell whether the count-th match is struck."""
        return count >= self.nth and (not self.times or count < self.nth + self.times)


@dataclass
class Seen:
    """One request as it came in; `status` is None until an answer was ready.

    `body_hash` is the sha256 of the body; no header is kept, so no secret is.
    """

    method: str
    path: str
    query: str
    body: bytes = field(repr=False)
    body_hash: str
    cid: str | None
    at: datetime
    status: int | None = None
    action: str | None = None


Hook = Callable[[Seen], object]
Phase = Literal["before", "after"]


@dataclass
class _Hook:
    method: str
    path: str
    nth: int
    phase: Phase
    call: Hook
    count: int = 0


class Faults:
    """The rules and hooks in force, and the log of every request. Safe from any thread."""

    def __init__(self, rules: tuple[Rule, ...] | list[Rule] = ()) -> None:
        self.log: list[Seen] = []
        self.errors: list[BaseException] = []  # what hooks raised
        self._hooks: list[_Hook] = []
        self._lock = threading.RLock()
        self._rules: list[Rule] = []
        self._counted: list[int] = []
        self.add(*rules)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force, oldest first."""
        return tuple(self._rules)

    @property
    def counts(self) -> Counter[str]:
        """How often each "METHOD path" came in."""
        return Counter(f"{seen.method} {seen.path}" for seen in list(self.log))

    def add(self, *rules: Rule) -> None:
        """Put rules in force; each counts from now on."""
        for rule in rules:
            _require_possible(rule)
        with self._lock:
            self._rules += rules
            self._counted += [0] * len(rules)

    def clear(self) -> None:
        """Take every rule and hook away; the log stays."""
        with self._lock:
            self._rules, self._counted, self._hooks = [], [], []

    def on(self, method: str, path: str, nth: int, phase: Phase, call: Hook) -> None:
        """Run `call(seen)` in the server's thread at the nth request of this method and path.

        `before` is before the exchange sees it, `after` once the exchange has carried it out and
        before the answer leaves. What `call` raises is kept in `errors`, and the answer is 500.
        """
        with self._lock:
            self._hooks.append(_Hook(method, path, nth, phase, call))

    def decide(self, method: str, path: str) -> Rule | None:
        """Count a request and return the first rule that strikes it."""
        struck = None
        with self._lock:
            for i, rule in enumerate(self._rules):
                if rule.matches(method, path):
                    self._counted[i] += 1
                    if struck is None and rule.strikes(self._counted[i]):
                        struck = rule
        return struck

    def note(
        self, method: str, path: str, query: str, body: bytes, cid: str | None, clock: Clock
    ) -> Seen:
        """Write a request down."""
        seen = Seen(method, path, query, body, hashlib.sha256(body).hexdigest(), cid, clock.now())
        self.log.append(seen)
        if len(self.log) > KEPT:  # an exchange may stand for weeks
            del self.log[: KEPT // 10]
        return seen

    def run_hooks(self, phase: Phase, seen: Seen) -> None:
        """Run the hooks that this request sets off. Raises: what a hook raises."""
        with self._lock:
            due = []
            for hook in self._hooks:
                mine = hook.phase == phase and hook.method in (seen.method, "*")
                if mine and re.fullmatch(hook.path, seen.path):
                    hook.count += 1
                    due += [hook] if hook.count == hook.nth else []
        for hook in due:
            try:
                hook.call(seen)
            except BaseException as error:
                self.errors.append(error)
                raise


def load_rules(path: Path) -> list[Rule]:
    """Read a fault script: a TOML file with [[rule]] tables.

    Raises: UsageError naming the file, the rule and what is wrong.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as TOML: {error}") from error
    if set(tree) - {"rule"} or not isinstance(tree.get("rule", []), list):
        raise UsageError(f"{path}: expected [[rule]] tables only, found {', '.join(tree)}")
    return parse_rules(tree.get("rule", []), str(path))


def parse_rules(rows: list[Any], where: str) -> list[Rule]:
    """Turn tables into rules. Raises: UsageError naming the rule and what is wrong with it."""
    rules = []
    for number, row in enumerate(rows, start=1):
        try:
            rule = Rule.model_validate(row)
            _require_possible(rule)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"]) or "rule"
            raise UsageError(f"{where}: rule {number}: {key}: {first['msg']}") from error
        except UsageError as error:
            raise UsageError(f"{where}: rule {number}: {error}") from error
        rules.append(rule)
    return rules


def _require_possible(rule: Rule) -> None:
    of_stream = rule.method == STREAM
    if of_stream and rule.action not in OF_STREAM:
        raise UsageError(
            f"action {rule.action}: not possible on the stream; use {', '.join(sorted(OF_STREAM))}"
        )
    if not of_stream and rule.action in STREAM_ONLY:
        raise UsageError(f'action {rule.action}: of the stream only; set method = "{STREAM}"')
