"""The account and its positions as the venue sends them."""

from datetime import datetime
from typing import Any

from brokers.exchange import money
from brokers.exchange.assets import asset_id
from brokers.exchange.refusals import no_position, parameter
from brokers.exchange.state import DayEnd, State
from brokers.exchange.wire import moment, new_york_date, number

Wire = dict[str, Any]

CONFIGURATION: Wire = {
    "trade_confirm_email": "all",
    "suspend_trade": False,
    "no_shorting": False,
    "fractional_trading": True,
    "max_margin_multiplier": "4",
    "max_options_trading_level": 0,
    "ptp_no_exception_entry": False,
    "disable_overnight_trading": False,
}


NO_LONGER = ("dtbp_check", "pdt_check")  # of the day-trade rule; clients still send them


def account(state: State, now: datetime) -> Wire:
    """Return the account. Equity is always cash plus long plus short market value."""
    value = state.book.value()[0]
    long, short = float(value[value > 0].sum()), float(value[value < 0].sum())
    cash, equity = float(state.book.cash[0]), state.equity()
    last = last_end(state, now)
    power = money.free(state)
    times = money.multiplier(state)
    found = {
        "id": state.account_id,
        "account_number": state.number,
        "status": "ACTIVE",
        "crypto_status": "INACTIVE",
        "currency": "USD",
        "created_at": moment(state.created_at),
        "balance_asof": str(last.session if last else new_york_date(state.created_at)),
        "cash": number(cash),
        "equity": number(equity),
        "last_equity": number(last.equity if last else state.settings.cash),
        "portfolio_value": number(equity),
        "multiplier": str(times),
        "long_market_value": number(long),
        "short_market_value": number(short),
        "position_market_value": number(long - short),
        "initial_margin": number(money.initial_margin(state)),
        "maintenance_margin": number(money.maintenance_margin(state)),
        "last_maintenance_margin": number(last.maintenance if last else 0.0),
        "buying_power": number(power),
        "regt_buying_power": number(power),
        "non_marginable_buying_power": number(min(max(cash, 0.0), power)),
        "shorting_enabled": may_short(state),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": bool(state.configuration.get("suspend_trade", False)),
    }
    return {**found, **_UNUSED, **state.switches.account_flags}


_UNUSED = {
    "sma": "0",
    "options_buying_power": "0",
    "options_approved_level": 0,
    "options_trading_level": 0,
    "accrued_fees": "0",
    "pending_reg_taf_fees": "0",
    "pending_transfer_in": "0",
    "pending_transfer_out": "0",
    "intraday_adjustments": "0",
}


def may_short(state: State) -> bool:
    """Tell whether the account may open a short position now."""
    wanted = state.settings.shorting and not state.configuration.get("no_shorting")
    return bool(wanted) and state.equity() >= money.LEAST_EQUITY


def configuration(state: State) -> Wire:
    """Return the account's own settings."""
    return {**CONFIGURATION, **state.configuration}


def configure(state: State, request: Wire) -> Wire:
    """Change the account's own settings; return them all. Raises: Refusal."""
    request = {k: v for k, v in request.items() if v is not None and k not in NO_LONGER}
    for name, value in request.items():
        if name not in CONFIGURATION or not isinstance(value, type(CONFIGURATION[name])):
            raise parameter(f"{name}: no such setting, or no such value")
    if request.get("max_margin_multiplier", "4") not in ("1", "2", "4"):
        raise parameter("max_margin_multiplier must be 1, 2 or 4")
    state.configuration = {**state.configuration, **request}
    return configuration(state)


def positions(state: State, now: datetime) -> list[Wire]:
    """Return every position, in the order of the bars' symbols."""
    held = [symbol for symbol, column in state.columns.items() if state.held(column)]
    return [position(state, symbol, now) for symbol in held]


def position(state: State, symbol: str | None, now: datetime) -> Wire:
    """Return one position. Raises: Refusal (404) where nothing is held."""
    if symbol is None or not state.held(state.columns[symbol]):
        raise no_position()
    column = state.columns[symbol]
    qty, price = state.held(column), state.price(column)
    entry = float(state.book.basis[0, column])
    value, cost = qty * price, qty * entry
    lastday, day_cost = _since_last_close(state, column, now)
    return {
        "asset_id": asset_id(symbol),
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "asset_marginable": True,
        "qty": number(qty),
        "qty_available": number(money.available(state, column)),
        "avg_entry_price": number(entry),
        "side": "long" if qty > 0 else "short",
        "market_value": number(value),
        "cost_basis": number(cost),
        "unrealized_pl": number(value - cost),
        "unrealized_plpc": number((value - cost) / abs(cost) if cost else 0.0),
        "unrealized_intraday_pl": number(value - day_cost),
        "unrealized_intraday_plpc": number((value - day_cost) / abs(day_cost) if day_cost else 0.0),
        "current_price": number(price),
        "lastday_price": number(lastday),
        "change_today": number(price / lastday - 1.0 if lastday else 0.0),
    }


def last_end(state: State, now: datetime) -> DayEnd | None:
    """Return the newest close of a day before today in New York."""
    today = new_york_date(now)
    return next((end for end in reversed(state.ends) if end.session < today), None)


def _since_last_close(state: State, column: int, now: datetime) -> tuple[float, float]:
    # Yesterday's price, and what today's shares cost: held over at that price, others at entry.
    qty, entry = state.held(column), float(state.book.basis[0, column])
    last = last_end(state, now)
    if last is None or not last.marks[column]:
        return entry, qty * entry
    before = float(last.held[column]) if last.held[column] * qty > 0 else 0.0
    over = min(abs(before), abs(qty)) * (1 if qty > 0 else -1)
    lastday = float(last.marks[column])
    return lastday, over * lastday + (qty - over) * entry
