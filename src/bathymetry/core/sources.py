"""The source of code of one's own, which must be what runs, and the modules that a module imports.

What belongs to Python, an installed package or Bathymetry is a library, known by its name.
"""

import __future__

import ast
import contextlib
import functools
import importlib.util
import inspect
import linecache
import sys
import sysconfig
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from bathymetry.core.errors import InputError

_PYTHON = sysconfig.get_path("stdlib")
_PACKAGES = ("site-packages", "dist-packages")
_KIND_OF_FUNCTION = 0xFFFF  # of a code's flags: *args, **kwargs, generator, coroutine


@functools.cache
def is_library(module: str, path: str | None = None) -> bool:
    """Whether a module belongs to Python, an installed package or Bathymetry."""
    top = module.partition(".")[0]
    if top in ("bathymetry", "builtins") or top in sys.stdlib_module_names:
        return True
    if path is None:
        spec = None if top in sys.modules else importlib.util.find_spec(top)
        path = getattr(sys.modules.get(top), "__file__", None) or (spec and spec.origin) or ""
    return path.startswith(_PYTHON) or any(part in _PACKAGES for part in Path(path).parts)


def source_of(defined: FunctionType | type) -> str:
    """The source of a function or class, unless it can't be read or is not what runs."""
    if isinstance(defined, FunctionType):
        _check_current(defined.__code__, defined.__globals__)
    try:
        return textwrap.dedent(inspect.getsource(defined if isinstance(defined, type) else defined.__code__))
    except (OSError, TypeError) as error:
        remedy = "its source can't be read; define it in a file, or pass a frozen dataclass that has a version"
        raise InputError("setting", defined.__qualname__, remedy) from error


def _check_current(code: CodeType, namespace: dict[str, Any]) -> None:
    """Refuse code that its file, as it is now, does not define."""
    loader = namespace.get("__loader__")
    if loader is not None and not isinstance(loader, type) and not hasattr(loader, "source_to_code"):
        return  # what pytest imports is not what the file says
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, namespace))
    futures = code.co_flags & __future__.annotations.compiler_flag  # a notebook's cells inherit them
    to_code = getattr(loader, "source_to_code", None) if not isinstance(loader, type) else None
    now = _defined(text, code.co_filename, to_code, futures).get((code.co_qualname, code.co_firstlineno), [])
    if text and _content(code) not in map(_content, now):
        remedy = "its file changed after it was imported; reload the module or restart Python"
        raise InputError("setting", code.co_qualname, remedy)


@functools.lru_cache(maxsize=64)
def _defined(text: str, path: str, to_code: Any, futures: int) -> dict[tuple[str, int], list[CodeType]]:
    """All that a file defines, by qualified name and line."""
    found: dict[tuple[str, int], list[CodeType]] = {}
    try:
        if to_code is None:
            top = compile(text, path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | futures, dont_inherit=True)
        else:
            top = to_code(text, path)
    except (SyntaxError, ValueError):
        return found
    waiting = [top]
    while waiting:
        code = waiting.pop()
        found.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
        waiting += [one for one in code.co_consts if isinstance(one, CodeType)]
    return found


def _content(value: Any) -> Any:
    """What code does, or a constant in it, apart from where it stands."""
    match value:
        case CodeType():
            arguments = value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount
            names = value.co_names, value.co_varnames, value.co_freevars, value.co_cellvars
            constants = tuple(map(_content, value.co_consts))
            return value.co_code, value.co_flags & _KIND_OF_FUNCTION, arguments, names, constants
        case tuple():
            return tuple(map(_content, value))
        case frozenset():
            return frozenset(map(_content, value))
    return type(value), repr(value)


def imported_texts(module: ModuleType) -> dict[str, bytes]:
    """The contents of the files of a module and of all modules of one's own that it imports, directly or not."""
    found: dict[str, bytes] = {}
    visited: set[str] = set()
    waiting = [module.__name__]
    while waiting:
        name = waiting.pop()
        path = None if name in visited or is_library(name) else _file(name, module if name == module.__name__ else None)
        visited.add(name)
        if path is None:
            continue
        content = path.read_bytes()
        if path.suffix == ".py":
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            waiting += _imports(content, package)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        if content.strip() or name == module.__name__:
            found[name] = content
    return found


def _file(name: str, module: ModuleType | None = None) -> Path | None:
    """The file of a module, imported or not."""
    module = module or sys.modules.get(name)
    path = getattr(module, "__file__", None)
    if module is None:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(name)
            path = spec and spec.origin
    return Path(path) if path and Path(path).is_file() else None


@functools.lru_cache(maxsize=512)
def _imports(content: bytes, package: str) -> list[str]:
    """The names that a file imports anywhere in it, modules or what may be one."""
    found: list[str] = []
    for node in ast.walk(_parsed(content)):
        if isinstance(node, ast.Import):
            found += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += modules_imported(node.module or "", node.level, [one.name for one in node.names], package)
    return found


def modules_imported(name: str, level: int, names: Sequence[str], package: str) -> list[str]:
    """The modules that one import may need: of `from a import b` both a and a.b."""
    try:
        module = importlib.util.resolve_name("." * level + name, package) if level else name
    except ImportError:  # beyond the top
        return []
    return [module, *(f"{module}.{one}" for one in names)]


def _parsed(content: bytes) -> ast.Module:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def values_set_elsewhere(module: ModuleType, content: bytes) -> dict[str, Any]:
    """Constants of a module that differ from its file, which assigns them once; its functions must be the file's."""
    for function in _functions(module):
        if function.__code__.co_filename == module.__file__:
            _check_current(function.__code__, vars(module))
    tree = _parsed(content)
    assigned = Counter(one.id for one in ast.walk(tree) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store))
    found: dict[str, Any] = {}
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=constant)) if assigned[name] == 1:
                value = vars(module).get(name, constant)
                if type(value) is not type(constant) or value != constant:
                    found[name] = value
    return found


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions and methods that a module defines."""
    for value in vars(module).values():
        own = isinstance(value, type) and value.__module__ == module.__name__
        for one in (value, *(vars(value).values() if own else ())):
            if isinstance(one, FunctionType) and one.__globals__ is vars(module):
                yield one
