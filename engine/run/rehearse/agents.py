"""Who decided on which sessions of a rehearsal, by its journal, and whether every champion did."""

from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import numpy as np

from engine.checkpoint import read
from engine.errors import UsageError
from engine.registry import ID_DIGITS
from engine.run.rehearse.run import Play, Promotion, Rehearsed
from engine.run.relay import Turn

ROLLBACK = "rollback"


def promotions_of(texts: Iterable[str], sessions: np.ndarray) -> Iterator[Promotion]:
    """Yield what `--promote DATE=FOLDER` or `DATE=rollback` say, oldest first.

    A date that is no session stands for the next one.
    Raises: UsageError for a date that is not after the first of `sessions`, or no folder.
    """
    given = [text.partition("=") for text in texts]
    for text, _, what in sorted(given):
        try:
            day = np.datetime64(date.fromisoformat(text))
        except ValueError:
            raise UsageError(f"--promote {text}={what}: expected DATE=FOLDER") from None
        if not sessions[0] < day <= sessions[-1]:
            raise UsageError(
                f"--promote {text}={what}: expected a date after the first session {sessions[0]}, up "
                f"to {sessions[-1]}"
            )
        if what != ROLLBACK and not Path(what).is_dir():
            raise UsageError(f"--promote {text}={what}: no such folder; `barwise train` makes one")
        on = sessions[np.searchsorted(sessions, day)].item()
        yield Promotion(on, None if what == ROLLBACK else Path(what))


def id_of(checkpoint: Path) -> str:
    """Return what a registry calls a checkpoint."""
    return read(checkpoint).digest[:ID_DIGITS]


def turns_of(play: Play, found: Rehearsed) -> list[Turn]:
    """Return the agents with the rows that each decided on, oldest first."""
    folders = [play.checkpoint, *(x.checkpoint for x in play.promotions if x.checkpoint)]
    known = {read(folder).digest: folder for folder in folders}
    starts = {play.first: play.checkpoint}
    for entry in found.entries["promoted"]:
        later = [x.session for x in found.entries["decision"] if x.number > entry.number]
        if later:
            starts[play.bars.index_of(np.datetime64(later[0]))] = known[entry.body["checkpoint"]]
    rows = sorted(starts)
    ends = [*(row - 1 for row in rows[1:]), play.last]
    return [Turn(starts[row], row, end) for row, end in zip(rows, ends, strict=True)]


def not_taken_up(found: Rehearsed) -> list[dict[str, str]]:
    """Return every champion that was declined and never decided, even one that was rolled back."""
    taken = {entry.body["id"] for entry in found.entries["promoted"]}
    declined = {x.body["id"]: x for x in found.entries["declined"] if x.body["id"] not in taken}
    return [
        {"session": entry.session, "id": name or "a champion", "why": str(entry.body["why"])}
        for name, entry in declined.items()
    ]


def never_decided(play: Play, found: Rehearsed, last: Path) -> list[str]:
    """Name the champion at the end if it is not the agent that decided `last`, and why."""
    champions = [play.checkpoint]
    for promotion in play.promotions:
        if promotion.checkpoint is None:
            champions.pop()
        else:
            champions.append(promotion.checkpoint)
    champion = id_of(champions[-1])
    if id_of(last) == champion:
        return []
    why = [x.body["why"] for x in found.entries["declined"] if x.body["id"] == champion]
    return [f"{champion}: became champion and never decided: {why[-1] if why else 'not noticed'}"]
