"""What decides a number, written down so that two programs that would compute the same know it.

A setting is described in plain JSON: numbers and names as they are, records by their kind and fields, arrays by the
digest of their bytes, functions by their name and the digest of their source. The BLAKE2b digest of that text names
whatever is stored.
"""

import dataclasses
import functools
import hashlib
import inspect
import json
import textwrap
from collections.abc import Mapping, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from bathymetry.core.errors import InputError

Description = None | bool | int | float | str | list["Description"] | dict[str, "Description"]


def describe(value: Any) -> Description:
    """Describe a value by what decides the numbers that come of it.

    Args:
        value: A plain value, a container, a dataclass (its fields, and `version` of its class if it has one), an array
            or tensor, a class, or a function (its source and what it closes over).

    Returns:
        The description, plain JSON.

    Raises:
        InputError: If nothing certain can be said of it.

    Example:
        >>> describe({"epochs": 5, "widths": (1, 3, 1)})
        {'epochs': 5, 'widths': [1, 3, 1]}
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else repr(value)
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, range):
        return f"range({value.start}, {value.stop}, {value.step})"
    if isinstance(value, Mapping):
        return {str(key): describe(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((describe(one) for one in value), key=json.dumps)
    if isinstance(value, Sequence):
        return [describe(one) for one in value]
    if isinstance(value, type):
        return _name(value)
    if dataclasses.is_dataclass(value):
        return _described_record(value)
    if isinstance(value, functools.partial):
        return {"partial": describe(value.func), "given": describe(value.args), "named": describe(value.keywords)}
    if isinstance(value, FunctionType | BuiltinFunctionType):
        return _described_function(value)
    if type(value).__module__ == "torch" and type(value).__name__ == "dtype":
        return str(value)
    if hasattr(value, "detach"):
        value = value.detach().cpu().contiguous().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)} {digest(np.ascontiguousarray(value).tobytes())}"
    remedy = "give a plain value, a frozen dataclass or a function, so that stored results can be known again"
    raise InputError("setting", type(value).__name__, remedy)


def digest(content: bytes) -> str:
    """Take the digest by which things are known here.

    Args:
        content: Any bytes.

    Returns:
        BLAKE2b of 16 bytes, in hexadecimal.
    """
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def canonical(description: Description) -> bytes:
    """Write a description so that equal ones have equal bytes.

    Args:
        description: What `describe` gave.

    Returns:
        JSON with sorted names and no spaces.

    Example:
        >>> canonical({"b": 1, "a": [0.5]})
        b'{"a":[0.5],"b":1}'
    """
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _name(one: Any) -> str:
    """Name a class or function by its package, not by the file in it, so that moving a file changes nothing."""
    return f"{one.__module__.partition('.')[0]}.{one.__qualname__}"


def _described_record(value: Any) -> Description:
    version = getattr(type(value), "version", None)
    fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
    described = {"kind": _name(type(value)), **({} if version is None else {"version": version}), **fields}
    if callable(value) and version is None and not type(value).__module__.startswith("bathymetry."):
        described["source"] = _source(type(value))  # nobody promised to count its versions
    return described


def _described_function(function: Any) -> Description:
    if isinstance(function, BuiltinFunctionType):
        return _name(function)
    closed_over = inspect.getclosurevars(function).nonlocals
    described: dict[str, Description] = {"function": _name(function), "source": _source(function)}
    if function.__name__ == "<lambda>":  # several may stand in one line, with one source
        described["column"] = max(column for _, _, column, _ in function.__code__.co_positions() if column is not None)
    return described | ({"closed over": describe(closed_over)} if closed_over else {})


def _source(defined: Any) -> str:
    try:
        return digest(textwrap.dedent(inspect.getsource(defined)).encode())
    except (OSError, TypeError) as error:
        remedy = "its source can't be read; define it in a file, or give a frozen dataclass that has a version"
        raise InputError("setting", defined.__qualname__, remedy) from error
