"""The machine a training runs on: which device its networks are on, and how memory is kept."""

import ctypes
import sys

import torch

from engine.errors import SettingsError

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # malloc.h


def device_of(name: str) -> str:
    """Return `cpu` or `cuda`. Raises: SettingsError when cuda is asked for and not there."""
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise SettingsError(
            f"train.device: expected a CUDA device, torch {torch.__version__} found none; use "
            '--device cpu (or "auto"), or install a CUDA build of torch and its driver'
        )
    return "cuda"


def keep_pages() -> None:
    """Keep freed memory for the next minibatch: page faults cost wide updates up to a factor of 4.

    glibc only. What the LSTM keeps for its backward pass is one piece of 5 KB a bar and sequence at
    128 units, so the limit above which a piece is given back at once must lie far above 32 MiB; glibc
    before 2.35 takes no higher one.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            _ = libc.mallopt(_MMAP_THRESHOLD, 1 << 30) or libc.mallopt(_MMAP_THRESHOLD, 1 << 25)
            libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
