"""What a training says of itself: one line an update, TensorBoard if asked, and warnings.

    training.jsonl          every update, appended; a resumed training takes back the lines after its
                            checkpoint
    events.out.tfevents...  the same numbers, with `train.tensorboard`

`warnings` reads lines alone, so that a resumed training warns as an uninterrupted one does.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from engine.errors import SettingsError

METRICS, FAULTY = "training.jsonl", "faulty-batch.safetensors"
Row = dict[str, Any]

PARTED = 5  # validations since the best one, while the training score still finds new bests
ALL_ONE = 0.99  # share of one action above which nothing else is done
SETTLED = 0.05  # part of the first entropy below which nothing is tried any more
SAME = 0.9999  # correlation above which a curve is buying and holding


class Log:
    """The lines of one training, on disk and at hand."""

    def __init__(self, folder: Path, tensorboard: bool) -> None:
        self.path = folder / METRICS
        self.rows: list[Row] = []
        self.events = _events(folder, None) if tensorboard else None

    def add(self, row: Row) -> None:
        """Append one line."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        if self.events is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self.events.add_scalar(name, value, row["update"])
            self.events.flush()

    def back_to(self, update: int) -> None:
        """Forget the lines after an update: they are done again, and write their lines again."""
        self.rows = [row for row in read_rows(self.path) if row["update"] <= update]
        self.path.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")
        if self.events is not None:
            self.events.close()
            self.events = _events(self.path.parent, update + 1)

    def validations(self) -> list[Row]:
        """Return the lines that hold a validation score."""
        return [row for row in self.rows if "validation_score" in row]

    def close(self) -> None:
        """Let go of what is open."""
        if self.events is not None:
            self.events.close()


def read_rows(path: Path) -> list[Row]:
    """Return the whole lines of a training.jsonl; none where there is no such file."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def warnings(rows: list[Row], updates: int, names: tuple[str, ...]) -> list[str]:
    """Return what a reader of these lines must know, in words.

    `updates` is how many were planned; `names` the discrete actions, empty for exposures.
    """
    found = [_parted(rows), _settled(rows, updates, names), _one_action(rows, names)]
    return [text for text in (*found, *_plays(rows), _kept(rows)) if text]


def save_batch(folder: Path, learner: Any) -> Path | None:
    """Save what a learner was learning from (its `batch_now`, a record of arrays), if it says so."""
    from safetensors.numpy import save_file

    found = dict(_arrays(getattr(learner, "batch_now", None), ""))
    if not found:
        return None
    save_file(found, folder / FAULTY)
    return folder / FAULTY


def is_stuck(rows: list[Row], patience: int | None, since: int) -> bool:
    """Tell whether so many validations after update `since` brought no better score."""
    scores = [row["validation_score"] for row in rows if row["update"] > since]
    if patience is None or len(scores) <= patience:
        return False
    return scores.index(max(scores)) < len(scores) - patience


def _parted(rows: list[Row]) -> str | None:
    seen = [row for row in rows if "training_score" in row]
    if len(seen) <= PARTED:
        return None
    own, other = [r["training_score"] for r in seen], [r["validation_score"] for r in seen]
    best, late = other.index(max(other)), own.index(max(own))
    if late - best < PARTED:
        return None
    return (
        f"Overfitting: the training score rose from {own[best]:.2f} to {own[late]:.2f} between "
        f"updates {seen[best]['update']} and {seen[late]['update']}, the validation score fell "
        f"from {other[best]:.2f} to {other[late]:.2f}."
    )


def _settled(rows: list[Row], updates: int, names: tuple[str, ...]) -> str | None:
    seen = [row for row in rows if "entropy" in row]
    if not names or not seen or seen[0]["entropy"] <= 0:
        return None
    low = [row for row in seen if row["entropy"] < SETTLED * seen[0]["entropy"]]
    if not low or low[0]["update"] > updates / 2:
        return None
    return (
        f"Collapse: by update {low[0]['update']} of {updates} the policy's entropy had fallen to "
        f"{low[0]['entropy']:.3f} from {seen[0]['entropy']:.3f}: it stopped trying too early; raise "
        "the entropy weight."
    )


def _one_action(rows: list[Row], names: tuple[str, ...]) -> str | None:
    shares = [(rows[-1].get(name, 0.0), name) for name in names] if rows else []
    if not shares or max(shares)[0] < ALL_ONE:
        return None
    share, name = max(shares)
    return f"Collapse: {share:.1%} of all actions in training are {name}."


def _plays(rows: list[Row]) -> list[str]:
    # Of the last two validations, so that one odd one says nothing.
    last = [row for row in rows if "validation_score" in row][-2:]
    if len(last) < 2:
        return []
    found = []
    if all(row.get("validation_trades") == 0 for row in last):
        found.append("Collapse: played greedily, the agent never trades.")
    if all(row.get("validation_like_holding", math.nan) > SAME for row in last):
        found.append("Collapse: played greedily, the agent is identical to buy and hold.")
    return found


def _kept(rows: list[Row]) -> str | None:
    # A score of nothing beats every loss: what is kept is then a checkpoint that never trades.
    seen = [row for row in rows if "validation_score" in row and "validation_trades" in row]
    if not seen:
        return None
    kept = max(seen, key=lambda row: row["validation_score"])
    last = seen[-1]
    if kept["validation_trades"] or not last["validation_trades"]:
        return None
    if last["validation_score"] >= kept["validation_score"]:
        return None
    return (
        f"The checkpoint kept, of update {kept['update']}, never trades: it scored "
        f"{kept['validation_score']:.2f}, and those that trade scored below that, the last one "
        f"{last['validation_score']:.2f}."
    )


def _arrays(part: Any, name: str) -> Iterator[tuple[str, np.ndarray]]:
    # Every array inside records, mappings and sequences, named by its place.
    if isinstance(part, Tensor):
        part = part.detach().cpu().numpy()
    if isinstance(part, np.ndarray):
        yield name or "batch", np.ascontiguousarray(part)
    elif is_dataclass(part):
        for item in fields(part):
            yield from _arrays(getattr(part, item.name), f"{name}.{item.name}".strip("."))
    elif isinstance(part, Mapping):
        for key, inner in part.items():
            yield from _arrays(inner, f"{name}.{key}".strip("."))
    elif isinstance(part, list | tuple):
        for at, inner in enumerate(part):
            yield from _arrays(inner, f"{name}.{at}".strip("."))


def _events(folder: Path, begin: int | None) -> Any:
    # What earlier files say of update `begin` and later is taken back.
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            "train.tensorboard: expected the package tensorboard, found none; install it with "
            "pip install 'barwise[track]', or leave it out: training.jsonl has every number"
        ) from error
    return SummaryWriter(str(folder), purge_step=begin)
