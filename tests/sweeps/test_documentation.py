"""The page on sweeps: its specification and its Python run as they stand."""

import re
from pathlib import Path
from typing import Any

from bathymetry.cli.main import main
from bathymetry.sweeps.claims import _FIELDS
from bathymetry.sweeps.measures import PROBES
from bathymetry.sweeps.sections import DataSet, Network, Training

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "sweeps.md").read_text(encoding="utf-8")
OPTIMIZERS = (DOCS / "how-to" / "optimizers.md").read_text(encoding="utf-8")


class Trial:
    """Suggests as Optuna's trials do."""

    def __init__(self, width, rate):
        self.values, self.attributes = {"width": width, "rate": rate}, {}

    def suggest_int(self, name, low, high):
        return self.values[name]

    def suggest_float(self, name, low, high, log=False):
        return self.values[name]

    def set_user_attr(self, name, value):
        self.attributes[name] = value


def test_the_example_runs_and_the_recipe_reuses_chunks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (specification,) = re.findall(r"```yaml title.*?\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "width-and-rate.yaml").write_text(specification, encoding="utf-8")
    assert main(["sweep", "width-and-rate.yaml", "--plan"]) == 0
    assert "6 points" in capsys.readouterr().out
    example, own = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    comparison, recipe = re.findall(r"```python\n(.*?)```", OPTIMIZERS, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(example, "sweeps.md", "exec"), names)
    assert names["loss"].dims == ("split", "learning_rate", "width", "member")
    assert len(names["networks"]) == 3
    exec(compile(own, "sweeps.md", "exec"), {})
    (line,) = re.findall(r"^    (data: \{name: own.npz\})$", PAGE, re.MULTILINE)
    (tmp_path / "own.yaml").write_text(f"{line}\naxes: {{width: [3]}}\nmembers: 2\n", encoding="utf-8")
    assert main(["sweep", "own.yaml", "--plan"]) == 0
    assert "Data: own (the file own.npz)." in capsys.readouterr().out
    capsys.readouterr()
    exec(compile(comparison, "optimizers.md", "exec"), {})
    assert "adam" in capsys.readouterr().out
    exec(compile(recipe, "optimizers.md", "exec"), names)
    trial = Trial(8, 0.01)
    first = names["objective"](trial)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").rglob("*.safetensors")}
    assert names["objective"](trial) == first
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "trials").rglob("*.safetensors")}
    assert trial.attributes["standard error"] > 0


def test_the_page_names_every_field_rule_and_probe():
    fields = [name for section in (Network, DataSet, Training) for name in section.model_fields]
    fields += [*_FIELDS, *PROBES, *(name for names in _FIELDS.values() for name in names)]
    assert [name for name in fields if f"`{name}" not in PAGE and f" {name}" not in PAGE] == []


def test_the_page_is_short():
    assert len(PAGE.splitlines()) <= 150
