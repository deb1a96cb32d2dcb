"""Descriptions of settings: equal exactly where the same numbers are computed, in this process and in another."""

import __future__

import ast
import enum
import functools
import importlib.util
import linecache
import logging
import random
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.core.identity import canonical, describe
from bathymetry.store.chunks import config_hash


@dataclass(frozen=True)
class Kind:
    width: int
    names: tuple[str, ...] = ("a",)


@dataclass(frozen=True)
class NewerKind:
    width: int
    version: ClassVar[int] = 2


def described(value):
    return canonical(describe(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1.0, 1.5),
        (float("inf"), float("-inf")),
        ("1", 1),
        (True, 1.5),
        (None, "None"),
        (range(3), range(4)),
        (Kind(1), Kind(2)),
        (Kind(1), NewerKind(1)),
        (Kind, NewerKind),
        (np.zeros(2), np.ones(2)),
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
        (torch.zeros(2), torch.ones(2)),
        (torch.float32, torch.float64),
        (lambda x: x + 1, lambda x: x + 2),
        (functools.partial(int, base=2), functools.partial(int, base=3)),
    ],
)
def test_what_computes_other_numbers_is_described_otherwise(one, other):
    assert described(one) != described(other)


def test_another_program_under_the_same_name_is_described_otherwise(tmp_path):
    described_as = set()
    for turn, body in enumerate(("1", "2")):
        path = tmp_path / f"{turn}" / "mine.py"
        path.parent.mkdir()
        path.write_text(
            "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Measure:\n"
            f"    def __call__(self, moment):\n        return {body}\n"
        )
        specification = importlib.util.spec_from_file_location(f"mine_{turn}", path)
        module = importlib.util.module_from_spec(specification)
        sys.modules[f"mine_{turn}"] = module
        specification.loader.exec_module(module)
        described_as.add(described(module.Measure()))
    assert len(described_as) == 2


def test_what_a_function_closes_over_belongs_to_it():
    def scaled(factor):
        return lambda x: x * factor

    assert described(scaled(2)) != described(scaled(3))
    assert described(scaled(2)) == described(scaled(2))


def test_the_order_of_names_does_not_matter():
    assert described({"a": 1, "b": {"c": 2, "d": 3}}) == described({"b": {"d": 3, "c": 2}, "a": 1})


def test_another_process_gives_the_same_description():
    program = (
        "from bathymetry.core.identity import *; import bathymetry as bm;"
        "print(canonical(describe([bm.models.MLPConfig((1, 3, 1)), bm.Adam(lr=0.01), {'b', 'a', 'c'}])).decode())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout
    assert '"bathymetry.MLPConfig"' in runs[0].stdout


def test_what_can_not_be_known_again_is_refused():
    with pytest.raises(InputError, match="known again"):
        describe(object())


WIDTH = 3
TABLE = {"widths": {"hidden": 5}, "unused": 1}
SCALES = [1.0, 2.0]
GENERATOR = torch.Generator()
LOG = logging.getLogger(__name__)
WEIGHTS = torch.ones(3)


class Preset:
    width = 3

    def doubled(self):
        return 2 * self.width * WIDTH


class Shape(enum.Enum):
    FLAT = 1
    DEEP = 2


def helper():
    LOG.debug("asked for the width")
    return WIDTH


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - WIDTH)


def with_default(width=WIDTH):
    return width


def reads_a_constant():
    return nn.Linear(WIDTH, 1)


def reads_through_another_function():
    return nn.Linear(helper(), 1)


def reads_in_an_inner_function():
    def inner():
        return [WIDTH for _ in range(2)]

    return inner()


def reads_an_entry():
    return nn.Linear(TABLE["widths"]["hidden"], 1)


def reads_a_list():
    return sum(SCALES)


def reads_a_class_attribute():
    return nn.Linear(Preset.width, 1)


def reads_through_a_method():
    return Preset().doubled()


def reads_through_mutual_recursion():
    return even(4)


def reads_a_tensor():
    return WEIGHTS.sum()


def draws_from_a_global_generator():
    return torch.rand(1, generator=GENERATOR)


reads_in_a_lambda = lambda: nn.Linear(WIDTH, 1)  # noqa: E731

