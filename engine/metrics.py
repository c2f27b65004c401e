"""What a metric means: every number a single backtest can have, with its definition in words.

`CATALOGUE` is the only list: tables, pages and JSON are made from it, in its order. `summarise`
computes it for the agent and its baselines; what cannot be computed is None with a reason.
Sources: Bacon, Practical Portfolio Performance Measurement and Attribution (2008); probabilistic
Sharpe ratio and track record: Bailey and Lopez de Prado (2012); the rest as each row states.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any, Literal

import numpy as np

from engine import account as ask
from engine import measures as m
from engine.account import Account, Case, Conventions
from engine.errors import DataError
from engine.round_trips import Events
from engine.significance import Moments, probabilistic_sharpe, track_record_needed

Unit = Literal["percent", "small percent", "ratio", "number", "bars", "count", "money", "yearly"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue. `yearly` = times per year."""

    key: str
    name: str
    group: str
    unit: Unit
    definition: str
    measure: Callable[[Case], float]


def summarise(
    sessions: np.ndarray,
    agent: Account,
    baselines: Mapping[str, Account],
    events: Events | None = None,
    conventions: Conventions | None = None,
) -> dict[str, Any]:
    """Return metrics.json: every metric of the agent and of each baseline.

    Shapes: `sessions` (T+1,) datetime64[D], the first is the close at which the first decision was
    made; every account's arrays have the same length. Result: {"conventions": {...}, "agent":
    {key: number or None}, "baselines": {name: {...}}, "reasons": {"agent" or name: {key: text}}}.
    Raises: DataError when a length differs or a value is not finite.
    """
    rules = conventions or Conventions()
    values: dict[str, dict[str, float | None]] = {}
    reasons: dict[str, dict[str, str]] = {}
    for name, account in {"agent": agent, **baselines}.items():
        _check_lengths(name, account, sessions)
        rival = baselines.get(rules.benchmark)
        case = Case(name, account, sessions, rules, rival.equity if rival else None, events)
        found = {metric.key: measure(metric, case) for metric in CATALOGUE}
        values[name] = {key: value for key, (value, _) in found.items()}
        reasons[name] = {key: reason for key, (_, reason) in found.items() if reason}
    agent_values = values.pop("agent")
    return {
        "conventions": asdict(rules),
        "agent": agent_values,
        "baselines": values,
        "reasons": reasons,
    }


def measure(metric: Metric, case: Case) -> tuple[float | None, str]:
    """Return the value and no reason, or None and why there is none."""
    try:
        value = float(metric.measure(case)) + 0.0  # no minus zero
    except m.NotComputable as error:
        return None, str(error)
    return (value, "") if np.isfinite(value) else (None, "not a finite number")


def _check_lengths(name: str, account: Account, sessions: np.ndarray) -> None:
    for part in ("equity", "gross", "net"):
        series = getattr(account, part)
        if series is not None and len(series) != len(sessions):
            raise DataError(
                f"{name}: {part} must have one value per session ({len(sessions)}), "
                f"found {len(series)}; pass the same sessions to every account"
            )


RETURN, RISK, RIVAL = "Return", "Risk", "Against the benchmark"
MARKET, TRADES, COSTS = "In the market", "Round trips", "Costs"

