"""Where studies come from: those that ship, those of installed packages, and files of one's own."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from bathymetry.core.errors import InputError, first_line
from bathymetry.studies.study import Study

_SHIPPED = (
    "depth_function",
    "depth_classification",
    "trajectory",
    "gradient_norm",
    "minimal_ratio",
    "random_labels",
    "capacity",
    "interpolation",
    "batch_size",
)
_ENTRY_POINTS = "bathymetry.studies"


def shipped() -> tuple[Study, ...]:
    """Give the studies that come with Bathymetry, in the order in which they are read.

    Returns:
        The studies.
    """
    return tuple(import_module(f"bathymetry.studies.{name}").STUDY for name in _SHIPPED)


def studies() -> dict[str, Study]:
    """Give all studies that have a name here: those that ship, then those of installed packages.

    Returns:
        The studies by name.

    Raises:
        InputError: If a package offers something that is no study.
    """
    named = {study.name: study for study in shipped()}
    for point in entry_points(group=_ENTRY_POINTS):
        study = point.load()
        if not isinstance(study, Study):
            raise InputError("study", point.value, f"the entry point {point.name} must name a bathymetry Study")
        named.setdefault(study.name, study)
    return named


def find(name: str | Path) -> Study:
    """Find a study by its name, or in a Python file that defines `STUDY`.

    Args:
        name: "depth-function", or a path that ends in .py.

    Returns:
        The study.

    Raises:
        InputError: If there is none.
    """
    if not isinstance(name, str | Path):
        raise InputError("study", name, "expected a study's name, or the path of a file of your own (.py)")
    name = str(name)
    if name.endswith(".py"):
        return _from_file(Path(name).absolute())
    known = studies()
    if name not in known:
        raise InputError("study", name.strip() or "nothing", _instead(name, known))
    return known[name]


def _instead(name: str, known: Mapping[str, Study]) -> str:
    """Say which study may have been meant."""
    several = name.replace(",", " ").split()
    if len(several) > 1 and all(one in known for one in several):
        return f"expected one name; several stand apart: {' '.join(several)}"
    if name.strip() and os.path.isfile(f"{name}.py"):
        return f"to use the file, give its whole name: {name}.py"
    alike = get_close_matches(name.strip().lower().replace("_", "-"), known, n=1, cutoff=0.75)
    meant = f"did you mean {alike[0]}? " if alike else ""
    return f"{meant}give one of {', '.join(known)}, or a path to a file of your own (.py)"


@cache
def _from_file(path: Path) -> Study:
    if not os.path.isfile(path):
        raise InputError("study", path, "it is no file" if os.path.exists(path) else "there is no such file")
    path = path.resolve()
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        remedy = f"the file can't be run ({type(error).__name__}: {first_line(error)})"
        raise InputError("study", path, remedy) from error
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        raise InputError("study", path, "the file must define STUDY, a bathymetry Study")
    return study
