"""Points and what is trained there: ways of sampling, and configs against those written by hand."""

import shutil
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest

import bathymetry as bm
from bathymetry.cli.main import main
from bathymetry.core.errors import IncompleteError, InputError
from bathymetry.execution import Progress
from bathymetry.sweeps.reading import read_file, sweep_of

NET = Path(__file__).with_name("net.py")
SINE = {"function": "sin", "samples": 24}
LOG = {"low": 1e-4, "high": 1e-1, "scale": "log"}


def configs(**fields):
    return [one.config for one in sweep_of({"data": SINE, **fields}).planned.ensembles]


def points(axes, sample, **fields):
    return [one.values for one in sweep_of({"axes": axes, "sample": sample, **fields}).points]


def test_a_grid_has_every_combination_and_zip_has_pairs():
    axes = {"learning_rate": [0.1, 0.2], "width": [3, 4]}
    pairs = [tuple(one.values()) for one in points(axes, "grid")]
    assert pairs == [(0.1, 3), (0.1, 4), (0.2, 3), (0.2, 4)]
    assert [tuple(one.values()) for one in points(axes, "zip")] == [(0.1, 3), (0.2, 4)]


def test_a_range_on_a_grid_is_divided_evenly_on_its_scale():
    axes = {"learning_rate": {**LOG, "count": 4}, "width": {"low": 10, "high": 30, "count": 3}}
    made = points(axes, "grid")
    rates = sorted({one["training.learning_rate"] for one in made})
    assert rates == [1e-4, 1e-3, 1e-2, 1e-1]
    assert sorted({one["network.width"] for one in made}) == [10, 20, 30]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ({"low": 1e-4, "high": 3e-2, "scale": "log"}, [1e-4, 0.000669433, 0.0044814, 3e-2]),
        ({"low": 0.1, "high": 0.7}, [0.1, 0.3, 0.5, 0.7]),
        ({"low": 1, "high": 1 + 3e-9, "scale": "log"}, [1, 1 + 1e-9, 1 + 2e-9, 1 + 3e-9]),
    ],
)
def test_a_range_has_the_ends_that_were_typed_and_round_values_between(ends, expected):
    made = [one["training.learning_rate"] for one in points({"learning_rate": {**ends, "count": 4}}, "grid")]
    assert made[::3] == expected[::3]
    assert made[1:3] == (expected[1:3] if ends["low"] < 1 else pytest.approx(expected[1:3], rel=1e-12))
    assert len(set(made)) == 4


def test_random_points_are_uniform_on_the_scale_and_their_whole_numbers_lie_inside():
    made = points({"learning_rate": LOG, "width": {"low": 3, "high": 6}}, {"random": 2000})
    shares = (np.log10([one["training.learning_rate"] for one in made]) + 4) / 3
    assert kstest(shares, "uniform").pvalue > 0.001
    assert {one["network.width"] for one in made} == {3, 4, 5, 6}


def test_sobol_points_fill_every_box_once():
    """Of 16 points in two dimensions one lies in each of the 4 × 4 boxes: the sequence is a (0, 4, 2)-net."""
    made = points(
        {"learning_rate": {"low": 0.001, "high": 1.001}, "weight_decay": {"low": 0, "high": 1}}, {"sobol": 16}
    )
    rates = np.array([one["training.learning_rate"] for one in made]) - 0.001
    decays = np.array([one["training.weight_decay"] for one in made])
    boxes = {(int(4 * rate), int(4 * decay)) for rate, decay in zip(rates, decays, strict=True)}
    assert len(boxes) == 16


@pytest.mark.parametrize("kind", ["random", "sobol"])
def test_drawn_points_depend_on_the_seed_alone(kind):
    axes = {"learning_rate": LOG, "optimizer": ["adam", "sgd"]}
    assert points(axes, {kind: 9}) == points(axes, {kind: 9})
    assert points(axes, {kind: 9}) != points(axes, {kind: 9}, seed=1)
    assert {one["training.optimizer"] for one in points(axes, {kind: 9})} == {"adam", "sgd"}


def test_every_training_field_reaches_the_config():
    training = {
        "optimizer": "sgd", "learning_rate": 0.2, "weight_decay": 0.01, "momentum": 0.5, "batch_size": 5, "steps": 7,
        "schedule": "cosine", "clip_norm": 2.0, "dtype": "float64",
    }  # fmt: skip
    (made,) = configs(training=training, network={"depth": 3}, axes={"width": [6]}, seed=4, data_seed=5)
    data = bm.data.function("sin", samples=24, seed=5)
    expected = bm.TrainingConfig(
        bm.MLPConfig((1, 6, 6, 6, 1)),
        data,
        seed=4,
        optimizer=bm.SGD(lr=0.2, weight_decay=0.01, momentum=0.5),
        steps=7,
        batch_size=5,
        schedule=bm.training.Cosine(),
        clip_norm=2.0,
        dtype=torch.float64,
        record_at=(),
    )
    assert made.description() == expected.description()


