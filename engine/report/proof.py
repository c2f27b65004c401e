"""What a run proves, in words: its evidence, for the page and for the terminal.

A run without it (of an older version, or with too little to measure) proves nothing and says so.
"""

from collections.abc import Mapping
from typing import Any

from engine.report.formats import NOT_AVAILABLE, percent

Evidence = Mapping[str, Any]
UNPROVEN = "One backtest is no evidence of an edge."
NAMES = {
    "sharpe": "Sharpe ratio per bar",
    "autocorrelation": "Autocorrelation, lag 1",
    "psr": "Probabilistic Sharpe ratio",
    "track_record": "Minimum track record",
    "trials": "Trials counted",
    "luck": "Luck alone",
    "dsr": "Deflated Sharpe ratio",
    "pbo": "Probability of overfitting",
    "twin": "Memoryless twin",
}
MEANING = {
    "sharpe": "Not per year; every test here uses it.",
    "autocorrelation": "Of each return with the one before. The tests take returns for close to "
    "independent: far from zero, they promise too much.",
    "psr": "Chance that the true Sharpe ratio is above zero, were this the only series ever tried.",
    "track_record": "Bars needed before luck is ruled out at 95 %, were it the only series.",
    "trials": "Every score seen on this data: each seed, setting, window and checkpoint, failed and "
    "abandoned ones too. The effective number counts correlated trials less; the larger is used.",
    "luck": "Sharpe ratio per bar that the best of so many trials without any skill would show.",
    "dsr": "Chance that the true Sharpe ratio is above what luck alone gives.",
    "pbo": "How often the checkpoint that was best on one half of the validation bars was no better "
    "than most on the other half. Noise alone gives anything from 0.2 to 0.8: a value below 0.5 "
    "proves nothing.",
    "twin": "The same network, its memory reset before every bar: only against it can memory be "
    "said to help.",
}


def verdict(found: Evidence | None) -> str:
    """Return the one sentence on whether there is an edge, with every gate that was not passed."""
    if not found:
        return UNPROVEN
    lacking = [gate for gate in found["gates"] if not gate["passed"]]
    why = "; ".join(f"{_lower(gate['name'])} {gate['text']}" for gate in lacking)
    return f"{_short(found)}{': ' if why else ''}{why}."


def table(found: Evidence | None) -> dict[str, Any]:
    """Return what the section of the page shows: the verdict, its gates, and one row a number."""
    if not found:
        return {"edge": "", "gates": [], "rows": []}
    return {"edge": _short(found), "gates": list(found["gates"]), "rows": _rows(found)}


def _short(found: Evidence) -> str:
    told = str(found["verdict"])
    return told[:1].upper() + told[1:]


def _rows(found: Evidence) -> list[dict[str, str]]:
    # Name, value, what it means, why it is n/a.
    tried = found["trials"] or {}
    values = {
        "sharpe": _number(found, "sharpe", "{:.4f}"),
        "autocorrelation": _number(found, "autocorrelation", "{:.2f}"),
        "psr": _percent(found, "psr"),
        "track_record": _number(found, "track_record", "{:,.0f} bars"),
        "trials": _trials(tried),
        "luck": _number(found, "luck", "{:.4f}"),
        "dsr": _percent(found, "dsr"),
        "pbo": _number(found, "pbo", "{:.2f}"),
        "twin": str(found["twin"] or "not run"),
    }
    more = {
        "track_record": f"{found['bars']:,} were tested.",
        "trials": _counted(tried),
        "luck": f"From the spread of {tried['measured']:,} Sharpe ratios." if found["luck"] else "",
        "pbo": _chosen(found, tried),
    }
    return [
        {
            "name": NAMES[key],
            "value": value,
            "text": f"{MEANING[key]} {more.get(key, '')}".strip(),
            "reason": found["reasons"].get(key, ""),
        }
        for key, value in values.items()
    ]


def foot(found: Evidence | None) -> list[str]:
    """Return the lines beneath the terminal's table."""
    if not found:
        return []
    tried = found["trials"] or {}
    parts = [
        f"Sharpe ratio {_number(found, 'sharpe', '{:.3f}')} a bar, "
        f"autocorrelation {_number(found, 'autocorrelation', '{:.2f}')}",
        f"above zero with {_percent(found, 'psr')} (PSR)",
        f"{_number(found, 'track_record', '{:,.0f}')} bars needed, {found['bars']:,} tested",
        f"deflated {_percent(found, 'dsr')} (DSR), trials {_trials(tried)}",
        f"probability of overfitting {_number(found, 'pbo', '{:.2f}')}",
    ]
    return ["; ".join(parts) + ".", verdict(found)]


def _trials(tried: dict[str, Any]) -> str:
    if not tried:
        return NOT_AVAILABLE
    return f"{tried['counted']:,}, effective {tried['effective']:,.1f}"


def _counted(tried: dict[str, Any]) -> str:
    if not tried:
        return ""
    lost = f"; {tried['lost']:,} return series are gone or were changed" if tried["lost"] else ""
    return f"Trainings and evaluations: {tried['rows']:,}{lost}."


def _chosen(found: Evidence, tried: dict[str, Any]) -> str:
    if found["pbo"] is None:
        return ""
    span = " to ".join(tried["span"])
    told = f"{tried['chosen_among']:,} checkpoints, {span}, {found['blocks']} blocks."
    several = tried.get("choices", 1)
    return f"Mean over {several} choices, each among up to {told}" if several > 1 else told


def _number(found: Evidence, key: str, form: str) -> str:
    return NOT_AVAILABLE if found[key] is None else form.format(found[key] + 0.0)


def _percent(found: Evidence, key: str) -> str:
    return NOT_AVAILABLE if found[key] is None else percent(found[key])


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
