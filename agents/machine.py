"""The machine a training runs on: which device its networks are on, and how memory is kept."""

import ctypes
import sys

import torch

from engine.errors import SettingsError


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
    """Keep freed memory for the next minibatch: page faults cost wide updates up to a factor of 4."""
    # mallopt(M_MMAP_THRESHOLD, 32 MiB), mallopt(M_TRIM_THRESHOLD, 1 GiB); glibc only.
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-3, 1 << 25)
            libc.mallopt(-1, 1 << 30)
