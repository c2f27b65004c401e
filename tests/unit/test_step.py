"""The ONNX step against torch: same memory, same actions over a thousand carried bars."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from agents.checkpoint import Writer, build
from agents.networks import ActorCritic
from engine.checkpoint import CheckpointInfo, TrainedOn
from engine.costs import Costs
from engine.limits import Limits
from engine.observation import Layout, Observation, Scaler
from engine.orders import Sizing
from engine.policy import BUY, HOLD, SELL, ActionSpace, greedy
from engine.settings_agent import NetworkSettings
from engine.step import StepPolicy
from engine.venue import VenueSettings

BARS, NEAR_TIE = 1_000, 1e-5


def make_info(
    layers: int = 1,
    memory: str = "carry",
    book: tuple[str, ...] = ("position", "cash"),
    kind: str = "discrete",
    **network: Any,
) -> CheckpointInfo:
    layout = Layout(("a", "b", "c"), (1, 1, 1), book, 5.0, "f")
    settings = {"hidden_size": 16, "lstm_layers": layers, "heads": (8,), **network}
    return CheckpointInfo(
        network=NetworkSettings.model_validate(settings),
        memory=memory,
        memory_width=0,
        burn_in=0,
        action=ActionSpace.model_validate({"kind": kind}),
        features=layout.features,
        lookbacks=layout.lookbacks,
        book=book,
        clip=5.0,
        feature_fingerprint="f",
        layout=layout.fingerprint(),
        scaler=Scaler.none(3).as_dict(),
        limits=Limits(),
        sizing=Sizing(),
        costs=Costs(),
        venue=VenueSettings(),
        allocation=1.0,
        seed=0,
        trained_on=TrainedOn(
            digest="",
            source="",
            price_basis="raw",
            symbols=(),
            start="2000-01-01",
            end="2001-01-01",
        ),
        versions={},
    )


def pair(info: CheckpointInfo, seed: int = 0) -> tuple[ActorCritic, StepPolicy]:
    """A network whose head is scaled up, so that actions change, and its deployed step."""
    torch.manual_seed(seed)
    net = build(info)
    with torch.no_grad():
        net.actor[-1].weight.mul_(100.0)
    graph = Writer(net).graph()
    return net, StepPolicy(graph, info.model_copy(update={"memory_width": net.memory_width}))


@pytest.mark.parametrize(
    "info",
    [
        make_info(layers=1),
        make_info(layers=2),
        make_info(memory="window(5)"),
        make_info(memory="window(5)", layers=2),
        make_info(memory="window(1)"),
        make_info(book=()),
        make_info(book=(), memory="window(5)"),
        make_info(book_input="lstm"),
        make_info(book_input="lstm", memory="window(5)"),
        make_info(kind="continuous"),
        make_info(heads=()),
        make_info(heads=(16, 8)),
    ],
    ids=lambda info: (
        f"{info.network.lstm_layers}-{info.memory}-{len(info.book)}-{info.action.kind}"
    ),
)
def test_onnx_step_agrees_with_torch_over_1000_carried_bars(
    info: CheckpointInfo, record_property: Callable[[str, object], None]
) -> None:
    net, policy = pair(info)
    rng = np.random.default_rng(1)
    market = rng.normal(size=(BARS, 4, 3)).astype(np.float32)
    book = rng.normal(size=(BARS, 4, len(info.book))).astype(np.float32)
    ours = np.zeros((4, policy.memory_width), dtype=np.float32)
    theirs = net.start(4)
    worst, differing, ties = 0.0, [], []
    for bar in range(BARS):
        head, ours = policy.run(market[bar], book[bar], ours)
        with torch.no_grad():
            expected, theirs = net.step(
                torch.from_numpy(market[bar]), torch.from_numpy(book[bar]), theirs
            )
        worst = max(worst, float(np.abs(ours - theirs.numpy()).max()))
        if info.action.kind == "continuous":
            assert (
                np.abs(greedy(head, info.action) - np.tanh(expected[..., 0].numpy())).max() < 1e-5
            )
            continue
        other = expected.numpy()
        for row in np.flatnonzero(greedy(head, info.action) != greedy(other, info.action)):
            gap = np.diff(np.sort(other[row])[-2:])[0]
            (ties if gap < NEAR_TIE else differing).append((bar, int(row), float(gap)))
    assert worst <= 1e-5
    record_property("near_ties", ties)  # listed in the report of the tests: bar, row, gap
    assert differing == [], f"near ties, allowed: {ties}"
    assert len(ties) <= BARS * 4 // 1_000, f"too many to be ties: {ties}"


def test_a_step_fed_a_forgotten_memory_is_caught() -> None:
    # planted bug: the same comparison with the memory zeroed on every bar
    net, policy = pair(make_info())
    rng = np.random.default_rng(1)
    carried, wrong = net.start(4), 0.0
    for _ in range(50):
        market = rng.normal(size=(4, 3)).astype(np.float32)
        _, forgotten = policy.run(
            market, np.zeros((4, 2), np.float32), np.zeros((4, 32), np.float32)
        )
        with torch.no_grad():
            _, carried = net.step(torch.from_numpy(market), torch.zeros(4, 2), carried)
        wrong = max(wrong, float(np.abs(forgotten - carried.numpy()).max()))
    assert wrong > 1e-2


def test_a_graph_exported_before_follows_the_weights_of_now() -> None:
    info = make_info(layers=2).model_copy(update={"memory_width": 64})
    torch.manual_seed(1)
    net = build(info)
    writer = Writer(net)
    before = writer.graph()
    assert writer.graph() is before  # nothing moved: nothing is exported again
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    rows = [np.random.default_rng(2).normal(size=(3, n)).astype(np.float32) for n in (3, 2, 64)]
    with torch.no_grad():
        expected = [x.numpy() for x in net.step(*map(torch.from_numpy, rows))]
    now = StepPolicy(writer.graph(), info).run(*rows)
    old = StepPolicy(before, info).run(*rows)
    assert all(np.abs(a - b).max() <= 1e-6 for a, b in zip(now, expected, strict=True))
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(old, expected, strict=True))


def test_exporting_costs_no_random_draw() -> None:
    net = build(make_info(hidden_size=5))
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    Writer(net).graph()
    assert torch.equal(torch.rand(3), expected)


def observation(books: int, symbols: int) -> Observation:
    rng = np.random.default_rng(3)
    market = rng.normal(size=(books, symbols, 3)).astype(np.float32)
    book = rng.normal(size=(books, symbols, 2)).astype(np.float32)
    return Observation(market, book, np.ones((books, symbols), dtype=bool))


def test_act_keeps_shapes_repeats_bitwise_and_leaves_its_arguments_alone() -> None:
    _, policy = pair(make_info())
    obs, memory = observation(2, 3), np.ones((2, 3, 32), dtype=np.float32)
    wish, after = policy.act(obs, memory)
    again, after_again = policy.act(obs, memory)
    assert wish.exposure.shape == wish.keep.shape == (2, 3)
    assert after.shape == (2, 3, 32)
    assert after.dtype == np.float32
    assert np.array_equal(after, after_again)
    assert np.array_equal(wish.exposure, again.exposure)
    assert (memory == 1).all()


@pytest.mark.parametrize(
    ("best", "shorts", "exposure", "keep"),
    [
        (SELL, False, 0.0, False),
        (SELL, True, -1.0, False),
        (BUY, True, 1.0, False),
        (HOLD, True, None, True),
    ],
)
def test_the_largest_logit_is_what_is_wished(
    best: int, shorts: bool, exposure: float | None, keep: bool
) -> None:
    info = make_info().model_copy(update={"limits": Limits(allow_short=shorts), "memory_width": 32})
    net = build(info)
    with torch.no_grad():
        net.actor[-1].weight.zero_()
        net.actor[-1].bias.copy_(torch.eye(3)[best])
    policy = StepPolicy(Writer(net).graph(), info)
    wish, _ = policy.act(observation(1, 2), np.zeros((1, 2, 32), dtype=np.float32))
    assert wish.keep.tolist() == [[keep, keep]]
    if exposure is not None:
        assert wish.exposure.tolist() == [[exposure, exposure]]


def test_no_rows_give_no_wishes() -> None:
    _, policy = pair(make_info())
    obs = observation(2, 3)
    nothing = Observation(obs.market[:, :0], obs.book[:, :0], obs.fresh[:, :0])
    wish, after = policy.act(nothing, np.zeros((2, 0, 32), dtype=np.float32))
    assert wish.exposure.shape == (2, 0)
    assert after.shape == (2, 0, 32)


def test_deployed_policy_imports_no_torch() -> None:
    code = (
        "import sys, engine.step, engine.checkpoint, onnxruntime; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
