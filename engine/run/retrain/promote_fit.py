"""Whether a paper account could take an agent up, before a person makes it the champion.

The account itself asks again, of its own bars, before the next decision (`engine.run.paper.pickup`),
and declines what does not fit; the agent before it goes on. Here the settings alone are asked.
"""

from engine.checkpoint import CheckpointInfo, read
from engine.errors import TradingError
from engine.registry import Champion
from engine.run.build import spec_of
from engine.settings import Settings
from engine.settings_paper import CHAMPION


def misfits(info: CheckpointInfo, settings: Settings, champion: Champion | None) -> list[str]:
    """Return why an account of these settings would decline an agent; empty where nothing is known.

    Settings without `data.symbols` describe no account.
    """
    symbols = settings.data.symbols
    if not symbols or "data" not in settings.model_fields_set:
        return []
    found = [] if settings.paper.checkpoint != CHAMPION else _of_feed(info, settings)
    unknown = [symbol for symbol in symbols if symbol not in info.trained_on.symbols]
    if unknown and not _as_before(info, champion):
        found.append(
            f"data.symbols: expected an agent that learned from {', '.join(symbols)}, found one of "
            f"{', '.join(info.trained_on.symbols)}; train it on the symbols of the account"
        )
    try:
        spec_of(info, settings, len(symbols))
    except TradingError as error:
        found.append(str(error))
    return found


def _of_feed(info: CheckpointInfo, settings: Settings) -> list[str]:
    from brokers.alpaca.bars import source_name
    from engine.run.paper.feeds import require_feed

    paper = settings.paper
    try:
        require_feed(info.trained_on, source_name(paper.feed), paper.allow_feed)
    except TradingError as error:
        return [str(error)]
    return []


def _as_before(info: CheckpointInfo, champion: Champion | None) -> bool:
    # An account that trades symbols which its agent never saw goes on with one that knows the same.
    if champion is None:
        return False
    return read(champion.folder).trained_on.symbols == info.trained_on.symbols
