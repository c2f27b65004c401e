"""What the data endpoints share: symbols, limits, order, page tokens, the words of a refusal."""

import base64
import binascii
import json

from brokers.exchange.refusals import Refusal


def refuse(message: str) -> Refusal:
    """Refuse a data request as the data host does: 400 and a message without a code."""
    return Refusal(400, {"message": message})


def symbols_of(query: dict[str, str]) -> list[str]:
    """Return the symbols asked for, each once. Raises: Refusal where there are none."""
    names = [name.strip().upper() for name in query.get("symbols", "").split(",")]
    if not any(names):
        raise refuse("symbols is required")
    return list(dict.fromkeys(name for name in names if name))


def limit_of(query: dict[str, str], default: int, most: int) -> int:
    """Return the page size. Raises: Refusal."""
    text = query.get("limit") or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise refuse(f"invalid limit: {text}; expected 1 to {most}")
    return int(text)


def rising(query: dict[str, str]) -> bool:
    """Tell whether the oldest comes first. Raises: Refusal."""
    text = query.get("sort") or "asc"
    if text not in ("asc", "desc"):
        raise refuse(f"invalid sort: {text}; expected asc or desc")
    return text == "asc"


def next_token(*last: str) -> str:
    """Return the token of the page that follows an item, named by texts that order it."""
    return base64.urlsafe_b64encode(json.dumps(last).encode()).decode()


def token_of(query: dict[str, str], parts: int) -> list[str] | None:
    """Return the texts of the page token, None on the first page. Raises: Refusal."""
    text = query.get("page_token")
    if not text:
        return None
    try:
        found = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        found = None
    if not isinstance(found, list) or [type(part) for part in found] != [str] * parts:
        raise refuse(f"invalid page_token: {text}")
    return found
