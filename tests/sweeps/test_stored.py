"""What is stored of a sweep next to what it plans: fewer members, nothing yet, failures, another network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import IncompleteError, InputError
from bathymetry.store.results import read_results, write_results

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


def test_a_sweep_from_before_there_was_a_data_seed_is_opened_without_its_chunks(tmp_path):
    whole = bm.sweep(SMALL, members=3, out=tmp_path).dataset
    path = tmp_path / "small" / "result.nc"
    results = read_results(path)
    assert results.attrs["settings"].pop("data_seed") == 0
    write_results(path, results)
    shutil.rmtree(tmp_path / "units")
    np.testing.assert_array_equal(bm.sweep(SMALL, members=3, out=tmp_path, run=False).dataset["loss"], whole["loss"])


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
    with pytest.raises(InputError, match=r"^claim a\.variable = test accuracy: the targets"):
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


RATES = {"learning_rate": {"low": 1e-4, "high": 3e-2, "scale": "log", "count": 4}}


def test_networks_are_found_by_values_as_they_are_typed_or_shown(tmp_path):
    axes = {**RATES, "width": [3, 5]}
    run = bm.sweep({**SMALL, "axes": axes}, members=2, out=tmp_path)
    assert run.dataset["loss"].sel(learning_rate=1e-4, width=3).notnull().all()
    one, other = (run.networks(learning_rate=rate, width=3) for rate in (0.0006694, 0.000669433))
    assert all((a == b).all() for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True))
    for given, words in [
        ({"learning_rate": 1e-4, "width": 9}, "networks = width=9: no point has this value; expected one of 3, 5."),
        ({"learning_rate": 0.1}, "expected one of 0.0001, 0.0006694, 0.004481, 0.03."),
        (
            {"learning_rat": 0.1},
            "networks = learning_rat=0.1: did you mean learning_rate? expected",
        ),
        ({"width": 3}, "networks = width=3: 4 points have these values; expected learning_rate too."),
        ({}, "8 points have these values; expected learning_rate and width too."),
    ]:
        with pytest.raises(InputError) as refused:
            run.networks(**given)
        assert words in str(refused.value)


def test_networks_of_drawn_points_are_found_by_their_number_or_values(tmp_path):
    fields = {**SMALL, "axes": {"learning_rate": {"low": 1e-4, "high": 1e-1, "scale": "log"}}, "sample": {"random": 3}}
    run = bm.sweep(fields, members=2, out=tmp_path)
    rate = float(run.dataset["learning_rate"][1])
    one, other = run.networks(point=1), run.networks(learning_rate=float(f"{rate:.4g}"))
    assert all((a == b).all() for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True))


def own(folder, spec=SPEC % 2, name="net.py"):
    """A specification with a network in a file next to it, and the command that runs it."""
    (folder / name).write_bytes(NET.read_bytes())
    (folder / "own.yaml").write_text(spec.replace("{depth: 1}", f"{{family: {name}:build}}"), encoding="utf-8")
    return ["sweep", str(folder / "own.yaml"), "--out", str(folder / "out"), "--workers", "1"]


def test_networks_whose_file_has_changed_are_pending_and_trained_again(tmp_path, capsys):
    command = own(tmp_path)
    program = [sys.executable, "-m", "bathymetry.cli.main"]  # a process of its own: a file is read once in each
    subprocess.run([*program, *command], check=True, capture_output=True)
    before = bm.load_study(tmp_path / "out" / "own").results["main"]
    code = (tmp_path / "net.py").read_text(encoding="utf-8")
    (tmp_path / "net.py").write_text(code.replace("slope=0.1", "slope=0.25"), encoding="utf-8")
    capsys.readouterr()
    assert main([*command, "--plan"]) == 0
    printed = capsys.readouterr().out
    assert "4 networks: 4 pending (their network changed since they were trained)." in printed
    assert "4 networks to train in 2 chunks" in printed
    assert (bm.sweep(tmp_path / "own.yaml", out=tmp_path / "out", run=False).dataset["status"] == "pending").all()
    assert main(command) == 0
    assert main([*command, "--plan"]) == 0
    assert "4 networks: 4 done.\nNothing to train." in capsys.readouterr().out
    after = bm.sweep(tmp_path / "own.yaml", out=tmp_path / "out", run=False)
    assert (after.dataset["loss"] != before["loss"]).all()
    assert after.networks(width=3)[0][1].negative_slope == 0.25


def test_a_share_says_what_it_has_to_do_and_that_another_command_writes_the_page(tmp_path, capsys):
    command = own(tmp_path, (SPEC % 12).replace("[3, 5]", "[3, 4, 5]"))
    shares = []
    for index in (1, 2, 3, 4):
        assert main([*command, "--shard", f"{index}/4", "--plan"]) == 0
        found = re.search(r"Share \d/4: (\d+) networks to train in (\d) chunks?, about", capsys.readouterr().out)
        shares.append((int(found[1]), int(found[2])))
    assert [chunks for _, chunks in shares] == [2, 2, 1, 1]
    assert sum(networks for networks, _ in shares) == 36
    assert main([*command, "--shard", "4/4"]) == 0
    printed = capsys.readouterr().out
    assert f"36 networks: {shares[3][0]} done, {36 - shares[3][0]} pending." in printed
    assert "The share is stored; when all shares have ended, the same command without --shard writes" in printed
    assert main([*command, "--shard", "4/4", "--plan"]) == 0
    assert "Share 4/4: nothing to train." in capsys.readouterr().out


def test_rerun_failed_without_failures_says_so_and_writes_nothing(tmp_path, capsys):
    command = own(tmp_path)
    for stored in (False, True):
        if stored:
            assert main([*command, "--where", "width=3"]) == 0
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        capsys.readouterr()
        assert main([*command, "--rerun", "failed"]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "No point has failed."
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_time_that_no_trial_measured_is_not_estimated(tmp_path, capsys):
    command = own(tmp_path)
    spec = (tmp_path / "own.yaml").read_text(encoding="utf-8").replace(":build", ":broken_above_4")
    (tmp_path / "own.yaml").write_text(spec.replace("[3, 5]", "[9]"), encoding="utf-8")
    assert main([*command, "--plan"]) == 0
    assert "2 networks to train in 1 chunk, the time is not estimated" in capsys.readouterr().out


def test_networks_that_failed_or_are_pending_are_named_with_the_reason(tmp_path, capsys):
    command = own(tmp_path)
    path = tmp_path / "own.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(":build", ":broken_above_4"), encoding="utf-8")
    assert main([*command, "--shard", "1/1", "--where", "width=5"]) == 1
    assert "What was trained of the share is stored; when all shares have ended, the same" in capsys.readouterr().out
    run = bm.sweep(path, out=tmp_path / "out", run=False)
    with pytest.raises(InputError, match=r"networks = width=5: training failed \(.*\)"):
        run.networks(width=5)
    with pytest.raises(InputError, match="networks = width=3: not all of these networks are trained yet; run the"):
        run.networks(width=3)
    assert main(["report", str(tmp_path / "out")]) == 2
    assert "no results yet; run the study or sweep into it again, without --shard" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no such folder"):
        bm.sweep(path, out=tmp_path / "nowhere", run=False)


def test_rerun_failed_after_a_change_of_the_network_says_that_all_are_pending(tmp_path, capsys):
    command = own(tmp_path)
    assert main(command) == 0
    net = tmp_path / "net.py"
    net.write_text(net.read_text(encoding="utf-8").replace("0.1", "0.25"), encoding="utf-8")
    capsys.readouterr()
    assert main([*command, "--rerun", "failed"]) == 2
    assert "rerun = failed: their network changed, so that all are pending; run the sweep" in capsys.readouterr().err


def test_points_that_are_drawn_twice_share_their_networks_and_the_plan_says_so(tmp_path, capsys):
    path = tmp_path / "drawn.yaml"
    path.write_text("sample: {random: 20}\naxes: {width: [2, 3]}\ndata: {samples: 16}\nmembers: 2\n", encoding="utf-8")
    assert main(["sweep", str(path), "--plan", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "18 of 20 points have the values of another, and its networks." in printed
    assert "4 networks to train in 2 chunks" in printed
