"""Dropout: the mask that played a sequence scores it again; life and the critic's own path drop nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.dropout import draw
from agents.export import StepGraph
from agents.sequences import Rollout, Segment
from engine.step import open_graph
from tests.network_options import make, mask_of
from tests.rollouts import STEPS, Parts, differences

BOTH = {"lstm_layers": 2, "dropout_inside": 0.4, "dropout_after": 0.4}
SETUPS: dict[str, dict[str, Any]] = {
    "after": {"dropout_after": 0.4},
    "inside": {"lstm_layers": 2, "dropout_inside": 0.4},
    "both, gaps": {**BOTH, "gaps": 0.15},
    "both, window": {**BOTH, "memory": "window(4)"},
    "both, stepwise": {**BOTH, "book_input": "lstm"},
    "both, stepwise, gaps, attention": {
        **BOTH,
        "book_input": "lstm",
        "gaps": 0.15,
        "attention": 3,
    },
    "both, separate critic, portfolio": {**BOTH, "critic": "separate", "kind": "portfolio"},
    "everything": {
        **BOTH,
        "layer_norm": "cell",
        "lstm_residual": True,
        "head_residual": True,
        "attention": 3,
        "encoder": 5,
        "groups": ({"features": ("high_low_range",), "widths": (4,)},),
        "gaps": 0.15,
    },
}


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_first_ratio_is_one_with_dropout_on(setup: dict[str, Any]) -> None:
    # R5 and R6; the second rollout begins in the middle of an episode
    parts = Parts(**setup)
    for _ in range(2):
        rollout = parts.collector.collect(STEPS)
        assert all(segment.mask is not None for segment in rollout.segments)
        ratio, value = differences(parts, rollout)
        assert ratio <= 1e-5
        assert value <= 1e-5


def without(mask: Tensor) -> None:
    # P5 the other way round: dropout in the rollout, none in the update
    return None


def of_others(mask: Tensor) -> Tensor:
    # the mask of another book
    return mask.roll(1, dims=0)


def drawn_again(mask: Tensor) -> Tensor:
    # as torch's own dropout would: the update draws for itself
    return mask[:, torch.randperm(mask.shape[1])]


@pytest.mark.parametrize("bug", [without, of_others, drawn_again])
@pytest.mark.parametrize("name", ["after", "inside", "both, stepwise"])
def test_another_mask_in_the_update_is_caught(
    bug: Callable[[Tensor], Tensor | None], name: str
) -> None:
    parts = Parts(**SETUPS[name])
    rollout = parts.collector.collect(STEPS)

    def wrong(segment: Segment) -> Segment:
        assert segment.mask is not None
        return replace(segment, mask=bug(segment.mask))

    planted: Rollout = replace(rollout, segments=tuple(map(wrong, rollout.segments)))
    assert differences(parts, planted)[0] > 1e-3


def test_each_sequence_of_each_book_has_a_mask_of_its_own() -> None:
    parts = Parts(dropout_after=0.5)
    first, second, *_ = parts.collector.collect(STEPS).segments
    assert first.mask is not None
    assert second.mask is not None
    assert first.mask.shape == (5, 16)
    assert not torch.equal(first.mask, second.mask)
    assert len({tuple(row.tolist()) for row in first.mask}) == 5


def test_the_same_generator_draws_the_same_masks_and_no_dropout_draws_nothing() -> None:
    net = make("dropout inside")
    left, right = (net.draw_mask(4, np.random.default_rng(3)) for _ in range(2))
    assert left is not None
    assert right is not None
    assert torch.equal(left, right)
    generator = np.random.default_rng(3)
    before = generator.bit_generator.state
    assert make("plain").draw_mask(4, generator) is None
    assert generator.bit_generator.state == before


def test_what_stays_is_scaled_so_that_the_mean_does_not_move() -> None:
    # rate 0.2: factors 0 and 1.25; of 200,000 draws the mean is 1 within 5 standard errors, 0.0056
    mask = draw(np.full(200, 0.2), 1000, np.random.default_rng(0))
    assert mask is not None
    assert mask.unique().tolist() == [0.0, 1.25]
    assert abs(mask.mean().item() - 1.0) < 5 * 0.5 / np.sqrt(200_000)


@pytest.mark.parametrize("name", ["dropout after", "separate critic, dropout, book in the LSTM"])
@torch.no_grad()
def test_dropout_acts_on_the_policys_path_only(name: str) -> None:
    net = make(name)
    rows, book = torch.randn(5, 3, net.inputs), torch.randn(5, 3, 2)
    dropped = net.heads(net.trunk(rows, net.start(3), mask_of(net, 3))[0], book)
    full = net.heads(net.trunk(rows, net.start(3))[0], book)
    assert torch.equal(dropped[1], full[1])
    assert (dropped[0] - full[0]).abs().max() > 1e-4


@torch.no_grad()
def test_life_drops_nothing() -> None:
    # the deployed step of a network in training mode is the step without a mask, every time
    net = make("dropout after").train()
    session = open_graph(StepGraph(net).as_bytes(), "dropout")
    rows = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    book = np.zeros((3, 2), np.float32)
    feeds = {"market": rows, "memory": np.zeros((3, 12), np.float32), "book": book}
    heads = [session.run(None, feeds)[0] for _ in range(3)]
    expected = net.step(torch.from_numpy(rows), torch.from_numpy(book), net.start(3))[0]
    assert all(np.array_equal(heads[0], other) for other in heads)
    assert np.abs(heads[0] - expected.numpy()).max() <= 1e-6


@torch.no_grad()
def test_masks_of_layers_above_leave_the_first_layer_alone() -> None:
    # the state of layer 1 is (h0, h1, c0, c1): h0 and c0 do not know of the mask
    net = make("dropout inside")
    rows = torch.randn(6, 2, 4)
    dropped = net.trunk(rows, net.start(2), mask_of(net, 2))[1].reshape(2, 4, 6)
    full = net.trunk(rows, net.start(2))[1].reshape(2, 4, 6)
    assert torch.equal(dropped[:, [0, 2]], full[:, [0, 2]])
    assert (dropped[:, [1, 3]] - full[:, [1, 3]]).abs().max() > 1e-3
