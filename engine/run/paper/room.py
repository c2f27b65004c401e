"""The parts of one paper account, assembled once from settings: who trades what, where and how."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brokers.alpaca.bars import source_name
from brokers.alpaca.keys import Keys
from engine import checkpoint
from engine.checkpoint import CheckpointInfo
from engine.clock import Clock
from engine.errors import CheckpointError, SettingsError, UsageError
from engine.journal import Proof
from engine.registry import Champion, Registry
from engine.run.build import require_checkpoint, spec_of
from engine.run.paper.feeds import require_feed
from engine.run.paper.state import State
from engine.settings import Settings
from engine.settings_paper import CHAMPION, GuardSettings, ScheduleSettings
from engine.step import StepPolicy
from engine.trader import TraderSpec

if TYPE_CHECKING:
    from brokers.alpaca.gateway import Gateway

CALENDAR = "XNYS"
JOURNAL, LOCK, KILL = "journal.sqlite", "lock", "KILL"


@dataclass
class Room:
    """Everything a look at the account needs besides the journal.

    `seen` is what the last look of this process left behind: a proof and the state at it. Throwing
    it away changes nothing but time.
    """

    settings: Settings
    gateway: "Gateway"
    clock: Clock
    folder: Path
    symbols: tuple[str, ...]
    checkpoint: Path
    registry: Registry | None = None
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
        moved = self._policy is not None and self._policy.info != info
        if self._policy is None or (moved and self.registry is not None):
            self._policy = StepPolicy.load(self.checkpoint)
        if self._policy.info != info:
            raise CheckpointError(
                f"{self.checkpoint}: expected the policy this process started with, found another; "
                "start barwise anew and, if the change is meant, resume with --new-checkpoint"
            )
        return self._policy

    def turn_to(self, digest: str | None) -> None:
        """Point to the agent that the journal names, if agents come from a registry.

        What stands there need not be the champion any more; it is proven by whoever reads it.
        """
        if self.registry is not None and digest is not None:
            self.checkpoint = self.registry.place(digest)

    def choose(self) -> dict[str, Any]:
        """Point to the agent that the settings name now; return what the journal says of it.

        Raises: UsageError where the registry has no champion; CheckpointError.
        """
        event = {}
        if self.registry is not None:
            champion = require_champion(self.registry)
            self.checkpoint, event = champion.folder, {"event": champion.number}
        return {"checkpoint": self.policy().info.digest, **event}

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
    from brokers.alpaca.gateway import Gateway  # what only reads an account needs no SDK

    paper = settings.paper
    if paper.checkpoint is None:
        raise SettingsError(
            "paper.checkpoint: expected the folder of a trained agent, found nothing; set it, or "
            "pass --checkpoint"
        )
    require_tradable(settings)
    folder = Path(paper.state_dir)
    registry = Registry(Path(settings.registry.dir)) if paper.checkpoint == CHAMPION else None
    agent = Path(paper.checkpoint)
    if registry is None:
        require_checkpoint(agent, "paper.checkpoint")
    if registry is not None and not (folder / JOURNAL).exists():
        agent = require_champion(registry).folder  # later on the journal says which
    if registry is None or not (folder / JOURNAL).exists():
        trained_on = checkpoint.read(agent).trained_on
        require_feed(trained_on, source_name(paper.feed), paper.allow_feed)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Room(
        settings=settings,
        gateway=Gateway(paper, keys, clock),
        clock=clock,
        folder=folder,
        symbols=settings.data.symbols,
        checkpoint=agent,
        registry=registry,
    )


def require_tradable(settings: Settings) -> None:
    """Refuse settings that a paper account cannot follow. Raises: SettingsError."""
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


def require_champion(registry: Registry) -> Champion:
    """Return the champion. Raises: UsageError where there is none yet; CheckpointError; DataError."""
    champion = registry.champion()
    if champion is None:
        raise UsageError(
            f'paper.checkpoint = "{CHAMPION}": expected a champion in {registry.path}, found none; '
            "name the first one with `barwise promote`, or a checkpoint folder in the settings"
        )
    return champion
