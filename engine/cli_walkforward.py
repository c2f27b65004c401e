"""`barwise walkforward`: train, choose and test in windows that move through the years."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli_options import Json, Overrides, finish


def walkforward(
    config: Annotated[
        str | None, typer.Argument(help="Settings file, or a name in configs/; not with --resume.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run folder, even a killed one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trainings at once; short for train.workers.")
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Retrain as time goes on, over several seeds; test each agent on the bars that come next."""
    from engine.run.walkforward_commands import run_walkforward

    chosen = (*(overrides or ()), *([f"train.workers={workers}"] if workers else ()))
    finish(run_walkforward(config, chosen, resume, json), json)
