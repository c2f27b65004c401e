"""Everything barwise raises on purpose.

TradingError            the root: catch this at a boundary
├── UsageError          the person asked for something that cannot be done (exit code 2)
│   └── SettingsError   a settings file or an override is wrong
├── DataError           bars, events or files that are not what they must be
├── CheckpointError     a checkpoint that does not match what it would be used for
├── VenueError          a venue's answer that cannot be acted on
│   ├── VenueUnavailable  no usable answer now: nothing was done, try again later
│   └── TradingHalted   a person has to look before anything else is ordered
└── CheckError          a check (parity, look-ahead) found a difference

A message says what was expected, what was found, where, and what to do.
"""


class TradingError(Exception):
    """Root of every error raised on purpose."""


class UsageError(TradingError):
    """The request itself is wrong."""


class SettingsError(UsageError):
    """A settings file or an override is wrong."""


class DataError(TradingError):
    """Bars, events or files are not what they must be."""


class CheckpointError(TradingError):
    """A checkpoint does not match what it would be used for."""


class VenueError(TradingError):
    """A venue's answer cannot be acted on."""


class VenueUnavailable(VenueError):
    """No usable answer now: what was asked is unknown, never "no". Try again later."""


class TradingHalted(VenueError):
    """No order may be sent until a person has looked and resumed."""


class CheckError(TradingError):
    """A check found a difference."""
