"""What a training says of itself: warnings from its lines, early stop, TensorBoard, a batch at fault."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.monitor import METRICS, Log, is_stuck, read_rows, save_batch, warnings
from engine.errors import SettingsError
from tests.small_training import run

MIX = ("sell", "hold", "buy")


def lines(**columns: list[Any]) -> list[dict[str, Any]]:
    """Return one row an update from columns of equal length; None leaves a cell out."""
    rows = []
    for at in range(len(next(iter(columns.values())))):
        cells = {name: values[at] for name, values in columns.items()}
        rows.append({"update": at + 1} | {k: v for k, v in cells.items() if v is not None})
    return rows


def test_training_that_rises_while_validation_falls_is_called_overfitting():
    own = [0.1, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    rows = lines(training_score=own, validation_score=[0.0, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1])
    (text,) = warnings(rows, 100, MIX)
    assert text.startswith("Overfitting: the training score rose from 0.50 to 1.00")
    assert "between updates 2 and 7" in text
    assert "fell from 0.40 to 0.10" in text


@pytest.mark.parametrize(
    "validation",
    [
        [0.0, 0.4, 0.3, 0.3, 0.2, 0.2, 0.5],  # still finds a new best
        [0.0, 0.1, 0.5, 0.3, 0.2, 0.2, 0.1],  # four validations since the best are not five
    ],
)
def test_a_validation_that_follows_is_not_called_overfitting(validation):
    own = [0.1, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert warnings(lines(training_score=own, validation_score=validation), 100, MIX) == []


def test_entropy_near_zero_in_the_first_half_is_a_collapse():
    rows = lines(entropy=[1.0, 0.6, 0.04])
    assert "by update 3 of 10" in warnings(rows, 10, MIX)[0]
    assert warnings(rows, 5, MIX) == []  # in the second half a policy may settle
    assert warnings(rows, 10, ()) == []  # of a density, zero means nothing


def test_one_action_alone_is_a_collapse():
    rows = lines(sell=[0.3, 0.0], hold=[0.3, 0.005], buy=[0.4, 0.995])
    assert warnings(rows, 10, MIX) == ["Collapse: 99.5% of all actions in training are buy."]
    assert warnings(rows[:1], 10, MIX) == []


def test_never_trading_and_holding_are_told_after_two_validations():
    rows = lines(
        validation_score=[0.0, 0.0],
        validation_trades=[0, 0],
        validation_like_holding=[1.0, 0.99999],
    )
    assert [text.split(", ")[1] for text in warnings(rows, 10, MIX)] == [
        "the agent never trades.",
        "the agent is identical to buy and hold.",
    ]
    assert warnings(rows[:1], 10, MIX) == []
    assert warnings([rows[0], rows[1] | {"validation_trades": 3}], 10, MIX) == [
        "Collapse: played greedily, the agent is identical to buy and hold."
    ]


def test_a_kept_checkpoint_that_never_trades_is_told_though_the_last_one_trades():
    rows = lines(validation_score=[-0.4, 0.0, -0.2], validation_trades=[5, 0, 7])
    assert warnings(rows, 10, MIX) == [
        "The checkpoint kept, of update 2, never trades: it scored 0.00, and those that trade scored "
        "below that, the last one -0.20."
    ]
    assert warnings(rows[:2], 10, MIX) == []
    better = lines(validation_score=[0.0, 0.3], validation_trades=[0, 7])
    assert warnings(better, 10, MIX) == []


@pytest.mark.parametrize(
    ("scores", "since", "stuck"),
    [
        ([0.1, 0.5, 0.4], 0, False),
        ([0.1, 0.5, 0.4, 0.5], 0, True),  # an equal score is no better one
        ([0.1, 0.5, 0.4, 0.6], 0, False),
        ([0.9, 0.5, 0.4, 0.6], 1, False),  # what came before the last stage does not count
    ],
)
def test_training_is_stuck_after_so_many_validations_without_a_better_score(scores, since, stuck):
    assert is_stuck(lines(validation_score=scores), 2, since) is stuck
    assert not is_stuck(lines(validation_score=scores), None, since)


def test_a_log_goes_back_to_an_update_and_drops_a_broken_line(tmp_path: Path):
    log = Log(tmp_path, tensorboard=False)
    for update in (1, 2, 3):
        log.add({"update": update, "reward": 0.5 * update})
    with log.path.open("a") as file:
        file.write('{"update": 4, "re')
    again = Log(tmp_path, tensorboard=False)
    again.back_to(2)
    assert [row["reward"] for row in again.rows] == [0.5, 1.0]
    assert read_rows(log.path) == again.rows


def test_missing_tensorboard_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingsError, match=r"barwise\[track\]"):
        Log(tmp_path, tensorboard=True)


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard itself reads from a folder: steps and values of every number."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason="tensorboard is not installed (extra `track`)",
    )
    found = reader.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    names = found.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in found.Scalars(name)] for name in names}


def in_lines(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the same from training.jsonl, as TensorBoard keeps numbers: in single precision."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in read_rows(folder / METRICS):
        for name, value in row.items():
            if isinstance(value, int | float):
                found.setdefault(name, []).append((row["update"], float(np.float32(value))))
    return found


def test_tensorboard_reads_the_numbers_of_every_line_of_a_training(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra `track`)")
    run(tmp_path, updates=4, train_settings={"tensorboard": True})
    found = events(tmp_path)
    assert found == in_lines(tmp_path)
    assert [step for step, _ in found["reward"]] == [1, 2, 3, 4]
    assert [step for step, _ in found["validation_score"]] == [2, 4]


def test_tensorboard_forgets_the_updates_that_a_resumed_training_does_again(tmp_path: Path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra `track`)")

    def interrupt(row: dict[str, Any]) -> None:
        if row["update"] == 3:
            raise KeyboardInterrupt

    settings = {"tensorboard": True}
    run(tmp_path, updates=6, train_settings=settings, progress=interrupt)
    run(tmp_path, updates=6, train_settings=settings, resume=True)  # from update 2
    assert events(tmp_path) == in_lines(tmp_path)


def test_a_learner_that_says_nothing_of_its_batch_leaves_no_file(tmp_path: Path):
    assert save_batch(tmp_path, object()) is None
    assert list(tmp_path.iterdir()) == []
