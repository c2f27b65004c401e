"""`barwise compare RUN RUN ...`: runs of any kind side by side."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli_options import Json, finish


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folders of backtests, trainings, walk-forwards, retrainings, paper exports; the first "
            "one is what the others are compared with.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The page to write.")] = Path("compare.html"),
    json: Json = False,
) -> None:
    """Compare runs on the dates they share; say loudly where they are not comparable."""
    from engine.run.compare_commands import run_compare

    finish(run_compare(runs, out, json), json)
