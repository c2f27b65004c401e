"""One runner per account: a lock on this host, which the kernel frees when its holder dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import UsageError
from engine.files import locked


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock of an account for as long as the block runs.

    Raises: UsageError when another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not locked(handle):
            other = os.pread(handle, 64, 0).decode(errors="replace").strip() or "unknown"
            raise UsageError(
                f"{path}: expected to be the only runner of this account, found process {other} at "
                "work; wait for it, or stop it"
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