def test_a_seed_starts_other_networks_on_the_same_examples_and_a_data_seed_draws_others():
    both = configs(axes={"seed": [0, 1], "data_seed": [0, 2]})
    assert [one.seed for one in both] == [0, 0, 1, 1]
    inputs = [one.data.train.inputs for one in both]
    assert torch.equal(inputs[0], bm.data.function("sin", samples=24, seed=0).train.inputs)
    assert torch.equal(inputs[1], bm.data.function("sin", samples=24, seed=2).train.inputs)
    assert torch.equal(inputs[0], inputs[2])
    assert torch.equal(inputs[1], inputs[3])


def test_networks_with_equal_parameters_are_fitted_to_the_budget():
    made = configs(network={"parameters": 500}, axes={"depth": [1, 2, 4]})
    expected = [tuple(bm.fit_budget(500, 1, 1, depth)) for depth in (1, 2, 4)]
    assert [one.network.widths for one in made] == expected


def test_hidden_widths_are_an_axis_of_networks():
    made = sweep_of({"data": SINE, "axes": {"hidden": [[4], [3, 5], 7]}})
    assert [one.config.network.widths for one in made.planned.ensembles] == [(1, 4, 1), (1, 3, 5, 1), (1, 7, 1)]
    assert [one.coordinates["hidden"] for one in made.planned.ensembles] == ["4", "3-5", "7"]


def test_a_batch_size_may_be_full():
    made = sweep_of({"data": SINE, "axes": {"batch_size": [5, "full"]}})
    assert [one.config.batch_size for one in made.planned.ensembles] == [5, None]
    assert [one.coordinates["batch_size"] for one in made.planned.ensembles] == ["5", "full"]


def test_a_class_of_torch_optim_is_trained_as_itself(tmp_path):
    training = {"optimizer": "RMSprop", "learning_rate": 0.01, "options": {"alpha": 0.8}, "epochs": 2}
    fields = {"data": SINE, "training": training, "axes": {"width": [3]}, "network": {"depth": 1}, "members": 2}
    found = bm.sweep(fields, out=tmp_path).dataset
    optimizer = partial(torch.optim.RMSprop, lr=0.01, alpha=0.8)
    data = bm.data.function("sin", samples=24)
    alone = bm.train(bm.MLPConfig((1, 3, 1)), data, optimizer=optimizer, epochs=2, members=2).record
    np.testing.assert_array_equal(found["loss"].sel(width=3), alone["loss"].isel(epoch=-1))


def test_label_noise_differs_between_members_and_counts_in_the_training_loss(tmp_path):
    fields = {
        "data": {"name": "digits", "train_examples": 40, "test_examples": 20},
        "training": {"epochs": 1}, "members": 2, "measure": ["gradient_norm"],
        "axes": {"label_noise": [0.0, 0.5]},
    }  # fmt: skip
    run = bm.sweep(fields, out=tmp_path)
    clean, noisy = run.study.planned.ensembles
    assert clean.config.targets is None
    labels = noisy.config.train_set(range(2)).own_targets
    assert (labels[0] != labels[1]).any()
    networks = run.networks(label_noise=0.5)
    examples = noisy.config.train_examples
    for member, network in enumerate(networks):
        loss = torch.nn.functional.cross_entropy(network(examples.x).double(), labels[member])
        expected = float(run.dataset["loss"].sel(label_noise=0.5, split="train", member=member))
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
        norm = torch.cat([one.flatten() for one in torch.autograd.grad(loss, network.parameters())]).norm()
        measured = float(run.dataset["gradient_norm"].sel(label_noise=0.5, member=member))
        assert float(norm) == pytest.approx(measured, rel=1e-4)


