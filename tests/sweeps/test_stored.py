"""What is stored of a sweep next to what it plans: fewer members, nothing yet, failures, another network."""

from pathlib import Path

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import IncompleteError, InputError

NET = Path(__file__).with_name("net.py")
SINE = {"function": "sin", "samples": 24}
SMALL = {"network": {"depth": 1}, "data": SINE, "training": {"epochs": 2}, "name": "small", "axes": {"width": [3, 5]}}
DIGITS = {
    "name": "digits", "network": {"depth": 1}, "data": {"name": "digits", "train_examples": 40, "test_examples": 20},
    "training": {"epochs": 2}, "members": 2, "axes": {"width": [3, 5]}, "record": "all",
    "claims": [{"rule": "majority", "variable": "test accuracy", "above": 0.5, "text": "Most are right."}],
}  # fmt: skip
SPEC = """
network: {depth: 1}
data: {function: sin, samples: 24}
training: {epochs: 2}
members: %d
axes: {width: [3, 5]}
"""


def test_a_sweep_with_fewer_members_than_are_stored_has_the_first_of_them(tmp_path):
    whole = bm.sweep(SMALL, members=12, out=tmp_path).dataset
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    for members in (11, 3):
        for run in (True, False):
            few = bm.sweep(SMALL, members=members, out=tmp_path, run=run).dataset
            assert few["member"].values.tolist() == [*range(members)]
            np.testing.assert_array_equal(few["loss"], whole["loss"].isel(member=slice(members)))
            assert (few["status"] == "done").all()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before
    np.testing.assert_array_equal(bm.sweep(SMALL, members=12, out=tmp_path, run=False).dataset["loss"], whole["loss"])


def test_the_command_line_takes_fewer_members_too(tmp_path, capsys):
    for name, members in (("few", 3), ("many", 12)):
        (tmp_path / f"{name}.yaml").write_text(SPEC % members, encoding="utf-8")
    assert main(["sweep", str(tmp_path / "many.yaml"), "--out", str(tmp_path / "out")]) == 0
    for last in (["--plan"], []):
        assert main(["sweep", str(tmp_path / "few.yaml"), "--out", str(tmp_path / "out"), *last]) == 0
        assert "6 networks: 6 done." in capsys.readouterr().out


def test_nothing_stored_yet_is_pending_with_every_variable_and_its_claims_are_not_tested(tmp_path):
    run = bm.sweep(DIGITS, out=tmp_path, run=False)
    for name in ("loss", "accuracy", "loss_history", "accuracy_history"):
        assert run.dataset[name].isnull().all()
    assert (run.dataset["status"] == "pending").all()
    assert run.claims[0].verdict.decision == "not tested"
    later = bm.sweep(DIGITS, out=tmp_path).dataset
    assert set(later) == set(run.dataset)
    assert later["accuracy_history"].sizes["epoch"] == 3


def test_a_claim_about_the_accuracy_of_values_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(InputError, match=r"^claims\[1\]\.variable = test accuracy: the targets"):
        bm.sweep({**DIGITS, "data": SINE}, out=tmp_path)
    assert not [*tmp_path.rglob("*.safetensors")]


@pytest.mark.parametrize(
    ("family", "error"),
    [
        ("refuses_above_8", "RuntimeError: out of cake (net.py, line {})"),
        ("of_other_inputs_above_8", "x_train = float32 of shape (24, 1): the network can't take them"),
    ],
)
def test_a_point_whose_network_fails_is_marked_and_the_others_are_trained(tmp_path, family, error):
    fields = {**SMALL, "network": {"family": f"{NET}:{family}"}, "members": 2}
    fields["axes"] = {"width": [8, 13], "learning_rate": [0.001, 0.01]}
    with pytest.raises(IncompleteError) as failed:
        bm.sweep(fields, out=tmp_path)
    line = NET.read_text(encoding="utf-8").splitlines().index('        raise RuntimeError("out of cake")') + 1
    assert str(failed.value).startswith(f"width 13, learning_rate 0.001 failed 3 times: {error.format(line)}")
    last = f"1 more failed (width 13, learning_rate 0.01). Everything else is stored in {tmp_path}"
    assert f"{last}; the same command tries them again." in str(failed.value)
    run = bm.sweep(fields, out=tmp_path, run=False)
    assert (run.dataset["status"].sel(width=8) == "done").all()
    assert (run.dataset["status"].sel(width=13) == "failed").all()
    assert run.dataset["error"].sel(width=8).values.tolist() == ["", ""]
    assert all(error.format(line) in one for one in run.dataset["error"].sel(width=13).values)
    assert run.table["failed"].tolist() == [0, 0, 2, 2]
    assert error.format(line) in run.table["error"][3]
    assert bm.load_study(tmp_path / "small").results["main"]["error"].equals(run.dataset["error"])


def test_points_that_fail_are_shown_by_the_command_line(tmp_path, capsys):
    spec = tmp_path / "own.yaml"
    network = f"{{family: {NET.name}:refuses_above_8}}"
    (tmp_path / NET.name).write_bytes(NET.read_bytes())
    spec.write_text((SPEC % 2).replace("{depth: 1}", network).replace("[3, 5]", "[8, 13]"), encoding="utf-8")
    assert main(["sweep", str(spec), "--out", str(tmp_path / "out"), "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "width  train_loss  test_loss  done  failed" in printed.out
    assert "4 networks: 2 done, 2 failed." in printed.out
    assert "width 13 failed 3 times: RuntimeError: out of cake (net.py, line" in printed.err
