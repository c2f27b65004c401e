"""The command line: `barwise ...`. Heavy imports stay inside commands, so that help is instant.

Exit codes: 0 done, 1 the run failed, 2 wrong use. With --json one object goes to stdout and
everything else to stderr.
"""

import errno
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from engine import VERSION
from engine.cli_check import check_app
from engine.cli_compare import compare
from engine.cli_options import ConfigOrNone, Json, Overrides, Resume, finish
from engine.cli_paper import paper_app
from engine.cli_retrain import promote, registry_app, retrain, rollback
from engine.cli_trials import trials_app
from engine.cli_walkforward import walkforward
from engine.errors import TradingError, UsageError
from engine.ownership import require_own_packages

app = typer.Typer(
    name="barwise",
    help="Train an LSTM trading agent, backtest it, and read an honest report. Paper trading only.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Look at market data, check it, clean it, fetch it.", no_args_is_help=True
)
config_app = typer.Typer(help="Settings.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(check_app, name="check")
app.add_typer(config_app, name="config")
app.add_typer(paper_app, name="paper")
app.add_typer(trials_app, name="trials")
app.add_typer(registry_app, name="registry")
for command in (walkforward, compare, retrain, promote, rollback):
    app.command()(command)

DAY = ["%Y-%m-%d"]
Config = Annotated[str, typer.Argument(help="Settings file, or the name of one in configs/.")]
FaultScript = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Fault script: TOML with [[rule]] tables.")
]
MaybeCheckpoint = Annotated[
    Path | None, typer.Option("--checkpoint", help="Checkpoint folder; baselines alone without.")
]


_WAY_OUT = {
    errno.ENOSPC: "; make room on the disk",
    errno.EDQUOT: "; make room on the disk",
    errno.EROFS: "; name a folder that can be written",
    errno.EACCES: "; name a folder that can be written, or give this user the right to write",
    errno.ENOTDIR: "; name a folder that can be written",
}


def main() -> None:
    """Run the command line and leave with the right exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # features named module:function are found beside the user
    try:
        require_own_packages()
        app(args=arguments)
    except SystemExit as done:  # typer leaves this way, with 2 for wrong use
        if done.code == 130:
            typer.echo("stopped by Ctrl-C", err=True)
        return done.code if isinstance(done.code, int) else 1
    except UsageError as error:
        typer.echo(f"error: {error}", err=True)
        return 2
    except (TradingError, OSError) as error:  # a folder that cannot be written names itself
        typer.echo(f"error: {error}{_WAY_OUT.get(getattr(error, 'errno', 0), '')}", err=True)
        return 1
    return 0


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"barwise {VERSION}")
        raise typer.Exit


@app.command()
def demo(overrides: Overrides = None, json: Json = False) -> None:
    """Train a small agent on bundled real prices, backtest it on untouched years, write a report."""
    from engine.run.commands import run_demo

    finish(run_demo(tuple(overrides or ()), json), json)


@app.command()
def train(
    config: ConfigOrNone = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds, side by side, from train.seed on.")
    ] = None,
    resume: Resume = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda; short for --set train.device=...")
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Train an agent; the best checkpoint by validation score is kept in the run folder."""
    from engine.run.commands import run_train

    chosen = (*(overrides or ()), *([f"train.device={device}"] if device else ()))
    finish(run_train(config, chosen, json, seeds, resume), json)


