"""Sources of bars: settings in, one validated `Bars` out.

Loading is strict: nothing is repaired, nothing is guessed.

`sample` ships with barwise (four stocks, 2000-2013); `csv` and `parquet` read your files;
`synthetic` makes a market from a seed (engine.data.synthetic); `alpaca` reads what
`barwise data fetch` has downloaded, and asks no network.
"""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from engine.bars import Bars, PriceBasis, last_bars
from engine.data import assemble, cached, sheets, synthetic, tables
from engine.data.cache import Cache, require_symbol
from engine.data.jumps import HOLE
from engine.data.synthetic import SyntheticSettings
from engine.errors import DataError
from engine.settings_paper import Feed

SAMPLE = Path(__file__).parent / "data" / "sample" / "stocks.csv.gz"
SAMPLE_SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")


class DataSettings(BaseModel, frozen=True, extra="forbid"):
    """Which bars a run reads."""

    source: Literal["sample", "csv", "parquet", "synthetic", "alpaca"] = Field(
        "sample", description="where bars come from"
    )
    symbols: tuple[str, ...] = Field((), description="which symbols, in this order; empty = all")
    path: str | None = Field(
        None, description="csv, parquet: a file, or a folder of SYMBOL.csv / SYMBOL.parquet"
    )
    calendar: Literal["XNYS", "none"] = Field(
        "XNYS", description='sessions of the exchange, or "none" = the dates of the files'
    )
    start: date | None = Field(None, description="first session; empty = the first there is")
    end: date | None = Field(None, description="last session; empty = the last there is")
    price_basis: PriceBasis | None = Field(
        None, description="csv, parquet: what open..close already contain: raw, split, or total"
    )
    prices: Literal["ohlc", "close", "adjusted"] = Field(
        "ohlc",
        description="csv, parquet: all four prices, or the close alone (close, or adjusted close) in "
        "the place of all four and without dividends, for files whose other prices do not fit it",
    )
    zero_volume: Literal["not_traded", "traded"] = Field(
        "not_traded",
        description="a bar of volume 0 is a bar without trades, or a bar like any other",
    )
    feed: Feed = Field("iex", description="alpaca: which of its market data feeds")
    cache: str = Field("cache", description="alpaca: folder that `barwise data fetch` writes to")
    synthetic: SyntheticSettings = SyntheticSettings()

    @model_validator(mode="after")
    def _says_what_files_hold(self) -> "DataSettings":
        files = self.synthetic.base if self.source == "synthetic" else self.source
        if files in ("csv", "parquet"):
            if not self.path:
                raise ValueError(f'"{files}" needs path: a file, or a folder')
            if self.price_basis is None:
                raise ValueError(
                    f'"{files}" needs price_basis: "raw" (as printed that day), '
                    '"split" (adjusted for splits), or "total" (for splits and dividends)'
                )
            if self.prices == "close" and self.price_basis == "raw":
                raise ValueError(
                    'prices = "close" knows no splits, found price_basis = "raw"; use adjusted closes, '
                    'or prices = "ohlc"'
                )
            if self.prices == "adjusted" and self.price_basis != "total":
                raise ValueError(
                    f'prices = "adjusted" are total returns, found price_basis = "{self.price_basis}"; '
                    'set price_basis = "total"'
                )
        elif self.prices != "ohlc":
            raise ValueError(f'prices = "{self.prices}" is for csv and parquet; leave it out')
        if self.source == "alpaca" and self.calendar != "XNYS":
            raise ValueError('"alpaca" has sessions of XNYS; leave calendar out')
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self


def load(settings: DataSettings) -> Bars:
    """Read the bars the settings ask for.

    Raises: DataError naming file, row, column, value and remedy.
    """
    whole = _load_whole(settings)
    bars = _end_before_holes(whole, whole.between(settings.start, settings.end))
    if len(bars.sessions) == 0 or not bars.traded.any():
        asked = f"{settings.start or 'the first day'} to {settings.end or 'the last day'}"
        raise DataError(
            f"{bars.source}: no bar that traded from {asked}; change data.start and data.end, or "
            "zero_volume where the file has no volumes"
        )
    return bars


