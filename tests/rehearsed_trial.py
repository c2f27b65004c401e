"""A rehearsal as a trial: seen from outside, so that the oracle of deaths can judge its invariants."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest

from brokers.exchange.exchange import Exchange
from engine.run.paper.result import CycleResult
from engine.run.rehearse import run as module
from engine.run.rehearse.run import Play, Rehearsed, exchange_settings
from tests.kill_runner import RESULTS, End
from tests.kill_trials import Scenario, Trial, Watched


@dataclass
class Seen:
    """What came of a rehearsal, and the same as a trial."""

    play: Play
    found: Rehearsed
    trial: Trial


def rehearse_seen(play: Play, folder: Path) -> Seen:
    """Rehearse into `folder`/account and look at the exchange all the while."""
    account, made = folder / "account", []
    account.mkdir(parents=True)

    class Kept(Exchange):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            made.append(self)
            faults.exchange = self

    faults = Watched((), None, account)

    def told(result: CycleResult) -> None:
        line = {"state": result.state, "message": result.message, "fold": None}
        with (folder / RESULTS).open("a") as file:
            file.write(json.dumps(line) + "\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Exchange", Kept)
        found = module.rehearse(play, account, lambda clock: faults, told=told)
    start: date = play.sessions[0].item()
    scenario = Scenario(0, play.bars, start, (), exchange_settings(play.settings))
    trial = Trial(
        scenario, folder, [End(0, 0)], [], faults.sent, list(faults.log), made[0].dump(),
        made[0].state.account_id, made[0].secret,
    )  # fmt: skip
    return Seen(play, found, trial)
