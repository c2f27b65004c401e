"""Made-up markets with known properties, each drawn from one generator.

`bootstrap` replays real days in a new order: joint rows keep correlation, volatility clusters and
tails. `gbm` is the control without an edge: no rule can time it. `echo` pays what was shown k days
ago, through volume, and nothing else: its optimum is known, and for k >= 2 only memory can find it.
"""

from datetime import date
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from engine import clock
from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars
from engine.data import adjustment
from engine.errors import DataError

FIRST = np.datetime64("2000-01-03")
LAST = np.datetime64("2025-12-31")  # fixed: the same settings give the same dates in any year
START_PRICE = 100.0
_OVERNIGHT = 0.25  # share of a day's variance that falls between close and open


class SyntheticSettings(BaseModel, frozen=True, extra="forbid"):
    """A made-up market. The same numbers give the same market, bit for bit."""

    kind: Literal["bootstrap", "gbm", "echo"] = Field(
        "bootstrap",
        description="joint rows of real days; a random walk; a market that needs memory",
    )
    sessions: int = Field(1000, ge=2, description="length, in sessions")
    seed: int = Field(0, ge=0, description="seed of the one generator everything is drawn from")
    base: Literal["sample", "csv", "parquet"] = Field(
        "sample", description="bootstrap: the real market its days are drawn from"
    )
    base_start: date | None = Field(None, description="bootstrap: first real session drawn from")
    base_end: date | None = Field(None, description="bootstrap: last real session drawn from")
    symbols: int = Field(1, ge=1, le=1000, description="number of symbols (gbm, echo)")
    mean_block: float = Field(
        70.0, ge=1, description="bootstrap: mean number of real days in a row"
    )
    k: int = Field(2, ge=1, description="echo: the signal of a day pays k days later")
    mu: float | None = Field(
        None, description="drift (gbm 0.0003) or echo return (0.01), per session"
    )
    sigma: float | None = Field(None, gt=0, description="noise per session (gbm 0.02, echo 0.01)")


def make(
    settings: SyntheticSettings, calendar: str, symbols: tuple[str, ...], base: Bars | None
) -> Bars:
    """Draw a market. `base` is the real market that "bootstrap" draws its days from."""
    rng = np.random.default_rng(settings.seed)
    names = symbols or tuple(f"S{i + 1}" for i in range(settings.symbols))
    t, n = settings.sessions, len(names)
    if settings.kind == "bootstrap":
        if base is None:
            raise DataError("a bootstrap needs real bars to draw from; set synthetic.base")
        names = base.symbols
        ohlcv = bootstrap(base, t, settings.mean_block, rng)
    elif settings.kind == "gbm":
        mu = 0.0003 if settings.mu is None else settings.mu
        ohlcv = gbm(t, n, mu, settings.sigma or 0.02, rng)
    else:
        mu = 0.01 if settings.mu is None else settings.mu
        ohlcv = echo(t, n, settings.k, mu, settings.sigma or 0.01, rng)
    return _bars(ohlcv, names, calendar, f"synthetic {settings.kind}, seed {settings.seed}")


def bootstrap(base: Bars, t: int, mean_block: float, rng: np.random.Generator) -> np.ndarray:
    """Resample whole days of a real market: the stationary bootstrap of joint rows.

    Shapes: (t, N, 5). A day is its ratios on adjusted prices (open / previous close, high, low and
    close / open) and its split-adjusted volume, of all symbols together. Each next day follows the
    last one with probability 1 - 1/mean_block, else is any day; the end wraps to the beginning.
    Source: Politis & Romano, The Stationary Bootstrap, JASA 89 (1994).
    """
    _, ratios, volume = whole_days(base)
    picked = stationary_rows(len(volume), t, mean_block, rng)
    overnight, high, low, close = np.moveaxis(ratios[picked], -1, 0)
    return prices(overnight, high, low, close, volume[picked])


def moves(base: Bars) -> np.ndarray:
    """Return close / close before, adjusted, of the days a bootstrap would draw from, (D, N)."""
    _, ratios, _ = whole_days(base)
    return np.asarray(ratios[..., 0] * ratios[..., 3])


def stationary_rows(days: int, t: int, mean_block: float, rng: np.random.Generator) -> np.ndarray:
    """Draw t row numbers below `days` in blocks of geometric length. Shapes: (t,)."""
    jumps = rng.random(t) < 1.0 / mean_block
    jumps[0] = True
    starts = rng.integers(0, days, size=t)
    begun = np.maximum.accumulate(np.where(jumps, np.arange(t), 0))
    return np.asarray((starts[begun] + np.arange(t) - begun) % days)


