"""A training run as another tool recorded it, and what a reader of a tool's files provides."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from bathymetry.core.errors import BathymetryError

Scalar = str | int | float | bool | None
Direction = Literal["higher", "lower"]
Status = Literal["finished", "running", "crashed", "unknown"]  # unknown: the tool does not record it


@dataclass(frozen=True)
class History:
    """One metric of a run as it was logged: steps in rising order, one value each."""

    step: Float64[np.ndarray, " row"]
    value: Float64[np.ndarray, " row"]  # NaN and infinity as they were logged


@dataclass(frozen=True)
class Run:
    """One training run: its settings and its metrics."""

    id: str  # as the tool names it, otherwise the file's or folder's name
    config: Mapping[str, Scalar]  # flat; nested keys joined by dots: "optimizer.lr"
    metrics: Mapping[str, History]
    status: Status = "unknown"
    notes: tuple[str, ...] = ()  # such as that the end of its file is damaged
    texts: frozenset[str] = frozenset()  # names that were logged along the run and hold no numbers
    directions: Mapping[str, Direction] = field(default_factory=dict)  # which values of a metric the tool calls better


@dataclass(frozen=True)
class Unit:
    """Files that hold one or more runs and can be read by themselves."""

    name: str  # relative to what is read: the file, or the folder of a run
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Layout:
    """What the user says of a table's columns, which no table says of itself."""

    keys: tuple[str, ...] = ()  # settings by which runs are told apart: members, compared, by
    metrics: tuple[str, ...] = ()  # that are asked for; () for all
    step: str | None = None  # the column that counts steps
    run: str | None = None  # the column that names the run


@dataclass(frozen=True)
class Format:
    """A tool's files: how they are recognised, and how they are read."""

    name: str  # "TensorBoard"
    units: Callable[[Path, Sequence[Path]], list[Unit]]  # of the folder that is read and all files in it
    read: Callable[[Unit, Layout], list[Run]]
    wanted: str  # what was looked for, for the error when nothing is found: "events.out.tfevents.*"
    depends_on_layout: bool = field(default=False, kw_only=True)  # whether what is read depends on the layout


def history(steps: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray) -> History:
    """Sort by step; of several values at one step the last that was logged counts, as after a restart."""
    step, value = (np.asarray(one, dtype=np.float64) for one in (steps, values))
    if len(step) > 1 and not (np.diff(step) > 0).all():
        order = np.argsort(step, kind="stable")
        step, value = step[order], value[order]
        last = np.append(step[1:] != step[:-1], True)
        step, value = step[last], value[last]
    return History(step, value)


def flat(config: Mapping[str, object], prefix: str = "") -> dict[str, Scalar]:
    """Flatten nested settings: {"optimizer": {"lr": 0.1}} to {"optimizer.lr": 0.1}; lists become text."""
    found: dict[str, Scalar] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value if isinstance(value, Scalar) else str(value)
    return found


def note_of(error: BathymetryError) -> str:
    """Say as a note of a run why some of its files were not read."""
    return str(error).rstrip(".")
