"""A comparison of a paper account with its backtest, made up: round numbers, one name to escape."""

DRIFT = {
    "outside": 0.0125,
    "features": {"log_return": [0.2, 0.4], "<b>mood</b>": [0.9, 0.5]},
    "gap": {"mean": 1.25, "low": 0.5, "high": 2.0, "sessions": 12, "fills": 30},
    "warnings": ["<b>mood</b> left what the training showed over any 63 sessions"],
    "why": {},
}
SPREAD = {"fills": 30, "mean": 1.25, "median": 1.0, "low": -2.0, "high": 4.0, "worst": 9.9}
TOLD = {
    "from": "2010-01-04",
    "to": "2010-03-01",
    "sessions": 39,
    "agreement": {
        "plain": {
            "actions": [150, 156],
            "orders": [29999, 30000],
            "first": "2010-01-12",
            "symbols": {"AAPL": [39, 39], "GOOG": [33, 39]},
        },
        "explained": {"actions": [156, 156], "orders": [40, 40], "first": None, "symbols": {}},
    },
    "tracking": {
        "error": 0.0123,
        "explained": 0.0,
        "end": -391.0,
        "end_explained": 0.0,
        "largest": 0.0037,
    },
    "gap": {
        "all": SPREAD,
        "interval": {"mean": 1.25, "low": 0.5, "high": 2.0, "sessions": 12, "fills": 30},
        "symbols": {"AAPL": SPREAD},
        "heights": [1, 4, 2],
        "edges": [-3.0, -1.0, 1.0, 3.0],
    },
    "counts": {"decisions made": 39, "orders sent": 31, "sent twice": 0,
               "reconciliation differences": 0, "halts": 1},
    "agents": [{"from": "2010-01-04", "id": "0123456789ab", "how": "first"},
               {"from": "2010-02-01", "id": "ba9876543210", "how": "promoted"}],
    "drift": {"last": DRIFT, "sessions": 39, "warned": 2, "newest": ["2010-02-26: inputs"]},
    "why": {},
}  # fmt: skip
