"""Public names: those in the documentation exist in a fresh process, and each is documented."""

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import pytest
from pydantic import BaseModel

import bathymetry as bm

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*.py"))]
SOURCES = sorted((ROOT / "src").rglob("*.py"))

CHECK = """
import sys
import bathymetry as bm
missing = []
for name in sys.argv[1:]:
    first, *rest = name.split(".")
    if first not in bm.__all__:  # what only an earlier import has put there would not be in a fresh process
        missing.append(name)
        continue
    value = getattr(bm, first)
    for part in rest:
        value = getattr(value, part, None)
    if value is None:
        missing.append(name)
print(*missing)
"""


def test_every_name_in_the_documentation_is_there_in_a_fresh_process():
    text = "\n".join(page.read_text(encoding="utf-8") for page in (*PAGES, *SOURCES))
    names = set(re.findall(r"\bbm\.([a-z_]+(?:\.[A-Za-z_]+)?|[A-Z]\w+)", text))
    assert {"training.stability_threshold", "probes.eigenvalues", "train", "LossSurface"} <= names
    found = subprocess.run([sys.executable, "-c", CHECK, *sorted(names)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def public_packages():
    """The package and its public subpackages."""
    inside = [getattr(bm, name) for name in bm.__all__]
    return [bm, *(one for one in inside if inspect.ismodule(one) and hasattr(one, "__path__"))]


def exported():
    """Every public function and class, once."""
    found = {
        id(value): pytest.param(value, id=f"{package.__name__}.{name}")
        for package in public_packages()
        for name in package.__all__
        if inspect.isfunction(value := getattr(package, name)) or inspect.isclass(value)
    }
    return list(found.values())


def lacking(value, *, described_by=None):
    """What a docstring does not have: a text, an entry for each argument, what is returned."""
    documented = inspect.getdoc(value) if described_by is None else inspect.getdoc(described_by)
    if not documented:
        return ["a docstring"]
    signature = inspect.signature(value)
    named = [one.name for one in signature.parameters.values() if one.name not in ("self", "cls")]
    lacks = [f"Args: {name}" for name in named if not re.search(rf"^ +\**{name}( \(.*\))?: ", documented, re.MULTILINE)]
    returned = signature.return_annotation not in (None, "None", inspect.Signature.empty)
    if returned and described_by is None and not re.search(r"^(Returns|Yields):$", documented, re.MULTILINE):
        lacks.append("Returns")
    return lacks


@pytest.mark.parametrize("value", exported())
def test_an_exported_function_or_class_says_what_it_takes_and_returns(value):
    if inspect.isfunction(value):
        assert lacking(value) == []
    elif "__init__" in vars(value) and not (dataclasses.is_dataclass(value) or issubclass(value, BaseModel | Protocol)):
        assert lacking(vars(value)["__init__"], described_by=value) == []
    else:  # a record, whose fields say what they are, or an error
        assert value.__doc__
        assert not value.__doc__.startswith(f"{value.__name__}("), "dataclass wrote this docstring"


@pytest.mark.parametrize("value", exported())
def test_a_docstring_says_each_argument_once_and_calls_only_what_a_user_can(value):
    documented = inspect.getdoc(value) or ""
    arguments = re.findall(r"^    \**(\w+): ", documented.partition("Args:")[2].partition("\n\n")[0], re.MULTILINE)
    assert sorted(arguments) == sorted(set(arguments))
    called = re.findall(r"`([A-Z]\w+)\([^`]*\)`", documented)
    assert [name for name in called if not hasattr(bm, name)] == []


MOST_NAMES = 95  # as many as a user can survey; nothing technical depends on it
COUNT = """
import inspect
import bathymetry as bm
packages = [bm, *(one for name in bm.__all__ if inspect.ismodule(one := getattr(bm, name)))]
found = (getattr(package, name) for package in packages for name in package.__all__)
names = {id(one) for one in found if not inspect.ismodule(one)}
print(len(names), *(package.__name__ for package in packages))
"""


def test_there_are_at_most_95_public_names_and_none_of_the_engine():
    found = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True).stdout.split()
    remedy = "keep the new name in its file, unexported, or take out one that nobody needs (see CONTRIBUTING.md)"
    assert int(found[0]) <= MOST_NAMES, f"{found[0]} public names, at most {MOST_NAMES}: {remedy}"
    assert not {"bathymetry.store", "bathymetry.execution", "bathymetry.report"} & set(found[1:])
