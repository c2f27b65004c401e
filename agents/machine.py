"""The machine a training runs on: its device, how exact its products are, and how memory is kept."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext

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


def lowered(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which products are made in `precision`; float32 leaves them alone.

    To be left before a weight changes: it keeps the weights that it has once rounded.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def slow_precision(precision: str, device: str) -> str | None:
    """Return what to warn of where a device has no fast products in `precision`; None where it has."""
    if precision == "float32" or _has_bfloat16(device):
        return None
    return (
        f'train.precision = "{precision}": this {"processor" if device == "cpu" else "device"} has no '
        "products of its own for it (AVX512-BF16 or AMX, or a CUDA device of compute capability 8); "
        'training works and is slower, use "float32"'
    )


def _has_bfloat16(device: str) -> bool:
    if device != "cpu":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def keep_pages() -> None:
    """Keep freed memory for the next minibatch: page faults cost wide updates up to a factor of 4.

    glibc only. What the LSTM keeps for its backward pass is one piece of 5 KB a bar and sequence at
    128 units, 80 MiB for the largest slab (`agents.on_policy`): the size above which a piece is given
    back at once must be more. Larger pieces, of a wide rollout, are better given back. Before 2.35
    glibc takes nothing above 32 MiB.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            _ = libc.mallopt(_MMAP_THRESHOLD, 1 << 27) or libc.mallopt(_MMAP_THRESHOLD, 1 << 25)
            libc.mallopt(_TRIM_THRESHOLD, 1 << 30)
