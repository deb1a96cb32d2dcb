"""Claims and results of `capacity`."""

import numpy as np
import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.models.mlp import parameter_count
from bathymetry.studies.capacity import Capacity
from bathymetry.studies.settings import network_name

FULL = Capacity.preset("full")
COUNTS = [parameter_count([784, *hidden, 10]) for hidden in FULL.networks]
KNOWN = {"loss": {"scale": "log"}, "accuracy": {"scale": "accuracy"}}


def made(train_loss, test_loss, train_accuracy, test_accuracy):
    """Results as functions of the number of parameters, members a hair apart."""
    hair = np.linspace(1, 1.001, 10)
    given = {"loss": (train_loss, test_loss), "accuracy": (train_accuracy, test_accuracy)}
    values = {
        name: [np.array([function(count) for count in COUNTS])[:, None] * hair for function in functions]
        for name, functions in given.items()
    }
    names = [network_name(hidden) for hidden in FULL.networks]
    whole = xr.Dataset(
        {name: (("split", "network", "member"), np.array(one), KNOWN[name]) for name, one in values.items()},
        {
            "network": names, "member": range(10), "split": ["train", "test"], "parameters": ("network", COUNTS),
            "examples": ("split", [60_000, 10_000]),
        },
    )  # fmt: skip
    tree = xr.DataTree.from_dict({"main": whole})
    tree.attrs = {"data": {"mnist": ""}}
    return tree


def verdicts(*functions):
    return {one.id[-1]: one.verdict.decision for one in FULL.judge(made(*functions))}


def test_networks_that_gain_from_every_parameter_support_all():
    decided = verdicts(
        lambda p: 10 / p, lambda p: 1 / np.log(p), lambda p: 0.9 + p / 1e7, lambda p: 0.85 + p / 1e7
    )  # fmt: skip
    assert (decided["a"], decided["b"]) == ("supported", "supported")


def test_networks_that_lose_from_every_parameter_contradict_all():
    decided = verdicts(lambda p: p / 1e6, lambda p: p / 1e6, lambda p: 0.99 - p / 1e7, lambda p: 0.99 - p / 1e7)
    assert decided == {"a": "contradicted", "b": "contradicted", "c": "undecided"}


@pytest.mark.parametrize(
    ("loss", "accuracy", "words"),
    [
        (lambda p: 1e6 / p, lambda p: 0.9 + p / 2e7,
         "Test loss is lowest with 952,410 parameters (median 1.05), test accuracy is highest with 952,410 (94.8 %)."),
        (lambda p: 0.5 if p == 8_280 else 1.0, lambda p: 0.91 if p == 3_270 else 0.9,
         "Test loss is lowest with 8,280 parameters (median 0.500; 1.00 with 952,410), test accuracy is highest with "
         "3,270 (91.0 %)."),
    ],
)  # fmt: skip
def test_the_best_network_is_named(loss, accuracy, words):
    whole = made(loss, loss, accuracy, accuracy)["main"].to_dataset()
    assert FULL.by_parameters(whole)[1] == words


def on_few_images(heights):
    """Results on few images in which every member's test loss is 1 % apart from the next one's."""
    members = np.array(heights)[..., None] * np.linspace(1, 1.05, 6)
    axes = ("label_noise", "hidden", "member")
    noise = {"label_noise": [0.0, 0.2], "noise": ("label_noise", ["no label noise", "20 % label noise"])}
    sizes = {"hidden": [2, 10, 30, 120], "parameters": ("hidden", [1_600, 8_000, 24_000, 95_000])}
    both = np.stack([members, members])
    return xr.Dataset(
        {"loss": (("split", *axes), both, KNOWN["loss"]), "accuracy": (("split", *axes), both / 10, KNOWN["accuracy"])},
        {**noise, **sizes, "split": ["train", "test"], "member": range(6), "examples": ("split", [300, 1_000]),
         "classes": 10},
    )  # fmt: skip


