"""The ten instruments of Theate and Ernst (2021): files joined for configs/tdqn.toml, their table."""

from pathlib import Path
from typing import NamedTuple


class Published(NamedTuple):
    """Sharpe ratios of 2018-2019 in Table 6 of the paper; `tdqn` is an average over runs of its agent."""

    buy_and_hold: float
    sell_and_hold: float
    trend_following: float
    mean_reversion: float
    tdqn: float


PUBLISHED = {
    "0700.HK": Published(-0.013, 0.309, 0.179, -0.466, -0.198),
    "0939.HK": Published(0.026, 0.165, -1.163, -0.388, 0.202),
    "2503.T": Published(0.106, 0.156, -1.441, 0.313, 0.852),
    "6758.T": Published(0.794, -0.655, -0.352, 0.415, 0.424),
    "7203.T": Published(0.352, -0.242, -1.108, -0.378, 0.304),
    "AAPL": Published(1.239, -1.593, 1.178, -0.609, 1.424),
    "ABI.BR": Published(-0.058, 0.275, 0.036, -1.313, 0.187),
    "AMZN": Published(0.559, -0.187, 0.161, -1.193, 0.419),
    "GOOGL": Published(0.570, -0.370, 0.125, 0.555, 0.227),
    "KO": Published(1.031, -0.871, -0.236, -0.394, 1.068),
}
TICKERS = tuple(PUBLISHED)
SPANS = ("2012-1-1_2018-1-1", "2018-1-1_2020-1-1")


def has_files(data: Path | None) -> bool:
    """Tell whether a folder holds both files of all ten."""
    names = [f"{ticker}_{span}.csv" for ticker in TICKERS for span in SPANS]
    return data is not None and all((data / name).is_file() for name in names)


def one_file(data: Path, ticker: str, folder: Path) -> Path:
    """Join the training file to 2017-12-31 and the test file of one instrument; return the new file."""
    files = [data / f"{ticker}_{span}.csv" for span in SPANS]
    train, test = (file.read_text().splitlines() for file in files)
    kept = [line for line in train[1:] if line < "2018-01-01"]
    path = folder / f"{ticker}.csv"
    path.write_text("\n".join([train[0], *kept, *test[1:]]) + "\n")
    return path
