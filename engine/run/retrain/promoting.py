"""Changing the champion: never while a paper session is being decided."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from engine.clock import Clock
from engine.errors import UsageError
from engine.run.console import say
from engine.run.paper.lock import held
from engine.run.paper.room import LOCK
from engine.settings import Settings

_POLL_S = 1.0


@contextmanager
def account_at_rest(settings: Settings, clock: Clock) -> Iterator[None]:
    """Hold the paper account's own lock for as long as the block runs; without an account, nothing.

    Raises: UsageError when the account was at work for all of `retrain.lock_minutes`.
    """
    folder = Path(settings.paper.state_dir)
    with ExitStack() as stack:
        if folder.is_dir():
            _wait(stack, folder / LOCK, clock, settings.retrain.lock_minutes)
        yield


def _wait(stack: ExitStack, path: Path, clock: Clock, minutes: float) -> None:
    until, told = clock.now() + timedelta(minutes=minutes), False
    while True:
        try:
            stack.enter_context(held(path))
        except UsageError as error:
            if clock.now() >= until:
                raise UsageError(
                    f"the champion stays: the paper account was at work for {minutes:g} minutes "
                    f"({error}); try again, or raise retrain.lock_minutes"
                ) from error
        else:
            return
        if not told:
            say(f"a paper session is at work; waiting up to {minutes:g} minutes for {path}")
            told = True
        clock.sleep(_POLL_S)
