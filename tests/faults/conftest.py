"""What trials of death share: one process that forks runners, one agent, and a folder in memory."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.kill_oracle import violations
from tests.kill_runner import Runner
from tests.kill_trials import Kill, Scenario, Trial, run_trial

MEMORY = Path("/dev/shm")  # a kill leaves what was written to the kernel, so no disk has to turn
Trials = Callable[..., Trial]


@pytest.fixture(scope="session")
def lived(agent: Path) -> Iterator[Trials]:
    """Run a trial: `lived(scenario, kills, bug)`."""
    runner, number = Runner(), count()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:

        def live(scenario: Scenario, kills: Sequence[Kill] = (), bug: str | None = None) -> Trial:
            return run_trial(runner, Path(folder) / f"{next(number)}", agent, scenario, kills, bug)

        yield live
        runner.close()


@pytest.fixture(scope="session")
def undisturbed(lived: Trials) -> Callable[[Scenario], Trial]:
    """Return the same scenario without a death; each is run, and found in order, once."""
    known: dict[tuple[object, ...], Trial] = {}

    def trial(scenario: Scenario) -> Trial:
        told = repr((scenario.exchange, scenario.rules, scenario.agents, scenario.changes))
        key = (scenario.seed, scenario.looks, told)
        if key not in known:
            known[key] = lived(scenario)
            assert violations(known[key]) == []
        return known[key]

    return trial


@pytest.fixture(scope="session")
def seeds(pytestconfig: pytest.Config) -> range:
    """The seeds of every kill point: 5, or what --kill-seeds says."""
    return range(pytestconfig.getoption("--kill-seeds"))
