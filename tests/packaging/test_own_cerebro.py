"""The README's example: an agent in somebody's own Cerebro, stock broker, plain PandasData."""

import contextlib
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import backtrader as bt
import numpy as np
import pandas as pd
import pytest
import torch

from agents.checkpoint import Writer, build
from engine.checkpoint import CheckpointInfo, TrainedOn
from engine.costs import Costs
from engine.errors import CheckpointError
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Layout, Scaler
from engine.orders import Sizing
from engine.policy import ActionSpace
from engine.settings_agent import NetworkSettings
from engine.venue import VenueSettings
from strategies.agent import AgentStrategy, load_trader

README = Path(__file__).parents[2] / "README.md"
BOOK = ("position", "unrealised", "cash", "bars_since_trade")


def record(features=("log_return", "sma_ratio(10)"), **changes):
    built = FeatureSet(features)
    layout = Layout.of(built, BOOK, 5.0)
    network = NetworkSettings.model_validate({"hidden_size": 8, "heads": (8,)})
    fields = {
        "network": network,
        "memory": "carry",
        "memory_width": 16,  # h and c of one layer of 8
        "burn_in": 5,
        "action": ActionSpace(kind="continuous", band=0.05),
        "features": layout.features,
        "lookbacks": layout.lookbacks,
        "book": layout.book,
        "clip": layout.clip,
        "feature_fingerprint": layout.feature_fingerprint,
        "layout": layout.fingerprint(),
        "scaler": Scaler(np.zeros(2), np.full(2, 0.01), 5.0).as_dict(),
        "limits": Limits(),
        "sizing": Sizing(),
        "costs": Costs(),
        "venue": VenueSettings(),
        "allocation": 1.0,
        "seed": 0,
        "trained_on": TrainedOn(
            digest="",
            source="made up",
            price_basis="split",
            symbols=("AAPL",),
            start="2000-01-03",
            end="2009-12-31",
        ),
        "versions": {},
    }
    return CheckpointInfo.model_validate({**fields, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with `checkpoint/` and `AAPL.csv`, as the example expects them."""
    where = tmp_path_factory.mktemp("own")
    info = record()
    torch.manual_seed(3)
    Writer(build(info)).save(where / "checkpoint", info)
    prices().to_csv(where / "AAPL.csv")
    return where


def prices(sessions=300, seed=0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, sessions)))
    open_ = close * np.exp(rng.normal(0, 0.005, sessions))
    days = pd.bdate_range("2019-01-01", periods=sessions, name="date")
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * 1.01,
            "low": np.minimum(open_, close) * 0.99,
            "close": close,
            "volume": 1e6,
        },
        index=days,
    )


def example():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    found = [block for block in blocks if "AgentStrategy" in block]
    assert len(found) == 1, "README.md shows AgentStrategy in a Cerebro of one's own, once"
    return found[0]


def test_example_of_the_readme_runs_and_trades(folder, monkeypatch):
    monkeypatch.chdir(folder)
    said, names = io.StringIO(), {}
    with contextlib.redirect_stdout(said):
        exec(compile(example(), "README.md", "exec"), names)
    broker = names["cerebro"].broker
    assert isinstance(broker, bt.brokers.BackBroker)
    assert len(broker.orders) > 1
    assert said.getvalue() == f"{broker.getvalue():,.2f}\n"


def run(folder, frames, **settings):
    cerebro = bt.Cerebro(**settings)
    for name, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=name)
    cerebro.broker.setcash(100_000)
    cerebro.addstrategy(AgentStrategy, checkpoint=folder / "checkpoint")
    strategy = cerebro.run()[0]
    fills = [
        (order.data._name, bit.dt, bit.size, bit.price)
        for order in cerebro.broker.orders
        for bit in order.executed.exbits
    ]
    return strategy, fills, cerebro.broker.getvalue()


@pytest.mark.parametrize("settings", [{"runonce": True}, {"preload": False}, {"stdstats": False}])
def test_every_way_to_run_gives_the_same_fills(folder, settings):
    late = prices(seed=1).iloc[40:].drop(prices().index[100])
    frames = {"AAPL": prices(), "LATE": late}
    usual, other = run(folder, frames, runonce=False), run(folder, frames, **settings)
    assert len(usual[1]) > 10
    assert usual[1:] == other[1:]


def test_nothing_is_bought_beyond_the_cash_and_nothing_is_lost_unsaid(folder):
    strategy, _, _ = run(folder, {"AAPL": prices()}, runonce=False)
    orders = strategy.broker.orders
    unfilled = [o for o in orders if o.status in (o.Margin, o.Rejected, o.Expired)]
    assert len(strategy.refused) == len(unfilled)
    assert strategy.broker.getcash() >= 0


def test_trader_of_a_checkpoint_has_its_settings_and_equal_sleeves(folder):
    trader = load_trader(folder / "checkpoint", 4, VenueSettings(account="cash"))
    assert trader.spec.allocation == 0.25
    assert trader.spec.burn_in == 5
    assert trader.spec.action == ActionSpace(kind="continuous", band=0.05)
    assert trader.spec.venue.account == "cash"
    assert trader.memory.shape == (1, 4, 16)


def test_checkpoint_whose_features_mean_something_else_is_refused(folder, tmp_path):
    shutil.copytree(folder / "checkpoint", tmp_path / "checkpoint")
    file = tmp_path / "checkpoint" / "checkpoint.json"
    written = CheckpointInfo.model_validate_json(file.read_text())
    layout = replace(written.seen(), feature_fingerprint="older")
    changes = {"feature_fingerprint": "older", "layout": layout.fingerprint(), "digest": ""}
    file.write_text(written.model_copy(update=changes).model_dump_json())
    with pytest.raises(CheckpointError, match="another meaning"):
        load_trader(tmp_path / "checkpoint", 1, VenueSettings())
