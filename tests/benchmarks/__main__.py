"""Speed as ratios, measured side by side: `make bench`.

`--quick` is a smoke run of seconds whose numbers mean nothing; `--json` prints one object; names choose
benchmarks (training, backtest, decision, rehearsal, startup).
"""

import argparse
import os
import sys

# One thread everywhere; the libraries read this once, when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from importlib import import_module

from tests.benchmarks.harness import Row, as_json, say, table

BENCHMARKS = (
    "training",
    "backtest",
    "sweep",
    "decision",
    "rehearsal",
    "startup",
    "cross",
    "naive",
    "deployed",
    "growth",
)


def main() -> None:
    """Run the benchmarks and print one table, or one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=[], help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="smoke run, seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"unknown benchmark {min(unknown)}; choose from {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    notes: list[str] = []
    for name in asked.names or BENCHMARKS:
        say(f"{name} ...")
        found, left_out = import_module(f"tests.benchmarks.{name}").measure(asked.quick)
        rows, notes = rows + found, notes + left_out
    sys.stdout.write((as_json(rows, notes) if asked.json else table(rows)) + "\n")
    for note in notes:
        say(note)


if __name__ == "__main__":
    main()
