"""Messages to a person: always to the log, and to a phone or a mailbox where one is named.

Addresses hold secrets, so they come from the environment variable BARWISE_NOTIFY alone (apprise
URLs, separated by blanks), are never printed, and no failure to send reaches the trading cycle.
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from engine.errors import SettingsError, UsageError

VARIABLE = "BARWISE_NOTIFY"
_log = logging.getLogger("barwise.notify")


class Notifier(Protocol):
    """Whatever tells a person something. It never raises."""

    def send(self, message: str) -> None:
        """Tell a person one thing, marked PAPER."""
        ...


class LogNotifier:
    """Every message is a warning in the log."""

    def send(self, message: str) -> None:
        """Write the message to the log."""
        _log.warning("%s", message)


class AppriseNotifier:
    """To the log first, then to every address."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._log = LogNotifier()
        self._targets = _targets(addresses)

    def send(self, message: str) -> None:
        """Write the message to the log and send it; where that fails the log says so."""
        self._log.send(message)
        for number, target in enumerate(self._targets, start=1):
            try:
                told, why = bool(target.notify(body=f"PAPER {message}")), "refused"
            except (
                Exception
            ) as error:  # a plug-in's own, of any kind: a message is no reason to stop
                told, why = False, type(error).__name__  # its text may hold the address
            if not told:
                _log.error("notification to address %d of %s: %s", number, VARIABLE, why)


def addresses(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the addresses that the environment names. They are secrets: redact them in logs."""
    return tuple(environment.get(VARIABLE, "").split())


def notifier(environment: Mapping[str, str]) -> Notifier:
    """Return what tells a person: the log, and the addresses of BARWISE_NOTIFY if there are any.

    Raises: UsageError where apprise is missing; SettingsError for an address it cannot use.
    """
    named = addresses(environment)
    return AppriseNotifier(named) if named else LogNotifier()


def _targets(named: tuple[str, ...]) -> list[Any]:
    try:
        import apprise
    except ImportError as error:
        raise UsageError(
            f'{VARIABLE} is set and apprise is not installed; pip install "barwise[notify]"'
        ) from error
    # apprise logs what it sends and where to; our own lines say all that anybody needs.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    targets = []
    for number, address in enumerate(named, start=1):
        target = apprise.Apprise()
        if not target.add(address):
            raise SettingsError(
                f"{VARIABLE}: address {number} of {len(named)} is not an apprise URL; "
                "see the list of services of apprise (the address itself is not shown: it is secret)"
            )
        targets.append(target)
    return targets
