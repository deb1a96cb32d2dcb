"""A sweep: its points, its results over the axes, and what is stored of it."""

import re

import numpy as np
import pytest
import torch
import yaml

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import InputError
from bathymetry.execution.calibration import calibrate
from bathymetry.execution.sweep_run import read_sweep
from bathymetry.execution.work import compare

SINE = {"function": "sin", "samples": 24}
SMALL = {"network": {"depth": 1}, "data": SINE, "training": {"epochs": 3}, "members": 2}
GRID = {**SMALL, "name": "grid", "axes": {"learning_rate": [0.001, 0.01], "width": [3, 5]}}
SPEC = """
network: {depth: 1}
data: {function: sin, samples: 24}
training: {epochs: 3}
members: 6
axes:
  learning_rate: [1e-3, 1e-2]
  width: [3, 5]
measure: [gradient_norm]
claims:
  - {rule: median_sign, variable: log test loss, over: log learning_rate, direction: below,
     text: Larger rates end lower.}
"""


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    return bm.sweep(GRID, out=tmp_path_factory.mktemp("grid"))


def test_a_point_of_a_sweep_has_the_bits_of_train_with_the_same_config(grid):
    data = bm.data.function("sin", samples=24)
    network, optimizer = bm.MLPConfig((1, 5, 1)), bm.Adam(lr=0.01)
    alone = bm.train(network, data, optimizer=optimizer, epochs=3, record_at=(), members=2)
    point = grid.dataset.sel(learning_rate=0.01, width=5)
    np.testing.assert_array_equal(point["loss"].transpose("split", "member"), alone.record["loss"].isel(epoch=-1))
    trained = grid.networks(learning_rate=0.01, width=5)
    for one, other in zip(trained, alone.networks(), strict=True):
        for stored, expected in zip(one.parameters(), other.parameters(), strict=True):
            np.testing.assert_array_equal(stored.detach(), expected.detach())


def test_a_grid_has_one_dimension_for_each_axis_and_counts_the_parameters(grid):
    found = grid.dataset
    assert found["loss"].sizes == {"split": 2, "learning_rate": 2, "width": 2, "member": 2}
    assert found["parameters"].dims == ("width",)
    assert found["parameters"].values.tolist() == [3 * 3 + 1, 3 * 5 + 1]
    assert (found["status"] == "done").all()


def test_points_that_are_stored_are_not_trained_again(grid):
    before = {path: path.stat().st_mtime_ns for path in grid.out.rglob("*.safetensors")}
    wider = bm.sweep(GRID, axes={"learning_rate": [0.001, 0.01], "width": [3, 5, 8]}, out=grid.out)
    after = {path: path.stat().st_mtime_ns for path in grid.out.rglob("*.safetensors")}
    assert before.items() < after.items()
    assert len(after) == len(before) + 2
    np.testing.assert_array_equal(wider.dataset["loss"].sel(width=[3, 5]), grid.dataset["loss"])


def test_only_the_points_that_where_names_are_trained_and_the_others_are_pending(tmp_path):
    part = bm.sweep(GRID, out=tmp_path, where={"width": 3}).dataset
    assert (part["status"].sel(width=3) == "done").all()
    assert (part["status"].sel(width=5) == "pending").all()
    assert part["loss"].sel(width=3).notnull().all()
    assert part["loss"].sel(width=5).isnull().all()
    opened = bm.sweep(GRID, out=tmp_path, run=False).dataset
    assert opened.equals(part)


def test_a_member_that_diverges_is_called_so(tmp_path):
    training = {"optimizer": "sgd", "steps": 60}
    spec = {**SMALL, "training": training, "axes": {"learning_rate": [0.01, 1e6]}}
    status = bm.sweep(spec, out=tmp_path).dataset["status"]
    assert (status.sel(learning_rate=0.01) == "done").all()
    assert (status.sel(learning_rate=1e6) == "diverged").all()


