"""What a reader must know before any number of a retraining, gravest first."""

from collections.abc import Iterator

import numpy as np

from engine.report.cautions import Caution, of_market
from engine.report.retraining import PICKED, Retraining, name_of


def retraining_cautions(run: Retraining) -> list[Caution]:
    """Return every warning of a retraining, grave ones first."""
    found = [*_trainings(run), *_same(run), *of_market(run.settings, run.data), *_tells_little(run)]
    return sorted(found, key=lambda caution: not caution.grave)


def _trainings(run: Retraining) -> Iterator[Caution]:
    for row in run.found["challengers"]:
        if row.get("error"):
            yield Caution(f"A challenger failed, {row['error']}.", grave=True)
        elif row["seed"] == run.found["picked"]:
            for text in row["warnings"]:
                yield Caution(f"The picked challenger: {text}", grave=True)
    if run.found["promoted"] and not run.found["scored"]:
        yield Caution(
            "What was promoted was trained again through the newest session: the numbers here are of "
            "the challenger before that, nothing can score the one that trades.",
            grave=True,
        )


def _same(run: Retraining) -> Iterator[Caution]:
    if not run.curves:
        return
    own = run.curves[PICKED]
    if (own == own[0]).all():
        yield Caution("The picked challenger never traded on the judged sessions.", grave=True)
        return
    same = [
        name_of(name, run.found)
        for name, curve in run.curves.items()
        if name != PICKED and np.array_equal(curve, own)
    ]
    if same:
        yield Caution(
            f"The picked challenger's curve is identical to: {', '.join(same)}.", grave=True
        )


def _tells_little(run: Retraining) -> Iterator[Caution]:
    if not run.curves or (found := run.of(PICKED)) is None:
        return
    value, low, high = found
    if low <= 0.0 <= high:
        yield Caution(
            f"{len(run.sessions) - 1:,} bars tell little: the challenger's score of {value:.2f} may be "
            f"anything from {low:.2f} to {high:.2f}, zero among it."
        )
