"""A checkpoint folder: what was written comes back, and what does not match is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from agents.checkpoint import Writer, build, load_network, resume_state
from engine.checkpoint import (
    CheckpointInfo,
    TrainedOn,
    digest_of,
    read,
    require_match,
    sha256_of,
)
from engine.costs import Costs
from engine.drift import Distribution
from engine.errors import CheckpointError
from engine.limits import Limits
from engine.observation import Layout, Scaler
from engine.orders import Sizing
from engine.policy import ActionSpace
from engine.settings_agent import NetworkSettings
from engine.step import StepPolicy
from engine.venue import VenueSettings

LAYOUT = Layout(("log_return", "rsi(14)"), (2, 15), ("position", "cash"), 5.0, "abc")
SCALER = Scaler(np.array([0.1, 1 / 3]), np.array([2.0, 1e-3]), 5.0)
NETWORK = NetworkSettings.model_validate({"hidden_size": 8, "heads": (8,)})
INFO = CheckpointInfo(
    network=NETWORK,
    memory="carry",
    memory_width=16,
    burn_in=3,
    action=ActionSpace(),
    features=LAYOUT.features,
    lookbacks=LAYOUT.lookbacks,
    book=LAYOUT.book,
    clip=LAYOUT.clip,
    feature_fingerprint=LAYOUT.feature_fingerprint,
    layout=LAYOUT.fingerprint(),
    scaler=SCALER.as_dict(),
    limits=Limits(),
    sizing=Sizing(),
    costs=Costs(),
    venue=VenueSettings(),
    allocation=1.0,
    seed=3,
    trained_on=TrainedOn(
        digest="d",
        source="sample",
        price_basis="raw",
        symbols=("IBM",),
        start=date(2000, 1, 3),
        end=date(2009, 12, 31),
    ),
    versions={},
)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("written") / "best"
    Writer(build(INFO)).save(folder, INFO.model_copy(update={"validation_score": 0.1}))
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "best"
    copied.mkdir()
    for file in original.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    return copied


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tree = json.loads((folder / "checkpoint.json").read_text())
    tree["digest"] = ""  # as one who writes checkpoints could leave it
    change(tree)
    (folder / "checkpoint.json").write_text(json.dumps(tree))


def rehash(folder: Path, name: str) -> None:
    edit(folder, lambda tree: tree["sha256"].update({name: sha256_of(folder / name)}))


def test_record_comes_back_as_written_with_digests_and_versions(folder: Path) -> None:
    info = read(folder)
    assert set(info.sha256) == {"policy.onnx", "weights.safetensors"}
    assert info.versions["torch"].split("+")[0] == torch.__version__.split("+")[0]
    written = json.loads((folder / "checkpoint.json").read_text())
    assert info.digest == written["digest"] == digest_of(written)
    plain = {"sha256": {}, "versions": {}, "validation_score": None, "digest": ""}
    assert info.model_copy(update=plain) == INFO
    assert info.validation_score == 0.1
    assert info.seen() == LAYOUT
    scaler = info.frozen_scaler()
    assert scaler.mean.tobytes() == SCALER.mean.tobytes()
    assert scaler.scale.tobytes() == SCALER.scale.tobytes()


def test_weights_come_back_bitwise(folder: Path) -> None:
    net, _ = load_network(folder)
    torch.manual_seed(0)
    for name, weight in build(INFO).state_dict().items():
        assert torch.equal(net.state_dict()[name], weight)


def test_no_file_in_the_folder_is_a_pickle(folder: Path) -> None:
    for file in folder.rglob("*"):
        assert not file.read_bytes().startswith((b"\x80", b"PK"))


@pytest.mark.parametrize("name", ["checkpoint.json", "policy.onnx", "weights.safetensors"])
def test_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"expected .*found no {name}.*train or copy"):
        StepPolicy.load(folder)


@pytest.mark.parametrize("name", ["policy.onnx", "weights.safetensors"])
def test_one_changed_byte_is_refused(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: expected sha256 .*found .*copy the whole"):
        StepPolicy.load(folder)


def test_one_changed_digit_of_the_record_is_refused(folder: Path) -> None:
    text = (folder / "checkpoint.json").read_text()
    (folder / "checkpoint.json").write_text(text.replace('"seed": ', '"seed": 1'))
    with pytest.raises(CheckpointError, match=r"digest is .*found one of .*copy the whole"):
        read(folder)


def test_record_without_a_digest_gets_one_that_tells_it_from_any_other(folder: Path) -> None:
    edit(folder, lambda tree: tree.pop("digest"))
    older = read(folder).digest
    edit(folder, lambda tree: tree["scaler"].update(scale=[4.0, 1e-3]))
    assert read(folder).digest != older != ""


def test_another_format_version_is_refused_before_anything_else(folder: Path) -> None:
    edit(folder, lambda tree: tree.update(format_version=2, not_yet_known=1))
    with pytest.raises(
        CheckpointError, match="expected format version 1, found 2; use the barwise"
    ):
        read(folder)


def test_unknown_key_is_refused(folder: Path) -> None:
    edit(folder, lambda tree: tree["network"].update(bidirectional=True))
    with pytest.raises(CheckpointError, match=r"network\.bidirectional.*found True"):
        read(folder)


def test_missing_key_is_refused(folder: Path) -> None:
    edit(folder, lambda tree: tree.pop("burn_in"))
    with pytest.raises(CheckpointError, match="burn_in: Field required"):
        read(folder)


def test_record_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError, match="expected JSON"):
        read(folder)


def test_edited_feature_list_is_refused(folder: Path) -> None:
    edit(folder, lambda tree: tree.update(features=["rsi(14)", "log_return"]))
    with pytest.raises(CheckpointError, match=r"expected layout .* the record was edited"):
        read(folder)


def test_scaler_of_another_width_is_refused(folder: Path) -> None:
    edit(folder, lambda tree: tree.update(scaler=Scaler.none(3).as_dict()))
    with pytest.raises(CheckpointError, match="expected a scaler for 2 features, found 3"):
        read(folder)


def test_distribution_of_the_training_comes_back_and_an_older_record_has_none(folder: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((80, 1, 3))
    ready = np.ones((80, 1), dtype=bool)
    known = Distribution.of(rows[..., :2], ready, 20)
    assert known is not None
    edit(folder, lambda tree: tree.update(distribution=known.model_dump(mode="json")))
    assert read(folder).distribution == known
    edit(folder, lambda tree: tree.pop("distribution"))
    assert read(folder).distribution is None
    wider = Distribution.of(rows, ready, 20)
    assert wider is not None
    edit(folder, lambda tree: tree.update(distribution=wider.model_dump(mode="json")))
    with pytest.raises(CheckpointError, match="the distribution of 2 features, found that of 3"):
        read(folder)


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    weights = load_file(folder / "weights.safetensors")
    weights["critic.0.bias"][1] = np.nan
    save_file(weights, folder / "weights.safetensors")
    rehash(folder, "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"finite weights, found critic\.0\.bias with 1"):
        read(folder)


def test_policy_with_broken_weights_is_refused(folder: Path) -> None:
    net = build(INFO)
    with torch.no_grad():
        net.lstm.weight_hh_l0[0, 0] = torch.nan
    (folder / "policy.onnx").write_bytes(Writer(net).graph())
    rehash(folder, "policy.onnx")
    with pytest.raises(CheckpointError, match=r"policy\.onnx: expected finite weights, found"):
        StepPolicy.load(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    wider = INFO.model_copy(update={"network": NETWORK.model_copy(update={"hidden_size": 9})})
    other = folder.with_name("other")
    Writer(build(wider)).save(other, wider.model_copy(update={"memory_width": 18}))
    (folder / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    rehash(folder, "weights.safetensors")
    with pytest.raises(
        CheckpointError, match=r"expected actor\.0\.weight of shape \(8, 10\), found"
    ):
        load_network(folder)


def test_policy_of_another_shape_is_refused(folder: Path) -> None:
    edit(folder, lambda tree: tree.update(memory_width=32))
    with pytest.raises(CheckpointError, match=r"expected inputs .*32.* found .*16"):
        StepPolicy.load(folder)


def test_policy_that_is_no_graph_is_refused(folder: Path) -> None:
    (folder / "policy.onnx").write_bytes(b"not a graph")
    rehash(folder, "policy.onnx")
    with pytest.raises(CheckpointError, match="a graph that ONNX Runtime can run"):
        StepPolicy.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features": ("log_return",), "lookbacks": (2,)},
            r"features \('log_return', 'rsi\(14\)'\)",
        ),
        ({"lookbacks": (2, 16)}, r"lookbacks \(2, 15\), found \(2, 16\)"),
        ({"book": ("position",)}, r"book \('position', 'cash'\), found \('position',\)"),
        ({"clip": 4.0}, r"clip 5\.0, found 4\.0; set observation\.clip"),
        ({"feature_fingerprint": "xyz"}, "another meaning"),
    ],
)
def test_wrong_layout_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        require_match(INFO, "backtest", layout=replace(LAYOUT, **change))


def test_other_price_basis_action_or_memory_is_refused() -> None:
    require_match(INFO, "here", LAYOUT, "raw", ActionSpace(), "carry")
    with pytest.raises(
        CheckpointError, match=r"price basis raw, found total; set data\.price_basis"
    ):
        require_match(INFO, "here", price_basis="total")
    with pytest.raises(CheckpointError, match=r"action space .*discrete.* found .*continuous"):
        require_match(INFO, "here", action=ActionSpace(kind="continuous"))
    with pytest.raises(CheckpointError, match=r"memory rule carry, found window\(3\)"):
        require_match(INFO, "here", memory="window(3)")


def test_broken_weights_are_not_written_and_the_older_folder_stays(folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    net = build(INFO)
    with torch.no_grad():
        net.critic[0].bias[0] = torch.inf
    with pytest.raises(CheckpointError, match=r"infinity in critic\.0\.bias; nothing was written"):
        Writer(net).save(folder, INFO)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_second_save_replaces_the_folder_and_leaves_nothing_else(folder: Path) -> None:
    writer = Writer(build(INFO))
    writer.save(folder, INFO, {"update": 1})
    with torch.no_grad():
        writer.net.lstm.weight_hh_l0.add_(0.5)
    info = writer.save(folder, INFO)
    assert read(folder) == info
    assert [file.name for file in folder.parent.iterdir()] == ["best"]
    assert not (folder / "training").exists()


def test_a_crash_between_the_two_renames_points_at_the_older_folder(folder: Path) -> None:
    folder.rename(folder.with_name(".best.old"))
    with pytest.raises(CheckpointError, match=r"rename .*\.best\.old"):
        read(folder)


def test_training_state_comes_back_exactly(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    generator.random(3)
    state = {
        "random": generator.bit_generator.state,
        "moments": {"0": {"exp_avg": torch.randn(2, 3), "step": torch.tensor(4.0)}},
        "empty": np.zeros((0, 2), dtype=np.int64),
        "days": np.array(["2004-02-29", "NaT"], dtype="datetime64[D]"),
        "best": 0.1 + 0.2,
        "none": None,
    }
    Writer(build(INFO)).save(tmp_path / "last", INFO, state)
    found = resume_state(tmp_path / "last")
    assert found["random"] == state["random"]
    assert found["best"] == 0.1 + 0.2
    assert found["none"] is None
    assert found["days"].dtype == np.dtype("datetime64[D]")
    assert found["days"][0] == np.datetime64("2004-02-29")
    assert np.isnat(found["days"][1])
    assert found["empty"].shape == (0, 2)
    moments = state["moments"]["0"]
    assert np.array_equal(found["moments"]["0"]["exp_avg"], moments["exp_avg"].numpy())
    assert found["moments"]["0"]["step"].shape == ()
    assert found["moments"]["0"]["step"] == 4.0


def test_resuming_without_training_state_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="can be used but not resumed"):
        resume_state(folder)
