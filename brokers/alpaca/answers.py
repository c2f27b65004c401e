"""What an answer means: one table for orders sent, one for everything that is only asked.

Only the status counts, and the body's shape; codes are reused for many meanings. Whatever is not
plainly yes or plainly no leaves the order in doubt: it is never "rejected".
"""

from brokers.alpaca.parse import code_of, order
from brokers.alpaca.records import Accepted, Answer, Denied, InDoubt, Intent, Refused
from brokers.alpaca.transport import NoReply, Reply
from brokers.alpaca.wire import shares
from engine.errors import TradingHalted, VenueUnavailable

_REFUSALS = frozenset({400, 403, 404, 422})


def judge_order(seen: Reply | NoReply, intent: Intent) -> Answer:
    """Say what became of an order that was sent."""
    if isinstance(seen, NoReply):
        return InDoubt(seen.why)
    if seen.ok:
        return _judge_success(seen, intent)
    code = code_of(seen.body)
    if seen.status == 401 or (seen.status == 403 and code is None):
        return Denied(seen.status, describe(seen))
    if seen.status not in _REFUSALS or code is None:
        return InDoubt(f"answered {describe(seen)}")
    message = _message(seen)
    if seen.status == 422 and "client_order_id" in message:
        return InDoubt(f"the venue has an order with this client order id: {describe(seen)}")
    return Refused(seen.status, code, message)


def is_missing(seen: Reply) -> bool:
    """Tell whether the venue itself says that something does not exist; a web server's page no."""
    return seen.status == 404 and code_of(seen.body) is not None


def may_repeat(seen: Reply | NoReply) -> bool:
    """Tell whether asking the same question again may help."""
    if isinstance(seen, NoReply):
        return True
    return seen.status in (408, 429) or seen.status >= 500 or seen.ok


def unanswered(seen: Reply | NoReply, asked: str) -> TradingHalted | VenueUnavailable:
    """Return the error for a question that got no usable answer."""
    if isinstance(seen, NoReply):
        return VenueUnavailable(f"{asked}: {seen.why}; nothing was done, try again later")
    if seen.status in (401, 403):
        return TradingHalted(
            f"{asked}: the venue answered {describe(seen)}; check the key and what it may do "
            "with `barwise doctor`, then resume"
        )
    return VenueUnavailable(
        f"{asked}: expected an answer, found {describe(seen)}; nothing was done, try again later"
    )


def describe(seen: Reply) -> str:
    """Return a status and the beginning of its text on one line."""
    words = " ".join(seen.text.split())
    return f"{seen.status} {words[:200]!r}" if words else f"{seen.status} without a body"


def _judge_success(seen: Reply, intent: Intent) -> Answer:
    try:
        found = order(seen.body)
    except VenueUnavailable as error:
        return InDoubt(f"answered {seen.status}, but {error}")
    sent = (intent.client_order_id, intent.symbol, float(shares(intent.qty)))
    back = (found.client_order_id, found.symbol, found.qty)
    if back != sent:
        return InDoubt(f"sent {sent}, the venue answered with {back}")
    return Accepted(found)


def _message(seen: Reply) -> str:
    found = seen.body.get("message") if isinstance(seen.body, dict) else None
    return found if isinstance(found, str) else seen.text
