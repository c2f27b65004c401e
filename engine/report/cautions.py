"""What a reader must know before any number: the warnings of a run, gravest first.

Some come with the run (summary.json), the rest are found here in what the run left behind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from engine.profits import lucky, of_tables
from engine.report.folder import Run
from engine.report.formats import money, plain_name

FEW_TRIPS = 30  # below this a hit rate is an anecdote
FEW_FILLS = 2 * FEW_TRIPS  # a round trip takes two orders or more
DISGUISE = 0.98  # correlation above which a curve is its benchmark
INVESTED = 0.9  # mean exposure below which a benchmark did not hold what it should
PACE = 0.15  # how far bars a year may be from what the annual figures count
SPAN = 90  # days below which bars a year cannot be told
STILL = 0.1  # turnover per year below which nothing was traded


@dataclass(frozen=True, slots=True)
class Caution:
    """One warning; `grave` ones put the numbers themselves in doubt."""

    text: str
    grave: bool = False


def cautions(run: Run) -> list[Caution]:
    """Return every warning of a run, grave ones first."""
    given = [Caution(str(text), grave=True) for text in run.summary.get("warnings", [])]
    found = [*given, *_made_of(run), *_did(run), *_proves(run)]
    texts = dict.fromkeys(caution.text for caution in found)
    unique = [next(item for item in found if item.text == text) for text in texts]
    return sorted(unique, key=lambda caution: not caution.grave)


def _made_of(run: Run) -> Iterator[Caution]:
    yield from of_market(run.settings, run.data)
    yield from of_pace(run.equity["session"], run.metrics.get("conventions", {}))
    unread = [name for name in run.missing if name not in ("events", "refusals")]
    if unread:
        yield Caution(f"The run is not complete, missing: {', '.join(unread)}.", grave=True)


def of_market(settings: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[Caution]:
    """Yield what is to be said of the prices, the fills and the symbols of any run."""
    fill = settings.get("venue", {}).get("fill", "open")
    if fill == "same_close":
        yield Caution(
            "Orders were filled at the very close the decision was made on. Nobody can trade like "
            "that; these numbers only serve to re-run published tables.",
            grave=True,
        )
    elif fill == "next_close":
        yield Caution("Orders were filled at the next close instead of the next open.", grave=True)
    yield from _published(settings)
    basis = data.get("price_basis", "raw")
    if basis != "raw":
        kind = {"split": "split-adjusted", "total": "total-return"}.get(basis, basis)
        yield Caution(
            f"Prices are {kind}, not the prices of the day: share counts, fees per share and "
            "fills are those of a market that never was.",
            grave=True,
        )
    if data.get("symbols") and "synthetic" not in str(data.get("source", "")):
        yield Caution(
            "The symbols are a list without dates, chosen with hindsight: those that failed or left "
            "are missing (survivorship). That flatters every account here, buying and holding most."
        )


def of_pace(sessions: np.ndarray, conventions: Mapping[str, Any]) -> Iterator[Caution]:
    """Yield a warning where a year holds another number of bars than the annual figures count."""
    days = np.asarray(sessions, dtype="datetime64[D]")
    span = int((days[-1] - days[0]).astype(int)) if len(days) else 0
    if span < SPAN:
        return
    found, counted = (len(days) - 1) * 365.25 / span, float(conventions.get("periods", 252))
    times = (found / counted) ** 0.5
    if abs(found / counted - 1.0) <= PACE:
        return
    yield Caution(
        f"A year of these dates holds {found:.0f} bars, annual figures count {counted:.0f}: Sharpe "
        f"ratio and volatility of a true year are {times:.2f} times those shown, and CAGR is over "
        f"years of {counted:.0f} bars.",
        grave=times < 1.0,
    )


def of_luck(earned: Mapping[str, float]) -> Iterator[Caution]:
    """Yield a warning where one symbol made the profit. Units: dollars by symbol."""
    found = lucky(earned)
    if found is None:
        return
    symbol, share = found
    rest = sum(earned.values()) - earned[symbol]
    told = f"all others {money(rest)} dollars" if rest > 0 else "all others together made none"
    yield Caution(f"One lucky symbol: {symbol} made {share:.0%} of the profit; {told}.", grave=True)


def of_few(fills: float | None, trips: float, over: str = "") -> Iterator[Caution]:
    """Yield a warning where few positions were closed; one who resizes them has traded all the same.

    `fills` None = not recorded; `over` says what the numbers are means of.
    """
    if trips >= FEW_TRIPS:
        return
    closed = f"{trips:.0f} round trips were closed{over}"
    if fills is not None and fills >= FEW_FILLS:
        yield Caution(
            f"It resizes more than it closes: {fills:,.0f} orders were filled, {closed}. Hit rate and "
            "profit a trip rest on those few."
        )
    else:
        known = "" if fills is None else f"{fills:,.0f} orders were filled and "
        yield Caution(f"Only {known}{closed}: too few to judge how it trades.")


def _earned(run: Run) -> dict[str, float]:
    if not len(run.exposure["session"]) or not len(run.trades["session"]):
        return {}
    paid = run.metrics.get("conventions", {}).get("dividends_paid", False)
    events = run.events if paid else None
    return of_tables(run.equity["agent"][-1], run.exposure, run.trades, events)


def _published(settings: Mapping[str, Any]) -> Iterator[Caution]:
    # What published tables need and a broker of stocks does not do.
    if settings.get("venue", {}).get("size") == "fill":
        yield Caution(
            "Shares were found at the very price of their fill, fees included. No order knows that "
            "price; these numbers only serve to re-run published tables.",
            grave=True,
        )
    if settings.get("sizing", {}).get("flip") == "one_order":
        yield Caution(
            "Positions went from long to short in one order, which Alpaca refuses.", grave=True
        )
    if settings.get("data", {}).get("prices", "ohlc") != "ohlc":
        yield Caution(
            "Only closes were read: open, high and low are the close, and mean nothing here.",
            grave=True,
        )


def _did(run: Run) -> Iterator[Caution]:
    agent, curve = run.metrics.get("agent", {}), run.equity["agent"]
    twins = [
        name
        for name in run.equity
        if name not in ("session", "agent") and np.array_equal(run.equity[name], curve)
    ]
    correlation, turnover = agent.get("correlation"), agent.get("turnover")
    if agent.get("fills") == 0:
        yield Caution("The agent never traded.", grave=True)
    if run.summary.get("learned") is False:
        name = plain_name(str(run.summary.get("agent", "")))
        yield Caution(f"No checkpoint was given: what is called the agent is a baseline, {name}.")
    elif twins:
        names = " and ".join(plain_name(name) for name in twins)
        yield Caution(f"The agent's curve is identical to: {names}.", grave=True)
    elif correlation is not None and correlation > DISGUISE:
        rival = plain_name(run.metrics.get("conventions", {}).get("benchmark", "benchmark"))
        yield Caution(
            f"The agent moves with its benchmark ({rival}, correlation {correlation:.3f}): "
            "it may be the benchmark in disguise.",
            grave=True,
        )
    elif 0 < (agent.get("fills") or 0) < FEW_FILLS and agent.get("trades") == 0:
        yield Caution("The agent closed no trade: it earned what it held, no timing.", grave=True)
    elif turnover is not None and turnover < STILL and agent.get("fills"):
        yield Caution("The agent hardly trades: its turnover is near zero.", grave=True)
    if (curve <= 0).any():
        yield Caution("The account was ruined: its equity reached zero.", grave=True)
    for item in run.summary.get("settled", []):
        yield Caution(
            f"{item['symbol']} stopped trading: {item['qty']:,.10g} shares were settled at the last "
            f"close, ${item['price']:,.2f}, on {item['session']}. Whether anybody would have paid "
            "that is not known."
        )
    yield from of_luck(_earned(run))
    yield from _benchmark(run)
    count = len(run.refusals["session"])
    if count:
        yield Caution(f"{count:,} orders or wishes were refused or cut; the page lists each.")


def _benchmark(run: Run) -> Iterator[Caution]:
    # Limits, or symbols listed late, may keep buying and holding from ever holding everything.
    name = run.metrics.get("conventions", {}).get("benchmark", "")
    exposed = run.metrics.get("baselines", {}).get(name, {}).get("gross_exposure")
    if exposed is not None and exposed < INVESTED:
        yield Caution(
            f"{plain_name(name)}, the benchmark, was only {exposed:.0%} invested: limits, late "
            "listings or the allocation kept it out of the market. Compare with care."
        )


def without_skill(sharpe: float | None) -> Caution:
    """Return what is said where no number of bars would prove anything; None = no Sharpe ratio."""
    if sharpe is None:
        return Caution(
            "There is no Sharpe ratio: the returns do not vary, or are too few. Nothing can be tested."
        )
    return Caution("The Sharpe ratio is not above zero: there is no sign of skill to be tested.")


def _proves(run: Run) -> Iterator[Caution]:
    agent = run.metrics.get("agent", {})
    bars, needed, trips = (
        len(run.equity["session"]) - 1,
        agent.get("track_record"),
        agent.get("trades"),
    )
    if trips is not None and agent.get("fills"):
        yield from of_few(agent["fills"], trips)
    if agent and needed is None:
        yield without_skill(agent.get("sharpe"))
    elif needed is not None and needed > bars:
        yield Caution(
            f"{bars:,} bars are too few: a Sharpe ratio this small needs {ceil(needed):,} bars "
            "before luck can be ruled out at 95 %, even if it were the only one tried."
        )
    if run.summary.get("seed") is not None:
        yield Caution("This is one run of one seed: another seed may end elsewhere.")