def _end_before_holes(whole: Bars, bars: Bars) -> Bars:
    # A range that ends inside a hole ends the symbol: what comes after may be another company.
    ended = bars.ended.copy()
    silent = last_bars(bars.sessions, bars.traded) if len(bars.sessions) else ended
    for n in np.where(np.isnat(ended) & ~np.isnat(silent))[0]:
        days = whole.sessions[whole.traded[:, n]]
        again = days[days > silent[n]]
        if again.size == 0 or whole.index_of(again[0]) - whole.index_of(silent[n]) > HOLE:
            ended[n] = silent[n]
    return replace(bars, ended=ended)


def _load_whole(settings: DataSettings) -> Bars:
    if settings.source == "sample":
        wanted = settings.symbols or SAMPLE_SYMBOLS
        found = _chosen(tables.read(SAMPLE), wanted, "the sample")
        return assemble.bars(found, "raw", settings.calendar, settings.zero_volume, "sample")
    if settings.source == "synthetic":
        return _synthetic(settings)
    if settings.source == "alpaca":
        return _cached(settings)
    assert settings.path is not None
    assert settings.price_basis is not None
    found = _from_path(Path(settings.path), settings)
    if settings.prices != "ohlc":
        found = [table.closes_only(settings.prices == "adjusted") for table in found]
    source = f"{settings.source}: {settings.path}"
    return assemble.bars(
        found, settings.price_basis, settings.calendar, settings.zero_volume, source
    )


def _cached(settings: DataSettings) -> Bars:
    names = tuple(require_symbol(symbol) for symbol in settings.symbols)
    store = Cache(Path(settings.cache), f"alpaca:{settings.feed}")
    return cached.load(store, names, settings.start, settings.end, settings.zero_volume)


def _synthetic(settings: DataSettings) -> Bars:
    made = settings.synthetic
    if made.kind != "bootstrap":
        return synthetic.make(made, settings.calendar, settings.symbols, None)
    update = {"source": made.base, "synthetic": SyntheticSettings()}
    base = _load_whole(settings.model_copy(update=update))
    base = base.between(made.base_start, made.base_end)
    return synthetic.make(made, settings.calendar, (), base)


def _from_path(path: Path, settings: DataSettings) -> list[tables.Table]:
    endings = (".parquet",) if settings.source == "parquet" else (".csv", ".csv.gz", ".zip")
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{path}: no such file or folder; change data.path")
        if not path.name.lower().endswith(endings):
            raise DataError(
                f"{path}: expected a file ending in {' or '.join(endings)}; check data.source"
            )
        only = settings.symbols[0] if len(settings.symbols) == 1 else None
        return _chosen(tables.read(path, only), settings.symbols, str(path))
    files = _by_symbol(path, endings)
    found = []
    for symbol in settings.symbols or tuple(files):
        if symbol.upper() not in files:
            raise DataError(f"{path}: no file for {symbol}; the folder holds {', '.join(files)}")
        found += _chosen(tables.read(files[symbol.upper()], symbol), (symbol,), str(path))
    return found


def _by_symbol(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=sheets.stem):
        if not file.name.lower().endswith(endings):
            continue
        symbol = sheets.stem(file)
        if symbol in files:
            raise DataError(
                f"{folder}: {files[symbol].name} and {file.name} both hold {symbol}; remove one of them"
            )
        files[symbol] = file
    if not files:
        raise DataError(f"{folder}: the folder holds no file ending in {' or '.join(endings)}")
    return files


def _chosen(
    found: tuple[tables.Table, ...], symbols: tuple[str, ...], where: str
) -> list[tables.Table]:
    by_symbol = {table.symbol: table for table in found}
    missing = [s for s in symbols if s not in by_symbol]
    if missing:
        raise DataError(
            f"{missing[0]}: no such symbol in {where}; it holds {', '.join(by_symbol)}; change "
            "data.symbols, or set data.path to the file if one file holds several symbols"
        )
    return [by_symbol[s] for s in symbols] if symbols else list(found)
