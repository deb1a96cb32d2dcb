import numpy as np
import xarray as xr

import bathymetry as bm
from bathymetry.execution.assemble import assemble
from bathymetry.studies import JointMeasurement
from bathymetry.studies.base import PlannedEnsemble


def record(value, members=2, epochs=2):
    values = np.full((members, epochs), float(value))
    return xr.Dataset({"norm": (("member", "epoch"), values)}, {"member": range(members), "epoch": range(epochs)})


def placed(coordinates, value, group="main"):
    return JointMeasurement(coordinates, (), len, group), record(value)


def test_records_stand_along_their_coordinates_in_the_order_of_the_plan():
    groups = assemble(
        placed({"function": f, "network": n}, 10 * i + j)
        for i, f in enumerate(("sin", "cos"))
        for j, n in enumerate(("wide", "deep", "a"))
    )
    norm = groups["main"]["norm"]
    assert norm.dims == ("function", "network", "member", "epoch")
    assert norm["function"].values.tolist() == ["sin", "cos"]
    assert norm["network"].values.tolist() == ["wide", "deep", "a"]
    assert norm.sel(function="cos", network="deep").values.tolist() == [[11, 11], [11, 11]]


def test_what_was_not_planned_is_nan_and_moves_nothing():
    groups = assemble([
        placed({"a": "z", "b": "y"}, 1),
        placed({"a": "z", "b": "x"}, 2),
        placed({"a": "k", "b": "x"}, 3),
    ])  # fmt: skip
    norm = groups["main"]["norm"]
    assert norm["b"].values.tolist() == ["y", "x"]
    assert norm.sel(a="k", b="y").isnull().all()
    assert (norm.sel(a="k", b="x") == 3).all()


def test_groups_are_siblings_with_axes_of_their_own():
    groups = assemble([placed({}, 1), placed({"images": 500}, 2, "grid"), placed({"images": 1000}, 3, "grid")])
    assert groups["main"]["norm"].dims == ("member", "epoch")
    assert groups["grid"]["norm"].sel(images=1000).values.tolist() == [[3, 3], [3, 3]]
    tree = xr.DataTree.from_dict(groups)
    assert "images" not in tree["main"].to_dataset().coords


def test_sets_of_examples_are_one_axis_that_knows_how_many_there_are():
    data = bm.data.function("sin", samples=20)
    few = bm.Examples(data.x_test[:7], data.y_test[:7])
    planned = [
        PlannedEnsemble(
            {"network": name}, bm.TrainingConfig(bm.MLPConfig((1, 2, 1)), data, epochs=1, evaluate_on=sets), range(2)
        )
        for name, sets in (("a", {"train": data.train, "few": few}), ("b", {"train": data.train, "few": few}))
    ]
    record = bm.train(planned[0].config, members=2).record
    loss = assemble([(one, record) for one in planned])["main"]["loss"]
    assert loss.dims == ("network", "split", "member", "epoch")
    assert loss["split"].values.tolist() == ["train", "few"]
    assert loss["examples"].values.tolist() == [20, 7]


def test_a_group_of_ensembles_with_other_examples_does_not_say_how_many_there_are():
    planned = []
    for samples in (10, 20):
        data = bm.data.function("sin", samples=samples)
        config = bm.TrainingConfig(bm.MLPConfig((1, 2, 1)), data, epochs=1)
        planned.append((PlannedEnsemble({"samples": samples}, config, range(2)), bm.train(config, members=2).record))
    assert "examples" not in assemble(planned)["main"].coords


def test_a_measurement_may_have_the_axis_split_of_its_own():
    two = xr.Dataset({"loss": (("split", "member"), np.ones((2, 3)))}, {"split": ["train", "test"], "member": range(3)})
    loss = assemble([(JointMeasurement({"pairing": "shared"}, (), len), two)])["main"]["loss"]
    assert loss.dims == ("pairing", "split", "member")
    assert "examples" not in loss.coords