@app.command()
def backtest(
    config: Config,
    checkpoint: MaybeCheckpoint = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Backtest a checkpoint on the test dates through Backtrader, beside the baselines."""
    from engine.run.commands import run_backtest

    finish(run_backtest(config, checkpoint, tuple(overrides or ()), json), json)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    json: Json = False,
) -> None:
    """Write the report page of a run folder again and print its table."""
    from engine.run.commands import run_report

    finish(run_report(run_folder, json), json)


@app.command()
def exchange(
    config: Annotated[
        str | None, typer.Argument(help="Settings file, or a name in configs/; its data is served.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="First session to trade, YYYY-MM-DD.")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="Clock speed, x real time; without, it moves when told.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 = any free port.")] = 0,
    faults: FaultScript = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Serve past bars as an exchange that speaks Alpaca's API, on this machine only."""
    from engine.run.rehearse.exchange_commands import run_exchange

    run_exchange(config, tuple(overrides or ()), start, speed, port, faults, json)


@app.command()
def rehearse(
    config: Config,
    checkpoint: Annotated[Path | None, typer.Option(help="Checkpoint folder.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="First session decided on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Last session decided on.")] = None,
    faults: FaultScript = None,
    chaos: Annotated[int | None, typer.Option(min=0, help="Seed; 8 % of requests fail.")] = None,
    promote: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATE=FOLDER", help="Another agent from a session on; DATE=rollback goes back."
        ),
    ] = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Live through past sessions as paper trading would, and compare with the backtest."""
    from engine.run.rehearse.commands import run_rehearse

    chosen, changes = tuple(overrides or ()), tuple(promote or ())
    finish(run_rehearse(config, checkpoint, start, end, faults, chaos, changes, chosen, json), json)


@app.command()
def doctor(
    config: Annotated[
        str | None, typer.Argument(help="Settings file, or the name of one in configs/.")
    ] = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Ask the account what no document says; cancels its order."),
    ] = False,
    probe_orders: Annotated[
        bool,
        typer.Option("--probe-orders", help="With more orders; leaves one until the next close."),
    ] = False,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Look at what paper trading needs: this machine, the keys, the venue."""
    from engine.clock import SystemClock
    from engine.run.build import find_settings
    from engine.run.paper.doctor import Probing, run_doctor

    settings = find_settings(config, tuple(overrides or ()))
    wanted = Probing.ORDERS if probe_orders else Probing.ONE if probe else Probing.NONE
    finish(run_doctor(settings, os.environ, Path(), SystemClock(), wanted, json), json)


@data_app.command("list")
def data_list(json: Json = False) -> None:
    """List the data that comes with barwise, and the sources."""
    from engine.run.data_commands import list_data

    finish(list_data(json), json)


@data_app.command("check")
def data_check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files or folders.")],
    json: Json = False,
) -> None:
    """Print every defect found in market data files; exit code 1 when there is an error."""
    from engine.run.data_commands import check_data

    finish(check_data(files, json), json)


@data_app.command("clean")
def data_clean(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to repair.")],
    out: Annotated[Path, typer.Option("--out", help="Where the repaired copy goes.")],
    clamp: Annotated[
        bool, typer.Option(help="Also widen high and low to hold open and close.")
    ] = False,
    calendar: Annotated[str, typer.Option(help="XNYS, or none for other markets.")] = "XNYS",
    json: Json = False,
) -> None:
    """Write a repaired copy of a file and list every repair."""
    from engine.run.data_commands import clean_data

    finish(clean_data(file, out, clamp, calendar, json), json)


@data_app.command("fetch")
def data_fetch(
    first: Annotated[datetime, typer.Option("--from", formats=DAY, help="First date.")],
    last: Annotated[datetime, typer.Option("--to", formats=DAY, help="Last date.")],
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL...", help="Tickers; or --config.")
    ] = None,
    feed: Annotated[str | None, typer.Option(help="iex, sip, otc or boats.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder to keep the bars in.")] = None,
    config: Annotated[
        str | None, typer.Option(help="Settings with data.symbols and the data host.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Ask for all of it once more, to find revisions.")
    ] = False,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Download daily bars and events from Alpaca; go on where an earlier download stopped."""
    from engine.run.build import find_settings
    from engine.run.data_commands import fetch_data

    chosen = [*(overrides or ()), *([f"data.feed={feed}"] if feed else ())]
    chosen += [f'data.cache="{cache}"'] if cache else []
    settings = find_settings(config, tuple(chosen))
    finish(fetch_data(symbols or [], first.date(), last.date(), settings, again, json), json)


@config_app.command("show")
def config_show(config: Config, overrides: Overrides = None, json: Json = False) -> None:
    """Print the settings as they are after defaults and overrides."""
    from engine.run.commands import show_config

    finish(show_config(config, tuple(overrides or ()), json), json)
