"""Reading a specification: a YAML file, or fields in Python. A file says what to compute and runs no code by itself.

Paths in a file are meant from its folder, and stay inside it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from bathymetry.core.errors import InputError, did_you_mean
from bathymetry.core.showing import kind_of
from bathymetry.store.yaml_files import read_yaml
from bathymetry.sweeps.axes import PATHS, SEEDS, Range
from bathymetry.sweeps.sections import FUNCTION_FILE, SECTIONS
from bathymetry.sweeps.specification import LETTERS, Specification
from bathymetry.sweeps.sweep import Sweep

SPECIFICATION = "specification.yaml"  # next to the results of a sweep
_OUTSIDE = ("members", "seed", "data_seed", "device")  # fields of the sweep next to its specification
_DATA_SUFFIX = ".npz"


def read_file(path: Path) -> Sweep:
    """Read a specification from a YAML file."""
    given = read_yaml(path, "spec")
    if not isinstance(given, Mapping):
        remedy = "expected fields by name, such as axes: {learning_rate: [0.001, 0.01]}"
        raise InputError("spec", path, f"it holds {'nothing' if given is None else kind_of(given)}; {remedy}")
    if "folder" in given:
        remedy = "a file has no such field: paths are meant from its own folder"
        raise InputError("folder", given["folder"], remedy)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._")[:LETTERS] or "sweep"
    fields: dict[str, Any] = {"name": name, **given}
    return sweep_of(_inside(fields, path.resolve().parent))


def _inside(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Complete paths from the folder of the specification, and refuse those that leave it."""
    made = dict(fields)
    for section, field in (("network", "family"), ("data", "name")):
        own = made.get(section)
        if isinstance(own, Mapping) and isinstance(own.get(field), str):
            made[section] = {**own, field: _path(f"{section}.{field}", own[field], folder)}
    axes = made.get("axes")
    if isinstance(axes, Mapping):
        named = [*PATHS, *(path.partition(".")[2] for path in PATHS)]
        made["axes"] = {
            axis: [_path(f"axes.{axis}", one, folder) for one in values]
            if axis in named and isinstance(values, list)
            else values
            for axis, values in axes.items()
        }
        if made["axes"] != axes:
            made["folder"] = str(folder)
    return made


def _path(field: str, value: Any, folder: Path) -> Any:
    """A path from a folder; names of families and data sets stay as they are."""
    if not _is_path(value):
        return value
    is_function = FUNCTION_FILE.fullmatch(value) is not None
    file, name = value.rsplit(":", 1) if is_function else (value, "")
    whole = (folder / file).resolve() if "\0" not in file else None
    if whole is None or not whole.is_relative_to(folder):
        raise InputError(field, value, f"expected a path inside the folder of the specification, {folder}")
    return f"{whole}:{name}" if is_function else str(whole)


def _is_path(value: object) -> bool:
    if not isinstance(value, str):
        return False
    is_file = FUNCTION_FILE.fullmatch(value) is not None or value.lower().endswith(_DATA_SUFFIX)
    return is_file or "/" in value or os.sep in value or value[:1] in (".", "~")


def sweep_of(given: object) -> Sweep:
    """Make a sweep from the fields of its specification, with members, seeds and device among them."""
    if not isinstance(given, Mapping):
        raise InputError("spec", given, "expected the path of a YAML file, or fields by name")
    known = [*Specification.model_fields, *_OUTSIDE]
    for name, value in given.items():
        if name not in known:
            remedy = f"there is no such field; {did_you_mean(name, known)}expected one of {', '.join(known)}"
            raise InputError(str(name), value, remedy)
    axes = given.get("axes")
    for name in SEEDS:
        if name in given and isinstance(axes, Mapping) and name in axes:
            raise InputError(f"axes.{name}", axes[name], f"{name} is both an axis and fixed; remove one")
    own = {name: given[name] for name in _OUTSIDE if name in given}
    rest = {name: value for name, value in given.items() if name not in own}
    return Sweep(**{"specification": rest, **own})


def field_names() -> list[str]:
    """All fields of a specification, and of its sections."""
    sections = [name for section in SECTIONS.values() for name in section.model_fields]
    return [*Specification.model_fields, *_OUTSIDE, *sections]


def portable(made: Sweep) -> bool:
    """Whether a specification names no file, so that it can be read from any folder."""
    return not any(callable(one) or _is_path(one) for one in _names(made))


def files_of(made: Sweep) -> list[Path]:
    """The files that a specification names, as whole paths."""
    folder = Path(made.fields.get("folder", ""))
    texts = [one for one in _names(made) if isinstance(one, str) and _is_path(one)]
    return [folder / (one.rpartition(":")[0] if FUNCTION_FILE.fullmatch(one) else one) for one in texts]


def _names(made: Sweep) -> list[Any]:
    """The data sets and families of a specification, fixed or along its axes."""
    spec = made.specification
    names: list[Any] = [spec.data.name, spec.network.family]
    for axis in spec.axis_list:
        if axis.path in PATHS and not isinstance(axis.values, Range):
            names += axis.values
    return names


def as_yaml(made: Sweep) -> bytes:
    """Write a specification as a file that `read_file` reads."""
    fields = {name: value for name, value in made.fields.items() if name != "folder"}
    text: str = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)
    return text.encode()
