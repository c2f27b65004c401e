"""Options that several commands share, and how a command ends."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: --set train.gamma=0.98")
]
ConfigOrNone = Annotated[
    str | None, typer.Argument(help="Settings file, or a name in configs/; not with --resume.")
]
Resume = Annotated[
    Path | None, typer.Option(metavar="RUN", help="Go on with a run folder, even a killed one.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Trainings at once; short for train.workers.")
]


def finish(result: dict[str, object], as_json: bool) -> None:
    """Print what a command returns, if asked, and leave with its exit code, 0 if it names none."""
    code = int(str(result.pop("exit_code", 0)))
    if as_json:
        from json import dumps

        typer.echo(dumps(result, indent=2, default=str))
    raise typer.Exit(code)
