"""Options that several commands share, and how a command ends."""

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: --set train.gamma=0.98")
]


def finish(result: dict[str, object], as_json: bool) -> None:
    """Print what a command returns, if asked, and leave with its exit code, 0 if it names none."""
    code = int(str(result.pop("exit_code", 0)))
    if as_json:
        from json import dumps

        typer.echo(dumps(result, indent=2, default=str))
    raise typer.Exit(code)
