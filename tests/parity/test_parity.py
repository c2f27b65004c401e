"""Environment, replay and Backtrader make the same decisions, bar by bar, and a bug is noticed."""

import numpy as np
import pytest
import torch

from agents.checkpoint import Writer, build, describe
from engine.bars import Bars
from engine.checkpoint import TrainedOn
from engine.costs import Costs
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Wish
from engine.run.backtest import through_backtrader
from engine.run.check.parity import check_parity, compare, through_replay
from engine.settings import AgentSettings, NetworkSettings
from engine.sources import DataSettings, load
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue, VenueSettings
from tests.markets import made_up
from tests.policies import Follower

COSTS = Costs(rate=0.001, per_order=0.35, slippage_bps=3.0, regulatory=True)


GUIDE = ("preset:guide", "momentum(20)", "rsi(14)")


def spec_for(
    bars: Bars, fit_until: int, names: tuple[str, ...] = GUIDE, **changes: object
) -> TraderSpec:
    features = FeatureSet(names)
    rows, ready = features.history(bars)
    base: dict[str, object] = {
        "features": features,
        "scaler": Scaler.fit(rows[:fit_until], ready[:fit_until]),
        "book_inputs": ("position", "unrealised", "cash", "bars_since_trade"),
        "action": ActionSpace(),
        "costs": COSTS,
        "allocation": 1.0 / len(bars.symbols),
        "burn_in": 30,
    }
    return TraderSpec(**(base | changes))  # type: ignore[arg-type]


def delisted(bars: Bars, symbol: int, last: int) -> Bars:
    """Let one symbol stop trading for good after the bar `last`."""
    from dataclasses import replace

    ohlcv, traded = bars.ohlcv.copy(), bars.traded.copy()
    ohlcv[last + 1 :, symbol], traded[last + 1 :, symbol] = np.nan, False
    traded[last, symbol] = True
    if np.isnan(ohlcv[last, symbol]).any():
        ohlcv[last, symbol] = ohlcv[:last, symbol][~np.isnan(ohlcv[:last, symbol, 0])][-1]
    ended = bars.ended.copy()
    ended[symbol] = bars.sessions[last]
    return replace(bars, ohlcv=ohlcv, traded=traded, ended=ended)


@pytest.fixture(scope="module")
def sample() -> Bars:
    return load(DataSettings(source="sample"))


def test_paths_agree_on_four_real_symbols_over_more_than_a_thousand_sessions(sample):
    first, last = 1500, len(sample.sessions) - 1
    found = check_parity(sample, spec_for(sample, first), Follower(), first, last, 100_000.0)
    assert found.bars > 1_000
    assert found.fills > 300
    assert found.equal, [item for item in found.differences if not item.within]
    exact = {item.field: item.largest for item in found.differences}
    assert exact["memory"] == exact["order_qty"] == exact["filled"] == exact["price"] == 0.0


LEVELS = (-1.0, -0.5, 0.0, 0.25, 0.5, 1.0)
SPACES = {
    "discrete": ActionSpace(),
    "masked": ActionSpace(mask=True),
    "levels": ActionSpace(kind="levels", levels=LEVELS),
    "masked levels": ActionSpace(kind="levels", levels=LEVELS, mask=True),
    "continuous": ActionSpace(kind="continuous"),
    "beta": ActionSpace(kind="continuous", distribution="beta"),
}


@pytest.mark.parametrize(
    ("name", "short"),
    [(name, short) for name in ("discrete", "continuous") for short in (False, True)]
    + [("masked", False), ("levels", True), ("masked levels", False), ("beta", False)],
)
def test_paths_agree_on_gaps_a_late_listing_splits_and_a_delisting(name, short):
    space = SPACES[name]
    bars = delisted(made_up(11, sessions=700, symbols=4, gaps=0.08, late=120), 1, 500)
    spec = spec_for(
        bars,
        300,
        action=space,
        limits=Limits(allow_short=short),
        venue=VenueSettings(pay_dividends=True),
    )
    found = check_parity(bars, spec, Follower(space, short), 180, 699, 1_000_000.0)
    assert found.equal, [item for item in found.differences if not item.within]
    assert found.fills > 100
    record = through_replay(bars, spec, Follower(space, short), 180, 699, 1_000_000.0).arrays()
    assert (bars.split[181:] != 1.0).any()
    assert (~bars.traded[181:]).any()
    assert (record["qty"][501 - 180 + 1 :, 1] == 0).all()


