"""What decides a number, described in plain JSON, so that two programs that would compute the same know it.

A function of the user's is described by its source and by the values of all that it reads: defaults, closure, globals,
and the functions and classes among them in turn. What belongs to Python, an installed package or Bathymetry is
described by its name: which version computed something is provenance, not identity. A class that has a `version` is
described by that instead of its source.
"""

import contextlib
import dataclasses
import dis
import enum
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import logging
import sys
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import resolve_name
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, GenericAlias, MethodType, ModuleType, UnionType
from typing import Any

import numpy as np

from bathymetry.core.errors import InputError
from bathymetry.core.showing import with_article

Description = None | bool | int | float | str | list["Description"] | dict[str, "Description"]

_PYTHON = sysconfig.get_path("stdlib")
_PACKAGES = ("site-packages", "dist-packages")
_PLAIN_TORCH = ("dtype", "device", "layout", "memory_format")
_LETTERS = 200  # a longer description of something that is read is replaced by its digest
_READ = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")


def describe(value: Any) -> Description:
    """Describe a value by what decides the numbers that come of it, or refuse it."""
    return _Describer().describe(value)


def digest(content: bytes) -> str:
    """Hash bytes: BLAKE2b of 16 bytes, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def canonical(description: Description) -> bytes:
    """Write a description so that equal ones have equal bytes."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


class _Describer:
    """Describes values that may lead back to themselves: inside its own description a value is only named."""

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._known: dict[int, Description] = {}  # functions and classes, which outlive their description

    def describe(self, value: Any) -> Description:
        if value is None or (isinstance(value, bool | int | str) and not isinstance(value, enum.Enum)):
            return value
        if isinstance(value, float):
            return value if np.isfinite(value) else repr(value)
        if id(value) in self._known:
            return self._known[id(value)]
        if id(value) in self._inside:
            return {"again": _name(value if hasattr(value, "__qualname__") else type(value))}
        self._inside.add(id(value))
        try:
            described = self._described(value)
        finally:
            self._inside.remove(id(value))
        if isinstance(value, FunctionType | type):
            self._known[id(value)] = described
        return described

    def _described(self, value: Any) -> Description:
        kind = type(value)
        match value:
            case np.generic():
                return self.describe(value.item())
            case enum.Enum():
                return {"kind": self.describe(kind), "member": value.name}
            case bytes():
                return f"bytes {digest(value)}"
            case range() | complex() | PurePath() | GenericAlias() | UnionType():
                return str(value)
            case _ if kind.__module__ == "typing" or (kind.__name__ in _PLAIN_TORCH and kind.__module__ == "torch"):
                return str(value)
            case logging.Logger():  # decides no number
                return f"logger {value.name}"
            case Mapping():
                return {str(key): self.describe(one) for key, one in value.items()}
            case set() | frozenset():
                return sorted((self.describe(one) for one in value), key=json.dumps)
            case Sequence():
                return [self.describe(one) for one in value]
            case type():
                return self._class(value)
            case ModuleType():
                return _module(value)
            case functools.partial():
                arguments = {"given": self.describe(value.args), "named": self.describe(value.keywords)}
                return {"partial": self.describe(value.func), **arguments}
            case MethodType():
                return {"method": self.describe(value.__func__), "of": self.describe(value.__self__)}
            case FunctionType():
                return self._function(value)
        if hasattr(value, "detach"):
            value = value.detach().cpu().contiguous().numpy()
        if isinstance(value, np.ndarray) and value.dtype != object:
            return f"{value.dtype}{list(value.shape)} {digest(np.ascontiguousarray(value).tobytes())}"
        return self._instance(value)

    def _instance(self, value: Any) -> Description:
        kind = type(value)
        if dataclasses.is_dataclass(value):
            fields = {one.name: self.describe(getattr(value, one.name)) for one in dataclasses.fields(value)}
            version = getattr(kind, "version", None)
            own = self._own(kind) if version is None else {"version": version}
            return {"kind": _name(kind), **own, **fields}
        if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType | type | None):
            return {"method": _name(value), "of": self.describe(value.__self__)}
        if hasattr(value, "__wrapped__"):  # as functools.cache leaves it
            return self.describe(value.__wrapped__)
        if isinstance(value, BuiltinFunctionType | np.ufunc) or inspect.isroutine(value):
            return _name(value)
        if hasattr(value, "__dict__") and (not _is_library(kind.__module__) or hasattr(value, "named_parameters")):
            return {"kind": _name(kind), **self._own(kind), "state": self._values(vars(value), _name(kind))}
        remedy = "expected a plain value, an array, a frozen dataclass or a function"
        raise InputError("setting", with_article(kind.__name__), f"{remedy}, so that results can be known again")

    def _own(self, kind: type) -> dict[str, Description]:
        """Describe the class of an instance, unless its name describes it."""
        described = self.describe(kind)
        return {"class": digest(canonical(described))} if isinstance(described, dict) else {}

    def _class(self, kind: type) -> Description:
        if _is_library(kind.__module__):
            return _name(kind)
        version = vars(kind).get("version")
        if version is not None and not isinstance(version, property):
            return {"class": _name(kind), "version": self.describe(version)}
        described: dict[str, Description] = {"class": _name(kind), "source": _source(kind)}
        if issubclass(kind, enum.Enum):
            return described
        read: dict[str, Any] = {base.__name__: base for base in kind.__bases__ if not _is_library(base.__module__)}
        for name, value in vars(kind).items():
            held = _unwrapped(value)
            if isinstance(held, FunctionType):
                if inspect.unwrap(held).__code__.co_filename != "<string>":  # which dataclass makes
                    read[name] = held
            elif not (name.startswith("__") or name == "_abc_impl" or inspect.isdatadescriptor(held)):
                read[name] = held
        return described | {"reads": self._values(read, _name(kind))}

    def _function(self, function: FunctionType) -> Description:
        read = dict(_closure(function))
        if _is_library(function.__module__, function.__code__.co_filename):
            if hasattr(function, "__wrapped__"):  # a decorator's function: its arguments stand in the user's source
                return self.describe(function.__wrapped__)
            name = _name(function)
            return {"function": name, "reads": self._values(read, name)} if read else name
        described: dict[str, Description] = {"function": _name(function), "source": _source(function.__code__)}
        if function.__name__ == "<lambda>":  # several may stand in one line, with one source
            columns = (column for _, _, column, _ in function.__code__.co_positions() if column is not None)
            described["column"] = max(columns)
        read |= dict(_globals_read(function.__code__, function.__globals__)) | vars(function)
        read |= {"default arguments": function.__defaults__} if function.__defaults__ else {}
        read |= function.__kwdefaults__ or {}
        return described | ({"reads": self._values(read, _name(function))} if read else {})

    def _values(self, values: Mapping[str, Any], reader: str) -> Description:
        """Describe what a function or class reads or holds; long descriptions by their digests."""
        described: dict[str, Description] = {}
        for name, value in sorted(values.items()):
            try:
                one = self.describe(value)
            except InputError as error:
                if error.field != "setting":
                    raise
                raise InputError(name, error.value, f"{reader} reads it; {error.remedy}") from error
            written = canonical(one)
            described[name] = one if len(written) <= _LETTERS else digest(written)
        return described


