"""Answers, and the ways to spoil one: half a body, another body, a field that is gone."""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brokers.exchange.faults import Rule

JSON = b"application/json"
HTML = "<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
MESSAGES: dict[int, Any] = {
    401: {"code": 40110000, "message": "request is not authorized"},
    403: {"message": "forbidden."},
    429: {"code": 42910000, "message": "rate limit exceeded"},
    500: {"code": 50010000, "message": "internal server error occurred"},
}
WRONG: tuple[Any, ...] = (None, "", "garbage", -1, 1e400, True, [], {}, "NaN")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer of the exchange; the length is written when it is sent."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def made(rule: Rule) -> Reply:
    """Return the answer that a rule gives in place of the exchange's own."""
    if rule.action == "redirect":
        return Reply(301, b"", ((b"location", rule.to.encode()),))
    status = 504 if rule.action == "accept_then_504" else rule.status
    body = rule.body if rule.body is not None else MESSAGES.get(status, HTML.format(status=status))
    html = isinstance(body, str)
    kind = b"text/html" if html else JSON
    given = tuple((name.lower().encode(), value.encode()) for name, value in rule.headers.items())
    data = body.encode() if html else json.dumps(body).encode()
    return Reply(status, data, ((b"content-type", kind), *given))


def spoil(reply: Reply, rule: Rule, count: int) -> Reply:
    """Return the exchange's own answer as the rule leaves it; `count` varies a mutation."""
    if rule.action == "empty200":
        return Reply(200, b"")
    if rule.action == "html200":
        return Reply(200, HTML.format(status=200).encode(), ((b"content-type", b"text/html"),))
    if rule.action == "truncate":
        return replace(reply, body=reply.body[: len(reply.body) // 2])
    if rule.action == "mutate":
        return replace(reply, body=mutate(reply.body, rule.seed + count))
    if rule.action == "edit" and reply.body:
        return replace(reply, body=json.dumps(edit(json.loads(reply.body), rule)).encode())
    return reply


def mutate(body: bytes, seed: int) -> bytes:
    """Damage one place of a JSON text: another type, a missing key, or a text cut off."""
    rng = np.random.default_rng(seed)
    try:
        tree = json.loads(body)
    except ValueError:
        return body[: int(rng.integers(len(body) + 1))]
    places = list(_places(tree))
    kind = int(rng.integers(8))
    if not places or kind == 0:
        return body[: int(rng.integers(len(body) + 1))]
    holder, key = places[int(rng.integers(len(places)))]
    if kind == 1:
        del holder[key]
    else:
        holder[key] = WRONG[int(rng.integers(len(WRONG)))]
    return json.dumps(tree).encode()


def edit(tree: Any, rule: Rule) -> Any:
    """Return an object, or a list of them, with keys removed and added; dots lead inside."""
    for item in tree if isinstance(tree, list) else [tree]:
        for key in rule.remove:
            holder, last = _holder(item, key)
            holder.pop(last, None)
        for key, value in rule.add.items():
            holder, last = _holder(item, key)
            holder[last] = value
    return tree


def _holder(item: Any, key: str) -> tuple[dict[str, Any], str]:
    *way, last = key.split(".")
    for part in way:
        item = item.setdefault(part, {}) if isinstance(item, dict) else {}
    return (item if isinstance(item, dict) else {}), last


def _places(tree: Any) -> Any:
    # Every (holder, key) of the tree, in the order of the text.
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield tree, key
            yield from _places(value)
