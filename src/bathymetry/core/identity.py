"""What decides a number, described in plain JSON, so that two programs that would compute the same know it.

A function of the user's is described by its source and by the values of all that it reads: defaults, closure, globals,
and the functions and classes among them in turn. A module that it reads as a whole is described by its file and those
of the user's modules that it imports. What belongs to Python, an installed package or Bathymetry is described by its
name: which version computed something is provenance, not identity. A class that has a `version` is described by that
instead of its source.
"""

import ast
import contextlib
import dataclasses
import dis
import enum
import functools
import hashlib
import importlib
import inspect
import json
import logging
import random
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, GenericAlias, MethodType, ModuleType, UnionType
from typing import Any

import numpy as np

from bathymetry.core.errors import InputError
from bathymetry.core.showing import with_article
from bathymetry.core.sources import imported_texts, is_library, modules_imported, source_of, values_set_elsewhere

Description = None | bool | int | float | str | list["Description"] | dict[str, "Description"]

_PLAIN_TORCH = ("dtype", "device", "layout", "memory_format")
_LETTERS = 200  # a longer description of something that is read is replaced by its digest
_READ = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD")
_A_NUMBER = re.compile(r"[+-]?[\d_]*\.?\d*")
_READ_ALL = ("eval", "exec", "globals")  # a function that calls them may read all of its module
# The content of one of the user's subclasses of a plain kind, whatever methods it overrides.
_CONTENTS: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    bytes: bytes.__bytes__,
    dict: lambda one: dict(dict.items(one)),
    Mapping: lambda one: dict(one.items()),
    list: lambda one: list(list.__iter__(one)),
    tuple: lambda one: list(tuple.__iter__(one)),
    set: lambda one: set(set.__iter__(one)),
    frozenset: lambda one: set(frozenset.__iter__(one)),
    Sequence: list,
    PurePath: str,
}


def describe(value: Any) -> Description:
    """Describe a value by what decides the numbers that come of it, or refuse it."""
    return _Describer().describe(value)


