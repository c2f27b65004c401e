"""`barwise trials ...`: what was ever tried on a data set, and the proof that nothing was removed."""

from typing import Annotated

import typer

from engine.cli_options import Json, Overrides, finish

trials_app = typer.Typer(
    help="The ledger of every training and evaluation, failed ones too.", no_args_is_help=True
)

Config = Annotated[
    str | None,
    typer.Argument(help="Settings file, or a name in configs/; default runs/trials.sqlite."),
]
Data = Annotated[str, typer.Option("--data", metavar="HASH", help="First letters of a data hash.")]


@trials_app.command("list")
def list_(
    config: Config = None, data: Data = "", overrides: Overrides = None, json: Json = False
) -> None:
    """List every trial, oldest first, and how many count on each data set."""
    from engine.run.trials_commands import list_trials

    finish(list_trials(config, tuple(overrides or ()), data, json), json)


@trials_app.command()
def verify(
    config: Config = None, data: Data = "", overrides: Overrides = None, json: Json = False
) -> None:
    """Prove that no row was removed or edited; exit code 1 where one was."""
    from engine.run.trials_commands import verify_trials

    finish(verify_trials(config, tuple(overrides or ()), data, json), json)
