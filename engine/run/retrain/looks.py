"""How often the sessions of a judgement were looked at before, by the trial ledger.

Counted are the judgements of other retrainings, and tests of agents of this line: the champions of
the registry and whatever any retraining of the ledger trained. Tests of other agents on these sessions
are not: the ledger cannot tell what a person learned from them. Nor is what a paper account showed.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engine.checkpoint import POLICY, read
from engine.errors import TradingError
from engine.registry import Registry
from engine.report.retraining import JUDGED
from engine.run.retrain.plan import Retraining
from engine.trials import Ledger, Trial


@dataclass(frozen=True, slots=True)
class Looks:
    """Earlier looks at sessions: by other retrainings, and by tests of an agent of the line."""

    judgements: int = 0
    tests: int = 0

    @property
    def number(self) -> int:
        """Which look the next one is."""
        return 1 + self.judgements + self.tests


def earlier_looks(work: Retraining, first: int, checkpoints: Mapping[int, Path]) -> Looks:
    """Count what looked before at any session from bar `first` on; `checkpoints` are the challengers.

    A test that was run again is another look; a judgement that was killed and resumed is one.
    """
    if not work.settings.ledger.is_file():
        return Looks()
    with Ledger(work.settings.ledger) as ledger:
        trials, home = ledger.trials(), ledger.path.parent
    span = (work.day(first), work.day(work.held_back.last))
    seen = [trial for trial in trials if _is_test(trial) and _shares(trial, span)]
    judged = {place for trial in seen if (place := _place(home, trial)).name == JUDGED}
    line = {read(path).sha256[POLICY] for path in checkpoints.values()}
    line |= {*_trained(home, trials), *_kept(Path(work.settings.registry.dir))}
    tests = [t for t in seen if _place(home, t).name != JUDGED and t.plan.checkpoint in line]
    return Looks(len(judged - {(work.folder / JUDGED).resolve()}), len(tests))


def _is_test(trial: Trial) -> bool:
    return trial.plan.purpose == "test" and bool(trial.looks)


def _shares(trial: Trial, span: tuple[str, str]) -> bool:
    first, last = trial.plan.segments["test"]
    return first <= span[1] and last >= span[0]


def _place(home: Path, trial: Trial) -> Path:
    return (home / trial.plan.folder).resolve()


def _trained(home: Path, trials: list[Trial]) -> Iterator[str]:
    # What came out of any retraining: its folder has been judged in, its trainings lie beside that.
    places = {trial.number: _place(home, trial) for trial in trials}
    retrainings = {place.parent for place in places.values() if place.name == JUDGED}
    for trial in trials:
        if trial.chosen and places[trial.number].parent in retrainings:
            yield trial.chosen


def _kept(path: Path) -> Iterator[str]:
    # A copy that was damaged or taken away decides nothing any more, and cannot be recognised.
    registry = Registry(path)
    for event in registry.history():
        if event.kind == "added":
            with suppress(TradingError, OSError):
                yield read(registry.place(event.body["digest"])).sha256[POLICY]