# fmt: off
CATALOGUE: tuple[Metric, ...] = (
    Metric("total_return", "Total return", RETURN, "percent",
        "Last equity / starting capital - 1, all costs paid.",
        lambda c: m.total_return(c.returns)),
    Metric("cagr", "CAGR", RETURN, "percent",
        "Growth per year: (1 + total return) ^ (252 / bars) - 1.",
        lambda c: m.cagr(c.returns, c.rules.periods)),
    Metric("volatility", "Volatility", RISK, "percent",
        "Sample deviation of the returns per bar, x sqrt(252).",
        lambda c: m.volatility(c.returns, c.rules.periods)),
    Metric("sharpe", "Sharpe ratio", RISK, "ratio",
        "Mean return per bar above the risk-free rate / its sample deviation, x sqrt(252).",
        lambda c: m.sharpe(c.returns, c.rules.periods, c.rules.risk_free)),
    Metric("psr", "Probability Sharpe > 0", RISK, "percent",
        "Probabilistic Sharpe ratio: chance that the true Sharpe ratio is above zero, given "
        "length, skew and tails of this one series. It does not know how many variants were tried.",
        lambda c: probabilistic_sharpe(Moments.of(c.returns))),
    Metric("track_record", "Bars needed", RISK, "bars",
        "Minimum track record: bars after which a Sharpe ratio like this one would differ from "
        "zero at 95 %, rounded up. More than the bars tested means: too short to tell.",
        lambda c: ceil(track_record_needed(Moments.of(c.returns)))),
    Metric("sortino", "Sortino ratio", RISK, "ratio",
        "Mean return per bar above the risk-free rate / downside deviation, x sqrt(252).",
        lambda c: m.sortino(c.returns, c.rules.periods, c.rules.risk_free)),
    Metric("downside_deviation", "Downside deviation", RISK, "small percent",
        "sqrt(sum of squared negative returns / all bars), per bar.",
        lambda c: m.downside_deviation(c.returns)),
    Metric("max_drawdown", "Max drawdown", RISK, "percent",
        "Deepest fall of equity from an earlier peak; the start counts as a peak.",
        lambda c: m.max_drawdown(c.account.equity)),
    Metric("drawdown_bars", "Drawdown duration", RISK, "bars",
        "Bars below the peak in the deepest drawdown.",
        lambda c: c.worst.bars),
    Metric("recovery_bars", "Recovery", RISK, "bars",
        "Bars from the trough of the deepest drawdown to a new peak.",
        ask.recovery),
    Metric("under_water", "Longest under water", RISK, "bars",
        "Most bars in a row below an earlier peak, in any drawdown.",
        ask.longest_under_water),
    Metric("calmar", "Calmar ratio", RISK, "ratio",
        "CAGR / |max drawdown|, over the whole period.",
        lambda c: m.calmar(c.account.equity, c.rules.periods)),
    Metric("omega", "Omega ratio", RISK, "ratio",
        "Sum of gains / sum of losses, per bar, at a threshold of zero.",
        lambda c: m.omega(c.returns)),
    Metric("var_95", "Value at risk 95 %", RISK, "small percent",
        "Loss that 5 % of the bars exceed: minus the 5 % quantile, linearly interpolated.",
        lambda c: m.value_at_risk(c.returns, 0.95)),
    Metric("cvar_95", "Expected shortfall 95 %", RISK, "small percent",
        "Mean loss of the bars at or below the 5 % quantile.",
        lambda c: m.conditional_value_at_risk(c.returns, 0.95)),
    Metric("var_99", "Value at risk 99 %", RISK, "small percent",
        "As at 95 %, for the worst 1 % of the bars.",
        lambda c: m.value_at_risk(c.returns, 0.99)),
    Metric("cvar_99", "Expected shortfall 99 %", RISK, "small percent",
        "As at 95 %, for the worst 1 % of the bars.",
        lambda c: m.conditional_value_at_risk(c.returns, 0.99)),
    Metric("tail_ratio", "Tail ratio", RISK, "ratio",
        "95 % quantile / |5 % quantile| of the returns: above 1, the good tail is the longer one.",
        lambda c: m.tail_ratio(c.returns)),
    Metric("skew", "Skewness", RISK, "number",
        "Third standardised population moment; negative = the long tail is on the loss side.",
        lambda c: m.skewness(c.returns)),
    Metric("kurtosis", "Kurtosis (raw)", RISK, "number",
        "Fourth standardised population moment; 3 for a normal series.",
        lambda c: m.raw_kurtosis(c.returns)),
    Metric("autocorrelation", "Autocorrelation", RISK, "number",
        "Correlation of each return with the one before; far from zero, the Sharpe ratio misleads.",
        lambda c: m.autocorrelation(c.returns)),
    Metric("excess_return", "Excess return", RIVAL, "percent",
        "Total return minus the benchmark's.",
        lambda c: m.total_return(c.returns) - m.total_return(c.benchmark)),
    Metric("beta", "Beta", RIVAL, "number",
        "Covariance with the benchmark's returns / their variance.",
        lambda c: m.beta(c.returns, c.benchmark)),
    Metric("alpha", "Alpha", RIVAL, "percent",
        "Mean return - beta x the benchmark's mean return, x 252.",
        lambda c: m.alpha(c.returns, c.benchmark, c.rules.periods)),
    Metric("correlation", "Correlation", RIVAL, "number",
        "Correlation with the benchmark's returns; above 0.98 it is the benchmark in disguise.",
        lambda c: m.correlation(c.returns, c.benchmark)),
    Metric("tracking_error", "Tracking error", RIVAL, "percent",
        "Sample deviation of return - benchmark's return, x sqrt(252).",
        lambda c: m.tracking_error(c.returns, c.benchmark, c.rules.periods)),
    Metric("information_ratio", "Information ratio", RIVAL, "ratio",
        "Mean of return - benchmark's return / its sample deviation, x sqrt(252).",
        lambda c: m.information_ratio(c.returns, c.benchmark, c.rules.periods)),
    Metric("gross_exposure", "Gross exposure", MARKET, "percent",
        "Mean of the sum of |position value| / equity, over all bars.",
        lambda c: ask.exposure(c, "gross")),
    Metric("net_exposure", "Net exposure", MARKET, "percent",
        "Mean of the sum of position value (shorts negative) / equity, over all bars.",
        lambda c: ask.exposure(c, "net")),
    Metric("time_in_market", "Time in market", MARKET, "percent",
        "Share of bars that end with a position.",
        ask.time_in_market),
    Metric("turnover", "Turnover", MARKET, "yearly",
        "(Bought + sold value) / (2 x mean equity), per year: 1x = the book was replaced once.",
        ask.turnover),
    Metric("fills", "Fills", MARKET, "count",
        "Orders filled.",
        lambda c: len(c.fills)),
    Metric("trades", "Round trips", TRADES, "count",
        "Positions opened and closed again, per symbol from flat to flat. The rows below use only "
        "these, net of fees.",
        lambda c: len(c.ended[0])),
    Metric("open_trades", "Still open", TRADES, "count",
        "Positions open at the end; marked at the last close in equity, not counted in these rows.",
        lambda c: c.ended[1]),
    Metric("holding_bars", "Holding time", TRADES, "bars",
        "Mean bars from the opening to the closing fill.",
        lambda c: float(np.mean([trip.bars for trip in c.trips]))),
    Metric("hit_rate", "Hit rate", TRADES, "percent",
        "Share of round trips with a profit.",
        lambda c: float((c.profits > 0).mean())),
    Metric("profit_factor", "Profit factor", TRADES, "ratio",
        "Sum of winning trips / |sum of losing trips|.",
        ask.profit_factor),
    Metric("expectancy", "Expectancy", TRADES, "money",
        "Mean profit of a round trip.",
        lambda c: float(c.profits.mean())),
    Metric("payoff", "Payoff", TRADES, "ratio",
        "Average win / |average loss|.",
        ask.payoff),
    Metric("commission", "Commission", COSTS, "money",
        "Commission of all fills.",
        lambda c: ask.costs(c)[0]),
    Metric("regulatory_fees", "Regulatory fees", COSTS, "money",
        "Fees a regulator takes on sales, by the rates of each date.",
        lambda c: ask.costs(c)[1]),
    Metric("slippage", "Slippage", COSTS, "money",
        "Money lost by filling at a worse price than the one the market showed.",
        lambda c: ask.costs(c)[2]),
    Metric("total_costs", "All costs", COSTS, "money",
        "Commission + regulatory fees + slippage.",
        lambda c: sum(ask.costs(c))),
    Metric("cost_share", "Costs of gross profit", COSTS, "percent",
        "All costs / profit before costs.",
        ask.cost_share),
)
# fmt: on
BY_KEY = {metric.key: metric for metric in CATALOGUE}
