"""`barwise rehearse`: live through past sessions at the loopback exchange, and compare."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from brokers.alpaca.transport import Timeouts
from brokers.exchange.faults import Faults, load_rules
from engine.bars import Bars
from engine.clock import Clock, sessions
from engine.errors import UsageError
from engine.files import put_text
from engine.registry import Registry
from engine.report.folder import PAGE
from engine.run.build import bars_of, find_settings, run_folder
from engine.run.console import echo, progress
from engine.run.paper.result import CycleResult
from engine.run.paper.room import CALENDAR, require_champion
from engine.run.rehearse.agents import not_taken_up, promotions_of
from engine.run.rehearse.chaos import Chaos
from engine.run.rehearse.compare import Agreement, compare
from engine.run.rehearse.run import REGISTRY, FaultsOf, Play, Rehearsed, exchange_settings, rehearse
from engine.settings import Settings
from engine.settings_paper import CHAMPION

FILE = "rehearsal.json"
SHOWN = 8
HASTY = Timeouts(1.0, 0.4, 0.8)  # real seconds; in a storm every hang lasts so long
Result = dict[str, Any]


def run_rehearse(
    config: str,
    checkpoint: Path | None,
    start: str | None,
    end: str | None,
    faults: Path | None,
    chaos: int | None,
    promote: tuple[str, ...],
    overrides: tuple[str, ...],
    as_json: bool,
) -> Result:
    """Rehearse, compare with the backtest, and say whether they agree."""
    if faults is not None and chaos is not None:
        raise UsageError("--faults and --chaos: expected one of them; leave the other out")
    settings = find_settings(config, overrides)
    rules = load_rules(faults) if faults else []
    play = play_of(settings, bars_of(settings), checkpoint, start, end, promote)

    def faults_of(clock: Clock) -> Faults:
        return Faults(rules) if chaos is None else Chaos(chaos, clock)

    named = settings.model_copy(update={"name": f"{settings.name}-rehearsal"})
    with run_folder(named) as folder:
        told = rehearse_into(folder, play, faults_of, chaos is not None)
        told["page"] = _page(folder, play)
    if not as_json:
        *most, last = lines(told)
        page = [f"  page: {told['page']}"] if told["page"] else []
        for line in (*most, *page, last):
            echo(line)
    return told


def play_of(
    settings: Settings,
    bars: Bars,
    checkpoint: Path | None,
    start: str | None,
    end: str | None,
    promote: tuple[str, ...] = (),
) -> Play:
    """Return what is to be rehearsed: from `start` to `end`, or the test dates.

    `promote` holds DATE=FOLDER, or DATE=rollback: who decides from a session on.

    Raises: UsageError for dates that hold no two sessions, or where no checkpoint is named;
    SettingsError for a market that the exchange cannot play.
    """
    exchange_settings(settings)
    named = _agent(settings, checkpoint)
    test = settings.split.test
    first, last = bars.span(_day("--from", start) or test.start, _day("--to", end) or test.end)
    if last - first < 1 or first < 1:
        raise UsageError(
            "expected two sessions or more, and one before them, found "
            f"{max(last - first + 1, 0)} and {first} before; the data has {bars.sessions[0]} to "
            f"{bars.sessions[-1]}: change --from and --to, or split.test"
        )
    foreign = bars.sessions[first : last + 1]
    foreign = foreign[~np.isin(foreign, sessions(CALENDAR, foreign[0], foreign[-1]))]
    if foreign.size:
        raise UsageError(
            f"a rehearsal lives by the hours of {CALENDAR}, which was closed on {foreign[0]} (and "
            f"{foreign.size - 1} more of these dates); rehearse prices of that exchange"
        )
    promotions = tuple(promotions_of(promote, bars.sessions[first : last + 1]))
    return Play(settings, named, bars, first, last, promotions)


def _agent(settings: Settings, checkpoint: Path | None) -> Path:
    named = checkpoint or settings.paper.checkpoint
    if named is None:
        raise UsageError("rehearse: expected a trained agent; name it with --checkpoint DIR")
    if str(named) == CHAMPION:
        return require_champion(Registry(Path(settings.registry.dir))).folder
    if not Path(named).is_dir():
        raise UsageError(f"--checkpoint {named}: no such folder; `barwise train` makes one")
    return Path(named)


def rehearse_into(
    folder: Path, play: Play, faults_of: FaultsOf = lambda clock: Faults(), hasty: bool = False
) -> Result:
    """Rehearse and compare; write everything into `folder` and return the result.

    A client that is `hasty` gives an answer up soon, so that a storm of hangs stays short.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "settings.json", play.settings.model_dump(mode="json"))
    looked: list[CycleResult] = []
    with progress("rehearsal", len(play.sessions)) as show:
        seen: set[date] = set()

        def told(result: CycleResult) -> None:
            looked.append(result)
            if result.session is not None and result.session not in seen:
                seen.add(result.session)
                show(min(len(seen), len(play.sessions)), str(result.session))

        found = rehearse(play, folder, faults_of, HASTY if hasty else None, told)
    result = result_of(play, found, compare(play, found), looked)
    _write(folder / FILE, result)
    return result | {"run": str(folder), "exit_code": 0 if result["agrees"] else 1}


