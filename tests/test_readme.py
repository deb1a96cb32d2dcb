"""What the Python of the README, of the page on own networks and of the tutorial comes to."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import bathymetry as bm
from bathymetry.cli.main import main

ROOT = Path(__file__).parent.parent
NETWORKS = "docs/how-to/own-networks.md"


def blocks(path: str) -> list[str]:
    return re.findall(r"```python(?: title=.*?)?\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_runs_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("README.md")[0], "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [f"depth-function.{letter}" for letter in "abcdefgh"]
    run = bm.load_study("my-results/depth-function")
    assert run.figures[0]._repr_svg_().startswith("<svg")
    assert "All networks converge" in run._repr_html_()


def test_the_page_on_own_networks_trains_decides_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks(NETWORKS)[0], NETWORKS, "exec"), names)
    assert names["widths"] == [1, 21, 17, 11, 8, 4, 1]
    assert sum((below + 1) * here for below, here in pairwise(names["widths"])) == 751 == (1 + 1) * 250 + (250 + 1)
    assert capsys.readouterr().out.split()[0] in {"supported", "contradicted", "undecided"}
    assert sorted(path.suffix for path in (tmp_path / "figures").iterdir()) == [".png", ".svg"]


def test_the_page_on_own_networks_trains_with_options_of_pytorch_and_loads_what_it_saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(blocks(NETWORKS)[1], NETWORKS, "exec"), names)
    assert names["trained"].record.loss.shape == (2, 3, 21)


def test_the_readme_measures_and_trains_a_network_of_ones_own():
    names: dict[str, Any] = {}
    exec(compile(blocks("README.md")[1], "README.md", "exec"), names)
    assert names["trained"].record.loss.shape == (2, 5, 4)


def test_the_tutorials_study_works_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "learning_rate.py").write_text(blocks("docs/tutorials/your-own-study.md")[0], encoding="utf-8")
    assert main(["run", "learning_rate.py", "--preset", "smoke", "--rates", "0.001", "0.01", "0.03"]) == 0
    assert "The larger rate ends lower." in capsys.readouterr().out
    assert main(["run", "depth-function", "--preset", "smoke"]) == 0
    page = (tmp_path / "bathymetry-report" / "report.html").read_text(encoding="utf-8")
    assert "Does a larger learning rate end lower?" in page
    assert "do deep networks fit a function better" in page
    assert main(["show", "learning_rate.py"]) == 0
