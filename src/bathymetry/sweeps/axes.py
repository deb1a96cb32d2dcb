"""Axes and points: which values a field takes, and which combinations of them are trained.

A grid has all combinations, `zip` takes the first value of every axis, then the second, and so on; random points are
drawn independently, Sobol points (Sobol' 1967, USSR Computational Mathematics 7:86; scrambled as by Owen 1998) fill the
space evenly. A point depends on the specification alone.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
from scipy.stats import qmc

from bathymetry.core.errors import InputError, did_you_mean, is_real, is_whole, whole_number
from bathymetry.studies.settings import network_name
from bathymetry.sweeps.sections import SECTIONS, Network, Section, plain

MOST_POINTS = 100_000
PATHS = ("network.family", "data.name")  # fields that may hold the path of a file
RANGE = ("low", "high", "scale", "count")
SAMPLES = "expected grid, zip, {random: NUMBER} or {sobol: NUMBER}"
_RESERVED = {"member", "split", "epoch", "point", "step", "loss", "accuracy", "status", "error", "diverged", "examples"}
_NONE = {"training.batch_size": "full", "data.train_examples": "all", "data.test_examples": "all"}  # take no number
_EXACT = 2.0**53  # below it whole numbers are exact
_STREAMS = {"random": 0, "sobol": 1}
SEEDS = ("seed", "data_seed")  # fields of no section that may be an axis


@dataclass(frozen=True)
class Range:
    """An interval that values are drawn from, or divided evenly on a grid."""

    low: float
    high: float
    scale: Literal["linear", "log"] = "linear"
    count: int | None = None

    def at(self, share: float) -> float:
        """The value at a share of the way, from 0 to 1, on the range's scale."""
        if share in (0, 1):
            return self.high if share else self.low
        if self.scale == "log":
            return min(max(math.exp(math.log(self.low) + share * math.log(self.high / self.low)), self.low), self.high)
        return self.low + share * (self.high - self.low)

    def listed(self) -> list[float]:
        """Its values on a grid: the ends as they are, those between rounded where that tells them apart."""
        assert self.count is not None
        values = [self.at(place / (self.count - 1)) for place in range(self.count)]
        if self.scale == "log":
            between = [float(f"{one:.6g}") for one in values[1:-1]]
        else:
            digits = 6 - math.floor(math.log10(self.high - self.low))
            between = [round(one, digits) + 0.0 for one in values[1:-1]]  # not -0.0
        rounded = [self.low, *between, self.high]
        return rounded if all(one < other for one, other in pairwise(rounded)) else values


@dataclass(frozen=True)
class Axis:
    """One field and its values."""

    name: str  # of the dimension or coordinate in the results
    path: str  # "training.learning_rate"
    values: Sequence[Any] | Range
    written: str  # as the specification calls it: learning_rate, or training.learning_rate
    folder: str = ""  # from which paths of files are labelled

    @property
    def section(self) -> str:
        return self.path.partition(".")[0]

    @property
    def field(self) -> str:
        return self.path.partition(".")[2]

    def label(self, value: Any) -> str | int | float:
        """How a value is written in the results: [10, 20] as 10-20, a file by its path from the specification."""
        if is_whole(value) or is_real(value):
            return value
        if isinstance(value, tuple | list) and all(is_whole(one) for one in value):
            return network_name(value)
        if value is None:
            return _NONE.get(self.path, "None")
        if self.path in PATHS and isinstance(value, str) and self.folder:
            return value.removeprefix(f"{self.folder.rstrip(os.sep)}{os.sep}")
        return str(plain(value))

    def labels(self, values: Sequence[Any]) -> list[str | int | float]:
        """Values as they are written in the results: all as text if one of them is."""
        labels = [self.label(one) for one in values]
        return [str(one) for one in labels] if any(isinstance(one, str) for one in labels) else labels


@dataclass(frozen=True)
class Point:
    """One combination of values: where it lies in the results, and the value of each field by its path."""

    coordinates: Mapping[str, str | int | float]
    values: Mapping[str, Any]


def read_axes(axes: object, sections: Mapping[str, Section], folder: str = "") -> tuple[Axis, ...]:
    """Read the axes: find the field that each one means, and check its values."""
    if not isinstance(axes, Mapping) or not axes:
        raise InputError("axes", axes, "expected at least one field with its values, such as {learning_rate: [0.1]}")
    network = sections["network"]
    assert isinstance(network, Network)
    paths = {str(name): _path(name, network, values) for name, values in axes.items()}
    found: list[Axis] = []
    for name, values in axes.items():
        path = paths[str(name)]
        if list(paths.values()).count(path) > 1:
            both = " and ".join(one for one, other in paths.items() if other == path)
            raise InputError("axes", both, f"they are the same field, {path}; expected it once")
        section, _, field = path.partition(".")
        if section in sections and field in sections[section].given:
            remedy = f"{field} is both an axis and fixed under {section}; remove one"
            raise InputError(f"axes.{name}", values, remedy)
        checked = _range(str(name), values) if isinstance(values, Mapping) else _values(str(name), values)
        if isinstance(checked, Range):
            _check_numeric(str(name), path, checked, sections)
        found.append(Axis(_dimension(path, list(paths.values())), path, checked, str(name), folder))
    return tuple(replace_values(one, sections) for one in found)


