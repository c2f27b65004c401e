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
    """

    state: State
    session: date | None
    message: str
