"""`barwise walkforward`: train, choose and test in windows that move through the years."""

from engine.cli_options import ConfigOrNone, Json, Overrides, Resume, Workers, finish


def walkforward(
    config: ConfigOrNone = None,
    resume: Resume = None,
    workers: Workers = None,
    overrides: Overrides = None,
    json: Json = False,
) -> None:
    """Retrain as time goes on, over several seeds; test each agent on the bars that come next."""
    from engine.run.walkforward.commands import run_walkforward

    chosen = (*(overrides or ()), *([f"train.workers={workers}"] if workers else ()))
    finish(run_walkforward(config, chosen, resume, json), json)