def _path(name: object, network: Network, values: object) -> str:
    """The whole name of a field: learning_rate is training.learning_rate."""
    known = [f"{title}.{field}" for title, section in SECTIONS.items() for field in section.model_fields]
    known += SEEDS
    section, _, field = str(name).partition(".")
    if name in known or (section == "network" and field and not network.is_mlp):
        return str(name)
    short = [path for path in known if path.partition(".")[2] == name]
    if len(short) == 1:
        return short[0]
    if not network.is_mlp and isinstance(name, str) and name.isidentifier():
        return f"network.{name}"
    similar = did_you_mean(name, [*known, *(path.partition(".")[2] for path in known)])
    if name in ("device", "members", "name"):
        raise InputError(f"axes.{name}", values, "it is the same for the whole sweep; write it outside of axes")
    remedy = f"there is no such field; {similar}expected a field of network, data or training, seed or data_seed"
    raise InputError(f"axes.{name}", values, remedy)


def _dimension(path: str, paths: Sequence[str]) -> str:
    """Name a dimension by the last part of its field, unless another is called so."""
    last = path.rpartition(".")[2]
    taken = [one for one in paths if one.rpartition(".")[2] == last]
    return path.replace(".", "_") if len(taken) > 1 or last in _RESERVED else last


def _values(name: str, values: object) -> tuple[Any, ...]:
    if not isinstance(values, tuple | list):
        remedy = "expected a list of values, or a range {low: …, high: …}"
        raise InputError(f"axes.{name}", values, remedy)
    if not values:
        raise InputError(f"axes.{name}", "[]", "expected at least one value")
    if len(values) > MOST_POINTS:
        raise InputError(f"axes.{name}", f"{len(values):,} values", f"expected at most {MOST_POINTS:,} points")
    return tuple(values)


def _range(name: str, values: Mapping[Any, Any]) -> Range:
    field = f"axes.{name}"
    for key in values:
        if key not in RANGE:
            remedy = f"there is no such field; {did_you_mean(key, RANGE)}expected low, high, scale and count"
            raise InputError(f"{field}.{key}", values[key], remedy)
    for key in ("low", "high"):
        if not is_real(values.get(key)) or not math.isfinite(values[key]):
            raise InputError(f"{field}.{key}", values.get(key), "expected a finite number")
    low, high, scale = float(values["low"]), float(values["high"]), values.get("scale", "linear")
    if scale not in ("linear", "log"):
        raise InputError(f"{field}.scale", scale, "expected linear or log")
    if not low < high:
        raise InputError(f"{field}.low", values["low"], f"expected less than high, {values['high']}")
    if scale == "log" and low <= 0:
        raise InputError(f"{field}.low", values["low"], "expected a number above 0 on a logarithmic scale")
    if not math.isfinite(high / low if scale == "log" else high - low):
        raise InputError(field, f"{low:g} to {high:g}", "expected ends that lie less far apart")
    count = values.get("count")
    return Range(low, high, scale, None if count is None else _counted(f"{field}.count", count, 2, MOST_POINTS))


def _check_numeric(name: str, path: str, values: Range, sections: Mapping[str, Section]) -> None:
    for end in (values.low, values.high):
        value = checked_value(name, path, _whole(end), sections)
        if not is_real(value):
            raise InputError(f"axes.{name}", f"{values.low:g} to {values.high:g}", "it has no range; expected a list")


