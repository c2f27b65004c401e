"""The page of a walk-forward: its folder as one HTML file, every seed shown, no seed chosen.

Pictures that need one run show the median seed. The page is a function of the folder alone: what
depends on other runs is read from evidence.json, written when the walk-forward ended.
"""

from pathlib import Path
from typing import Any

from engine.files import put_text
from engine.metrics import BY_KEY
from engine.report import proof, sections
from engine.report import walk_sections as rows
from engine.report.charts import curve_data, exposure_data, line_data
from engine.report.folder import PAGE
from engine.report.formats import BASES, FILL_RULES, percent, plain_name, shown
from engine.report.shell import check_row, fill
from engine.report.walk import AGENT, TWIN, Walk, read_walk
from engine.report.walk_cautions import walk_cautions

CARDS = ("total_return", "sharpe", "max_drawdown", "turnover")


def write_walk_page(folder: Path) -> Path:
    """Write `report.html` into a walk-forward's folder and return its path.

    Raises: DataError when it has not ended or a file in it is broken.
    """
    return put_text(folder / PAGE, render(read_walk(folder)))


def render(walk: Walk) -> str:
    """Return the whole page."""
    return fill("walk.html.j2", _content(walk), _drawn(walk))


def _content(walk: Walk) -> dict[str, Any]:
    summary = walk.summary
    return {
        "title": summary["name"],
        "facts": _facts(walk),
        "verdict": _verdict(walk),
        "cautions": walk_cautions(walk),
        "cards": _cards(walk),
        "accounts": rows.columns(walk),
        "key_rows": rows.account_rows(walk),
        "conventions": summary["conventions"],
        "coverage": summary["coverage"],
        "benchmark": plain_name(walk.benchmark),
        "rivals": rows.rival_rows(walk),
        "twin": rows.twin_words(summary["twin"]) if summary.get("twin") else "",
        "proof": proof.table(walk.evidence),
        "median": walk.median,
        "count": len(summary["seeds"]),
        "strip": rows.strip(walk),
        "seeds": (rows.seed_heads(walk), rows.seed_rows(walk)),
        "windows": (rows.window_heads(walk), rows.window_rows(walk)),
        "score": walk.settings["train"]["score"],
        "sweeps": _sweeps(walk),
        "drawdowns": sections.drawdown_rows(walk.equity),
        "monthly": sections.months(walk.equity, walk.benchmark),
        "checks": [check_row(item) for item in walk.evidence.get("checks", [])],
        "rules": _rules(walk),
        "notes": [str(note) for note in walk.data["notes"]],
        "settings": list(sections.flat_settings(walk.settings)),
        "versions": list(sections.flat_settings(walk.versions)),
    }


def _sweeps(walk: Walk) -> list[tuple[str, dict[str, Any]]]:
    if not walk.summary["costs_swept"]:
        return []
    return [(BY_KEY[key].name, rows.sweep(walk, key)) for key in ("sharpe", "total_return")]


def _facts(walk: Walk) -> list[tuple[str, str]]:
    summary, data, tested = walk.summary, walk.data, walk.summary["tested"]
    basis = str(data["price_basis"])
    return [
        ("Symbols", sections.listed(data["symbols"])),
        ("Tested", f"{tested['start']} to {tested['end']}, {tested['sessions']:,} sessions"),
        ("Windows", f"{summary['windows']}, {summary['scheme']}"),
        ("Seeds", f"{len(summary['seeds'])}, {summary['trainings']} trainings"),
        ("Starting capital", "$" + shown(float(walk.equity["agent"][0]), "money")),
        ("Costs", str(summary["costs"])),
        ("Fills", FILL_RULES[walk.settings["venue"]["fill"]]),
        ("Prices", f"{data['source']}, {BASES.get(basis, basis)}"),
        ("Data hash", str(data["digest"])[:16]),
    ]


def _verdict(walk: Walk) -> str:
    accounts = walk.summary["accounts"]
    ours, rival = accounts[AGENT]["total_return"], accounts.get(walk.benchmark)
    if ours["mean"] is None:
        return proof.verdict(walk.evidence)
    text = f"Over {len(walk.summary['seeds'])} seeds the agent returned {percent(ours['mean'])}"
    if ours["interval"]:
        text += f" ({rows.span_of(ours['interval'], 'percent')})"
    if rival and rival["total_return"]["mean"] is not None:
        name = plain_name(walk.benchmark).lower()
        text += f", {name} {percent(rival['total_return']['mean'])}"
    return f"{text}. {proof.verdict(walk.evidence)}"


def _cards(walk: Walk) -> list[dict[str, str]]:
    accounts = walk.summary["accounts"]
    rival = accounts.get(walk.benchmark)
    return [
        {
            "name": BY_KEY[key].name,
            "value": shown(accounts[AGENT][key]["mean"], BY_KEY[key].unit),
            "interval": rows.span_of(accounts[AGENT][key]["interval"], BY_KEY[key].unit),
            "rival": shown(rival[key]["mean"] if rival else None, BY_KEY[key].unit),
        }
        for key in CARDS
    ]


def _rules(walk: Walk) -> list[tuple[str, str]]:
    summary, asked = walk.summary, walk.settings["walkforward"]
    rules = walk.summary["conventions"]
    twin = "; the twin: window(1)" if TWIN in walk.curves else ""
    return [
        ("Purge", str(summary["purge"])),
        ("Gap", f"{summary['gap_sessions']} further sessions at each boundary"),
        ("Checkpoint", str(summary["selection"])),
        ("Books", str(summary["books"])),
        ("Memory", str(walk.settings["agent"]["memory"]) + twin),
        ("Burn-in", f"{walk.settings['agent']['burn_in']} bars"),
        ("Costs", f"{summary['costs']}; swept over {', '.join(f'{x:g}' for x in asked['cost_bps'])} bp"),
        ("Bars a year", str(rules["periods"])),
        ("Risk-free rate", percent(rules["risk_free"])),
        ("Dividends", "paid" if rules["dividends_paid"] else "not paid"),
    ]  # fmt: skip


def _drawn(walk: Walk) -> dict[str, Any]:
    sessions = walk.equity["session"].astype(str).tolist()
    curves = [curve_data(f"Agent, median seed ({walk.median})", "agent", walk.equity["agent"])]
    others = [name for name in walk.equity if name not in ("session", AGENT)]
    for name in sorted(others, key=lambda name: name != walk.benchmark):
        role = "benchmark" if name == walk.benchmark else "other"
        curves.append(curve_data(plain_name(name), role, walk.equity[name]))
    curves.insert(2, line_data("Agent, mean of the middle half", walk.middle(AGENT), dashed=True))
    if TWIN in walk.curves:
        seed = walk.summary["median_seed"][TWIN]
        name = f"{rows.NAMES[TWIN]}, median seed ({seed})"
        curves.insert(3, curve_data(name, "other", walk.curves[TWIN][seed]))
    for seed, equity in walk.curves[AGENT].items():
        curves.append(line_data(f"Seed {seed}", equity, group="Agent, every seed", shade="--fan"))
    return {
        "sessions": sessions,
        "curves": curves,
        "exposure": exposure_data(walk.exposure, sessions),
        "days": [],
        "prices": [],
    }
