"""Blot secrets out of whatever is written: log lines, their tracebacks, answers of a venue."""

import logging
from collections.abc import Iterable
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
