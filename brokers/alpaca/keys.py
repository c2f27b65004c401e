"""The two parts of an Alpaca key: where they come from, and how they stay out of sight.

They come from the environment, or from a `.env` file that nobody else may read. They are in no
settings, no file of ours and no `repr`.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UsageError
from engine.redaction import hide

KEY_ID = "APCA_API_KEY_ID"
SECRET = "APCA_API_SECRET_KEY"


@dataclass(frozen=True, repr=False, slots=True)
class Keys:
    """A key id and its secret. Raises: UsageError where one is not plain printable ASCII."""

    key_id: str
    secret: str

    def __post_init__(self) -> None:
        for name, text in ((KEY_ID, self.key_id), (SECRET, self.secret)):
            if not (text and text.isascii() and text.isprintable() and " " not in text):
                raise UsageError(
                    f"expected {name} to be printable ASCII without a space, found something "
                    "else (not shown); copy it once more from Alpaca's page"
                )

    def __repr__(self) -> str:
        return "Keys(hidden)"

    @property
    def masked(self) -> str:
        """Return enough of the key id to tell two keys apart; nothing of the secret."""
        return f"{self.key_id[:2]}...{self.key_id[-2:]}" if len(self.key_id) >= 12 else "..."

    def hide(self, text: str) -> str:
        """Return a text with both parts of the key blotted out."""
        return hide(text, (self.secret, self.key_id))


def load_keys(environment: Mapping[str, str], dotenv: Path | None = None) -> Keys | None:
    """Return the keys of the environment, else those of a `.env` file; None where there are none.

    Raises: UsageError for half a key, and for a file that others may read.
    """
    found = _pair(environment, "the environment")
    if found or dotenv is None or not dotenv.is_file():
        return found
    _require_private(dotenv)
    from dotenv import dotenv_values

    values = dotenv_values(dotenv, interpolate=False)
    return _pair({name: text or "" for name, text in values.items()}, str(dotenv))


def require_keys(environment: Mapping[str, str], dotenv: Path | None = None) -> Keys:
    """Return the keys. Raises: UsageError, saying how to add them, where there are none."""
    found = load_keys(environment, dotenv)
    if found is None:
        raise UsageError(f"no Alpaca paper key found; {HOW_TO_ADD}")
    return found


HOW_TO_ADD = (
    f"set {KEY_ID} and {SECRET} in the environment, or write both as NAME=value into a file "
    "named .env in this folder and run `chmod 600 .env`; "
    "a free paper key comes from Alpaca's dashboard, under Paper"
)


def _pair(values: Mapping[str, str], where: str) -> Keys | None:
    key_id, secret = (values.get(name, "").strip() for name in (KEY_ID, SECRET))
    if not key_id and not secret:
        return None
    if not (key_id and secret):
        there, missing = (KEY_ID, SECRET) if key_id else (SECRET, KEY_ID)
        raise UsageError(f"{where} has {there} but no {missing}; add it, or remove both")
    return Keys(key_id, secret)


def _require_private(path: Path) -> None:
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077 or found.st_uid != os.geteuid():
        raise UsageError(
            f"expected {path} to belong to you with mode 0600, found mode {mode:04o} of user "
            f"{found.st_uid}; run `chmod 600 {path}`"
        )
