"""One thing found in price data, and how to mend it.

The same findings stop a strict load, fill the page of `barwise data check`, and become notes on
bars.
"""

from dataclasses import dataclass
from typing import Literal

from engine.errors import DataError

Severity = Literal["error", "warning", "info"]

CLEAN_REMEDY = "run `barwise data clean FILE --out NEW` and read what it lists, or mend the file"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong (or worth knowing), where, and what to do.

    `rows` are file lines, counted from 1 (header included), of every place; `days` their dates or
    stamps.
    An "error" stops a strict load, a "warning" wants a decision, an "info" is a fact.
    """

    file: str
    symbol: str
    kind: str
    severity: Severity
    message: str
    remedy: str
    rows: tuple[int, ...] = ()
    days: tuple[str, ...] = ()
    column: str = ""
    value: str = ""

    @property
    def count(self) -> int:
        """How many places it was found in."""
        return max(len(self.rows), len(self.days), 1)

    @property
    def where(self) -> str:
        """The file, the first line and the first date, as words."""
        text = self.file
        if self.rows:
            text = place(text, self.rows[0])
        if self.days:
            text += f" ({self.days[0]})"
        return f"{text}, column {self.column}" if self.column else text

    def text(self) -> str:
        """Say it in one line: where, what, how often, remedy."""
        told = self.count == 1 or f"{self.count:,} " in self.message
        more = "" if told else f" (and {several(self.count - 1, 'more such place')})"
        symbol = f" {self.symbol}:" if self.symbol else ""
        return f"{self.where}:{symbol} {self.message}{more}; {self.remedy}"


def place(file: str, line: object, day: object = None) -> str:
    """Name a place in a file: its line, or its row where the format has no lines."""
    noun = "row" if file.lower().endswith(".parquet") else "line"
    return f"{file}, {noun} {line}" + ("" if day is None else f" ({day})")


def several(n: int, noun: str) -> str:
    """Count things in words: 1 day, 2 days, 1,000 days."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def refuse(findings: list[Finding]) -> None:
    """Raise the first error among the findings, if there is one.

    Raises: DataError with file, line, date, column, value and remedy.
    """
    errors = [f for f in findings if f.severity == "error"]
    if not errors:
        return
    others = sorted(
        {f.kind.replace("_", " ") for f in errors[1:]} - {errors[0].kind.replace("_", " ")}
    )
    also = f". The file also has: {', '.join(others)}" if others else ""
    raise DataError(errors[0].text() + also)
