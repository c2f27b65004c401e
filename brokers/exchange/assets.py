"""What the exchange lists: one asset for each symbol of the bars."""

import uuid
from typing import Any

from brokers.exchange.refusals import not_found
from brokers.exchange.state import State

_OF_SYMBOLS = uuid.UUID("6f1d1f52-8a53-4f0e-9f2b-5a4be10c6d1e")


def asset_id(symbol: str) -> str:
    """Return the id of a symbol, the same in every run."""
    return str(uuid.uuid5(_OF_SYMBOLS, symbol))


def asset(state: State, symbol: str) -> dict[str, Any]:
    """Return one asset as the venue sends it."""
    status = flag(state, symbol, "status", "inactive" if has_ended(state, symbol) else "active")
    shortable = bool(flag(state, symbol, "shortable", True))
    found = {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": "NASDAQ",
        "symbol": symbol,
        "name": symbol,
        "status": status,
        "tradable": tradable(state, symbol),
        "marginable": True,
        "shortable": shortable,
        "easy_to_borrow": shortable,
        "borrow_status": "easy_to_borrow" if shortable else "not_shortable",
        "fractionable": bool(flag(state, symbol, "fractionable", True)),
        "attributes": [],
        "margin_requirement_long": "30",
        "margin_requirement_short": "30",
        "maintenance_margin_requirement": 30,
    }
    if not state.settings.easy_to_borrow:
        del found["easy_to_borrow"]
    return found


def assets(state: State, query: dict[str, str]) -> list[dict[str, Any]]:
    """List the assets by the filters of GET /v2/assets."""
    found = [asset(state, symbol) for symbol in state.bars.symbols]
    for name, key in (("status", "status"), ("asset_class", "class"), ("exchange", "exchange")):
        if query.get(name):
            found = [one for one in found if one[key] == query[name]]
    if query.get("attributes"):
        wanted = query["attributes"].split(",")
        found = [one for one in found if any(name in one["attributes"] for name in wanted)]
    return found


def find_symbol(state: State, name: str) -> str | None:
    """Return the symbol meant by a symbol or an asset id, None where there is none."""
    if name in state.columns:
        return name
    return next((s for s in state.bars.symbols if asset_id(s) == name), None)


def find_asset(state: State, name: str) -> dict[str, Any]:
    """Return the asset of a symbol or an asset id. Raises: Refusal (404)."""
    symbol = find_symbol(state, name)
    if symbol is None:
        raise not_found(f"asset not found for {name}")
    return asset(state, symbol)


def tradable(state: State, symbol: str) -> bool:
    """Tell whether orders for a symbol are taken."""
    return bool(flag(state, symbol, "tradable", not has_ended(state, symbol)))


def has_ended(state: State, symbol: str) -> bool:
    """Tell whether a symbol has had its last session."""
    ended = state.bars.ended[state.columns[symbol]]
    return bool(state.row > 0 and state.bars.sessions[state.row - 1] > ended)


def flag(state: State, symbol: str, name: str, default: Any) -> Any:
    """Return what was switched for a symbol, or the default."""
    return state.switches.asset(symbol, name, default)
