import csv
import io
import math

import numpy as np
import pytest

from bathymetry.core.errors import BathymetryError, InputError
from bathymetry.runs.files import read_source
from bathymetry.runs.readers.wandb_csv import FORMAT
from bathymetry.runs.run import Layout
from runs import fixture
from runs.reading import expect_fixture, read

OWN = ["Notes", "User", "Tags", "Created", "Runtime", "Sweep"]


def written(rows):
    """Rows as W&B writes them: every cell in quotes."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


def chart(lines, steps=(0, 10), x="Step"):
    """The export of a chart: lines are values by name."""
    header = [x, *(f"{name}{part}" for name in lines for part in ("", "__MIN", "__MAX"))]
    rows = [[step, *(values[k] for values in lines.values() for _ in range(3))] for k, step in enumerate(steps)]
    return written([header, *rows])


def export(folder):
    """What W&B's pages export of the fixture: a chart of each metric, and the table of runs."""
    for metric in ("train/loss", "val/accuracy"):
        lines = {f"{name} - {metric}": metrics[metric] for name, _, metrics in fixture.runs()}
        (folder / f"wandb_export_{metric[:3]}.csv").write_text(chart(lines, fixture.STEPS))
    keys = sorted(fixture.config("adam", 0))
    rows = [["Name", "State", *OWN, *keys, "train/loss", "val/accuracy"]]
    for name, config, metrics in fixture.runs():
        last = [values[-1] for values in metrics.values()]
        rows.append(
            [name, "finished", "", "user", "", "2024-01-01T00:00:00.000Z", "12", "", *map(config.get, keys), *last]
        )
    (folder / "wandb_export_runs.csv").write_text(written(rows))


def rows(run, metric):
    return dict(zip(run.metrics[metric].step, run.metrics[metric].value, strict=True))


def test_charts_and_the_table_of_runs_are_joined_by_name(tmp_path):
    export(tmp_path)
    runs = read(FORMAT, tmp_path, Layout(keys=("optimizer", "seed")))
    expect_fixture(runs)
    assert {run.status for run in runs} == {"finished"}
    assert all(set(run.config) == {"optimizer", "seed", "learning_rate", "batch_size"} for run in runs)


def test_they_are_found_among_other_formats(tmp_path):
    export(tmp_path)
    source = read_source(tmp_path, Layout(keys=("optimizer", "seed")), cached=False)
    assert (source.tool, len(source.runs)) == ("W&B export", 20)


def test_the_table_alone_has_final_values(tmp_path):
    export(tmp_path)
    for path in tmp_path.glob("*_[tv]*.csv"):
        path.unlink()
    runs = read(FORMAT, tmp_path, Layout(keys=("optimizer", "seed"), metrics=("val/accuracy",)))
    for run in runs:
        expected = fixture.metrics(run.config["optimizer"], run.config["seed"])["val/accuracy"][-1]
        assert list(run.metrics["val/accuracy"].value) == [expected]


def test_a_chart_alone_has_settings_in_the_names_of_runs(tmp_path):
    (tmp_path / "x.csv").write_text(chart({"optimizer=adam,seed=3 - loss": [1, 0.5], "a - b - loss": ["NaN", ""]}))
    one, other = read(FORMAT, tmp_path)
    assert (one.config, rows(one, "loss")) == ({"optimizer": "adam", "seed": 3}, {0: 1, 10: 0.5})
    assert (other.id, other.config) == ("a - b", {})
    np.testing.assert_array_equal(other.metrics["loss"].value, [math.nan])


def test_names_that_contain_the_separator_are_those_of_the_table(tmp_path):
    (tmp_path / "chart.csv").write_text(chart({"a - b - val - loss": [1, 2], "a - val - loss": [3, 4]}))
    (tmp_path / "runs.csv").write_text(
        written([["Name", "State", *OWN, "seed"], ["a - b", "crashed", *OWN, 1], ["a", "running", *OWN, 2]])
    )
    runs = {run.id: run for run in read(FORMAT, tmp_path, Layout(keys=("seed",)))}
    assert rows(runs["a - b"], "val - loss") == {0: 1, 10: 2}
    assert rows(runs["a"], "val - loss") == {0: 3, 10: 4}
    assert [runs[name].status for name in ("a - b", "a")] == ["crashed", "running"]


def test_runs_of_one_name_are_numbered_in_a_table_and_refused_in_a_chart(tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text(written([["Name", "State", *OWN, "seed"], ["a", "finished", *OWN, 1], ["a", "finished", *OWN, 2]]))
    assert [(run.id, run.config["seed"]) for run in read(FORMAT, tmp_path, Layout(keys=("seed",)))] == [
        ("a", 1),
        ("a (2)", 2),
    ]
    (tmp_path / "chart.csv").write_text(
        "Step," + ",".join(["a - loss,a - loss__MIN,a - loss__MAX"] * 2) + "\n0" + ",1" * 6
    )
    with pytest.raises(InputError, match="two runs of this name"):
        read(FORMAT, tmp_path)


def test_a_chart_of_groups_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text(chart({"optimizer: adam - loss": [1, 2]}))
    with pytest.raises(InputError, match="without grouping"):
        read(FORMAT, tmp_path)


def test_other_tables_are_not_taken(tmp_path):
    for k, text in enumerate(["step,loss\n1,2\n", "Name,State\nx,y\n", "Step,a - b\n1,2\n", "", "\xff\n", "Step\n1\n"]):
        (tmp_path / f"{k}.csv").write_bytes(text.encode("latin-1"))
    assert FORMAT.units(tmp_path, sorted(tmp_path.iterdir())) == []


def test_a_chart_that_is_damaged_is_a_note_beside_others(tmp_path):
    (tmp_path / "one.csv").write_text(chart({"a - loss": [1, 2]}))
    (tmp_path / "two.csv").write_text(chart({"a - acc": [1, 2]}) + "x" + ",0" * 3 + "\n")
    (run,) = read(FORMAT, tmp_path)
    assert rows(run, "loss") == {0: 1, 10: 2}
    assert "two.csv is damaged" in run.notes[0]


def test_an_export_cut_anywhere_is_read_or_refused_in_a_sentence(tmp_path):
    text = chart({"a - loss": [1.25, 2.5], "b - loss": [3.75, ""]})
    for size in range(len(text)):
        (tmp_path / "x.csv").write_text(text[:size])
        try:
            runs = read(FORMAT, tmp_path)
        except BathymetryError:
            continue
        for run in runs:
            expected = {"a": {0: 1.25, 10: 2.5}, "b": {0: 3.75}}[run.id]
            assert rows(run, "loss").items() <= expected.items()
