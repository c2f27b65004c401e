"""The parts of one paper account, assembled once from settings: who trades what, where and how."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from brokers.alpaca.bars import source_name
from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from engine import checkpoint
from engine.checkpoint import CheckpointInfo
from engine.clock import Clock
from engine.errors import CheckpointError, SettingsError
from engine.journal import Proof
from engine.run.build import spec_of
from engine.run.paper.feeds import require_feed
from engine.run.paper.state import State
from engine.settings import Settings
from engine.settings_paper import GuardSettings, ScheduleSettings
from engine.step import StepPolicy
from engine.trader import TraderSpec

CALENDAR = "XNYS"
JOURNAL, LOCK, KILL = "journal.sqlite", "lock", "KILL"


@dataclass
class Room:
    """Everything a look at the account needs besides the journal.

    `seen` is what the last look of this process left behind: a proof and the state at it. Throwing
    it away changes nothing but time.
    """

    settings: Settings
    gateway: Gateway
    clock: Clock
    folder: Path
    symbols: tuple[str, ...]
    checkpoint: Path
    seen: tuple[Proof, State] | None = None
    durable: bool = True  # False where a loss of power may cost the journal: a rehearsal
    _policy: StepPolicy | None = field(default=None, repr=False)

    @property
    def guards(self) -> GuardSettings:
        """The stops for the whole account."""
        return self.settings.paper.guards

    @property
    def hours(self) -> ScheduleSettings:
        """When the day's work is done."""
        return self.settings.paper.schedule

    @property
    def kill_file(self) -> Path:
        """The file that stops every order while it exists."""
        return self.folder / KILL

    def policy(self) -> StepPolicy:
        """Return the deployed policy; its files are proven anew each time.

        Raises: CheckpointError when they changed under a running process.
        """
        info = checkpoint.read(self.checkpoint)
        if self._policy is None:
            self._policy = StepPolicy.load(self.checkpoint)
        if self._policy.info != info:
            raise CheckpointError(
                f"{self.checkpoint}: expected the policy this process started with, found another; "
                "start barwise anew and, if the change is meant, resume with --new-checkpoint"
            )
        return self._policy

    def spec(self, info: CheckpointInfo) -> TraderSpec:
        """Return how the agent decides for these symbols under these settings."""
        return spec_of(info, self.settings, len(self.symbols))

    def minutes(self, name: str) -> timedelta:
        """Return one of the hours of the schedule as a span of time."""
        return timedelta(minutes=getattr(self.hours, name))


def furnish(settings: Settings, keys: Keys, clock: Clock) -> Room:
    """Assemble a paper account.

    Raises: SettingsError naming what is missing; CheckpointError for an agent of another feed.
    """
    paper = settings.paper
    if paper.checkpoint is None:
        raise SettingsError(
            "paper.checkpoint: expected the folder of a trained agent, found nothing; set it, or "
            "pass --checkpoint"
        )
    if not settings.data.symbols:
        raise SettingsError("data.symbols: expected the symbols to trade, found none; name them")
    if settings.data.calendar != CALENDAR:
        raise SettingsError(
            f'data.calendar: paper trading follows "{CALENDAR}", found "{settings.data.calendar}"'
        )
    if settings.venue.pay_dividends:
        raise SettingsError(
            "venue.pay_dividends: a paper account pays no dividends, found true; set it to false, or "
            "our books and the venue's part on the first ex-date"
        )
    if settings.venue.fill != "open":
        raise SettingsError(
            "venue.fill: orders of a paper account fill at the next open, found "
            f'"{settings.venue.fill}"; set venue.fill = "open"'
        )
    info = checkpoint.read(Path(paper.checkpoint))
    require_feed(info.trained_on, source_name(paper.feed), paper.allow_feed)
    folder = Path(paper.state_dir)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Room(
        settings=settings,
        gateway=Gateway(paper, keys, clock),
        clock=clock,
        folder=folder,
        symbols=settings.data.symbols,
        checkpoint=Path(paper.checkpoint),
    )
