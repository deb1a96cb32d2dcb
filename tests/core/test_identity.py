import functools
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from bathymetry.core.errors import InputError
from bathymetry.core.identity import canonical, describe


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
        described_as.add(describe(module.Measure())["source"])
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