CHANGES = [
    (reads_a_constant, lambda patch: patch.setitem(globals(), "WIDTH", 4)),
    (reads_in_a_lambda, lambda patch: patch.setitem(globals(), "WIDTH", 4)),
    (reads_through_another_function, lambda patch: patch.setitem(globals(), "WIDTH", 4)),
    (reads_in_an_inner_function, lambda patch: patch.setitem(globals(), "WIDTH", 4)),
    (reads_through_a_method, lambda patch: patch.setitem(globals(), "WIDTH", 4)),
    (reads_through_mutual_recursion, lambda patch: patch.setitem(globals(), "WIDTH", 4)),
    (reads_an_entry, lambda patch: patch.setitem(TABLE["widths"], "hidden", 6)),
    (reads_a_list, lambda patch: patch.setitem(globals(), "SCALES", [1.0, 2.5])),
    (reads_a_list, lambda patch: patch.setattr(sys.modules[__name__], "SCALES", (1.0, 2.0, 0.0))),
    (reads_a_class_attribute, lambda patch: patch.setattr(Preset, "width", 4)),
    (reads_through_a_method, lambda patch: patch.setattr(Preset, "width", 4)),
    (reads_a_tensor, lambda patch: patch.setitem(globals(), "WEIGHTS", torch.zeros(3))),
    (with_default, lambda patch: patch.setattr(with_default, "__defaults__", (4,))),
]


@pytest.mark.parametrize(("function", "change"), CHANGES)
def test_a_value_that_a_function_reads_belongs_to_it(function, change, monkeypatch):
    before = described(function)
    assert described(function) == before
    change(monkeypatch)
    assert described(function) != before


def test_a_list_that_is_changed_in_place_is_another_value():
    before = described(reads_a_list)
    SCALES.append(3.0)
    after = described(reads_a_list)
    SCALES.pop()
    assert before != after
    assert before == described(reads_a_list)


def test_a_global_that_nobody_reads_changes_nothing(monkeypatch):
    before = described(reads_a_list)
    monkeypatch.setitem(globals(), "WIDTH", 4)
    assert described(reads_a_list) == before


def test_an_attribute_with_the_name_of_a_global_is_none(monkeypatch):
    def reads_an_attribute(one):
        return one.WIDTH

    before = described(reads_an_attribute)
    monkeypatch.setitem(globals(), "WIDTH", 4)
    assert described(reads_an_attribute) == before


def test_recursion_ends_and_names_the_function():
    def countdown(n):
        return n and countdown(n - 1)

    holds_itself = []
    holds_itself.append(holds_itself)
    assert b'"again"' in described(countdown)
    assert b'"again"' in described(holds_itself)
    assert described(even) != described(odd)


def test_lambdas_in_one_line_differ_by_their_place():
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert described(first) != described(second)


def test_a_module_and_what_it_holds_belong_to_the_function_that_builds_with_it():
    def built(width):
        layer = nn.Linear(width, 1)
        nn.init.constant_(layer.weight, 0.5)
        nn.init.zeros_(layer.bias)
        return lambda: layer

    assert described(built(2)) == described(built(2))
    assert described(built(2)) != described(built(3))


def test_a_decorated_function_is_described_by_its_own_source(monkeypatch):
    @torch.no_grad()
    def measured(state):
        return WIDTH

    @functools.cache
    def remembered(state):
        return WIDTH

    before = described(measured), described(remembered)
    monkeypatch.setitem(globals(), "WIDTH", 4)
    assert described(measured) != before[0]
    assert described(remembered) != before[1]


def test_a_method_belongs_to_its_object():
    one, other = Preset(), Preset()
    other.width = 4
    assert described(one.doubled) != described(other.doubled)


def test_libraries_are_described_by_name():
    assert describe(functional.cross_entropy) == "torch.cross_entropy"
    assert describe(nn.Linear) == "torch.Linear"
    assert describe(np.exp) == "numpy.exp"
    assert describe(np) == "module numpy"
    assert describe(torch.device("cpu")) == "cpu"


def test_constants_in_a_module_of_ones_own_are_read_where_it_is_imported(tmp_path, monkeypatch):
    (tmp_path / "own_constants.py").write_text("WIDTH = 3\n")
    program = (
        "import own_constants\n"
        "def attribute():\n    return own_constants.WIDTH\n"
        "def late():\n    import own_constants as late\n    return late.WIDTH\n"
    )
    (tmp_path / "own_builders.py").write_text(program)
    monkeypatch.syspath_prepend(tmp_path)
    builders = importlib.import_module("own_builders")
    before = described(builders.attribute), described(builders.late)
    monkeypatch.setattr(builders.own_constants, "WIDTH", 4)
    assert described(builders.attribute) != before[0]
    (tmp_path / "own_constants.py").write_text("WIDTH = 4\n")
    assert described(builders.late) != before[1]
    for name in ("own_constants", "own_builders"):
        monkeypatch.delitem(sys.modules, name)


