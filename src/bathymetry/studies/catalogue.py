"""Where studies come from: a static table of those that ship, installed packages, and files.

Listing them loads none of them, nor PyTorch. A test compares the table with the classes.
"""

import importlib.util
import os
import sys
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from bathymetry.core.errors import InputError, did_you_mean, first_line
from bathymetry.core.identity import digest
from bathymetry.core.sources import imported_texts

if TYPE_CHECKING:  # the base class imports this module
    from bathymetry.studies.base import Study


class Entry(NamedTuple):
    """A study in a list."""

    location: str
    chapter: str
    question: str


_CHAPTERS = ("Part 1: depth", "Part 2: optimisation", "Part 3: generalisation")
_QUESTIONS = {  # by name, with the number of the chapter
    "depth-function": (1, "At equal parameters, do deep networks fit a function better than shallow ones?"),
    "depth-classification": (1, "At equal parameters, do deep networks classify images better than shallow ones?"),
    "trajectory": (2, "Where do the weights go while a network learns?"),
    "gradient-norm": (2, "What does the gradient norm say while a network trains?"),
    "minimal-ratio": (2, "What kind of points does training stop at?"),
    "random-labels": (3, "Can a network fit labels that mean nothing?"),
    "capacity": (3, "Do more parameters generalise better?"),
    "interpolation": (3, "What lies between two solutions?"),
    "batch-size": (3, "Does the batch size decide sensitivity and accuracy?"),
}


def _entry(name: str, chapter: int, question: str) -> Entry:
    """The study depth-function is the class DepthFunction in depth_function.py."""
    location = f"bathymetry.studies.{name.replace('-', '_')}:{name.title().replace('-', '')}"
    return Entry(location, _CHAPTERS[chapter - 1], question)


SHIPPED = {name: _entry(name, *known) for name, known in _QUESTIONS.items()}


def _offered() -> dict[str, str]:
    """Where the studies of installed packages are, by name; it takes a while to find out."""
    return {one.name: one.value for one in entry_points(group="bathymetry.studies") if one.name not in SHIPPED}


def entries() -> dict[str, Entry]:
    """The studies that have a name here: those that ship, then those of installed packages."""
    others = {name: (location, _found(location)) for name, location in _offered().items()}
    return SHIPPED | {name: Entry(location, one.chapter, one.question) for name, (location, one) in others.items()}


def find(name: str | Path) -> "type[Study]":
    """Find a study.

    Args:
        name: "depth-function", the path of a Python file that defines one, or "module:class".

    Returns:
        The study's class.

    Raises:
        InputError: If there is none.
    """
    if not isinstance(name, str | Path):
        raise InputError("study", name, "expected a study's name, or the path of a file of your own (.py)")
    name = str(name)
    if name.endswith(".py"):
        return _from_file(Path(name).absolute())
    known = {name: one.location for name, one in SHIPPED.items()} | ({} if name in SHIPPED else _offered())
    if name in known or ":" in name:
        return _found(known.get(name, name))
    raise InputError("study", name.strip(), _instead(name, list(known)))


def _instead(name: str, known: list[str]) -> str:
    several = name.replace(",", " ").split()
    if len(several) > 1 and all(one in known for one in several):
        return f"expected one name; several are separate arguments: {' '.join(several)}"
    if name.strip() and os.path.isfile(f"{name}.py"):
        return f"expected the file's whole name, {name}.py"
    meant = did_you_mean(name.strip().lower().replace("_", "-"), known)
    return f"{meant}expected one of {', '.join(known)}, or a path to a file of your own (.py)"


@cache
def _found(location: str) -> "type[Study]":
    module, _, attribute = location.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError("study", location, f"it can't be imported ({first_line(error)})") from error
    if not _is_study(found):
        raise InputError("study", location, "expected a subclass of bathymetry.Study")
    return found  # type: ignore[no-any-return]


@cache
def _from_file(path: Path) -> "type[Study]":
    module = module_of_file("study", path)
    own = [one for one in vars(module).values() if _is_study(one) and one.__module__ == module.__name__]
    if len(own) != 1:
        raise InputError("study", path, f"expected one subclass of bathymetry.Study, found {len(own)}")
    own[0].location = str(path.resolve())
    return own[0]  # type: ignore[no-any-return]


@cache
def module_of_file(field: str, path: Path) -> ModuleType:
    """Run a user's file as a module of its own."""
    if not os.path.isfile(path):
        raise InputError(field, path, "it is not a file" if os.path.exists(path) else "there is no such file")
    path = path.resolve()
    # A name of its own, so that neither another file of that name nor a package is taken for it. Its head is the same
    # wherever the file lies, because chunks are known by the names of what made them.
    name = f"own_studies.{path.stem}_{digest(str(path).encode())[:8]}"
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(specification)
    if str(path.parent) not in sys.path:  # as of a script, so that it can import modules next to it, then and later
        sys.path.insert(0, str(path.parent))
    importlib.invalidate_caches()
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        remedy = f"the file can't be run ({type(error).__name__}: {first_line(error)})"
        raise InputError(field, path, remedy) from error
    _check_neighbours(field, path, module)
    return module


def _check_neighbours(field: str, path: Path, module: ModuleType) -> None:
    """Refuse a study that imports a module next to it, where another of that name was imported before."""
    for name in imported_texts(module):
        imported = getattr(sys.modules.get(name), "__file__", None)
        neighbours = [path.parent / f"{name}.py", path.parent / name / "__init__.py"]
        expected = next((one for one in neighbours if one.is_file()), None)
        if imported and expected and not os.path.samefile(imported, expected):
            remedy = f"another module {name} was imported before ({imported}); run this study in a process of its own"
            raise InputError(field, path, remedy)


def _is_study(found: object) -> bool:
    from bathymetry.studies.base import Study

    return isinstance(found, type) and issubclass(found, Study)
