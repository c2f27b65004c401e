"""Arrays in a journal entry and back, every bit of them."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np


def pack(array: np.ndarray) -> dict[str, Any]:
    """Return an array as JSON that gives back every bit."""
    plain = np.ascontiguousarray(array)
    data = base64.b64encode(plain.tobytes()).decode()
    return {"dtype": plain.dtype.str, "shape": list(plain.shape), "data": data}


def unpack(body: Mapping[str, Any]) -> np.ndarray:
    """Return the array that `pack` wrote."""
    plain = np.frombuffer(base64.b64decode(body["data"]), dtype=np.dtype(body["dtype"]))
    return plain.reshape(body["shape"]).copy()
