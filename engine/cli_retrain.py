"""`barwise retrain`, `promote`, `rollback`, `registry ...`: who trades, and how it came to that."""

from typing import Annotated

import typer

from engine.cli_options import ConfigOrNone, Json, Overrides, Resume, finish

registry_app = typer.Typer(
    help="The checkpoints that may trade, where they come from, and the champion.",
    no_args_is_help=True,
)

Config = Annotated[
    str | None,
    typer.Option("--config", help="Settings with registry.dir and paper.state_dir; default: here."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


def retrain(
    config: ConfigOrNone = None,
    resume: Resume = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train challengers on newer data; promote the one picked by validation if rules allow it."""
    from engine.run.retrain.commands import run_retrain

    finish(run_retrain(config, tuple(overrides or ()), resume, json), json)


def promote(
    subject: Annotated[
        str, typer.Argument(metavar="RUN_OR_CHECKPOINT_OR_ID", help="What is to be the champion.")
    ],
    reason: Reason = "by hand",
    config: Config = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even one that the account of --config would decline.")
    ] = False,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Make a checkpoint the champion, by hand; a paper account that follows it takes it up."""
    from engine.run.retrain.registry_commands import promote as crown
    from engine.run.retrain.registry_commands import registry_settings

    settings = registry_settings(config, tuple(overrides or ()))
    finish(crown(subject, reason, settings, json, anyway), json)


def rollback(
    reason: Reason = "by hand",
    config: Config = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Go back to the champion before this one; again, one more; promote undoes it."""
    from engine.run.retrain.registry_commands import registry_settings
    from engine.run.retrain.registry_commands import rollback as back

    finish(back(reason, registry_settings(config, tuple(overrides or ())), json), json)


@registry_app.command("list")
def list_(config: Config = None, overrides: Overrides = None, json: Json = False) -> None:
    """List every checkpoint and every change of the champion, oldest first."""
    from engine.run.retrain.registry_commands import list_registry, registry_settings

    finish(list_registry(registry_settings(config, tuple(overrides or ())), json), json)


@registry_app.command()
def show(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="Beginning of an id; default the champion.")
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Show where one checkpoint comes from."""
    from engine.run.retrain.registry_commands import registry_settings
    from engine.run.retrain.registry_commands import show as tell

    finish(tell(registry_settings(config, tuple(overrides or ())), name, json), json)


@registry_app.command()
def verify(config: Config = None, overrides: Overrides = None, json: Json = False) -> None:
    """Prove that no event was edited or removed and every copy is what was added."""
    from engine.run.retrain.registry_commands import registry_settings
    from engine.run.retrain.registry_commands import verify as prove

    finish(prove(registry_settings(config, tuple(overrides or ())), json), json)