def _counted(field: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number, which YAML may have as 1e3."""
    return whole_number(field, int(value) if isinstance(value, float) and value.is_integer() else value, least, most)


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() and abs(value) < _EXACT else value


def replace_values(axis: Axis, sections: Mapping[str, Section]) -> Axis:
    """Check every value of a list by the field's own type, and that no two are the same."""
    if isinstance(axis.values, Range):
        return axis
    values = tuple(checked_value(axis.written, axis.path, one, sections) for one in axis.values)
    names = [axis.label(one) for one in values]
    for name in names:
        if names.count(name) > 1 if len(names) < 1000 else len(set(names)) < len(names):
            remedy = f"{name} is listed twice; expected each value once"
            raise InputError(f"axes.{axis.written}", list(axis.values), remedy)
    return replace(axis, values=values)


def checked_value(name: str, path: str, value: Any, sections: Mapping[str, Section]) -> Any:
    """A field's value as its section reads it."""
    if path in SEEDS:
        return _counted(f"axes.{name}", value, 0, 2**63 - 1)
    if value is None and path not in _NONE:
        raise InputError(f"axes.{name}", value, "expected a value")
    title, _, field = path.partition(".")
    section = sections[title]
    alone = {"family": section.given["family"]} if isinstance(section, Network) and "family" in section.given else {}
    try:
        read = type(section).of({**alone, field: value})
    except InputError as error:
        raise InputError(f"axes.{name}", error.value, error.remedy) from error
    return getattr(read, field)


def count_points(axes: Sequence[Axis], sample: tuple[str, int]) -> int:
    """How many points there are, before any is made."""
    kind, number = sample
    if kind in _STREAMS:
        return _few(number, f"sample.{kind}")
    lengths = {one.written: _length(one, kind) for one in axes}
    if kind == "grid":
        return _few(math.prod(lengths.values()), "axes")
    if len(set(lengths.values())) > 1:
        words = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InputError("sample", "zip", f"{words}; expected as many values on every axis")
    return next(iter(lengths.values()))


def _length(axis: Axis, kind: str) -> int:
    if isinstance(axis.values, Range):
        if axis.values.count is None:
            remedy = f"a {kind} needs to know how many values; add count, or sample {{random: NUMBER}}"
            raise InputError(f"axes.{axis.written}", f"{axis.values.low:g} to {axis.values.high:g}", remedy)
        return axis.values.count
    return len(axis.values)


def _few(count: int, field: str) -> int:
    if count > MOST_POINTS:
        raise InputError(field, f"{count:,} points", f"expected at most {MOST_POINTS:,}")
    return count


def read_sample(sample: object) -> tuple[str, int]:
    """The way of sampling, and the number of points where it has one."""
    if sample in ("grid", "zip"):
        return str(sample), 0
    if isinstance(sample, Mapping) and len(sample) == 1 and next(iter(sample)) in _STREAMS:
        kind, number = next(iter(sample.items()))
        return str(kind), _counted(f"sample.{kind}", number, 1)
    raise InputError("sample", sample, SAMPLES)


def points(axes: Sequence[Axis], sample: tuple[str, int], seed: int, sections: Mapping[str, Section]) -> list[Point]:
    """All points, in the order of the axes."""
    kind, number = sample
    count_points(axes, sample)
    if kind in _STREAMS:
        rows: Iterator[Sequence[Any]] = _drawn(axes, kind, number, seed, sections)
    else:
        columns = [_listed(one, sections) for one in axes]
        rows = product(*columns) if kind == "grid" else zip(*columns, strict=True)
    made = [{axis.path: value for axis, value in zip(axes, row, strict=True)} for row in rows]
    if kind != "grid":
        return [Point({"point": place}, values) for place, values in enumerate(made)]
    labels = {axis.name: axis.labels([values[axis.path] for values in made]) for axis in axes}
    return [Point({name: at[place] for name, at in labels.items()}, values) for place, values in enumerate(made)]


def _listed(axis: Axis, sections: Mapping[str, Section]) -> list[Any]:
    if not isinstance(axis.values, Range):
        return list(axis.values)
    count = axis.values.count or 0
    shares = [place / (count - 1) for place in range(count)]
    values = [_of_range(axis, axis.values, share, sections) for share in shares]
    if not _is_whole_field(axis, sections):
        values = axis.values.listed()
    if len(set(values)) < len(values):
        reached, there = len(set(values)), math.floor(axis.values.high) - math.ceil(axis.values.low) + 1
        few = f"only {there} whole numbers lie there"
        skipped = f"on a {axis.values.scale} scale they reach {reached} of the {there} whole numbers that lie there"
        remedy = f"{few if reached == there else skipped}; expected a smaller count"
        raise InputError(f"axes.{axis.written}.count", count, remedy)
    return values


def _of_range(axis: Axis, values: Range, share: float, sections: Mapping[str, Section]) -> Any:
    value = values.at(share)
    if _is_whole_field(axis, sections):
        return min(max(round(value), math.ceil(values.low)), math.floor(values.high))
    return value


def _is_whole_field(axis: Axis, sections: Mapping[str, Section]) -> bool:
    if axis.path in SEEDS:
        return True
    info = type(sections[axis.section]).model_fields.get(axis.field)
    if info is None:  # an argument of a function that makes networks: whole where both ends are
        assert isinstance(axis.values, Range)
        return axis.values.low.is_integer() and axis.values.high.is_integer() and axis.values.scale == "linear"
    return "int" in str(info.annotation) and "float" not in str(info.annotation)


def _drawn(
    axes: Sequence[Axis], kind: str, number: int, seed: int, sections: Mapping[str, Section]
) -> Iterator[list[Any]]:
    generator = np.random.default_rng([seed, _STREAMS[kind]])
    if kind == "random":
        shares = generator.random((number, len(axes)))
    else:  # the first points of the next power of two, for which the sequence is balanced
        sobol = qmc.Sobol(len(axes), scramble=True, seed=generator)
        shares = sobol.random_base2(max(number - 1, 0).bit_length())[:number]
    for row in shares:
        yield [_at_share(axis, float(share), sections) for axis, share in zip(axes, row, strict=True)]


def _at_share(axis: Axis, share: float, sections: Mapping[str, Section]) -> Any:
    if isinstance(axis.values, Range):
        return _of_range(axis, axis.values, share, sections)
    return axis.values[min(int(share * len(axis.values)), len(axis.values) - 1)]