def digest(content: bytes) -> str:
    """Hash bytes: BLAKE2b of 16 bytes, in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def seed_of(value: Any) -> Any:
    """Hash text that is no number, such as a student id, to a seed that is the same everywhere; leave all else."""
    if not isinstance(value, str) or _A_NUMBER.fullmatch(value.strip()):
        return value
    text = unicodedata.normalize("NFC", value.strip())
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=5).digest())


def canonical(description: Description) -> bytes:
    """Write a description so that equal ones have equal bytes."""
    return json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


class _Describer:
    """Describes values that may lead back to themselves: inside its own description a value is only named."""

    def __init__(self) -> None:
        self._inside: set[int] = set()
        self._known: dict[int, Description] = {}  # functions and classes, which outlive their description

    def describe(self, value: Any) -> Description:
        if value is None or type(value) in (bool, int, str):
            return value  # type: ignore[no-any-return]
        if isinstance(value, float) and is_library(type(value).__module__):
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
                return {"kind": self.describe(kind), "member": value.value if value.name is None else value.name}
            case _ if isinstance(value, tuple(_CONTENTS)) and not is_library(kind.__module__):
                contents = next(content for base, content in _CONTENTS.items() if isinstance(value, base))
                return self._object(value) | {"value": self.describe(contents(value))}
            case int() | str():  # of a library
                return int.__int__(value) if isinstance(value, int) else str.__str__(value)
            case bytes():
                return f"bytes {digest(value)}"
            case range() | complex() | PurePath() | GenericAlias() | UnionType():
                return str(value)
            case _ if kind.__module__ == "typing" or (kind.__name__ in _PLAIN_TORCH and kind.__module__ == "torch"):
                return str(value)
            case logging.Logger():  # decides no number
                return f"logger {value.name}"
            case Mapping() if all(isinstance(key, str) for key in value):
                return {str(key): self.describe(one) for key, one in value.items()}
            case Mapping():
                pairs = [[self.describe(key), self.describe(one)] for key, one in value.items()]
                return {"pairs": sorted(pairs, key=json.dumps)}
            case set() | frozenset():
                return sorted((self.describe(one) for one in value), key=json.dumps)
            case Sequence():
                return [self.describe(one) for one in value]
            case type():
                return self._class(value)
            case ModuleType():
                return self._module(value)
            case functools.partial():
                arguments = {"given": self.describe(value.args), "named": self.describe(value.keywords)}
                return {"partial": self.describe(value.func), **arguments}
            case MethodType() | BuiltinFunctionType() if _draws_globally(value):
                return f"global {type(value.__self__).__module__}.{value.__name__}"
            case MethodType():
                return {"method": self.describe(value.__func__), "of": self.describe(value.__self__)}
            case FunctionType():
                return self._function(value)
        if hasattr(value, "detach") or (isinstance(value, np.ndarray) and value.dtype != object):
            described = _array(value)
            return described if is_library(kind.__module__) else self._object(value) | {"value": described}
        return self._instance(value)

    def _instance(self, value: Any) -> Description:
        kind = type(value)
        if dataclasses.is_dataclass(value) or not is_library(kind.__module__):
            return self._object(value)
        if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType | type | None):
            return {"method": _name(value), "of": self.describe(value.__self__)}
        if hasattr(value, "__wrapped__"):  # as functools.cache leaves it
            return self.describe(value.__wrapped__)
        if hasattr(value, "__name__") and (isinstance(value, np.ufunc) or inspect.isroutine(value)):
            return _name(value)
        if hasattr(value, "named_parameters"):
            return {"kind": _name(kind), "state": self._values(vars(value), _name(kind))}
        remedy = "expected a plain value, an array, a frozen dataclass or a function"
        raise InputError("setting", with_article(kind.__name__), f"{remedy}, so that results can be known again")

    def _object(self, value: Any) -> dict[str, Description]:
        kind = type(value)
        attributes = _attributes(value)
        if not dataclasses.is_dataclass(value):
            return {"kind": _name(kind), **self._own(kind), "state": self._values(attributes, _name(kind))}
        fields = {one.name: self.describe(getattr(value, one.name)) for one in dataclasses.fields(value)}
        version = _version(kind)
        if version is not None:
            return {"kind": _name(kind), "version": version, **fields}
        others = {name: one for name, one in attributes.items() if name not in fields and not _cached(kind, name)}
        if others and not is_library(kind.__module__):
            return {"kind": _name(kind), **self._own(kind), "attributes": self._values(others, _name(kind)), **fields}
        return {"kind": _name(kind), **self._own(kind), **fields}

    def _own(self, kind: type) -> dict[str, Description]:
        """Describe the class of an instance, unless its name describes it."""
        described = self.describe(kind)
        return {"class": digest(canonical(described))} if isinstance(described, dict) else {}

    def _class(self, kind: type) -> Description:
        if is_library(kind.__module__):
            return _name(kind)
        if _version(kind) is not None and "version" in vars(kind):
            return {"class": _name(kind), "version": self.describe(_version(kind))}
        described: dict[str, Description] = {"class": _name(kind)}
        read: dict[str, Any] = {base.__name__: base for base in kind.__bases__ if not is_library(base.__module__)}
        try:
            source = source_of(kind)
        except InputError:
            if not (issubclass(kind, tuple) and hasattr(kind, "_field_defaults")):  # as collections.namedtuple makes
                raise
            read["fields"] = [*getattr(kind, "_fields", ())]
        else:
            described["source"] = digest(source.encode())
            if issubclass(kind, enum.Enum) and _assigns_constants(source):
                return described
        if not is_library(type(kind).__module__):
            read["metaclass"] = type(kind)
        return described | {"reads": self._values(read | dict(_held(kind)), _name(kind))}

    def _function(self, function: FunctionType) -> Description:
        if _of_library(function):
            registry = getattr(function, "registry", None)
            if isinstance(registry, Mapping) and len(registry) > 1:  # of functools.singledispatch
                return {"dispatch": self.describe(dict(registry))}
            if hasattr(function, "__wrapped__"):  # a decorator's function: its arguments stand in the user's source
                return self.describe(function.__wrapped__)
            name, read = _name(function), dict(_closure(function))
            return {"function": name, "reads": self._values(read, name)} if read else name
        source = digest(source_of(function).encode())
        described: dict[str, Description] = {"function": _name(function), "source": source}
        if function.__name__ == "<lambda>":  # several may stand in one line, with one source
            columns = (column for _, _, column, _ in function.__code__.co_positions() if column is not None)
            described["column"] = max(columns)
        read = _read(function)
        return described | ({"reads": self._values(read, _name(function))} if read else {})

    def _module(self, module: ModuleType) -> Description:
        """Name a module; the user's own has its file, and those of the user's modules that it imports."""
        texts = imported_texts(module)
        if module.__name__ not in texts:
            return f"module {module.__name__}"
        described: dict[str, Description] = {
            "module": module.__name__,
            "source": digest(texts[module.__name__]),
        }
        others = {name: digest(text) for name, text in texts.items() if name != module.__name__}
        if others:
            described["imports"] = digest(canonical(dict(others)))
        for name, text in texts.items():
            one = module if name == module.__name__ else sys.modules.get(name)
            if one is not None:
                values = values_set_elsewhere(one, text)
                described |= {f"values of {name}": self._values(values, name)} if values else {}
        return described

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


def _draws_globally(method: MethodType | BuiltinFunctionType) -> bool:
    """Whether it draws from NumPy's or Python's global generator, which is seeded before whatever may draw from it."""
    return any(method.__self__ is getattr(one, "__self__", None) for one in (np.random.random_sample, random.random))


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes of an object, in its dictionary and its slots."""
    own = [kind for kind in type(value).__mro__ if not is_library(kind.__module__)]
    slots = [name for kind in own for name, one in vars(kind).items() if inspect.ismemberdescriptor(one)]
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | dict(getattr(value, "__dict__", {}))


def _cached(kind: type, attribute: str) -> bool:
    return isinstance(inspect.getattr_static(kind, attribute, None), functools.cached_property)


