"""The tables of a retraining's page: rows of text, ready to be set."""

from collections.abc import Mapping
from typing import Any

from engine.metrics import BY_KEY
from engine.report.formats import NOT_AVAILABLE, definition, plain_name, shown
from engine.report.retraining import CHAMPION, PICKED, SHOWN, Retraining, Span, name_of
from engine.report.walk_sections import span_of

SCORES = {"sharpe": "Sharpe ratio", "log_growth": "Log growth"}
VALIDATION = (
    "Of the checkpoint on the sessions it was chosen on: it promises too much, and only tells the "
    "challengers apart."
)
SPREAD = "95 % of block bootstrap draws over the days lie inside; Student's quantile, few blocks widen it."


def headline(found: Mapping[str, Any]) -> str:
    """Return the decision in one or two sentences."""
    if found["promoted"]:
        refit = "" if found["scored"] else ", trained again through the newest session: not scored"
        return f"Promoted: {found['promoted']} is the champion now{refit}."
    if found["promote"]:
        return "All rules hold, and the promotion was not written: the run was stopped before."
    stays = f"The champion {found['champion']} stays" if found["champion"] else "Still no champion"
    failed = [rule for rule in found["rules"] if not rule["passed"]]
    if not failed:
        return f"{stays}: {found['reason']}."
    names = ", ".join(_rule_name(rule["name"]) for rule in failed)
    count = len(found["rules"])
    several = f"{len(failed)} of {count} rules do not hold" if count > 1 else "it was not judged"
    return f"{stays}: {several} ({names})."


def _rule_name(name: str) -> str:
    known = {
        "flat": "cash",
        "sessions": "too few sessions",
        "deflated_sharpe": "deflated Sharpe ratio",
    }
    return known.get(name, plain_name(name)[:1].lower() + plain_name(name)[1:])


def cards(run: Retraining) -> list[dict[str, str]]:
    """Return the four numbers that decide, each with what it is held against."""
    found = run.found
    if not run.curves:
        return []
    rules = {rule["name"]: rule for rule in found["rules"]}
    rival = CHAMPION if CHAMPION in rules else "flat"
    gap = rules.get(rival, {}).get("gap")
    called = "the champion" if rival == CHAMPION else "cash"
    ahead = f"{gap['difference']:+.2f}" if gap else NOT_AVAILABLE
    least = f"at least {gap['least']:+.2f} at {100 * gap['confidence']:.4g} %" if gap else ""
    own = run.of(PICKED)
    return [
        {"name": f"Ahead of {called}", "value": ahead, "more": f"{_lower(run.score)}, {least}"},
        {
            "name": f"{SCORES[run.score]} of the challenger",
            "value": _value(own),
            "more": f"95 %: {_spread(own)}",
        },
        {
            "name": "Look at these sessions",
            "value": f"number {found['looks']}",
            "more": "each asks for more confidence",
        },
        {
            "name": "Deflated Sharpe ratio",
            "value": shown(found["deflated_sharpe"], "ratio"),
            "more": f"after {found['trials']:,} trials",
        },
    ]


def looks_words(found: Mapping[str, Any]) -> str:
    """Return what was counted as a look at the judged sessions."""
    if "looks" not in found:
        return ""
    text = f"Look number {found['looks']} at these sessions"
    if before := found.get("looked_before"):
        text += (
            f"; earlier ones: judgements of other retrainings {before['judgements']}, tests of agents of "
            f"this line {before['tests']}. Tests of other agents on them, and what a paper account "
            "showed, are not counted"
        )
    return f"{text}."


def columns(run: Retraining) -> list[tuple[str, str]]:
    """Return the heads of the table of accounts with their roles."""
    roles = {PICKED: "agent", CHAMPION: "benchmark"}
    return [(name_of(name, run.found), roles.get(name, "other")) for name in run.curves]


def account_rows(run: Retraining) -> list[dict[str, Any]]:
    """Return one row a number: what validation said, then what the judged sessions showed."""
    own = {name: run.of(name) for name in run.curves}
    score, accounts = SCORES[run.score], run.found["accounts"]
    spread = [_spread(own[name]) for name in run.curves]
    rows = [
        _row("Validation score", VALIDATION, [_validated(run, name) for name in run.curves]),
        *(_metric(key, [accounts[name][key] for name in run.curves]) for key in SHOWN[:1]),
    ]
    if run.score == "sharpe":
        rows.append(_metric("sharpe", [accounts[name]["sharpe"] for name in run.curves]))
    else:
        cells = [_value(own[name]) for name in run.curves]
        rows.append(_row(score, "Mean log return of a bar, times the bars of a year.", cells))
    rows.append(_row(f"{score}, 95 % interval", SPREAD, spread))
    return rows + [_metric(key, [accounts[n][key] for n in run.curves]) for key in SHOWN[2:]]


