"""What one look of the paper cycle came to; all that the schedule ever learns of it."""

from dataclasses import dataclass
from datetime import date
from typing import Literal

State = Literal["closed", "waiting", "retry", "halted"]


@dataclass(frozen=True, slots=True)
class CycleResult:
    """The state a look ended in, the session it was about, and a line for a person.

    closed: nothing is left to do; waiting: orders rest, or the session is not due yet;
    retry: no usable answer, look again soon; halted: a person has to look.
    `news` is what a person is to be told now: fills, a session's summary, one that was missed. That
    it is told once is for the journal to see to; trouble and its end are told by the schedule.
    """

    state: State
    session: date | None
    message: str
    news: str = ""