def _array(value: Any) -> str:
    """Describe an array or a tensor by its type, shape and the digest of its entries."""
    dtype = value.dtype
    if hasattr(value, "detach"):
        tensor = value.detach().cpu().contiguous()
        try:
            value = tensor.numpy()
            dtype = value.dtype
        except TypeError:  # NumPy has no bfloat16
            value = tensor.float().numpy()
    return f"{dtype}{list(value.shape)} {digest(np.ascontiguousarray(value).tobytes())}"


def _version(kind: type) -> Any:
    """The version by which a class describes itself, if it has one that is no field."""
    version = getattr(kind, "version", None)
    is_field = dataclasses.is_dataclass(kind) and "version" in {one.name for one in dataclasses.fields(kind)}
    return version if isinstance(version, int | float | str | tuple) and not is_field else None


def _held(kind: type) -> Iterator[tuple[str, Any]]:
    """What decides how a class works, apart from its source and bases."""
    is_enum = issubclass(kind, enum.Enum)
    for name, value in vars(kind).items():
        held = _unwrapped(value)
        if isinstance(held, FunctionType):
            made = inspect.unwrap(held).__code__.co_filename == "<string>"  # as dataclass does
            if not made and not (is_enum and _of_library(held)):
                yield name, held
        elif is_enum or name == "_abc_impl":
            continue
        elif not is_library(type(held).__module__) or not (name.startswith("__") or inspect.isdatadescriptor(held)):
            yield name, held
        for way in ("fset", "fdel") if isinstance(value, property) else ():
            function = getattr(value, way)
            if isinstance(function, FunctionType) and _read(function):
                yield f"{name}.{way}", function
    if issubclass(kind, enum.Enum):
        for name, member in kind.__members__.items():
            attributes = {key: one for key, one in vars(member).items() if not key.startswith("_")}
            yield name, [member.value, attributes] if attributes else member.value
    for one in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ():
        defaults = [one.default_factory] if isinstance(one.default_factory, FunctionType) else [one.default]
        if isinstance(one.default_factory, FunctionType) or inspect.ismemberdescriptor(vars(kind).get(one.name)):
            yield f"{one.name} by default", [default for default in defaults if default is not dataclasses.MISSING]


def _assigns_constants(source: str) -> bool:
    """Whether the body of a class holds constants and its docstring alone, so that its source says everything."""
    body = ast.parse(source).body[0]
    assert isinstance(body, ast.ClassDef)
    return all(isinstance(one, ast.Assign | ast.Expr) and isinstance(one.value, ast.Constant) for one in body.body)


def _of_library(function: FunctionType) -> bool:
    return is_library(function.__globals__.get("__name__") or function.__module__, function.__code__.co_filename)


def _read(function: FunctionType) -> dict[str, Any]:
    """The values that a function reads."""
    read = dict(_closure(function)) | dict(_globals_read(function.__code__, function.__globals__)) | vars(function)
    read |= {"default arguments": function.__defaults__} if function.__defaults__ else {}
    return read | (function.__kwdefaults__ or {})


def _closure(function: FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # it has no value yet
            yield name, cell.cell_contents


def _globals_read(code: CodeType, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Find the globals that a function and those inside it read; of the user's own modules, the attributes read."""
    instructions = [one for one in dis.get_instructions(code) if one.opname != "EXTENDED_ARG"]
    for place, instruction in enumerate(instructions):
        name = instruction.argval
        if instruction.opname in _READ and name in namespace:
            value = namespace[name]
            for attribute in instructions[place + 1 :]:
                own = isinstance(value, ModuleType) and not is_library(value.__name__)
                if not own or attribute.opname not in _ATTRIBUTE or not hasattr(value, attribute.argval):
                    break
                name, value = f"{name}.{attribute.argval}", getattr(value, attribute.argval)
            yield name, value
        elif instruction.opname in _READ and name in _READ_ALL and namespace.get("__name__") in sys.modules:
            texts = imported_texts(sys.modules[namespace["__name__"]])
            yield f"all that {name} may read", sorted(map(digest, texts.values()))
        elif instruction.opname == "IMPORT_NAME":
            level, names = (one.argval for one in instructions[place - 2 : place])
            for module in modules_imported(name, level, names or (), namespace.get("__package__") or ""):
                if not is_library(module):
                    with contextlib.suppress(ImportError):
                        yield f"import {module}", importlib.import_module(module)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant, namespace)


def _unwrapped(attribute: Any) -> Any:
    """Find the function behind what a class body may put around it."""
    if isinstance(attribute, staticmethod | classmethod):
        return attribute.__func__
    if isinstance(attribute, property):
        return attribute.fget
    if isinstance(attribute, functools.singledispatchmethod):
        return attribute.dispatcher
    if isinstance(attribute, functools.partialmethod):
        return functools.partial(attribute.func, *attribute.args, **attribute.keywords)
    return attribute.func if isinstance(attribute, functools.cached_property) else attribute


def _name(one: Any) -> str:
    """Name a class or function by its package, not by the file in it, so that moving a file changes nothing."""
    module = getattr(one, "__module__", None) or type(one).__module__
    return f"{module.partition('.')[0]}.{getattr(one, '__qualname__', one.__name__)}"
