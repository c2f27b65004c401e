"""Two feeds of the same market: whether an agent may trade on another than it learned from.

Feeds differ (one exchange's trades, or all of them), and so do the features made of them. Trading
on another feed takes the setting `paper.allow_feed`, and then how far the features lie apart is
printed.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.bars import Bars
from engine.checkpoint import TrainedOn, feed_of
from engine.errors import CheckpointError, DataError
from engine.features import FeatureSet
from engine.sources import DataSettings, load

FAR = 0.25  # spreads; a feature that differs by this much on average is called far apart


@dataclass(frozen=True, slots=True)
class Apart:
    """How far one feature lies apart in two feeds. Units: its own spread in the first feed."""

    feature: str
    mean: float
    worst: float
    symbol: str
    session: np.datetime64


def require_feed(trained: TrainedOn, feed: str, allowed: str | None) -> bool:
    """Tell whether an agent learned from this feed; False = from another one, allowed by name.

    Raises: CheckpointError for another feed that the settings do not allow.
    """
    if trained.feed == feed:
        return True
    if allowed == trained.feed:
        return False
    named = f', and not "{allowed}"' if allowed else ""
    raise CheckpointError(
        f"paper.feed: the checkpoint was trained on {trained.feed}, the session would trade on "
        f"{feed}: its features may mean something else; train on bars of {feed} "
        f'(`barwise data fetch`), or set paper.allow_feed = "{trained.feed}"{named} and read how '
        "far the features lie apart"
    )


def apart(trained: TrainedOn, features: FeatureSet, data: DataSettings, traded: Bars) -> list[str]:
    """Say how far the features of the session's bars lie from those of the training's.

    The training's bars are those of `data`, if they are still of the training's feed.
    """
    try:
        known = load(data)
    except DataError as error:
        return [f"features of {traded.source} and {trained.feed} cannot be compared: {error}"]
    if feed_of(known.source) != trained.feed:
        return [
            f"features of {traded.source} and {trained.feed} cannot be compared: [data] names bars "
            f"of {feed_of(known.source)}; let it name those of the training"
        ]
    return list(lines(compare(features, known, traded), trained.feed, traded.source))


def compare(features: FeatureSet, trained: Bars, traded: Bars) -> tuple[Apart, ...]:
    """Measure the features of two feeds where both have them; none where they share no bar."""
    symbols = tuple(s for s in trained.symbols if s in traded.symbols)
    if not symbols:
        return ()
    first, one = features.history(trained.select(symbols))
    second, two = features.history(traded.select(symbols))
    days, at, to = np.intersect1d(trained.sessions, traded.sessions, return_indices=True)
    both = one[at] & two[to]
    if not both.any():
        return ()
    spread = first[one].std(axis=0)
    gap = np.abs(first[at] - second[to]) / np.where(spread > 0.0, spread, 1.0)
    gap[~both] = 0.0
    found = []
    for column, name in enumerate(features.names):
        t, n = np.unravel_index(np.argmax(gap[:, :, column]), both.shape)
        mean = float(gap[both, column].mean())
        found.append(Apart(name, mean, float(gap[t, n, column]), symbols[n], days[t]))
    return tuple(found)


def lines(found: tuple[Apart, ...], trained: str, traded: str) -> Iterator[str]:
    """Say it for a person, the farthest feature first."""
    if not found:
        yield f"features of {trained} and {traded} cannot be compared: they share no bar"
        return
    yield f"features of {traded} against {trained}, in spreads of the training feed:"
    for one in sorted(found, key=lambda apart: -apart.mean):
        mark = "  FAR APART" if one.mean > FAR else ""
        yield (
            f"  {one.feature:24} mean {one.mean:.3f}, largest {one.worst:.2f} "
            f"({one.symbol} {one.session}){mark}"
        )
