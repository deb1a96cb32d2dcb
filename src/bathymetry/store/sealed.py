"""Sealed files: tensors and a few words about them in one safetensors file that knows whether it is whole.

The digest over every tensor and every word stands in the file's own header, so a flipped bit, a cut end or a file of
another kind is found when it is read, whatever happened to it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load, save

from bathymetry.core.errors import DamagedError
from bathymetry.core.storage import get

Arrays = Mapping[str, NDArray[Any]]


def seal(arrays: Arrays, words: Mapping[str, Any]) -> bytes:
    """Pack arrays and words together with their digest.

    Args:
        arrays: Numbers, by name.
        words: What else is to be known, plain JSON.

    Returns:
        The bytes of a safetensors file.
    """
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(words, sort_keys=True)
    return save(whole, metadata={"words": text, "digest": _digest(whole, text)})


def unseal(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a sealed file and check its digest.

    Args:
        path: The file.

    Returns:
        Its arrays and its words.

    Raises:
        DamagedError: If it is cut short, changed, or no such file.
    """
    content = get(path)
    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        text, expected = header["words"], header["digest"]
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it can't be read as what it should be.") from error
    if _digest(arrays, text) != expected:
        raise DamagedError(f"{path} is damaged: its content does not have the digest that it was stored with.")
    return arrays, json.loads(text)


def _digest(arrays: Arrays, text: str) -> str:
    state = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        state.update(f"{name}{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).data if array.size else b"")
    return state.hexdigest()
