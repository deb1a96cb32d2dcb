"""Descriptions of settings: equal exactly where the same numbers are computed, in this process and in another."""

import enum
import functools
import importlib.util
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
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
