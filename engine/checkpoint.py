"""What a checkpoint folder says about itself, and the refusal of one that does not fit.

A folder holds policy.onnx (decides one bar), weights.safetensors (to train on), checkpoint.json
(this record) and perhaps training/. Nothing is pickled. `agents.checkpoint` writes it; reading it
needs no torch.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from engine.costs import Costs
from engine.drift import Distribution
from engine.errors import CheckpointError, SettingsError
from engine.limits import Limits
from engine.observation import Layout, Scaler
from engine.orders import Sizing
from engine.policy import ActionSpace
from engine.settings_agent import MemoryRule, NetworkSettings, places_of
from engine.venue import VenueSettings

FORMAT = 1  # raised when an older reader would misread a newer folder
RECORD, POLICY, WEIGHTS, TRAINING = (
    "checkpoint.json",
    "policy.onnx",
    "weights.safetensors",
    "training",
)


class TrainedOn(BaseModel, frozen=True, extra="forbid"):
    """The bars an agent learned from."""

    digest: str = Field(description="sha256 of all bars of the run")
    source: str
    price_basis: str
    symbols: tuple[str, ...]
    start: date
    end: date = Field(description="last session of the training range")
    chosen_until: date | None = Field(
        None, description="last session that it was chosen on; older records do not say"
    )
    feed: str = Field(
        default_factory=lambda known: feed_of(known.get("source", "")),
        description="vendor and feed of the bars; older records say it in `source` only",
    )


class CheckpointInfo(BaseModel, frozen=True, extra="forbid"):
    """Everything a decision depends on besides weights, bars and book, and where it comes from."""

    format_version: int = FORMAT
    network: NetworkSettings
    memory: MemoryRule
    memory_width: int = Field(ge=0, description="numbers carried from bar to bar, per symbol")
    burn_in: int = Field(ge=0)
    action: ActionSpace
    features: tuple[str, ...]
    lookbacks: tuple[int, ...]
    book: tuple[str, ...]
    clip: float
    feature_fingerprint: str
    layout: str = Field(description="fingerprint of features, lookbacks, book inputs and clip")
    scaler: dict[str, Any] = Field(description="mean, scale and clip, frozen at training")
    limits: Limits
    sizing: Sizing
    costs: Costs = Field(description="costs trained with")
    venue: VenueSettings = Field(description="venue trained with")
    allocation: float = Field(description="sleeve of one symbol in training, fraction of equity")
    seed: int
    trained_on: TrainedOn
    distribution: Distribution | None = Field(
        None, description="of the market inputs in training; older records have none"
    )
    versions: dict[str, str] = Field(description="libraries that wrote it")
    update: int = Field(0, ge=0, description="training rounds done")
    validation_score: float | None = None
    sha256: dict[str, str] = Field(default_factory=dict, description="of both files")
    digest: str = Field("", description="of this record as written, without this key")

    def seen(self) -> Layout:
        """Return which input stands where."""
        return Layout(self.features, self.lookbacks, self.book, self.clip, self.feature_fingerprint)

    def frozen_scaler(self) -> Scaler:
        """Return the scaler fitted in training, bit for bit."""
        return Scaler.from_dict(self.scaler)


def feed_of(source: str) -> str:
    """Return vendor and feed of bars by their source: alpaca:iex, sample, csv, synthetic."""
    return source.split(" ")[0].rstrip(":")


def read(folder: Path) -> CheckpointInfo:
    """Read a checkpoint's record and prove that its files are the ones it was written with.

    Raises: CheckpointError for a missing file, a changed byte, another format version, unknown or
    bad keys, a layout that contradicts itself, weights that are not finite.
    """
    _require_files(folder)
    tree = _tree(folder / RECORD)
    info = _parse(tree, folder / RECORD)
    for name in (POLICY, WEIGHTS):
        found, wanted = sha256_of(folder / name), info.sha256.get(name)
        if found != wanted:
            raise CheckpointError(
                f"{folder / name}: expected sha256 {wanted}, found {found}; the file was changed "
                "after it was written: copy the whole folder again or train again"
            )
    _require_sound(folder, info)
    digest = digest_of(tree)
    if info.digest not in ("", digest):
        raise CheckpointError(
            f"{folder / RECORD}: expected a record whose digest is {info.digest}, found one of "
            f"{digest}; it was changed after it was written: copy the whole folder again or train "
            "again"
        )
    return info.model_copy(update={"digest": digest})


def digest_of(record: Mapping[str, Any]) -> str:
    """Return what identifies an agent: the digest of its record, which names both files' own."""
    plain = {key: value for key, value in record.items() if key != "digest"}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def require_match(
    info: CheckpointInfo,
    where: str,
    layout: Layout | None = None,
    price_basis: str | None = None,
    action: ActionSpace | None = None,
    memory: str | None = None,
) -> None:
    """Refuse to use a checkpoint for what it was not trained for; None = do not compare.

    Raises: CheckpointError naming the first thing that differs, both values and the remedy.
    """
    if layout is not None and layout.fingerprint() != info.layout:
        _refuse_layout(info.seen(), layout, where)
    pairs = (
        ("price basis", info.trained_on.price_basis, price_basis, "data.price_basis"),
        ("action space", info.action, action, "agent.action"),
        ("memory rule", info.memory, memory, "agent.memory"),
    )
    for what, expected, found, key in pairs:
        if found is not None and found != expected:
            raise CheckpointError(
                f"{where}: the checkpoint was trained with {what} {expected}, found {found}; "
                f"set {key} as it was in training, or train again"
            )


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _require_files(folder: Path) -> None:
    for name in (RECORD, POLICY, WEIGHTS):
        if (folder / name).is_file():
            continue
        old = folder.with_name(f".{folder.name}.old")
        hint = f"rename {old}, the one before, to it" if old.is_dir() else "train or copy it again"
        raise CheckpointError(
            f"{folder}: expected {RECORD}, {POLICY} and {WEIGHTS}, found no {name}; {hint}"
        )


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path}: expected JSON, found {error}; copy the whole folder again"
        ) from error
    version = tree.get("format_version") if isinstance(tree, dict) else None
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: expected format version {FORMAT}, found {version}; "
            "use the barwise version that wrote it, or train again"
        )
    return dict(tree)