def _closure(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # it has no value yet
            yield name, cell.cell_contents


def _globals_read(code: CodeType, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Find the globals that a function and those inside it read; of the user's own modules, the attributes read."""
    instructions = list(dis.get_instructions(code))
    for place, instruction in enumerate(instructions):
        name = instruction.argval
        if instruction.opname in _READ and name in namespace:
            value = namespace[name]
            for attribute in instructions[place + 1 :]:
                own = isinstance(value, ModuleType) and not _is_library(value.__name__)
                if not own or attribute.opname not in _ATTRIBUTE or not hasattr(value, attribute.argval):
                    break
                name, value = f"{name}.{attribute.argval}", getattr(value, attribute.argval)
            yield name, value
        elif instruction.opname == "IMPORT_NAME":
            level = instructions[place - 2].argval
            module = resolve_name("." * level + name, namespace.get("__package__") or "") if level else name
            if not _is_library(module):
                with contextlib.suppress(ImportError):
                    yield f"import {module}", importlib.import_module(module)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant, namespace)


def _module(module: ModuleType) -> Description:
    """Name a module; the user's own has the source of its file as well."""
    path = Path(getattr(module, "__file__", None) or "")
    if _is_library(module.__name__) or not path.is_file():
        return f"module {module.__name__}"
    return {"module": module.__name__, "source": digest(path.read_bytes())}


@functools.cache
def _is_library(module: str, path: str | None = None) -> bool:
    """Whether a module belongs to Python, an installed package or Bathymetry."""
    top = module.partition(".")[0]
    if top in ("bathymetry", "builtins") or top in sys.stdlib_module_names:
        return True
    if path is None:
        spec = None if top in sys.modules else importlib.util.find_spec(top)
        path = getattr(sys.modules.get(top), "__file__", None) or (spec and spec.origin) or ""
    return path.startswith(_PYTHON) or any(part in _PACKAGES for part in Path(path).parts)


def _unwrapped(attribute: Any) -> Any:
    """Find the function behind what a class body may put around it."""
    if isinstance(attribute, staticmethod | classmethod):
        return attribute.__func__
    if isinstance(attribute, property):
        return attribute.fget
    return attribute.func if isinstance(attribute, functools.cached_property) else attribute


def _name(one: Any) -> str:
    """Name a class or function by its package, not by the file in it, so that moving a file changes nothing."""
    module = getattr(one, "__module__", None) or type(one).__module__
    return f"{module.partition('.')[0]}.{getattr(one, '__qualname__', one.__name__)}"


def _source(defined: Any) -> str:
    try:
        return digest(textwrap.dedent(inspect.getsource(defined)).encode())
    except (OSError, TypeError) as error:
        remedy = "its source can't be read; define it in a file, or pass a frozen dataclass that has a version"
        raise InputError("setting", getattr(defined, "__qualname__", defined), remedy) from error
