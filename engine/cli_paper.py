"""`barwise paper ...`: one paper account, looked at once or every session. Paper only, always."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from engine.cli_options import Json, Overrides, finish

paper_app = typer.Typer(
    help="Trade a paper account with a trained agent: once, or every NYSE session.",
    no_args_is_help=True,
)

Config = Annotated[str, typer.Argument(help="Settings file, or the name of one in configs/.")]
Checkpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="Checkpoint folder; default paper.checkpoint.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the journal.")]


@paper_app.command()
def once(
    config: Config,
    session: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Refuse to run for any other session."),
    ] = None,
    checkpoint: Checkpoint = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Look at the account once and do what is due; safe to repeat at any time."""
    from engine.run.paper.commands import run_once, settings_of

    settings = settings_of(config, tuple(overrides or ()), checkpoint)
    finish(run_once(settings, session.date() if session else None, json), json)


@paper_app.command()
def run(
    config: Config,
    checkpoint: Checkpoint = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Look at the account at the right times of every session, until a signal comes."""
    from engine.run.paper.commands import run_forever, settings_of

    finish(run_forever(settings_of(config, tuple(overrides or ()), checkpoint)), json)


@paper_app.command()
def status(config: Config, overrides: Overrides = None, json: Json = False) -> None:
    """Show how the account stands, from its journal; the venue is not asked."""
    from engine.run.paper.commands import settings_of
    from engine.run.paper.status import status as show

    finish(show(settings_of(config, tuple(overrides or ()), None), json), json)


@paper_app.command()
def halt(
    config: Config,
    reason: Reason = "by hand",
    cancel: Annotated[bool, typer.Option("--cancel", help="Also cancel every open order.")] = False,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Switch every further order off, at once."""
    from engine.run.paper.commands import halt as stop
    from engine.run.paper.commands import settings_of

    finish(stop(settings_of(config, tuple(overrides or ()), None), reason, cancel, json), json)


@paper_app.command()
def resume(
    config: Config,
    reason: Reason,
    rebase: Annotated[
        bool, typer.Option("--rebase", help="Go on from what the venue holds, not from our books.")
    ] = False,
    new_checkpoint: Annotated[
        bool, typer.Option("--new-checkpoint", help="Decide with another agent from a burn-in on.")
    ] = False,
    checkpoint: Checkpoint = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Go on after a halt, once a person has looked."""
    from engine.run.paper.commands import resume as go_on
    from engine.run.paper.commands import settings_of

    settings = settings_of(config, tuple(overrides or ()), checkpoint)
    finish(go_on(settings, reason, rebase, new_checkpoint, json), json)


@paper_app.command()
def reconcile(
    config: Config,
    checkpoint: Checkpoint = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Book reported fills and show how our books and the venue's differ; nothing is sent."""
    from engine.run.paper.commands import reconcile as compare
    from engine.run.paper.commands import settings_of

    finish(compare(settings_of(config, tuple(overrides or ()), checkpoint), json), json)


@paper_app.command()
def export(
    config: Config,
    out: Annotated[Path, typer.Option("--out", help="Folder for the tables.")],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Write the journal as CSV tables: decisions, orders, fills, equity, halts."""
    from engine.run.paper.commands import settings_of
    from engine.run.paper.export import export as write

    finish(write(settings_of(config, tuple(overrides or ()), None), out, json), json)


@paper_app.command()
def compare(
    config: Config,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the page; default a new run folder.")
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Replay the account's own bars as a backtest; show agreement, fill gap, drift, on a page."""
    from engine.run.paper.commands import settings_of
    from engine.run.paper.compare import compare as beside

    finish(beside(settings_of(config, tuple(overrides or ()), None), out, json), json)
