"""Fees that US regulators take from the seller, by date: SEC section 31 and FINRA's TAF.

Source: SEC fee rate advisories (dollars per million dollars sold) and FINRA regulatory notices 11-27
and 12-06 with By-Laws, Schedule A, section 1 (dollars per share, capped per trade); from 2022 on as
brokers quote them. Rows marked with a question are right in their rate; their first day was not read
in a notice. Brokers disagree on the TAF of 2026 (0.000166 or 0.000195): the newer figure is used,
and an announced pause of its collection in the last quarter of 2026 is not. Trust the table from
`TRUSTED_FROM` on: a sale before its first row pays the first row's rate. A venue adds up one day's
fees of each type and rounds up to a cent; here nothing is rounded.
"""

import numpy as np

TRUSTED_FROM = np.datetime64("2010-04-01", "D")

# (first trade date, dollars per million dollars sold)
SEC_31 = (
    ("2010-04-01", 16.90),
    ("2011-01-21", 19.20),
    ("2012-02-21", 18.00),
    ("2012-04-01", 22.40),  # day?
    ("2013-05-25", 17.40),  # day?
    ("2014-03-18", 22.10),
    ("2015-02-14", 18.40),  # day?
    ("2016-02-16", 21.80),  # day?
    ("2017-07-04", 23.10),  # day?
    ("2018-05-22", 13.00),
    ("2019-04-16", 20.70),
    ("2020-02-18", 22.10),
    ("2021-02-25", 5.10),
    ("2022-05-14", 22.90),
    ("2023-02-27", 8.00),
    ("2024-05-22", 27.80),
    ("2025-05-14", 0.00),
    ("2026-04-04", 20.60),
)

# (first trade date, dollars per share sold, largest fee of one trade)
FINRA_TAF = (
    ("2010-04-01", 0.000075, 3.75),
    ("2011-07-01", 0.000090, 4.50),
    ("2012-03-01", 0.000095, 4.75),
    ("2012-07-01", 0.000119, 5.95),  # day?
    ("2022-01-01", 0.000130, 6.49),
    ("2023-01-01", 0.000145, 7.27),
    ("2024-01-01", 0.000166, 8.30),
    ("2026-01-01", 0.000195, 9.79),
)

_SEC_DATES = np.array([row[0] for row in SEC_31], dtype="datetime64[D]")
_SEC_RATE = np.array([row[1] for row in SEC_31]) * 1e-6
_TAF_DATES = np.array([row[0] for row in FINRA_TAF], dtype="datetime64[D]")
_TAF_SHARE = np.array([row[1] for row in FINRA_TAF])
_TAF_CAP = np.array([row[2] for row in FINRA_TAF])


def regulatory_fee(qty: np.ndarray, price: np.ndarray, session: np.ndarray) -> np.ndarray:
    """Return SEC and FINRA fees of filling `qty` at `price` on `session`; buys pay none.

    Shapes: `session` broadcasts against `qty`. Units: dollars >= 0, not rounded.
    """
    sold = np.maximum(-np.asarray(qty, dtype=np.float64), 0.0)
    sec = sold * price * _SEC_RATE[_row(_SEC_DATES, session)]
    row = _row(_TAF_DATES, session)
    taf = np.minimum(sold * _TAF_SHARE[row], _TAF_CAP[row])
    return np.where(sold > 0, sec + taf, 0.0)


def _row(dates: np.ndarray, session: np.ndarray) -> np.ndarray:
    found = np.searchsorted(dates, np.asarray(session, dtype="datetime64[D]"), side="right") - 1
    return np.maximum(found, 0)