def test_a_second_descent_is_named_where_every_network_has_it():
    falls, peak = [2.0, 1.5, 1.2, 1.1], [2.0, 1.0, 1.5, 1.2]
    assert FULL.few_images(on_few_images([falls, peak]))[1] == (
        "On 300 images every network's test loss rises again, to 1.54 at 24,000 parameters (20 % label noise), then "
        "falls."
    )
    some = on_few_images([falls, peak])
    some["loss"].loc[{"label_noise": 0.2, "hidden": 120, "member": 2}] = 9.0
    assert FULL.few_images(some)[1] == (
        "On 300 images the networks share no second descent; test loss is lowest with 95,000 parameters (no label "
        "noise) and 8,000 or 95,000 (20 % label noise)."  # the member at 9 widens the interval of its network
    )


def test_the_interpolation_threshold_is_the_smallest_network_of_which_every_member_fits_its_labels():
    few = on_few_images([[2.0, 1.5, 1.2, 1.1]] * 2)
    accuracy = few["accuracy"].sel(split="train")
    accuracy[:] = 1.0
    accuracy.loc[{"hidden": 2}] = 0.5
    accuracy.loc[{"label_noise": 0.2, "hidden": 10, "member": 4}] = 0.998
    panels = FULL.few_images(few)[0]
    assert len(panels) == 4
    for panel in (panels[0], *panels[2:]):
        drawn = panel.chart.to_dict()
        marked = [row for rows in drawn["datasets"].values() for row in rows if row.get("label")]
        assert {(row["label"], row["x"]) for row in marked} == {
            ("interpolation, no label noise", 8_000), ("interpolation, 20 % label noise", 24_000)
        }  # fmt: skip


def test_a_gap_that_grows_is_measured_over_all_networks():
    decided = verdicts(lambda p: 0.1, lambda p: 0.1 + np.log(p), lambda p: 0.9, lambda p: 0.8)
    assert decided["c"] == "supported"


def test_the_full_preset_is_the_protocols():
    assert COUNTS == [1_645, 3_270, 8_280, 16_640, 40_785, 84_060, 178_110, 396_210, 654_310, 952_410]
    assert (FULL.batch_size, FULL.epochs, FULL.members) == (50, 50, 10)
    assert FULL.hidden == (2, 5, 10, 20, 30, 40, 50, 60, 80, 120, 250, 500)
    assert (FULL.few_examples, FULL.label_noise, FULL.few_members, FULL.few_epochs) == (4_000, (0.0, 0.2), 6, 400)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return bm.run_study(Capacity, preset="smoke", out=tmp_path_factory.mktemp("capacity"))


def test_results_have_what_the_schema_promises(run):
    main = run.results["main"].to_dataset()
    for name in ("loss", "accuracy"):
        assert main[name].dims == ("network", "split", "member"), name
        assert main[name].notnull().all(), name
        assert {"long_name", "units", "scale"} <= main[name].attrs.keys()
    assert main["split"].values.tolist() == ["train", "test"]
    few = run.results["regime"]
    assert set(few["loss"].dims) == {"label_noise", "hidden", "split", "member"}
    assert "network" not in few.coords
    assert few["label_noise"].values.tolist() == [0.0, 0.2]


def test_a_share_of_the_labels_is_drawn_at_random():
    noisy = Capacity.preset("smoke").planned.ensembles[-1].config
    changed = (noisy.targets(range(4)) != noisy.data.train.targets).double().mean(1)
    assert (changed <= 0.2).all()
    assert (changed > 0.1).all()  # a tenth of the draws are the true label again


def test_its_figures_are_numbered(run):
    assert [one.number for one in run.figures] == [(13, 14), None]


def test_shares_of_labels_are_shares(tmp_path):
    with pytest.raises(InputError, match="label_noise"):
        bm.run_study(Capacity, preset="smoke", out=tmp_path, label_noise=(2.0,))
