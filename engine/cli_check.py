"""`barwise check ...`: prove a configuration before its numbers are believed."""

from pathlib import Path
from typing import Annotated

import typer

from engine.cli_options import ConfigOrNone, Json, Overrides, Resume, Workers, finish

check_app = typer.Typer(
    help="Prove a configuration: parity, look-ahead, memory, placebo.", no_args_is_help=True
)

Config = Annotated[str, typer.Argument(help="Settings file, or the name of one in configs/.")]


@check_app.command()
def parity(
    config: Config,
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint folder.")],
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Prove that environment, plain replay and Backtrader make the same decisions."""
    from engine.run.check.commands import run_parity

    finish(run_parity(config, checkpoint, tuple(overrides or ()), json), json)


@check_app.command()
def lookahead(
    config: Config,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint folder; a probe that sees all without.")
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Prove that no future bar moves an earlier observation, memory or action."""
    from engine.run.check.commands import run_lookahead

    finish(run_lookahead(config, checkpoint, tuple(overrides or ()), json), json)


@check_app.command()
def memory(
    subject: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT_OR_RUN", help="Checkpoint or run folder.")
    ],
    config: Annotated[
        str | None, typer.Option(help="Settings, where the folder does not lie in its run.")
    ] = None,
    limit: Annotated[
        float, typer.Option(min=0, max=1, help="Share of changed actions that still passes.")
    ] = 0.01,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Measure how much actions and equity depend on the length of the burn-in."""
    from engine.run.check.memory_commands import run_memory

    finish(run_memory(subject, config, limit, tuple(overrides or ()), json), json)


@check_app.command()
def placebo(
    config: ConfigOrNone = None,
    seeds: Annotated[
        int | None, typer.Option(min=2, help="Agents on each market, from train.seed on; 20.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Some of the markets: Q1,Q3. All: Q1-Q6.")
    ] = None,
    resume: Resume = None,
    workers: Workers = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train on markets without an edge, where none may be found, and on one whose edge is known."""
    from engine.run.check.placebo_commands import run_placebo

    chosen = (*(overrides or ()), *([f"train.workers={workers}"] if workers else ()))
    finish(run_placebo(config, chosen, seeds, only, resume, json), json)