def test_a_function_in_a_file_makes_the_networks(tmp_path):
    shutil.copy(NET, tmp_path / "net.py")
    spec = tmp_path / "own.yaml"
    spec.write_text(
        "network: {family: net.py:build, slope: 0.2}\ndata: {function: sin, samples: 24}\n"
        "training: {epochs: 2}\nmembers: 2\naxes: {width: [3, 5]}",
        encoding="utf-8",
    )
    run = bm.sweep(spec, out=tmp_path / "out")
    assert run.networks(width=5)[0][1].negative_slope == 0.2
    assert run.dataset["loss"].sizes["width"] == 2
    opened = bm.load_study(tmp_path / "out" / "own")
    assert opened.results["main"]["loss"].equals(run.dataset["loss"])
    with pytest.raises(InputError, match="stored results run no code"):
        opened.networks(width=5)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("{family: net.py:bild, width: 3}", "did you mean build?"),
        ("{family: net.py:build, widht: 3}", "build does not take it; did you mean width?"),
        ("{family: net.py:build}", "missing a required argument: 'width'"),
        ("{family: net.txt:build}", "expected FILE.py:FUNCTION"),
    ],
)
def test_a_function_that_does_not_fit_is_refused(tmp_path, network, expected):
    shutil.copy(NET, tmp_path / "net.py")
    spec = tmp_path / "own.yaml"
    spec.write_text(f"network: {network}\naxes: {{learning_rate: [0.1]}}", encoding="utf-8")
    with pytest.raises(InputError, match=expected.replace("?", r"\?")):
        _ = read_file(spec).planned


LONG_RANDOM = (
    "expected new random weights each time the function is called: build every layer inside it and set no seed"
)
FAILING = {
    "drop, p: 2": "drop(p=2, inputs=1, outputs=1): it fails (ValueError: dropout probability has to be between 0 and 1",
    "drop, p: high": "drop(p='high', inputs=1, outputs=1): it fails (TypeError: ",
    "boom": "boom(): it fails (RuntimeError: boom); expected a function that makes one network.",
    "nothing": "nothing(): a function that returns a NoneType; expected one that makes an nn.Module.",
    "flat": "flat(): a function that returns a Flatten; expected a network with trainable parameters.",
    "zeros": f"begin with equal parameters; {LONG_RANDOM} there.",
    "sizes, inputs: 7": "sizes(inputs=7, outputs=1): it can't take inputs of shape (1,) (RuntimeError: mat1 and mat2",
    "sizes, outputs: 3": "where the network gives (4, 3); expected 1 output.",
    "two": "two(inputs=1, outputs=1): a network that gives a tuple; expected a network whose output is one tensor.",
    "no_gradient": "no_gradient(inputs=1, outputs=1): a step of training fails (RuntimeError: ",
    "warns_and_fails, h: [2, 0]": "it fails (RuntimeError: mat1",
}


AT_FAULT = [(family, "network") for family in FAILING] + [(family, "axes") for family in FAILING if "," not in family]


@pytest.mark.parametrize(("family", "place"), AT_FAULT)
def test_a_function_whose_network_can_not_be_trained_is_refused_in_one_sentence(tmp_path, capsys, family, place):
    shutil.copy(NET.with_name("failing_nets.py"), tmp_path / "nets.py")
    network, axes = {
        "network": (f"family: nets.py:{family}", "learning_rate: [0.1]"),
        "axes": ("", f"family: [nets.py:{family}]"),
    }[place]
    text = f"network: {{{network}}}\ndata: {{samples: 16}}\nmembers: 2\naxes: {{{axes}}}"
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert main(["sweep", str(tmp_path / "own.yaml"), "--out", str(tmp_path / "out")]) == 2
    words = capsys.readouterr().err.strip()
    assert words.startswith(f"bathymetry: {place}.family = nets.py:{family.partition(',')[0]}(")
    assert FAILING[family] in words
    assert len(words.splitlines()) == 1
    assert not heard
    assert not (tmp_path / "out").exists()


def test_a_batch_of_one_example_that_a_network_can_not_take_names_the_batch_size(tmp_path):
    shutil.copy(NET.with_name("failing_nets.py"), tmp_path / "nets.py")
    spec = tmp_path / "own.yaml"
    text = "network: {family: nets.py:normalised}\ndata: {samples: 16}\nmembers: 2\naxes: {batch_size: [4, 5]}"
    spec.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"axes.batch_size = 5: a batch has a single example"):
        bm.sweep(spec, out=tmp_path / "out")


