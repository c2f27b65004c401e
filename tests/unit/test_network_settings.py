"""Settings of the network: what cannot work is refused with the reason, what can is kept exactly."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.checkpoint import Writer, build
from engine.checkpoint import RECORD, read
from engine.errors import CheckpointError, SettingsError
from engine.settings import load
from engine.settings_agent import FeatureGroup, NetworkSettings, places_of
from engine.settings_text import as_toml
from tests.network_options import EVERY
from tests.rollouts import Parts

NAMES = ("log_return", "volume", "range")


def network(tmp_path: Path, text: str) -> NetworkSettings:
    path = tmp_path / "settings.toml"
    path.write_text(f"[agent.network]\n{text}\n", encoding="utf-8")
    return load(path).agent.network


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bidirectional = true", "reads the future"),
        ("dropout_inside = 0.2", "between LSTM layers"),
        ("dropout_after = 1.0", "dropout_after"),
        ('critic = "separate"\ncritic_gradient = "stop"', "untrained"),
        ('layer_norm = "cell"\nhidden_size = 1', "always 0"),
        ("heads = [64, 0]", "heads"),
        ("lstm_layers = 0", "lstm_layers"),
        ("attention = -1", "attention"),
        ('layer_norm = "batch"', "layer_norm"),
        ("groups = [{features = [], widths = [4]}]", "groups"),
        ('groups = [{features = ["a"], widths = []}]', "groups"),
        ('groups = [{features = ["a"], width = 4}]', "groups"),
    ],
)
def test_what_cannot_work_is_refused_with_the_key_and_the_reason(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        network(tmp_path, text)
    assert "agent.network" in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_every_option_survives_toml_and_json(name: str, tmp_path: Path) -> None:
    settings = NetworkSettings.model_validate(EVERY[name])
    path = tmp_path / "settings.toml"
    lines = [line for line in as_toml(settings).splitlines() if line]
    path.write_text("[agent.network]\n" + "\n".join(lines), encoding="utf-8")
    assert load(path).agent.network == settings
    assert NetworkSettings.model_validate(json.loads(settings.model_dump_json())) == settings
    assert len({settings, NetworkSettings.model_validate(EVERY[name])}) == 1


def test_every_setting_says_what_it_does() -> None:
    for model in (NetworkSettings, FeatureGroup):
        assert all(field.description for field in model.model_fields.values())


def groups(*features: tuple[str | int, ...]) -> tuple[FeatureGroup, ...]:
    return tuple(FeatureGroup(features=found, widths=(2,)) for found in features)


def test_groups_are_found_by_name_and_by_place() -> None:
    assert places_of(groups(("range", 0), ("volume",)), NAMES, 3) == ((2, 0), (1,))
    assert places_of(groups((1, 0)), (), 2) == ((1, 0),)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (groups(("volume", "momentum")), "group 0: expected log_return, volume, range, or a place"),
        (groups((0,), (3,)), "group 1: expected .* a place from 0 to 2, found 3"),
        (groups((-1,)), "found -1"),
        (groups(("volume", 1)), "volume twice"),
        (groups(("volume",), ("volume",)), "group 1: .* volume twice"),
    ],
)
def test_groups_that_name_nothing_or_twice_are_refused(
    wrong: tuple[FeatureGroup, ...], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        places_of(wrong, NAMES, 3)


def test_training_refuses_a_group_its_observation_does_not_have() -> None:
    with pytest.raises(SettingsError, match="expected log_return, high_low_range, or a place"):
        Parts(groups=({"features": ("volume",), "widths": (4,)},))


def test_a_record_whose_groups_and_features_contradict_each_other_is_refused(
    tmp_path: Path,
) -> None:
    parts = Parts(groups=({"features": ("log_return",), "widths": (4,)},))
    folder = tmp_path / "best"
    Writer(build(parts.info)).save(folder, parts.info)
    assert read(folder).network.groups[0].features == ("log_return",)
    record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record["network"]["groups"][0]["features"] = ["momentum"]
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(CheckpointError, match="'momentum'"):
        read(folder)
