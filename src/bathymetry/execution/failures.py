"""What became of a chunk that raised, in words: the first error that the user's own code raised, and where.

A refusal ends a run, because it concerns all of it: its data, output, device or a study's settings. A refusal that
comes of training a point of a sweep concerns that point alone, and is a failure of its chunk as any other error is.
"""

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bathymetry.core.errors import InputError, StorageError, first_line
from bathymetry.core.sources import is_library
from bathymetry.core.system import is_out_of_memory

OF_THE_RUN = ("device",)  # fields that a training refuses for all points alike


class PointError(Exception):
    """A refusal that concerns one point of a sweep; the refusal is its cause."""


def failure(error: Exception) -> dict[str, Any]:
    """An error in words."""
    words = {"sentence": str(error) or type(error).__name__, "traceback": _traceback(error)}
    if isinstance(error, InputError):
        return {**words, "kind": "input", "field": error.field, "value": str(error.value), "remedy": error.remedy}
    if isinstance(error, StorageError):
        return {**words, "kind": "storage"}
    is_memory = any(map(is_out_of_memory, _causes(error)))
    return {**words, "sentence": _sentence(error), "kind": "memory" if is_memory else "other"}


def _sentence(error: Exception) -> str:
    """The error that the user's own code raised, and where; else the refusal, or what was raised."""
    for one in _causes(error):
        if not isinstance(one, PointError | InputError) and (place := _own_place(one)):
            return f"{_named(one)} ({place})"
    return str(error.__cause__) if isinstance(error, PointError) else _named(error)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _named(error: BaseException) -> str:
    name = type(error).__name__
    return f"{name}: {first_line(error)}" if str(error).strip() else name


def _own_place(error: BaseException) -> str:
    """The last line of the user's own code that an error came through."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        if Path(path).is_file() and not is_library(str(frame.f_globals.get("__name__", "")), path):
            place = f"{Path(path).name}, line {line}"
    return place


def _traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))
