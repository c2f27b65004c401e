"""Blot secrets out of whatever is written: log lines, tracebacks, messages.

`protect` is called once, when the secrets are known; it covers the handlers that exist by then.
"""

import logging
import sys
from collections.abc import Iterable
from types import TracebackType
from urllib.parse import quote

BLOT = "[hidden]"
_SHORTEST = 4  # blotting a shorter text would only make a log unreadable


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return a text with every secret blotted out, also as it looks in JSON or in a URL."""
    for secret in secrets:
        if len(secret) >= _SHORTEST:
            for form in {secret, secret.replace("/", "\\/"), quote(secret), quote(secret, safe="")}:
                text = text.replace(form, BLOT)
    return text


class Redacting(logging.Formatter):
    """Formats as another formatter does, then blots out the secrets, in tracebacks too."""

    def __init__(self, inner: logging.Formatter, secrets: Iterable[str]) -> None:
        super().__init__()
        self._inner = inner
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line to be written."""
        return hide(self._inner.format(record), self._secrets)


def protect(secrets: Iterable[str]) -> None:
    """Blot out secrets in every handler of the root logger and in uncaught errors."""
    kept = tuple(secrets)
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Redacting(handler.formatter or logging.Formatter(), kept))

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        import traceback

        sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace)), kept))

    sys.excepthook = report
