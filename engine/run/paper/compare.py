"""`barwise paper compare`: the account beside the backtest of its own bars, as a run folder and a page."""

from pathlib import Path
from typing import Any

from engine.book import Book
from engine.errors import UsageError
from engine.journal import Journal
from engine.report.folder import PAGE, RunFolder
from engine.report.formats import FILL_RULES
from engine.run.backtest import run_baselines
from engine.run.build import run_folder
from engine.run.console import echo
from engine.run.evaluation import costs_text, turnover_a_bar
from engine.run.outputs import write_run
from engine.run.paper.against import told
from engine.run.paper.lived import Lived, lived, record_of
from engine.run.paper.room import JOURNAL
from engine.settings import Settings

Result = dict[str, Any]
RIVAL = "buy_and_hold"
REPLAY = "backtest"  # the curve of the replay


def compare(settings: Settings, out: Path | None, as_json: bool) -> Result:
    """Replay the journal's bars, write a run folder with its page, print the table.

    Raises: UsageError where no account has decided yet.
    """
    life = life_of(Path(settings.paper.state_dir))
    named = settings.model_copy(update={"name": f"{settings.name}-paper"})
    with run_folder(named, out) as folder:
        found = write_comparison(folder, named, life)
    if not as_json:
        show(folder)
    return {"run": str(folder), "page": str(folder / PAGE), "paper": found}


def show(folder: Path) -> None:
    """Print the tables of a comparison that was written."""
    from engine.report.paper import lines
    from engine.report.terminal import print_run

    print_run(folder)
    for line in lines(RunFolder(folder).read().summary["paper"]):
        echo(line)


def life_of(folder: Path) -> Lived:
    """Read the journal of an account, its chain proven."""
    path = folder / JOURNAL
    if not path.exists():
        raise UsageError(
            f"{path}: no journal of a paper account, nothing to compare; name its folder with "
            "--set paper.state_dir=FOLDER"
        )
    with Journal(path) as journal:
        journal.verify()
        return lived(list(journal.entries()))


def write_comparison(folder: Path, settings: Settings, life: Lived) -> Result:
    """Write the run folder and the page of an account; return the numbers of the comparison."""
    from engine.report.page import write_page

    if len(life.decided) < 2:
        raise UsageError(
            f"expected two sessions or more, found {len(life.decided)} decided on; come back after "
            "the next close"
        )
    settings = _of_account(settings, life)
    found, replayed = told(life, settings)
    agent = record_of(life)
    first, last = (life.bars.index_of(life.sessions[at]) for at in (0, -1))
    baselines = run_baselines(settings, life.bars, first, last, turnover_a_bar(agent))
    curves = ({REPLAY: replayed} if replayed else {}) | baselines
    write_run(
        RunFolder(folder), settings, life.bars, agent, curves, _summary(settings, life, found)
    )
    write_page(folder)
    return found


def _of_account(settings: Settings, life: Lived) -> Settings:
    # The account's own symbols and starting equity; a journal knows too few bars for slow baselines.
    start: Book = life.book
    return settings.model_copy(
        update={
            "data": settings.data.model_copy(update={"symbols": life.bars.symbols}),
            "backtest": settings.backtest.model_copy(
                update={"cash": float(start.equity()[0]), "baselines": (RIVAL,)}
            ),
        }
    )


def _summary(settings: Settings, life: Lived, found: Result) -> Result:
    costs, venue, last = settings.costs, settings.venue, found["drift"]["last"]
    drifted = last["warnings"] if last else []
    return {
        "name": settings.name,
        "title": settings.name,
        "agent": ", then ".join(agent["id"] for agent in found["agents"]),
        "learned": True,
        "seed": None,
        "costs": f"{costs_text(costs)}, modelled: booked in our own books",
        "fill": f"at the paper venue; the backtest: {FILL_RULES[venue.fill]}, {venue.account} account",
        "warnings": [f"Drift on {found['to']}: {text}. It stops nothing." for text in drifted],
        "checks": [],
        "paper": found,
    }
