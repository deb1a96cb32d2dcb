"""What is no argument of a comparison is refused in one sentence, and names that the arrays have themselves."""

import numpy as np
import pandas as pd
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError

ROWS = pd.DataFrame([
    {"net": net, "seed": seed, "epoch": epoch, "loss": epoch + seed + 3 * (net == "B"), "share": 0.1 * epoch}
    for net in "AB" for seed in range(6) for epoch in range(2)
])  # fmt: skip


def compared(rows=ROWS, metric="loss", **options):
    return bm.compare(rows, metric, **{"compare": "net", "higher_is_better": False} | options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": ["loss"]}, "metric = .*expected a name"),
        ({"where": {"net": [["A"]]}}, "where = net=.*expected a value, or several in a list"),
        ({"where": {"net": []}}, "where = net=.*expected a value"),
        ({"where": []}, "where = .*expected values by name"),
        ({"paired": "no"}, "paired = no: expected True, False or None"),
        ({"examples": 1.5}, "examples = 1.5: expected a whole number, at least 1"),
        ({"examples": 0}, "examples = 0: expected a whole number, at least 1"),
        ({"format": "zz"}, "format = zz: only files have a format"),
        ({"ignore": ["zz"]}, "ignore = zz: no run has this setting; .*expected one of net or seed"),
        ({"members": None}, "members = None: expected the name of a setting"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(options, said):
    with pytest.raises(InputError, match=said):
        compared(**options)


def test_the_command_refuses_a_setting_to_ignore_that_no_run_has(tmp_path, capsys):
    ROWS.to_csv(tmp_path / "runs.csv", index=False)
    words = ["--metric", "loss", "--lower-is-better", "--compare", "net", "--members", "seed", "--no-page"]
    assert main(["compare", str(tmp_path / "runs.csv"), *words, "--ignore", "sead", "--no-cache"]) == 2
    assert "ignore = sead: no run has this setting; did you mean seed?" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("values", [pd.Series(["A", "B"]), np.array(["A", "B"]), ("A", "B")])
def test_values_of_where_may_come_as_an_array(values):
    rows = pd.concat([ROWS, ROWS[ROWS.net == "B"].assign(net="C")])
    assert len(compared(rows, where={"net": values}).pairs) == 1


@pytest.mark.parametrize("cell", [[1, 2], {"a": 1}])
def test_cells_with_lists_count_as_their_text(cell):
    rows = ROWS.assign(layers=[cell] * len(ROWS))
    assert compared(rows).pairs[0].p == compared().pairs[0].p
    texts = {net: str([net, cell]) for net in "AB"}
    by_list = compared(ROWS.assign(net=[[net, cell] for net in ROWS.net]))
    assert by_list.results["net"].values.tolist() == [*texts.values()]


def test_complex_numbers_are_refused():
    with pytest.raises(InputError, match="metric = loss: its numbers are complex"):
        compared(ROWS.assign(loss=1j * ROWS.loss))


@pytest.mark.parametrize("name", ["member", "step", "status", "run"])
@pytest.mark.parametrize("role", ["compare", "by", "metric"])
def test_names_that_the_arrays_have_themselves_are_refused(name, role):
    rows = ROWS.rename(columns={"metric": {"loss": name}, "compare": {"net": name}, "by": {}}[role])
    rows = rows.assign(**{name: "x"}) if role == "by" else rows
    asked = {"compare": {"compare": name}, "by": {"by": [name]}, "metric": {"metric": name}}[role]
    with pytest.raises(InputError, match=f"{role} = {name}: "):
        compared(rows, **asked)


def test_a_metric_that_has_the_name_of_an_array_is_not_read_with_all():
    runs = bm.runs.read(ROWS.rename(columns={"share": "status"}), members="seed", compare="net")
    assert set(runs["status"].values.ravel()) == {"unknown"}
    with pytest.raises(InputError, match="metric = loss_history: the arrays have this name"):
        bm.runs.read(
            ROWS.rename(columns={"share": "loss_history"}),
            members="seed",
            compare="net",
            metrics=["loss", "loss_history"],
        )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"thresholds": ["a"]}, "thresholds = "),
        ({"metric": "status"}, "metric = status: expected one of loss or share"),
        ({"metric": "loss_history"}, "metric = loss_history: "),
        ({"metric": ["loss"]}, "metric = "),
        ({"higher_is_better": "no"}, "higher_is_better = no: expected True or False"),
    ],
)
def test_arguments_of_an_aggregate_are_refused_by_name(options, said):
    runs = bm.runs.read(ROWS.assign(task="x"), members="seed", compare="net", by=["task"])
    with pytest.raises(InputError, match=said):
        bm.runs.aggregate(runs, **{"metric": "loss", "tasks": "task", "resamples": 10} | options)
    with pytest.raises(InputError, match="higher_is_better = no"):
        bm.runs.read(ROWS, members="seed", higher_is_better="no")