def _parse(tree: dict[str, Any], path: Path) -> CheckpointInfo:
    try:
        return CheckpointInfo.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{path}: {key}: {first['msg']}, found {first.get('input')!r:.80}; "
            "the record was edited or written by another version: copy it again or train again"
        ) from error


def _require_sound(folder: Path, info: CheckpointInfo) -> None:
    if info.seen().fingerprint() != info.layout:
        raise CheckpointError(
            f"{folder / RECORD}: expected layout {info.layout}, but its features and book inputs "
            f"give {info.seen().fingerprint()}; the record was edited: copy it again"
        )
    width = len(info.frozen_scaler().mean)
    if width != len(info.features):
        raise CheckpointError(
            f"{folder / RECORD}: expected a scaler for {len(info.features)} features, found "
            f"{width}; copy the whole folder again or train again"
        )
    if info.distribution is not None and len(info.distribution.cuts) != width:
        raise CheckpointError(
            f"{folder / RECORD}: expected the distribution of {width} features, found that of "
            f"{len(info.distribution.cuts)}; copy the whole folder again or train again"
        )
    try:
        places_of(info.network.groups, info.features, len(info.features))
    except SettingsError as error:
        raise CheckpointError(
            f"{folder / RECORD}: its network settings and its features contradict each other: "
            f"{error}; the record was edited: copy it again"
        ) from error
    for name, weight in read_weights(folder / WEIGHTS).items():
        if not np.isfinite(weight).all():
            raise CheckpointError(
                f"{folder / WEIGHTS}: expected finite weights, found {name} with "
                f"{int((~np.isfinite(weight)).sum())} that are not; use an earlier checkpoint"
            )


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return named arrays from a safetensors file. Raises: CheckpointError when it is not one."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        weights: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: expected a safetensors file, found {error}; copy the whole folder again"
        ) from error
    return weights


def _refuse_layout(expected: Layout, found: Layout, where: str) -> None:
    for what, key in (
        ("features", "observation.features"),
        ("lookbacks", "observation.features"),
        ("book", "observation.book"),
        ("clip", "observation.clip"),
    ):
        left, right = getattr(expected, what), getattr(found, what)
        if left != right:
            raise CheckpointError(
                f"{where}: the checkpoint was trained on {what} {left}, found {right}; "
                f"set {key} as it was in training, or train again"
            )
    raise CheckpointError(
        f"{where}: the features have the names of the checkpoint's but another meaning "
        f"(fingerprint {expected.feature_fingerprint}, found {found.feature_fingerprint}); "
        "use the barwise version that trained it, or train again"
    )