def gbm(
    t: int,
    n: int,
    mu: float | np.ndarray,
    sigma: float | np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Walk at random, with one drift for all symbols or one each: nothing here can be timed.

    Shapes: (t, n, 5). Units: `mu` expected simple return and `sigma` deviation of the log return,
    per session; both parts of the day share them, a quarter overnight.
    """
    share = np.array([_OVERNIGHT, 1.0 - _OVERNIGHT])[:, None, None]
    noise = rng.standard_normal((2, t, n))
    overnight, close = np.exp((mu - sigma**2 / 2) * share + sigma * np.sqrt(share) * noise)
    beyond = np.exp(0.4 * sigma * np.abs(rng.standard_normal((2, t, n))))
    high = np.maximum(1.0, close) * beyond[0]
    low = np.minimum(1.0, close) / beyond[1]
    volume = np.round(1e6 * np.exp(0.3 * rng.standard_normal((t, n))))
    return prices(overnight, high, low, close, volume)


def echo(t: int, n: int, k: int, mu: float, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Show a coin through volume on day t, and pay it on day t + k.

    Shapes: (t, n, 5). volume[t] = 1e6 (1 + 0.5 s[t]), s = +-1; close[t] = close[t-1] (1 + mu s[t-k]
    +
    sigma eps[t]); open[t] = close[t-1]. Each symbol has its own coins. Holding s[t+1-k] over t ->
    t+1
    earns mu a session, less costs, and nothing earns more.
    """
    coins = rng.choice(np.array([-1.0, 1.0]), size=(t + k, n))
    close = 1.0 + mu * coins[:t] + sigma * rng.standard_normal((t, n))
    if close.min() <= 0:
        raise DataError(f"sigma {sigma} and mu {mu} make a price fall below zero; use smaller ones")
    volume = 1e6 * (1.0 + 0.5 * coins[k:])
    one = np.ones((t, n))
    return prices(one, np.maximum(one, close), np.minimum(one, close), close, volume)


def whole_days(base: Bars) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the days in which every symbol traded, as on the day before, as ratios.

    Shapes: rows (D,) of the bars; ratios (D, N, 4): open / previous close, high, low and close /
    open; split-adjusted volumes (D, N). An event moves only the step from the previous close.
    """
    whole = np.asarray(base.traded.all(axis=1))
    rows = np.where(whole[1:] & whole[:-1])[0] + 1
    if len(rows) < 2:
        raise DataError(
            f"{base.source}: expected at least 2 sessions in which {', '.join(base.symbols)} all "
            f"traded, as on the day before, found {len(rows)}; choose other symbols or dates"
        )
    day, before = base.ohlcv[rows], base.ohlcv[rows - 1]
    step = adjustment.implied(day[:, :, CLOSE], base.split[rows], base.dividend[rows])
    opens = day[:, :, OPEN]
    ratios = np.stack(
        [
            opens * step / before[:, :, CLOSE],
            day[:, :, HIGH] / opens,
            day[:, :, LOW] / opens,
            day[:, :, CLOSE] / opens,
        ],
        axis=-1,
    )
    shares = np.cumprod(base.split, axis=0)[rows]
    return rows, ratios, day[:, :, VOLUME] * (shares[-1] / shares)


def prices(
    overnight: np.ndarray, high: np.ndarray, low: np.ndarray, close: np.ndarray, volume: np.ndarray
) -> np.ndarray:
    """Build bars (t, n, 5) from ratios to the previous close (overnight) and to the open (the rest).

    Shapes: all (t, n). Raises: DataError where a price leaves the range of numbers.
    """
    closes = START_PRICE * np.cumprod(overnight * close, axis=0)
    before = np.concatenate([np.full((1, closes.shape[1]), START_PRICE), closes[:-1]])
    opens = before * overnight
    ohlcv = np.stack([opens, opens * high, opens * low, closes, volume], axis=-1)
    # A product taken in another order may differ in its last bit: keep open and close inside.
    ohlcv[..., HIGH] = np.maximum(ohlcv[..., HIGH], np.maximum(opens, closes))
    ohlcv[..., LOW] = np.minimum(ohlcv[..., LOW], np.minimum(opens, closes))
    if not (np.isfinite(ohlcv).all() and (ohlcv[..., :VOLUME] > 0).all()):
        raise DataError(
            f"a price of {len(ohlcv):,} sessions left the range of numbers; ask for fewer"
        )
    return ohlcv


def _bars(ohlcv: np.ndarray, symbols: tuple[str, ...], calendar: str, source: str) -> Bars:
    t, n = ohlcv.shape[:2]
    sessions, calendar = _sessions(t, calendar)
    return Bars(
        sessions=sessions,
        symbols=symbols,
        ohlcv=ohlcv,
        traded=np.ones((t, n), dtype=bool),
        split=np.ones((t, n)),
        dividend=np.zeros((t, n)),
        ended=np.full(n, np.datetime64("NaT"), dtype="datetime64[D]"),
        price_basis="total",
        calendar=calendar,
        source=source,
    )


def _sessions(t: int, calendar: str) -> tuple[np.ndarray, str]:
    # Real sessions while they last; a longer market runs on plain weekdays, calendar "none".
    if calendar != "none" and t <= int((LAST - FIRST).astype(int)):
        days = clock.sessions(calendar, FIRST, LAST)
        if t <= len(days):
            return days[:t], calendar
    return np.busday_offset(FIRST, np.arange(t)), "none"