def test_the_command_line_trains_draws_and_prints_a_table(tmp_path, capsys):
    spec, out = tmp_path / "width-and-rate.yaml", tmp_path / "out"
    spec.write_text(SPEC, encoding="utf-8")
    assert main(["sweep", str(spec), "--out", str(out), "--plan"]) == 0
    assert "4 points" in capsys.readouterr().out
    assert not out.exists()
    assert main(["sweep", str(spec), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "learning_rate  width  train_loss  test_loss  gradient_norm  done" in printed
    assert "width-and-rate.a" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Larger rates end lower." in page
    assert "Loss by width and learning rate" in page or "Loss by learning rate and width" in page
    assert bm.load_study(out / "width-and-rate").results["main"]["loss"].shape == (2, 2, 2, 6)
    assert main(["report", str(out)]) == 0
    assert "width-and-rate.a" in capsys.readouterr().out


def test_members_that_stop_early_count_the_same_in_one_stack_and_in_chunks(tmp_path):
    data, stop = bm.data.function("sin", samples=16), bm.StopWhen("train_loss", at_most=0.6)
    config = bm.TrainingConfig(bm.MLPConfig((1, 4, 1)), data, epochs=50, optimizer=bm.Adam(lr=0.05), stop=stop)
    ends = bm.train(config, members=12).record["stopped_at"].values
    assert ends.min() > 0
    assert ends[10:].max() < ends.max(), "the second chunk ends earlier"
    assert bm.objective(config, members=12, out=tmp_path) == bm.objective(config, members=12)


def test_an_objective_takes_a_probe_of_the_training_loss_at_the_end(tmp_path):
    data = bm.data.function("sin", samples=8)
    config = bm.TrainingConfig(bm.MLPConfig((1, 3, 1)), data, epochs=2, dtype=torch.float64)
    trained = bm.train(config, members=4)
    norms = []
    for member in range(4):
        network = trained.model(member)
        loss = torch.nn.functional.mse_loss(network(data.train.x.double()), data.train.y.double())
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        norms.append(float(torch.cat([one.flatten() for one in gradients]).norm()))
    expected = np.mean(norms), np.std(norms, ddof=1) / 2
    assert bm.objective(config, members=4, metric="gradient_norm") == pytest.approx(expected, rel=1e-9)
    assert bm.objective(config, members=4, metric="gradient_norm", out=tmp_path) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(InputError, match="did you mean sharpness"):
        bm.objective(config, members=4, metric="sharpnes")


@pytest.mark.parametrize("members", [1, "3"])
def test_an_objective_needs_members_to_have_an_error(members, unchecked):
    config = bm.TrainingConfig(bm.MLPConfig((1, 3, 1)), bm.data.function("sin", samples=8), epochs=1)
    with pytest.raises(InputError, match="members"):
        bm.objective(config, members=members)


def test_an_objective_is_mean_and_standard_error_over_members_and_reuses_chunks(tmp_path, capsys):
    config = bm.TrainingConfig(bm.MLPConfig((1, 3, 1)), bm.data.function("sin", samples=8), epochs=2)
    losses = bm.train(config, members=5).record["loss"].sel(split="test").isel(epoch=-1).values
    expected = losses.mean(), losses.std(ddof=1) / np.sqrt(5)
    assert bm.objective(config, members=5) == pytest.approx(expected, rel=1e-12)
    assert bm.objective(config, members=5, out=tmp_path) == pytest.approx(expected, rel=1e-12)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert bm.objective(config, members=5, out=tmp_path) == pytest.approx(expected, rel=1e-12)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    for command in ("report", "export"):
        assert main([command, str(tmp_path)]) == 2
        said = "it holds networks, of a share, an interrupted run or bm.objective, but no results yet; run the study"
        assert said in capsys.readouterr().err


def test_the_specification_is_stored_and_its_command_finds_everything_done(tmp_path, monkeypatch, capsys):
    bm.sweep(GRID, out=tmp_path / "out", seed=3)
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "out/grid/specification.yaml", "--out", "out"]) == 0
    assert "8 networks: 8 done." in capsys.readouterr().out
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "bathymetry sweep out/grid/specification.yaml --out out" in re.sub(r"</?span[^>]*>", "", page)


def test_shards_together_do_everything_and_each_does_its_own(tmp_path, capsys):
    spec, out = tmp_path / "grid.yaml", tmp_path / "out"
    spec.write_text(SPEC, encoding="utf-8")
    for share, done in ((1, 12), (2, 24)):
        assert main(["sweep", str(spec), "--out", str(out), "--workers", "1", "--shard", f"{share}/2"]) == 0
        assert bm.sweep(spec, out=out, run=False).dataset["status"].isin("done").sum() == done
        assert not (out / "report.html").exists()
    capsys.readouterr()


def test_an_estimate_counts_what_is_missing_alone(tmp_path):
    made = read_sweep(GRID, {})
    work = compare(tmp_path, made.planned)
    estimate = calibrate(work, 0.5)
    assert len(estimate.chunks) == 4
    assert estimate.seconds() == pytest.approx(sum(estimate.chunks))
    assert estimate.seconds(2) < estimate.seconds()
    assert estimate.seconds(100) == max(estimate.chunks)
    bm.sweep(GRID, out=tmp_path)
    assert calibrate(compare(tmp_path, made.planned)).seconds() == 0


@pytest.mark.parametrize("rates", [[0.1, 0.1000001], {"low": 0.1, "high": 0.1000001, "count": 9}])
def test_values_that_lie_close_together_are_told_apart(tmp_path, capsys, rates):
    spec = tmp_path / "close.yaml"
    spec.write_text(yaml.safe_dump({**SMALL, "axes": {"learning_rate": rates}}))
    assert main(["sweep", str(spec), "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "0.1000001" in printed
    assert (tmp_path / "out" / "report.html").exists()
