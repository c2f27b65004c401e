"""What an agent earned that holding its own mean exposure would not have.

The return of holding is taken at the mean of the agent's exposures so far, symbol by symbol: drift is
no skill. What it is worth to be above or below that mean is measured over all bars, later ones too.
"""

import json
from typing import Any

import numpy as np

from engine.bars import CLOSE, Bars
from engine.measures import NotComputable, returns_of, sharpe
from engine.report.folder import write_json
from engine.run.backtest import baseline_trader, new_venue
from engine.run.build import bars_of, dates
from engine.run.check.placebo_plan import MU, Case
from engine.run.counting import counted, seen
from engine.run.evaluation import deployed, turnover_a_bar
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.run.training.folder import TRAINING
from engine.run.training.validation import YEAR, score_of
from engine.settings import Settings
from engine.trader import Trader

Score = dict[str, Any]


def score_case(case: Case) -> Score:
    """Test the agent of a case on its market, count the trial, keep the score; read it if it is there."""
    if case.score.is_file():
        return read(case)
    settings, folder = case.job.settings, case.job.folder
    checkpoint, bars = folder / TRAINING / "best", bars_of(case.job.settings)
    spec, policy = deployed(settings, checkpoint, bars)
    with counted(settings, bars, "test", ("test",), folder, checkpoint) as (_, trial):
        record = _play(settings, bars, Trader(spec, policy, len(bars.symbols)))
        value = score_of(record.arrays()["equity"], settings.train.score)
        seen(trial, record, value, folder / "test-returns.npy")
    return _keep(case, record, bars)


def score_random(case: Case, bars: Bars, turnover: float) -> Score:
    """Test random actions of a mean turnover on the real market, without a training."""
    if case.score.is_file():
        return read(case)
    trader = baseline_trader(case.job.settings, "random", bars, turnover)
    return _keep(case, _play(case.job.settings, bars, trader), bars)


def read(case: Case) -> Score:
    """Return the score of a case that was tested."""
    found: Score = json.loads(case.score.read_text(encoding="utf-8"))
    return found


def optimum(settings: Settings) -> float:
    """Return what the best agent earns a day on the control: closed form.

    Long on the days that pay, flat on the others: half of them each, and a side traded every other
    day. Fees an order and what is lost to whole shares are left out.
    """
    return (MU - side_cost(settings)) / 2.0


def side_cost(settings: Settings) -> float:
    """Return commission and slippage of a side, fraction of value."""
    return settings.costs.rate + settings.costs.slippage_bps / 1e4


def excess_returns(record: Recorder, bars: Bars, pays: bool = False) -> np.ndarray:
    """Return the agent's returns less those of holding its mean exposure so far.

    Shapes: (T,). Where exposure is above or below that mean, what drift alone pays for it is taken
    off too: each symbol's mean return over all bars. `pays`: whether the venue paid dividends.
    """
    rows = record.arrays()
    weight = rows["qty"] * rows["mark"] / rows["equity"][:, None]
    weight = np.where(np.isfinite(weight), weight, 0.0)[:-1]
    so_far = np.cumsum(weight, axis=0) / np.arange(1, len(weight) + 1)[:, None]
    moved = _moves(bars, pays)
    drift = np.array([each[np.isfinite(each)].mean() for each in moved.T])
    first = bars.index_of(record.sessions[0]) + 1
    tested = np.nan_to_num(moved[first : first + len(weight)])
    held = (so_far * tested + (weight - so_far) * drift).sum(axis=1)
    return np.asarray(returns_of(rows["equity"]) - held)


def _moves(bars: Bars, pays: bool) -> np.ndarray:
    # Returns of each bar, (T, N): from the close before, NaN where one of the two is missing.
    close = bars.ohlcv[..., CLOSE]
    worth = close[1:] * bars.split[1:] + bars.dividend[1:] * pays * bars.split[1:]
    return np.concatenate([np.full((1, close.shape[1]), np.nan), worth / close[:-1] - 1.0])


def _play(settings: Settings, bars: Bars, trader: Trader) -> Recorder:
    first, last = dates(bars, settings, "test")
    return replay(trader, new_venue(settings, bars), bars, first, last)


def _keep(case: Case, record: Recorder, bars: Bars) -> Score:
    rows = record.arrays()
    try:
        own, excess = (
            returns_of(rows["equity"]),
            excess_returns(record, bars, case.job.settings.venue.pay_dividends),
        )
        value = sharpe(excess, YEAR)
    except NotComputable:  # it never moved, or was ruined: no skill either way
        own, excess, value = np.zeros(1), np.zeros(1), 0.0
    turnover = turnover_a_bar(record)
    gross = np.abs(rows["qty"] * rows["mark"]).sum(axis=1) / rows["equity"]
    found = {
        "seed": case.seed,
        "excess_sharpe": value,
        "excess_a_bar": float(excess.mean()),
        "return_a_bar": float(own.mean()),
        "cost_a_bar": turnover * side_cost(case.job.settings),
        "turnover": turnover,
        "exposure": float(np.nanmean(gross)),
        "fills": int((rows["filled"] != 0).sum()),
        "bars": len(rows["equity"]) - 1,
    }
    write_json(case.score, found)
    return found