def test_members_of_enumerations_paths_and_bytes_are_plain_values():
    assert described(Shape.FLAT) != described(Shape.DEEP)
    assert describe(Path("a") / "b") == "a/b"
    assert described(b"a") != described(b"b")


def test_what_is_read_and_can_not_be_described_is_named_with_its_reader():
    with pytest.raises(InputError, match=r"^GENERATOR = a Generator: tests\.draws_from_a_global_generator reads it"):
        describe(draws_from_a_global_generator)
    exec("def SOURCELESS(): ...", globals())
    with pytest.raises(InputError, match=r"^SOURCELESS = .*its source can't be read"):
        describe(lambda: SOURCELESS())


def test_a_chunk_has_another_name_after_a_constant_of_its_builder_or_measurement_has_changed(monkeypatch):
    def norm(state):
        return state.theta.norm(dim=1) * WIDTH

    data = bm.data.function("cos", samples=10)
    built = bm.TrainingConfig(network=reads_a_constant, data=data, epochs=1)
    measured = bm.TrainingConfig(network=bm.MLPConfig((1, 2, 1)), data=data, epochs=1, measurements={"norm": norm})
    untouched = bm.TrainingConfig(network=bm.MLPConfig((1, 2, 1)), data=data, epochs=1)
    before = [config_hash(one.description()) for one in (built, measured, untouched)]
    monkeypatch.setitem(globals(), "WIDTH", 4)
    after = [config_hash(one.description()) for one in (built, measured, untouched)]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write modules of one's own, import the first, and describe what is called `build` in it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def imported(**programs):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name, program in programs.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(program))
            sys.modules.pop(name, None)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            module = importlib.import_module(next(iter(programs)))
            module.description = described(module.build)
            module.computed = module.build()
        return module

    yield imported
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


EDITED = {  # a program, what is edited in its file, and what is described
    "a function": ("def build():\n    return 4\n", "4", "5", lambda module: module.build),
    "a constant string": ("def build():\n    return 'relu'\n", "relu", "tanh", lambda module: module.build),
    "an inner function": ("def build():\n    return [lambda: 4]\n", "4", "5", lambda module: module.build),
    "a lambda": ("build = lambda: 4\n", "4", "5", lambda module: module.build),
    "a method": ("class Net:\n    def f(self):\n        return 4\nbuild = Net().f\n", "4", "5", lambda m: m.build),
    "a class": ("class Net:\n    def f(self):\n        return 4\nbuild = Net\n", "4", "5", lambda m: m.Net),
    "what another function calls": (
        "def f():\n    return 4\ndef build():\n    return f()\n",
        "4",
        "5",
        lambda m: m.build,
    ),
    "lines above": ("def build():\n    return 4\n", "def", "\n\ndef", lambda module: module.build),
    "a module": ("def f():\n    return 4\ndef build():\n    return f\n", "4", "5", lambda module: module),
    "a file that is no program any more": ("def build():\n    return 4\n", "4", "(", lambda module: module.build),
}


@pytest.mark.parametrize("what", EDITED)
def test_code_whose_file_changed_after_it_was_imported_is_refused(own, what):
    program, old, new, found = EDITED[what]
    module = own(edited_later=program)
    file = Path(module.__file__)
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError, match="its file changed after it was imported; reload the module or restart Python"):
        describe(found(module))
    file.write_text(program)
    assert described(module.build) == module.description


def test_a_comment_or_a_change_below_does_not_make_code_stale(own):
    module = own(edited_below="def build():\n    return 4\n")
    file = Path(module.__file__)
    file.write_text(file.read_text() + "\n\ndef other():\n    return 5\n")
    assert described(module.build) == module.description


def test_cells_of_a_notebook_are_described_by_their_text(monkeypatch):
    cell = "def build():\n    return [x for x in (1.0, -0.0, float('nan')) if x in {1, 2}]\nawait nothing()\n"
    monkeypatch.setitem(linecache.cache, "cell-1", (len(cell), None, cell.splitlines(keepends=True), "cell-1"))
    namespace = {"__name__": "__main__"}
    code = compile(cell, "cell-1", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | __future__.annotations.compiler_flag)
    (function,) = (one for one in code.co_consts if isinstance(one, CodeType))
    assert b"source" in described(FunctionType(function, namespace))
    longer = cell.replace("1.0", "2.0")
    monkeypatch.setitem(linecache.cache, "cell-1", (len(longer), None, longer.splitlines(keepends=True), "cell-1"))
    with pytest.raises(InputError, match="its file changed"):
        describe(FunctionType(function, namespace))