def test_paths_agree_where_exposures_are_sized_by_volatility():
    space = ActionSpace(kind="continuous", volatility=0.01)
    bars = made_up(12, sessions=300, symbols=3)
    spec = spec_for(bars, 200, ("log_return", "realised_vol(20)"), action=space)
    found = check_parity(bars, spec, Follower(space), 100, 299, 1_000_000.0)
    assert found.equal, [item for item in found.differences if not item.within]
    assert found.fills > 50


@pytest.mark.parametrize("account", ["margin", "cash"])
@pytest.mark.parametrize("fill", ["open", "next_close", "same_close"])
def test_paths_agree_under_every_rule_of_the_venue(account, fill):
    bars = made_up(12, sessions=420, symbols=3)
    venue = VenueSettings(account=account, fill=fill)
    spec = spec_for(bars, 250, venue=venue, limits=Limits(max_turnover=0.4, max_positions=2))
    found = check_parity(bars, spec, Follower(), 250, 419, 50_000.0)
    assert found.equal, [item for item in found.differences if not item.within]
    assert found.fills > 20


@pytest.mark.parametrize("memory", ["carry", "window(10)"])
@pytest.mark.parametrize("book_input", ["heads", "lstm"])
def test_paths_agree_with_the_deployed_network_over_a_thousand_real_sessions(
    sample, memory, book_input
):
    first, last = 2100, len(sample.sessions) - 1
    spec = spec_for(sample, first)
    agent = AgentSettings(
        memory=memory,
        burn_in=30,
        network=NetworkSettings(hidden_size=24, lstm_layers=2, book_input=book_input),
    )
    torch.manual_seed(4)
    trained_on = TrainedOn(
        digest="", source="", price_basis="raw", symbols=(), start="2000-01-03", end="2001-01-03"
    )
    info = describe(spec, agent, trained_on, seed=0)
    net = build(info)
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(2.0)  # an untrained head is too shy to trade
        net.actor[-1].weight.mul_(100.0)
    known = info.model_copy(update={"memory_width": net.memory_width})
    policy = StepPolicy(Writer(net).graph(), known)
    found = check_parity(sample, spec, policy, first, last, 100_000.0)
    assert found.bars > 1_000
    assert found.fills > 50
    assert found.equal, [item for item in found.differences if not item.within]


class Forgetful(Follower):
    """A planted bug: the memory is lost on every bar."""

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        return super().act(obs, np.zeros_like(memory))


def test_strategy_that_forgets_to_carry_its_memory_is_caught_on_the_first_bar(sample):
    spec = spec_for(sample, 1500)
    args = (1500, 1700)
    good = through_replay(sample, spec, Follower(), *args, 1e5)
    venue = SimVenue(1e5, (1, 4), spec.costs, spec.venue)
    bad = through_backtrader(sample, Trader(spec, Forgetful(), 4), venue, *args)
    found = compare({"replay": good, "backtrader": bad})
    wrong = {item.field: item.bar for item in found.differences if not item.within}
    assert wrong["memory"] == str(sample.sessions[1500])


def test_a_share_more_or_a_cent_of_cash_is_noticed(sample):
    spec = spec_for(sample, 1500)
    good = through_replay(sample, spec, Follower(), 1500, 1600, 1e5)
    for name, change in (("order_qty", 1.0), ("cash", 0.01)):
        bad = through_replay(sample, spec, Follower(), 1500, 1600, 1e5)
        bad.rows[50][name] = bad.rows[50][name] + change
        found = compare({"replay": good, "other": bad})
        wrong = [(item.field, item.bar) for item in found.differences if not item.within]
        assert wrong == [(name, str(sample.sessions[1550]))]
