"""Every example runs to its end, where it asserts a known truth."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_ends_in_an_assertion_that_holds(path):
    assert re.search(r"^assert ", path.read_text(encoding="utf-8"), re.MULTILINE)
    runpy.run_path(str(path), run_name="__main__")