def result_of(
    play: Play, found: Rehearsed, agreement: Agreement, looked: list[CycleResult]
) -> Result:
    """Return everything a rehearsal came to, as JSON has it."""
    troubles = [result.message for result in looked if result.state in ("retry", "halted")]
    return {
        "trading": "REHEARSAL",
        "agrees": agreement.holds and found.halted is None,
        "halted": found.halted,
        "symbols": list(play.bars.symbols),
        "from": str(play.sessions[0]),
        "to": str(play.sessions[-1]),
        "sessions": len(play.sessions),
        "decided": agreement.decided,
        "fills": agreement.fills,
        "compared": [asdict(line) for line in agreement.lines],
        "agents": [{"from": session, "id": name} for session, name in agreement.agents],
        "declined": not_taken_up(found),
        "missed": list(agreement.missed),
        "unfilled": [asdict(cut) | {"session": str(cut.session)} for cut in agreement.cuts],
        "cost_of_unfilled": agreement.cost_of_cuts,
        "unexplained": list(agreement.unexplained),
        "looks": len(looked),
        "retries": sum(result.state == "retry" for result in looked),
        "last_trouble": troubles[-1] if troubles else None,
        "faults": dict(found.faults),
        "requests": {
            "mean": float(found.requests.mean()),
            "most": int(found.requests.max()),
        },
        "seconds": found.seconds,
        "shares": found.shares,
    }


def lines(told: Result) -> Iterator[str]:
    """Say it for a person."""
    yield (
        f"rehearsal: {told['decided']} of {told['sessions']} sessions decided, {told['from']} to "
        f"{told['to']}, {', '.join(told['symbols'])}; {told['fills']} fills"
    )
    yield f"  {'against the backtest':22} {'compared':>10} {'differ':>8}  largest difference"
    for row in told["compared"]:
        yield f"  {row['what']:22} {row['compared']:10,} {row['differ']:8,}  {_largest(row)}"
    yield from _explained(told)
    asked = told["requests"]
    yield f"  requests a session: {asked['mean']:.1f}, at most {asked['most']}"
    shares = ", ".join(f"{name} {share:.0%}" for name, share in told["shares"].items())
    each = told["seconds"] / max(told["decided"], 1)
    yield f"  {told['seconds']:.1f} s, {each:.2f} s a session: {shares}"
    if told["halted"]:
        yield f"HALTED: {told['halted']}"
    for text in told["unexplained"][:SHOWN]:
        yield f"! {text}"
    if told["unexplained"] and told["last_trouble"] and not told["halted"]:
        yield f"! the last trouble was: {told['last_trouble']}"
    yield "the rehearsal agrees with the backtest" if told["agrees"] else "THEY DO NOT AGREE"


def _page(folder: Path, play: Play) -> str | None:
    # The page that a paper account has; none where it was over before its second session.
    from engine.run.paper.compare import life_of, write_comparison

    agent = {"checkpoint": str(play.checkpoint), "state_dir": str(folder)}
    paper = play.settings.paper.model_copy(update=agent)
    registry = play.settings.registry.model_copy(update={"dir": str(folder / REGISTRY)})
    update = {"paper": paper, "registry": registry, "name": f"{play.settings.name}-rehearsal"}
    try:
        write_comparison(folder, play.settings.model_copy(update=update), life_of(folder))
    except UsageError:
        return None
    return str(folder / PAGE)


def _largest(row: Result) -> str:
    if not row["differ"]:
        return "equal"
    return f"{row['largest']:.3g}" + (f", first on {row['session']}" if row["session"] else "")


def _explained(told: Result) -> Iterator[str]:
    missed, cuts = told["missed"], told["unfilled"]
    if len(told["agents"]) > 1:
        each = ", ".join(f"{agent['id']} from {agent['from']}" for agent in told["agents"])
        yield f"  agents: {each}"
    for row in told["declined"]:
        yield f"  {row['id']} was not taken up on {row['session']}: {row['why']}"
    yield f"  sessions missed: {', '.join(missed[:SHOWN]) or 'none'}" + _more(missed)
    if cuts:
        yield (
            f"  orders not filled whole: {len(cuts)}; the backtest was given the same, which moves "
            f"its equity by ${told['cost_of_unfilled']:,.2f}"
        )
    for cut in cuts[:SHOWN]:
        short = f"{cut['kept']:g} of {cut['ordered']:g}"
        yield f"    {cut['session']} {cut['symbol']}: {short}"
    if told["faults"]:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(told["faults"].items()))
        survived = "survived" if told["agrees"] else "injected"
        yield f"  faults {survived}: {sum(told['faults'].values())} ({kinds})"


def _more(items: list[Any]) -> str:
    return f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""


def _day(option: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{option} {text}: expected a date, YYYY-MM-DD") from None


def _write(path: Path, tree: Result) -> None:
    put_text(path, json.dumps(tree, indent=1, default=_plain))


def _plain(item: Any) -> Any:
    return item.item() if isinstance(item, np.generic) else str(item)
