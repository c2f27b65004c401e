"""What the page and the terminal say of a paper account against the backtest of its own bars.

The numbers come from `summary.json` under `paper`; no number is made here. One that could not be
told is n/a, with its reason.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from engine.report.formats import NOT_AVAILABLE, money, percent

Told = Mapping[str, Any]
Row = tuple[str, str, str]
ADVICE = "Drift only warns: it stops, sends and changes no order."


def content(told: Told | None) -> dict[str, Any]:
    """Return what the section of the page shows; nothing for a run that is no paper account."""
    if not told:
        return {}
    return {
        "cards": _cards(told),
        "rows": _rows(told),
        "symbols": _symbols(told),
        "bars": _bars(told["gap"]),
        "edges": [_bps(told["gap"]["edges"][at]) for at in (0, -1)] if told["gap"] else [],
        "counts": [(name, f"{count:,}") for name, count in told["counts"].items()],
        "agents": [(agent["from"], agent["id"], agent["how"]) for agent in told["agents"]],
        "features": _features(told["drift"]["last"]),
        "drift": _drift(told["drift"]),
        "warnings": told["drift"]["newest"],
        "advice": ADVICE,
    }


def verdict(told: Told) -> str:
    """Return the comparison in a sentence."""
    agreed, tracking = told["agreement"], told["tracking"]
    if agreed is None:
        return f"The account could not be replayed: {told['why']['agreement']}."
    same = _share(agreed["plain"]["actions"])
    text = f"The account decided as the backtest of its bars does in {same} of cases"
    if told["gap"]:
        text += f"; its fills were {_bps(told['gap']['all']['mean'])} dearer than modelled"
    if tracking:
        text += f"; its equity ended {_dollars(tracking['end'])} from the backtest's"
    return f"{text}."


def lines(told: Told) -> Iterator[str]:
    """Yield the comparison for the terminal."""
    yield f"Paper against backtest, {told['from']} to {told['to']}, {told['sessions']} sessions"
    for name, value, text in _rows(told):
        yield f"  {name:34} {value:>16}  {text}"
    yield "  " + ", ".join(f"{name} {count:,}" for name, count in told["counts"].items() if count)
    for agent in told["agents"]:
        yield f"  agent {agent['id']} from {agent['from']} on, {agent['how']}"
    for name, value, text in _drift(told["drift"]):
        yield f"  {name:34} {value:>16}  {text}"
    for text in told["drift"]["newest"][-3:]:
        yield f"! drift: {text}"


def _cards(told: Told) -> list[dict[str, str]]:
    agreed, gap, tracking, counts = (
        told[key] for key in ("agreement", "gap", "tracking", "counts")
    )
    fair = _share(agreed["explained"]["actions"]) if agreed else ""
    return [
        _card(
            "Decisions agree",
            _share(agreed["plain"]["actions"]) if agreed else None,
            told["why"].get("agreement") or f"{fair} given the same missing fills",
        ),
        _card(
            "Fill gap, mean",
            _bps(gap["all"]["mean"]) if gap else None,
            told["why"].get("gap") or "above zero: dearer than modelled",
        ),
        _card(
            "Tracking error, a year",
            percent(tracking["error"], 2) if tracking else None,
            told["why"].get("tracking") or "of equity against the backtest's",
        ),
        _card(
            "Orders sent twice",
            f"{counts['sent twice']:,}",
            f"{counts['orders sent']:,} sent; {counts['reconciliation differences']:,} differences",
        ),
    ]


def _card(name: str, value: str | None, text: str) -> dict[str, str]:
    return {"name": name, "value": value or NOT_AVAILABLE, "rival": text}


def _rows(told: Told) -> list[Row]:
    return [*_agreement_rows(told), *_gap_rows(told), *_tracking_rows(told)]


def _agreement_rows(told: Told) -> Iterator[Row]:
    agreed = told["agreement"]
    if agreed is None:
        yield "Decisions agree", NOT_AVAILABLE, told["why"]["agreement"]
        return
    plain, fair = agreed["plain"], agreed["explained"]
    first = f", first apart on {plain['first']}" if plain["first"] else ""
    yield "Decisions agree", _share(plain["actions"]), f"{_of(plain['actions'])} wishes{first}"
    yield "Orders agree", _share(plain["orders"]), f"{_of(plain['orders'])} orders of either side"
    given = "the backtest given the same missing fills and sessions"
    yield "Decisions agree, explained", _share(fair["actions"]), given
    yield "Orders agree, explained", _share(fair["orders"]), given


def _gap_rows(told: Told) -> Iterator[Row]:
    gap = told["gap"]
    if gap is None:
        yield "Fill gap", NOT_AVAILABLE, told["why"]["gap"]
        return
    every, interval = gap["all"], gap["interval"]
    sure = (
        f"95 %: {_bps(interval['low'])} to {_bps(interval['high'])}"
        if interval
        else f"n/a: {told['why']['interval']}"
    )
    yield "Fill gap, mean", _bps(every["mean"]), f"{every['fills']:,} fills; {sure}"
    spread = f"5 to 95 %: {_bps(every['low'])} to {_bps(every['high'])}"
    yield "Fill gap, median", _bps(every["median"]), f"{spread}; worst {_bps(every['worst'])}"


def _tracking_rows(told: Told) -> Iterator[Row]:
    found = told["tracking"]
    if found is None:
        yield "Tracking error, a year", NOT_AVAILABLE, told["why"]["tracking"]
        return
    meaning = "deviation of the difference of returns, x sqrt(252)"
    yield "Tracking error, a year", percent(found["error"], 3), meaning
    yield (
        "Tracking error, explained",
        percent(found["explained"], 3),
        "what missing fills do not explain",
    )
    largest = f"at most {percent(found['largest'], 2)} apart"
    yield "Equity at the end, apart", _dollars(found["end"]), largest
    yield (
        "Equity at the end, explained",
        _dollars(found["end_explained"]),
        "the same missing fills given",
    )


def _symbols(told: Told) -> list[tuple[str, ...]]:
    gaps = told["gap"]["symbols"] if told["gap"] else {}
    agreed = told["agreement"]["plain"]["symbols"] if told["agreement"] else {}
    rows = []
    for symbol in {**agreed, **gaps}:
        mine = gaps.get(symbol)
        shares = _share(agreed[symbol]) if symbol in agreed else NOT_AVAILABLE
        cells = (
            [_bps(mine[key]) for key in ("mean", "median", "low", "high", "worst")]
            if mine
            else [NOT_AVAILABLE] * 5
        )
        rows.append((symbol, shares, f"{mine['fills']:,}" if mine else "0", *cells))
    return rows


def _bars(gap: Told | None) -> list[dict[str, Any]]:
    # The histogram: where each bar stands, how high in percent of the highest, what it says.
    if gap is None:
        return []
    top, edges = max(gap["heights"]), gap["edges"]
    return [
        {
            "x": at,
            "height": 100.0 * count / top,
            "side": "dear" if low > 0 else "cheap" if high < 0 else "even",
            "text": f"{_bps(low)} to {_bps(high)}: {count:,}",
        }
        for at, (count, low, high) in enumerate(
            zip(gap["heights"], edges[:-1], edges[1:], strict=True)
        )
    ]


def _features(last: Told | None) -> list[tuple[str, str, str, str]]:
    found = last["features"] if last else {}
    rows = sorted(found.items(), key=lambda item: item[1][1] - item[1][0])
    return [
        (name, f"{index:.2f}", f"{limit:.2f}", "drifted" if index > limit else "as in training")
        for name, (index, limit) in rows
    ]


def _drift(drift: Told) -> list[Row]:
    last = drift["last"]
    if last is None:
        return [("Drift", NOT_AVAILABLE, "no decision recorded it; an older barwise wrote them")]
    why, features = last["why"], last["features"]
    over = sum(index > limit for index, limit in features.values())
    shown = f"{over} of {len(features)}" if features else NOT_AVAILABLE
    beyond = last["outside"]
    gap = last["gap"]
    return [
        ("Features that left the training", shown, why.get("features", "of the newest window")),
        (
            "Inputs beyond the training",
            NOT_AVAILABLE if beyond is None else percent(beyond),
            why.get("outside", "of the last session; 0.2 % is usual"),
        ),
        (
            "Fill gap of the newest window",
            _bps(gap["mean"]) if gap else NOT_AVAILABLE,
            why.get("gap") or f"95 %: {_bps(gap['low'])} to {_bps(gap['high'])}",
        ),
        ("Sessions that warned", f"{drift['warned']:,}", f"of {drift['sessions']:,}"),
    ]


def _share(pair: list[int]) -> str:
    same, of = pair
    if not of:
        return NOT_AVAILABLE
    # Not rounded up to all of them.
    return percent(1.0 if same == of else min(same / of, 0.9999), 0 if same == of else 2)


def _of(pair: list[int]) -> str:
    return f"{pair[0]:,} of {pair[1]:,}"


def _bps(value: float) -> str:
    return f"{value + 0.0:+.1f}\u00a0bps" if round(value, 1) else "0.0\u00a0bps"


def _dollars(value: float) -> str:
    return f"{'-' if value < 0 else '+'}${money(abs(value))}" if round(value, 2) else "$0"