DEEP = "from deep import W\ndef make():\n    return W\n"
LEFT_UNSAID = {  # a program that computes a number from the W of the module deep
    "import in a function": "def build():\n    import helper\n    return helper.make()\n",
    "import from a module in a function": "def build():\n    from helper import make\n    return make()\n",
    "another name": "import helper\ndef build():\n    h = helper\n    return h.make()\n",
    "getattr": "import helper\ndef build():\n    return getattr(helper, 'make')()\n",
    "a registry": "import helper\nHELPERS = {'h': helper}\ndef build():\n    return HELPERS['h'].make()\n",
    "a module that imports when it is called": "def build():\n    import late\n    return late.make()\n",
    "eval": "from deep import W\ndef build():\n    return eval('W')\n",
    "globals": "from deep import W\ndef build():\n    return globals()['W']\n",
}


@pytest.mark.parametrize("program", LEFT_UNSAID.values(), ids=LEFT_UNSAID)
def test_what_an_imported_module_imports_belongs_to_a_function(own, program):
    late = "def make():\n    from helper import make\n    return make()\n"
    modules = {"builder": program, "helper": DEEP, "late": late}
    same, again, other = (own(**modules, deep=f"W = {width}\n") for width in (4, 4, 5))
    assert (same.computed, other.computed) == (4, 5)
    assert same.description == again.description != other.description


