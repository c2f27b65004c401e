"""The open questions about a paper account: put to it, printed, and written into a file."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

from brokers.alpaca.keys import Keys
from engine.clock import Clock
from engine.run.console import echo
from engine.settings import Settings

FILE = "capability.json"
USUAL_SYMBOL = "SPY"
Result = dict[str, Any]


def ask_open_questions(
    settings: Settings, keys: Keys, clock: Clock, orders: bool, as_json: bool
) -> Result:
    """Probe the account, write what was found into a file, and name the file.

    Raises: UsageError while a runner works on the account.
    """
    from brokers.alpaca.probe import NOT_ASKED, Probe
    from engine.run.paper.lock import held
    from engine.run.paper.room import LOCK

    state = Path(settings.paper.state_dir)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    asking = Probe(settings.paper, keys, clock, symbol_of(settings))
    with held(state / LOCK), closing(asking) as probe, probe.placing():
        parts = [probe.look, probe.order, *([probe.orders] if orders else [])]
        findings = [finding for part in parts for finding in part()]
    told: Result = {
        "host": settings.paper.trading_url,
        "at": clock.now().isoformat(),
        "findings": [{"question": x.question, "found": x.found} for x in findings],
        "not_asked": list(NOT_ASKED),
        "exchange": {name: value for x in findings for name, value in x.settings.items()},
    }
    path = state / FILE
    path.write_text(json.dumps(told, indent=2) + "\n")
    if not as_json:
        for finding in findings:
            echo(f"  {finding.question}: {finding.found}")
        echo(f"written to {path}")
    return {"probe": told, "file": str(path)}


def symbol_of(settings: Settings) -> str:
    """Return the symbol to ask about: the first that is traded."""
    return settings.data.symbols[0] if settings.data.symbols else USUAL_SYMBOL