def test_files_on_an_axis_are_called_as_the_specification_writes_them(tmp_path, capsys):
    """Tables, --where and claims do not depend on the folder that the specification lies in."""
    tables = []
    for place in ("here", "there"):
        folder = tmp_path / place
        (folder / "nets").mkdir(parents=True)
        shutil.copy(NET, folder / "net.py")
        (folder / "nets" / "net.py").write_text(NET.read_text("utf-8").replace("slope=0.1", "slope=0.2"), "utf-8")
        np.savez(folder / "some.npz", x_train=np.eye(4), y_train=np.ones(4), x_test=np.eye(4), y_test=np.ones(4))
        spec = folder / "own.yaml"
        spec.write_text(
            "network: {width: 3}\nmembers: 6\ntraining: {epochs: 1}\n"
            "axes: {family: [net.py:build, nets/net.py:build], name: [some.npz]}\n"
            "claims: [{rule: stochastic_order, variable: test loss, along: family, first: net.py:build,\n"
            "          second: nets/net.py:build, direction: below, text: The first is better.}]",
            encoding="utf-8",
        )
        run = bm.sweep(spec, out=folder / "out", where={"family": "nets/net.py:build"})
        assert run.dataset["family"].values.tolist() == ["net.py:build", "nets/net.py:build"]
        assert run.dataset["name"].values.tolist() == ["some.npz"]
        assert run.dataset["status"].values[1].tolist() == [["done"] * 6]
        assert main(["sweep", str(spec), "--out", str(folder / "out"), "--workers", "1"]) == 0
        assert "12 done" in capsys.readouterr().out
        stored = bm.load_study(folder / "out" / "own")
        assert stored.results["main"]["family"].values.tolist() == ["net.py:build", "nets/net.py:build"]
        assert main(["report", str(folder / "out")]) == 0
        page = (folder / "out" / "report.html").read_text(encoding="utf-8")
        assert "The command names your own.yaml, because it names other files" in page
        tables.append(bm.sweep(spec, out=folder / "out", run=False).table)
    assert tables[0].equals(tables[1])


def test_functions_in_python_on_an_axis_are_called_by_their_names(tmp_path):
    def first(inputs, outputs):
        return torch.nn.Linear(inputs, outputs)

    def second(inputs, outputs):
        return bm.mlp((inputs, 3, outputs))

    axes = {"family": [first, second]}
    found = bm.sweep(axes=axes, data=SINE, training={"epochs": 1}, members=2, out=tmp_path).dataset
    assert [one.rpartition(".")[2] for one in found["family"].values.tolist()] == ["first", "second"]


class Heard(Progress):
    def __init__(self):
        self.sentences = []

    def say(self, sentence):
        self.sentences.append(sentence)


def test_a_function_in_python_makes_the_networks_too(tmp_path):
    def build(inputs, outputs, units):
        return torch.nn.Linear(inputs, outputs) if units == 0 else bm.mlp((inputs, units, outputs))

    fields = {"network": {"family": build}, "data": SINE, "training": {"epochs": 1}, "members": 2}
    found = bm.sweep(fields, axes={"units": [0, 2]}, out=tmp_path).dataset
    assert found["units"].values.tolist() == [0, 2]
    assert found["loss"].notnull().all()
    heard = Heard()
    again = bm.sweep(fields, axes={"units": [0, 2]}, out=tmp_path / "again", workers=2, progress=heard).dataset
    assert again.equals(found)
    assert "What a notebook or a script defines is trained in this process, without other workers." in heard.sentences
    assert bm.load_study(tmp_path / "sweep").results["main"]["loss"].equals(found["loss"])


def test_points_that_fail_are_called_so_and_are_done_again_alone(tmp_path):
    fields = {
        "network": {"family": f"{NET}:broken_above_4"}, "data": SINE, "training": {"epochs": 1}, "members": 2,
        "name": "fails", "axes": {"width": [3, 6]},
    }  # fmt: skip
    with pytest.raises(IncompleteError, match=r"^width 6 failed 3 times: .*: this layer fails \(net.py, line \d+\)\."):
        bm.sweep(fields, out=tmp_path)
    found = bm.sweep(fields, out=tmp_path, run=False).dataset
    assert (found["status"].sel(width=3) == "done").all()
    assert (found["status"].sel(width=6) == "failed").all()
    assert found["loss"].sel(width=6).isnull().all()
    stored = bm.load_study(tmp_path / "fails").results["main"]
    assert stored["status"].equals(found["status"])


def test_rerun_failed_does_only_what_failed(tmp_path, monkeypatch, capsys):
    shutil.copy(NET, tmp_path / "net.py")
    spec, out = tmp_path / "fails.yaml", tmp_path / "out"
    spec.write_text(
        "network: {family: net.py:broken_above_4}\ndata: {function: sin, samples: 24}\ntraining: {epochs: 1}\n"
        "members: 2\naxes: {width: [3, 4, 6]}",
        encoding="utf-8",
    )
    sweep = ["sweep", str(spec), "--out", str(out), "--workers", "1"]
    assert main([*sweep, "--where", "width=6"]) == 1
    assert "2 failed, 4 pending" in capsys.readouterr().out
    monkeypatch.setenv("HEALED", "yes")
    assert main([*sweep, "--rerun", "failed"]) == 0
    assert "2 done, 4 pending" in capsys.readouterr().out
    assert "Of 6 networks 4 pending" in (out / "report.html").read_text(encoding="utf-8")
    assert main(sweep) == 0
    assert "6 networks: 6 done." in capsys.readouterr().out
