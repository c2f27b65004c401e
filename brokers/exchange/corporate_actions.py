"""GET /v1/corporate-actions: splits and cash dividends, as the bars hold them.

Only the day an action takes effect is known, so every date that must be sent is that day. Actions
are told from that day on, in New York: nothing is announced. CUSIPs are not known and sent empty.
"""

import uuid
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

import numpy as np
from starlette.routing import Route

from brokers.exchange.answers import Ask, endpoint
from brokers.exchange.exchange import Exchange
from brokers.exchange.paging import limit_of, next_token, refuse, rising, token_of
from brokers.exchange.wire import new_york_date
from engine.bars import Bars

TYPES = (
    "reverse_split", "forward_split", "unit_split", "cash_dividend", "stock_dividend", "spin_off",
    "cash_merger", "stock_merger", "stock_and_cash_merger", "redemption", "name_change",
    "worthless_removal", "rights_distribution", "partial_call", "reorganization",
)  # fmt: skip
FILTERS = ("symbols", "types", "start", "end")
Wire = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class _Action:
    on: date
    symbol: str
    kind: str
    value: float  # new shares per old; dollars per share

    @property
    def key(self) -> list[str]:
        return [str(self.on), self.symbol, self.kind]

    @property
    def id(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(self.key)))


def corporate_action_routes(exchange: Exchange) -> list[Route]:
    """Return the route of the corporate actions API."""

    def call(ask: Ask) -> Wire:
        return corporate_actions(exchange, ask)

    return [Route("/v1/corporate-actions", endpoint(exchange, call), methods=["GET"])]


def corporate_actions(exchange: Exchange, ask: Ask) -> Wire:
    """Answer a page of actions, grouped by type."""
    query = ask.query
    limit, after, up = limit_of(query, 100, 1000), token_of(query, 3), rising(query)
    today = new_york_date(exchange.clock.now())
    told = [x for x in _wanted(exchange.bars, query, today) if x.on <= today]
    told.sort(key=lambda action: action.key, reverse=not up)
    if after is not None:
        told = [x for x in told if (x.key > after if up else x.key < after)]
    groups: Wire = {}
    for action in told[:limit]:
        groups.setdefault(f"{action.kind}s", []).append(_wire(action))
    token = next_token(*told[limit - 1].key) if len(told) > limit else None
    return {"corporate_actions": groups, "next_page_token": token}


def _wanted(bars: Bars, query: dict[str, str], today: date) -> list[_Action]:
    every = _actions(bars)
    if query.get("ids"):
        if any(query.get(name) for name in FILTERS):
            raise refuse("ids cannot be combined with other filters")
        ids = set(query["ids"].split(","))
        return [x for x in every if x.id in ids]
    kinds = query["types"].split(",") if query.get("types") else list(TYPES)
    unknown = [kind for kind in kinds if kind not in TYPES]
    if unknown:
        raise refuse(f"invalid type: {unknown[0]}")
    first, last = _day("start", query, today), _day("end", query, today)
    names = query.get("symbols", "").upper().split(",") if query.get("symbols") else bars.symbols
    return [x for x in every if first <= x.on <= last and x.kind in kinds and x.symbol in names]


def _actions(bars: Bars) -> list[_Action]:
    found = []
    for t, n in zip(*np.nonzero(bars.split != 1.0), strict=True):
        ratio = float(bars.split[t, n])
        kind = "forward_split" if ratio > 1.0 else "reverse_split"
        found.append(_Action(bars.sessions[t].item(), bars.symbols[n], kind, ratio))
    for t, n in zip(*np.nonzero(bars.dividend), strict=True):
        rate = float(bars.dividend[t, n])
        found.append(_Action(bars.sessions[t].item(), bars.symbols[n], "cash_dividend", rate))
    return found


def _day(name: str, query: dict[str, str], default: date) -> date:
    text = query.get(name)
    if not text:
        return default
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise refuse(f"invalid {name}: {text}; expected YYYY-MM-DD") from None


def _wire(action: _Action) -> Wire:
    day = str(action.on)
    same = {"id": action.id, "symbol": action.symbol, "process_date": day, "ex_date": day}
    if action.kind == "cash_dividend":
        return {**same, "cusip": "", "rate": action.value, "special": False, "foreign": False}
    new, old = rates(action.value)
    both = {**same, "new_rate": new, "old_rate": old}
    if action.kind == "forward_split":
        return {**both, "cusip": ""}
    return {**both, "old_cusip": "", "new_cusip": ""}


def rates(ratio: float) -> tuple[float, float]:
    """Return new and old rate of a split, small whole numbers where they give the same ratio."""
    near = Fraction(ratio).limit_denominator(1000)
    if near and near.numerator / near.denominator == ratio:
        return float(near.numerator), float(near.denominator)
    return ratio, 1.0