def test_modules_of_a_package_that_are_imported_by_name_belong_to_a_function(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    descriptions = []
    for turn, width in enumerate((4, 5)):
        package = tmp_path / str(turn) / "own_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "sizes.py").write_text(f"W = {width}\n")
        (package / "nets.py").write_text("from . import sizes\ndef make():\n    return sizes.W\n")
        (package / "build.py").write_text("def build():\n    from . import nets as n\n    return n.make()\n")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(package.parent)
            build = importlib.import_module("own_package.build").build
            assert build() == width
            descriptions.append(described(build))
        for name in [name for name in sys.modules if name.startswith("own_package")]:
            monkeypatch.delitem(sys.modules, name)
    assert descriptions[0] != descriptions[1]


def test_a_module_that_imports_none_of_ones_own_is_described_by_its_file_alone(own):
    program = "import torch\nW = 4\nCOUNT = 0\ndef build():\n    global COUNT\n    COUNT += 1\n    return W\n"
    module = own(alone=program)
    assert module.COUNT == 1
    assert describe(module).keys() == {"module", "source"}
    module.W = 5
    assert describe(module)["values of alone"] == {"W": 5}


KINDS = {  # programs whose READ.w follows from a number that does not stand where it is read
    "a property of a dict": """
        class C(dict):
            @property
            def w(self):
                return self['w'] * {}
        READ = C(w=2)
    """,
    "an attribute of a dict": """
        class C(dict): pass
        READ = C()
        READ.w = {}
    """,
    "a method of a list": """
        class C(list):
            @property
            def w(self):
                return sum(self) + {}
        READ = C([1])
    """,
    "a method of a named tuple": """
        from typing import NamedTuple
        class C(NamedTuple):
            v: int = 4
            @property
            def w(self):
                return self.v + {}
        READ = C()
    """,
    "fields of a named tuple": """
        from collections import namedtuple
        READ = namedtuple('C', ['w', 'v'] if {} == 4 else ['v', 'w'])(4, 5)
    """,
    "a method of an int": """
        class C(int):
            @property
            def w(self):
                return self + {}
        READ = C(3)
    """,
    "a method of a str": """
        class C(str):
            @property
            def w(self):
                return len(self) + {}
        READ = C('a')
    """,
    "a method of a float": """
        class C(float):
            @property
            def w(self):
                return self + {}
        READ = C(3.0)
    """,
    "a method of a mapping": """
        from collections import UserDict
        class C(UserDict):
            @property
            def w(self):
                return {}
        READ = C()
    """,
    "a method of a tensor": """
        import torch
        class C(torch.Tensor):
            @property
            def w(self):
                return {}
        READ = torch.ones(2).as_subclass(C)
    """,
    "the value of a member": """
        import enum
        V = {}
        class C(enum.Enum):
            A = V
        READ = C.A
    """,
    "what a member's method reads": """
        import enum
        V = {}
        class C(enum.Enum):
            A = 1
            @property
            def w(self):
                return V
        READ = C.A
    """,
    "an attribute that is no field": """
        from dataclasses import dataclass
        @dataclass
        class C:
            v: int = 1
        READ = C()
        READ.w = {}
    """,
    "what makes a field by default": """
        from dataclasses import dataclass, field
        V = {}
        @dataclass
        class C:
            w: int = field(default_factory=lambda: V)
        class Read:
            @property
            def w(self):
                return C().w
        READ = Read()
    """,
    "a dataclass with a field that is called version": """
        from dataclasses import dataclass
        @dataclass
        class C:
            version: int = 1
            @property
            def w(self):
                return {}
        READ = C()
    """,
    "a slot": """
        class C:
            __slots__ = ('w',)
        READ = C()
        READ.w = {}
    """,
    "a registered function": """
        import functools
        @functools.singledispatch
        def f(a): return 3
        @f.register
        def _(a: int): return {}
        class C:
            @property
            def w(self):
                return f(1)
        READ = C()
    """,
    "a registered method": """
        import functools
        class C:
            @functools.singledispatchmethod
            def f(self, a): return 3
            @f.register
            def _(self, a: int): return V
            @property
            def w(self):
                return self.f(1)
        V = {}
        READ = C()
    """,
    "a partial method": """
        import functools
        V = {}
        class C:
            def f(self, a): return a
            g = functools.partialmethod(f, V)
            @property
            def w(self):
                return self.g()
        READ = C()
    """,
    "a metaclass": """
        class M(type):
            @property
            def w(cls):
                return {}
        class READ(metaclass=M): pass
    """,
    "a data descriptor": """
        class V:
            def __get__(self, one, kind=None): return {}
            def __set__(self, one, value): pass
        class C:
            w = V()
        READ = C()
    """,
    "a descriptor that is only read": """
        class V:
            def __get__(self, one, kind=None): return {}
        class C:
            w = V()
        READ = C()
    """,
    "what sets a property": """
        V = {}
        class C:
            @property
            def w(self):
                return self.v
            @w.setter
            def w(self, v): self.v = v + V
        class Read:
            @property
            def w(self):
                c = C()
                c.w = 1
                return c.v
        READ = Read()
    """,
    "a decorator that is an object": """
        import functools
        class D:
            def __init__(self, f, k):
                functools.update_wrapper(self, f)
                self.k = k
            def __call__(self): return self.k
        f = D(len, {})
        class C:
            @property
            def w(self):
                return f()
        READ = C()
    """,
    "a function that wraps one of a library": """
        import functools, math
        V = {}
        @functools.wraps(math.tanh)
        def f(): return V
        class C:
            @property
            def w(self):
                return f()
        READ = C()
    """,
    "a key": """
        class C:
            @property
            def w(self):
                return V.get('1', 3)
        V = {{1 if {} == 4 else '1': 7}}
        READ = C()
    """,
    "a tensor that NumPy has no type for": """
        import torch
        V = torch.tensor([{}.0], dtype=torch.bfloat16)
        class C:
            @property
            def w(self):
                return V.item()
        READ = C()
    """,
}


@pytest.mark.parametrize("program", KINDS.values(), ids=KINDS)
def test_what_a_value_of_ones_own_class_computes_belongs_to_the_function_that_reads_it(own, program):
    builder = f"from sizes import READ\ndef build():\n    return READ.{'value' if 'A = V' in program else 'w'}\n"
    same, again, other = (own(builder=builder, sizes=program.format(width)) for width in (4, 4, 5))
    assert same.computed == again.computed != other.computed
    assert same.description == again.description != other.description


def test_an_enumeration_of_constants_is_described_by_its_source_alone():
    assert describe(Shape).keys() == {"class", "source"}


def test_keys_of_other_types_are_told_apart():
    assert described({1: 3}) != described({"1": 3})
    assert described({1: 3, "1": 4}) != described({1: 4, "1": 3})
    assert describe({"a": 1}) == {"a": 1}


def test_another_default_dtype_is_another_config():
    config = bm.TrainingConfig(bm.MLPConfig((1, 2, 1)), (torch.ones(2, 1), torch.ones(2, 1)), epochs=1)
    before = config.description()
    torch.set_default_dtype(torch.float64)
    try:
        assert config.description() == before | {"default dtype": "torch.float64"}
    finally:
        torch.set_default_dtype(torch.float32)
    assert config.description() == before


def test_a_function_may_draw_from_the_generators_that_are_seeded_before_it_is_called():
    assert describe(np.random.rand) != describe(np.random.randn)
    assert describe(np.random.rand) == describe(np.random.mtrand._rand.rand)
    assert describe(random.gauss) != describe(random.random)
    for own in (np.random.RandomState(0).rand, random.Random(0).gauss, random.Random(0).random):
        with pytest.raises(InputError):
            describe(own)
