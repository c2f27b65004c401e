"""`barwise check ...`: from words to a check, its lines, and its place in the ledger."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.run.build import bars_of, dates, find_settings
from engine.run.check.findings import enter
from engine.run.console import echo, progress, say
from engine.run.evaluation import deployed

if TYPE_CHECKING:
    from engine.run.check.lookahead import LookaheadResult
    from engine.run.check.parity import ParityResult

Result = dict[str, Any]


def run_parity(config: str, checkpoint: Path, overrides: tuple[str, ...], as_json: bool) -> Result:
    """Compare environment, replay and Backtrader on the test dates."""
    from engine.run.check.parity import check_parity

    settings = find_settings(config, overrides)
    bars = bars_of(settings)
    spec, policy = deployed(settings, checkpoint, bars)
    first, last = dates(bars, settings, "test")
    found = check_parity(bars, spec, policy, first, last, settings.backtest.cash)
    worst = max(item.largest for item in found.differences)
    told = "parity holds" if found.equal else "PARITY DOES NOT HOLD"
    counts = f"{found.bars} bars, {found.decisions} decisions, {found.fills} fills"
    text = f"{told}; largest difference {worst:.3g}"
    enter(settings, bars, "parity", found.equal, f"{text}; {counts}", checkpoint)
    if not as_json:
        _print((counts, *_differences(found), text))
    rows = [
        {"paths": d.paths, "field": d.field, "largest": d.largest, "within": d.within, "bar": d.bar}
        for d in found.differences
    ]
    return {
        "check": "parity",
        "holds": found.equal,
        "bars": found.bars,
        "decisions": found.decisions,
        "fills": found.fills,
        "differences": rows,
        "exit_code": 0 if found.equal else 1,
    }


def run_lookahead(
    config: str, checkpoint: Path | None, overrides: tuple[str, ...], as_json: bool
) -> Result:
    """Change the future at 200 dates and look for anything earlier that moves; then whole runs."""
    from engine.run.check.lookahead import CHANGES, check_lookahead
    from engine.run.check.lookahead_strategy import check_network, check_runs
    from engine.run.check.pipelines import pipeline_of

    settings = find_settings(config, overrides)
    bars = bars_of(settings)
    pipeline = pipeline_of(settings, bars, checkpoint)
    first, last = dates(bars, settings, "test")
    with progress("look-ahead", 200 * len(CHANGES)) as show:
        found = check_lookahead(pipeline, bars, first, last, progress=show)
    say("look-ahead inside Backtrader, and memory at the start of the test dates")
    runs = check_runs(pipeline, bars, first, last, settings.backtest.cash)
    network = check_network(checkpoint) if checkpoint else ()
    found = replace(found, leaks=(*found.leaks, *runs, *network))
    counts = f"{found.dates} dates, {found.changes} changed futures, {found.compared} decisions"
    text = "nothing earlier moved" if found.clean else f"{len(found.leaks)} LEAKS"
    enter(settings, bars, "lookahead", found.clean, f"{text}; {counts}", checkpoint)
    if not as_json:
        _print((counts, *_leaks(found), text))
    return {
        "check": "lookahead",
        "clean": found.clean,
        "dates": found.dates,
        "changes": found.changes,
        "compared": found.compared,
        "leaks": [asdict(leak) for leak in found.leaks],
        "exit_code": 0 if found.clean else 1,
    }


def _differences(found: "ParityResult") -> list[str]:
    lines = []
    for item in found.differences:
        mark = "equal" if item.largest == 0.0 else f"largest difference {item.largest:.3g}"
        where = f", first beyond its limit on {item.bar}" if item.bar else ""
        lines.append(f"  {item.paths:28} {item.field:10} {mark}{where}")
    if not found.fills:
        lines.append("note: nothing was traded, so orders and fills were not put to the test")
    return lines


def _leaks(found: "LookaheadResult") -> list[str]:
    lines = []
    for leak in found.leaks[:20]:
        what = f"{', '.join((leak.output, *leak.features))} of {leak.symbol} on {leak.seen}"
        why = f"bars after {leak.changed_after} changed ({leak.change})"
        if leak.output == "units":
            why = f"all prices were quoted in another unit ({leak.change})"
        lines.append(f"  LEAK {what} moved when {why}")
    return lines


def _print(lines: Sequence[str]) -> None:
    for line in lines:
        echo(line)
