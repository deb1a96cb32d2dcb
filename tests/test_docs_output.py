"""Pages of the docs that show what their code prints: it runs from top to bottom in one namespace and prints that."""

import re
import shlex
from itertools import zip_longest
from math import isclose
from pathlib import Path
from typing import Any

import pytest

from bathymetry.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
SLOW = {"gallery.md"}  # minutes
PAGES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.name in SLOW))
    for path in sorted(DOCS.rglob("*.md"))
    if any(shown for _, shown in BLOCK.findall(path.read_text(encoding="utf-8")))
]


def numbers(text: str) -> list[float]:
    return [float(one.replace(",", "").replace("−", "-")) for one in NUMBER.findall(text)]


def alike(printed: str, shown: str) -> bool:
    """Whether words are the same and numbers as close as other processors bring them."""
    if NUMBER.sub("", printed).split() != NUMBER.sub("", shown).split():
        return False
    pairs = zip_longest(numbers(printed), numbers(shown), fillvalue=float("nan"))
    return all(isclose(one, other, rel_tol=0.25, abs_tol=0.02) for one, other in pairs)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_of_the_docs_prints_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for code, shown in BLOCK.findall(page.read_text(encoding="utf-8")):
        exec(compile(code, page.name, "exec"), names)
        printed = capsys.readouterr().out
        assert alike(printed, shown), f"the page shows\n{shown}\nand its code prints\n{printed}"


@pytest.mark.parametrize("printed", ["1 of 3 networks", "2 of 3 members", "2 of 3 networks: 4"])
def test_other_numbers_and_other_words_are_told_apart(printed: str):
    assert not alike(printed, "2 of 3 networks")
    assert alike(printed, printed)


def commands() -> list[str]:
    """Find the runs of built-in studies that exercises and tutorials name."""
    pages = (path for path in sorted(DOCS.rglob("*.md")) if path.parent.name in {"exercises", "tutorials"})
    found = (re.findall(r"^    bathymetry (run .*)$", path.read_text(encoding="utf-8"), re.MULTILINE) for path in pages)
    return sorted({command for page in found for command in page if ".py" not in command})


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_tutorials_and_exercises_can_be_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command.partition("   ")[0]), "--plan"]) == 0
