"""The parts of a run from a checkpoint: what fits is taken over, what does not is refused."""

from datetime import date

import numpy as np
import pytest

from engine import features
from engine.checkpoint import CheckpointInfo, TrainedOn
from engine.costs import Costs
from engine.errors import CheckpointError, DataError, SettingsError, UsageError
from engine.limits import Limits
from engine.observation import Layout, Scaler
from engine.orders import Sizing
from engine.policy import ActionSpace
from engine.run.build import (
    dates,
    require_checkpoint,
    run_folder,
    settings_for,
    spec_of,
    within,
)
from engine.settings import Settings, build
from engine.settings_agent import NetworkSettings
from engine.sources import load
from engine.venue import VenueSettings

SEEN = Layout.of(features.FeatureSet(("log_return",)), ("position",), 5.0)


def record() -> CheckpointInfo:
    fields = {name: getattr(SEEN, name) for name in SEEN.__dataclass_fields__}
    return CheckpointInfo(
        **fields,
        network=NetworkSettings(),
        memory="carry",
        memory_width=0,
        burn_in=7,
        action=ActionSpace(),
        layout=SEEN.fingerprint(),
        scaler=Scaler.none(1, 5.0).as_dict(),
        limits=Limits(),
        sizing=Sizing(),
        costs=Costs(rate=0.01),
        venue=VenueSettings(),
        allocation=1.0,
        seed=0,
        trained_on=TrainedOn(
            digest="",
            source="",
            price_basis="raw",
            symbols=(),
            start=date(2000, 1, 3),
            end=date(2001, 1, 3),
        ),
        versions={},
    )


def test_market_comes_from_the_settings_and_the_agent_from_the_checkpoint():
    settings = build({"costs": {"rate": 0.002}, "agent": {"burn_in": 7}}, "here")
    spec = spec_of(record(), settings, symbols=4)
    assert spec.costs.rate == 0.002
    assert (spec.burn_in, spec.book_inputs, spec.features.names) == (7, SEEN.book, SEEN.features)
    assert spec.allocation == 0.25


def test_feature_that_came_to_mean_something_else_is_refused(monkeypatch):
    spec_of(record(), Settings(), symbols=1)
    monkeypatch.setattr(features, "VERSION", features.VERSION + 1)
    with pytest.raises(CheckpointError, match=r"another meaning.*train again"):
        spec_of(record(), Settings(), symbols=1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"observation": {"features": ["rsi(14)"]}}, r"observation\.features"),
        ({"observation": {"features": ["log_return"], "book": []}}, r"observation\.book"),
        ({"agent": {"burn_in": 8}}, r"agent\.burn_in: the settings say 8, .* trained with 7"),
        ({"limits": {"allow_short": True}}, r"limits\.allow_short"),
    ],
)
def test_settings_that_ask_for_another_agent_are_refused(settings, told):
    with pytest.raises(CheckpointError, match=told):
        spec_of(record(), build(settings, "here"), symbols=1)


def test_fit_may_use_ready_rows_of_its_own_bars_only():
    ready = np.ones((6, 2), dtype=bool)
    ready[2, 0] = False
    found = within(ready, 1, 3)
    assert found.sum() == 5
    assert not found[[0, 4, 5]].any()
    assert not found[2, 0]


def test_a_range_without_sessions_is_told_in_words():
    settings = build({"split": {"test": {"start": "2030-01-02"}}}, "test")
    with pytest.raises(DataError, match="2030-01-02 to the last day holds 0 sessions"):
        dates(load(settings.data), settings, "test")


def refused(given, settings, files=()):
    """Write files into a run folder, then meet a setting that is refused; return the folder."""
    with run_folder(settings, given) as folder:
        for name in ("settings.json", "versions.json", "data.json", *files):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        raise SettingsError("train.algorithm: expected one of ppo, found foo")


@pytest.mark.parametrize("done", [(), ("training/metrics.csv",), ("equity.csv",)])
def test_a_refused_setting_leaves_a_run_folder_only_where_something_was_done(tmp_path, done):
    with pytest.raises(SettingsError):
        refused(None, Settings(runs_dir=str(tmp_path)), done)
    assert len(list(tmp_path.iterdir())) == bool(done)


def test_a_refused_setting_leaves_the_run_folder_that_was_given(tmp_path):
    with pytest.raises(SettingsError):
        refused(tmp_path, Settings())
    assert (tmp_path / "settings.json").exists()


def test_resuming_what_is_no_run_names_the_folder_and_not_the_settings_files(tmp_path):
    with pytest.raises(UsageError, match="--resume RUN; see configs/"):
        settings_for("train", None, None, ())
    with pytest.raises(UsageError, match=r"--resume .*none: no such folder; .* `barwise retrain`"):
        settings_for("retrain", None, tmp_path / "none", ())
    with pytest.raises(UsageError, match=r"run folder of `barwise train`, found no settings\.json"):
        settings_for("train", None, tmp_path, ())
    (tmp_path / "settings.json").write_text('{"name": "kept"}')
    assert settings_for("train", None, tmp_path, ("train.seed=7",)).name == "kept"
    assert settings_for("train", "demo", None, ()).name == "demo"


def test_folder_without_a_checkpoint_says_where_it_is_if_it_holds_one(tmp_path):
    with pytest.raises(UsageError, match=r"paper\.checkpoint .*none: no such folder"):
        require_checkpoint(tmp_path / "none", "paper.checkpoint")
    with pytest.raises(UsageError, match=r"no checkpoint\.json lies there"):
        require_checkpoint(tmp_path, "--checkpoint")
    best = tmp_path / "training" / "best"
    best.mkdir(parents=True)
    (best / "checkpoint.json").write_text("{}")
    with pytest.raises(UsageError, match=f"it lies in {best}"):
        require_checkpoint(tmp_path, "--checkpoint")
    require_checkpoint(best, "--checkpoint")


def test_a_run_folder_has_one_process_at_work_and_is_free_after_it(tmp_path):
    settings = Settings()
    with run_folder(settings, tmp_path) as folder:
        (folder / "done").write_text("")
        with (
            pytest.raises(UsageError, match="another process is at work"),
            run_folder(settings, tmp_path),
        ):
            pass
    with run_folder(settings, tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["done"]  # the lock is no file
