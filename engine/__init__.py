"""The core of barwise: bars, features, the trader, the simulated market, the record of a run."""

PROJECT = "barwise"
VERSION = "0.1.0"