def _metric(key: str, values: list[float | None]) -> dict[str, Any]:
    metric = BY_KEY[key]
    cells = [shown(value, metric.unit) for value in values]
    why = "the account did not move, or too few bars" if None in values else ""
    return _row(metric.name, definition(metric, {}), cells, why)


def _row(name: str, told: str, cells: list[str], why: str = "") -> dict[str, Any]:
    return {"name": name, "definition": told, "cells": cells, "reasons": [why] if why else []}


def _validated(run: Retraining, account: str) -> str:
    scores = {f"seed-{row['seed']}": row["validation_score"] for row in run.found["challengers"]}
    if account == CHAMPION:
        return shown(
            run.found.get("lineage", {}).get(CHAMPION, {}).get("validation_score"), "ratio"
        )
    seed = f"seed-{run.found['picked']}" if account == PICKED else account
    return shown(scores[seed], "ratio") if seed in scores else "\u2013"


def rival_rows(run: Retraining) -> list[list[str]]:
    """Return the picked challenger against every other account, the asked ones with their rule."""
    asked = {rule["name"]: rule for rule in run.found["rules"]}
    rows = []
    for name in run.curves:
        if name == PICKED:
            continue
        ahead, rule = run.ahead_of(name), asked.get(name)
        gap = rule["gap"] if rule else None
        least = f"{gap['least']:+.2f} at {100 * gap['confidence']:.4g} %" if gap else "\u2013"
        rows.append([name_of(name, run.found), _signed(ahead), _spread(ahead), least, _told(rule)])
    return rows


def _told(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return "not asked for"
    if rule["passed"] is None:
        return str(rule["text"])
    return "beaten" if rule["passed"] else "not beaten"


def challenger_rows(run: Retraining) -> list[list[str]]:
    """Return every challenger: its checkpoint, what validation said, what became of it."""
    rows = []
    for row in run.found["challengers"]:
        if row["validation_score"] is None:
            rows.append([str(row["seed"]), "\u2013", "\u2013", "\u2013", row.get("error", "")])
            continue
        picked = row["seed"] == run.found["picked"]
        notes = [*(["picked"] if picked else []), *row["warnings"]]
        score = shown(row["validation_score"], "ratio")
        cells = [row["digest"][:12], str(row["update"]), score, "; ".join(notes)]
        rows.append([str(row["seed"]), *cells])
    return rows


def lineage_heads(run: Retraining) -> list[str]:
    """Return the heads of the table of where both come from."""
    both = run.found.get("lineage", {})
    return ["What", *(name for key, name in _BOTH.items() if key in both)]


def lineage_rows(run: Retraining) -> list[list[str]]:
    """Return where the picked challenger and the champion come from, a row each thing."""
    both = run.found.get("lineage", {})
    sides = [both[name] for name in _BOTH if name in both]
    if not sides:
        return []  # of an older version
    return [[title, *(_lived(side, key) for side in sides)] for key, title in _LINEAGE.items()]


_BOTH = {PICKED: "Challenger", CHAMPION: "Champion before"}
_LINEAGE = {
    "id": "Checkpoint",
    "parent": "Made to replace",
    "seed": "Seed",
    "seeds": "Challengers it was picked from",
    "update": "Chosen after updates",
    "trained": "Trained on",
    "chosen_until": "Chosen on sessions to",
    "trials": "Trials when it was judged",
    "held_back_sharpe": "Sharpe ratio when it was judged",
    "data": "Data",
    "settings": "Settings",
    "since": "Champion since",
}


def _lived(side: Mapping[str, Any], key: str) -> str:
    if key == "trained":
        return f"{side['trained_from']} to {side['trained_until']}"
    if key == "since":
        since = side.get("since")
        by = f" by {since['by']}" if since and since["by"] else ""
        return f"{since['at']}, {since['how'].replace('_', ' ')}{by}" if since else "\u2013"
    value = side.get(key)
    if value is None or value == "":
        return "\u2013"
    if key in ("data", "settings"):
        return str(value)[:16]
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _value(found: Span | None) -> str:
    return NOT_AVAILABLE if found is None else shown(found[0], "ratio")


def _signed(found: Span | None) -> str:
    return NOT_AVAILABLE if found is None else f"{found[0]:+.2f}"


def _spread(found: Span | None) -> str:
    return "\u2013" if found is None else span_of(found[1:], "ratio")


def _lower(score: str) -> str:
    return SCORES[score][:1].lower() + SCORES[score][1:] if score != "sharpe" else SCORES[score]
