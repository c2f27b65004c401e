"""A gradient added up slab by slab is that of the whole minibatch, whatever counts in each slab."""

from typing import Any

import numpy as np
import pytest
import torch

from agents import on_policy
from agents.on_policy import slab_of
from tests.rollouts import BOOKS, ON_POLICY, STEPS, Parts


def gradient(
    rule: str, slab: int, monkeypatch: pytest.MonkeyPatch, **setup: Any
) -> tuple[torch.Tensor, dict[str, float]]:
    parts = Parts(**setup)
    rollout = parts.collector.collect(STEPS)
    # Two books are ruined half-way and one never acts: no slab counts as many steps as another.
    rollout.alive[STEPS // 2 :, :2] = False
    rollout.acts[:] &= rollout.alive & (np.arange(BOOKS) != 3)
    learner = parts.learner(rule)
    monkeypatch.setattr(on_policy, "slab_of", lambda rollout, net: slab)
    batch, _ = learner.batch(rollout)
    watched = learner.gradient(rollout, batch, torch.arange(BOOKS))
    found = [x.grad.flatten() for x in learner.net.parameters() if x.grad is not None]
    return torch.cat(found), {**watched, "loss": learner.descent.loss}


@pytest.mark.parametrize("rule", ON_POLICY)
@pytest.mark.parametrize(
    "setup", [{}, {"kind": "portfolio"}, {"gaps": 0.15}, {"dropout_after": 0.4}]
)
def test_gradient_of_slabs_is_the_gradient_of_the_whole(
    rule: str, setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    whole, seen = gradient(rule, BOOKS, monkeypatch, **setup)
    assert float(whole.abs().max()) > 1e-3
    for slab in (1, 2):
        found, told = gradient(rule, slab, monkeypatch, **setup)
        assert float((found - whole).abs().max()) <= 1e-6 * max(1.0, float(whole.abs().max()))
        assert told == pytest.approx(seen, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("rule", ON_POLICY)
def test_means_of_slabs_taken_alone_would_be_caught(rule: str, monkeypatch: pytest.MonkeyPatch):
    whole, _ = gradient(rule, BOOKS, monkeypatch)
    monkeypatch.setattr(on_policy.Batch, "part", on_policy.Batch.select)  # the planted bug
    wrong, _ = gradient(rule, 2, monkeypatch)
    assert float((wrong - whole).abs().max()) > 1e-3


def test_slab_is_smaller_for_longer_wider_and_windowed_sequences() -> None:
    # 2^21 outputs at once: 30 bars x 16 outputs a book leave 4,369 books
    plain, windowed, pair = Parts(), Parts(memory="window(4)"), Parts(kind="portfolio")
    assert slab_of(plain.collector.collect(STEPS), plain.net) == 2**21 // (30 * 16)
    assert slab_of(windowed.collector.collect(STEPS), windowed.net) == 2**21 // (30 * 16 * 4)
    symbols = pair.collector.env.symbols
    assert slab_of(pair.collector.collect(STEPS), pair.net) == 2**21 // (30 * 16 * symbols)
