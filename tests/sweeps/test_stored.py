"""What is stored of a sweep next to what it plans: fewer members, nothing yet, failures, another network."""

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError

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
