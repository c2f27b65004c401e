"""Lists with filters and pages: orders, activities, the account's past."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from brokers.exchange.orders import Order
from brokers.exchange.refusals import parameter
from brokers.exchange.state import State
from brokers.exchange.trading import find
from brokers.exchange.wire import new_york_date, read_count, read_date, read_moment

Wire = dict[str, Any]
Query = dict[str, str]
LONGEST = 36_500  # days of history that anybody may ask for
LAST = date.max.toordinal()


def list_orders(state: State, query: Query) -> list[Wire]:
    """List orders by the filters of GET /v2/orders; newest first unless asked. Raises: Refusal."""
    status, direction = query.get("status") or "open", query.get("direction") or "desc"
    if status not in ("open", "closed", "all"):
        raise parameter("status must be open, closed or all")
    limit = read_count("limit", query.get("limit"), 50, 500)
    orders = list((state.live if status == "open" else state.orders).values())
    first, last = _window(state, orders, query)
    found: Iterable[Order] = orders[first:last]
    if not _rising(direction):
        found = reversed(orders[first:last])
    symbols = {s for s in (query.get("symbols") or "").split(",") if s}
    side = query.get("side")
    page = []
    for order in found:
        if status == "closed" and not order.over:
            continue
        if (symbols and order.symbol not in symbols) or (side and order.side != side):
            continue
        page.append(order.wire())
        if len(page) == limit:
            break
    return page


def _window(state: State, orders: list[Order], query: Query) -> tuple[int, int]:
    # `after`, `until` and the two ids are all exclusive, and orders lie in order of their times.
    first, last = 0, len(orders)
    if query.get("after"):
        first = _after(orders, read_moment("after", query["after"]))
    if query.get("until"):
        last = _before(orders, read_moment("until", query["until"]))
    if query.get("after_order_id"):
        first = max(first, _after(orders, find(state, query["after_order_id"]).submitted_at))
    if query.get("before_order_id"):
        last = min(last, _before(orders, find(state, query["before_order_id"]).submitted_at))
    return first, last


def _after(orders: list[Order], at: datetime) -> int:
    return bisect_right(orders, at, key=lambda order: order.submitted_at)


def _before(orders: list[Order], at: datetime) -> int:
    return bisect_left(orders, at, key=lambda order: order.submitted_at)


def _rising(direction: str) -> bool:
    if direction not in ("asc", "desc"):
        raise parameter("direction must be asc or desc")
    return direction == "asc"


def list_activities(state: State, query: Query, kinds: str = "") -> list[Wire]:
    """List activities by the filters of GET /v2/account/activities. Raises: Refusal."""
    wanted = {k.strip().upper() for k in (kinds or query.get("activity_types") or "").split(",")}
    size = read_count("page_size", query.get("page_size"), 100, 100)
    found = [line for line in state.activities if wanted == {""} or line["activity_type"] in wanted]
    if query.get("date"):
        day = read_date("date", query["date"])
        found = [line for line in found if new_york_date(_happened(line)) == day]
    if query.get("after"):
        after = read_moment("after", query["after"])
        found = [line for line in found if _happened(line) > after]
    if query.get("until"):
        until = read_moment("until", query["until"])
        found = [line for line in found if _happened(line) < until]
    if not _rising(query.get("direction") or "desc"):
        found.reverse()
    token = query.get("page_token")
    if token:
        ids = [line["id"] for line in found]
        if token not in ids:
            raise parameter("page_token is not the id of an activity of this list")
        found = found[ids.index(token) + 1 :]
    return found[:size]


def _happened(line: Wire) -> datetime:
    return datetime.strptime(line["id"][:17] + "000", "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)


def portfolio_history(state: State, query: Query, now: datetime) -> Wire:
    """Return the account's equity at every close. Raises: Refusal.

    The bars know one price a day, so finer timeframes get the same points.
    """
    timeframe = query.get("timeframe") or "1D"
    if timeframe not in ("1Min", "5Min", "15Min", "1H", "1D"):
        raise parameter("timeframe must be 1Min, 5Min, 15Min, 1H or 1D")
    first, last = _history_span(query, now)
    ends = [e for e in state.ends if first <= e.session <= last and e.at > state.created_at]
    before = [end for end in state.ends if end.session < first]
    base = before[-1].equity if before else state.settings.cash
    opened = new_york_date(state.created_at)
    gains = [end.equity - base for end in ends]
    return {
        "timestamp": [int(end.at.timestamp()) for end in ends],
        "equity": [end.equity for end in ends],
        "profit_loss": gains,
        "profit_loss_pct": [gain / base for gain in gains],
        "base_value": base,
        "base_value_asof": str(before[-1].session if before else opened),
        "timeframe": timeframe,
    }


def _history_span(query: Query, now: datetime) -> tuple[date, date]:
    start, end = _day("start", query.get("start")), _day("end", query.get("end"))
    period = query.get("period")
    if start and end and period:
        raise parameter("only two of start, end and period are accepted")
    if start and period:
        return start, date.fromordinal(min(start.toordinal() + _days(period), LAST))
    last = end or new_york_date(now)
    if start:
        return start, last
    return date.fromordinal(max(last.toordinal() - _days(period or "1M") + 1, 1)), last


def _day(name: str, text: str | None) -> date | None:
    if not text:
        return None
    if len(text) == 10:
        return read_date(name, text)
    at = read_moment(name, text)
    return new_york_date(at) if date.min < at.date() < date.max else at.date()


def _days(period: str) -> int:
    if period == "all":
        return LONGEST
    units = {"D": 1, "W": 7, "M": 31, "A": 366}
    if not period[:-1].isdecimal() or period[-1] not in units:
        raise parameter("period must be a number and D, W, M or A, or all")
    return min(int(period[:-1][:9]) * units[period[-1]], LONGEST)
