import numpy as np
import xarray as xr

from bathymetry.studies.results import assemble


def record(value, members=2, epochs=2):
    values = np.full((members, epochs), float(value))
    return xr.Dataset({"loss": (("member", "epoch"), values)}, {"member": range(members), "epoch": range(epochs)})


def test_records_stand_along_their_coordinates_in_the_order_of_the_plan():
    placed = [
        ({"function": f, "network": n}, record(10 * i + j))
        for i, f in enumerate(("sin", "cos"))
        for j, n in enumerate(("wide", "deep", "a"))
    ]
    whole = assemble({"": placed}, {"study": "made"})
    loss = whole.to_dataset()["loss"]
    assert loss.dims == ("function", "network", "member", "epoch")
    assert loss["function"].values.tolist() == ["sin", "cos"]
    assert loss["network"].values.tolist() == ["wide", "deep", "a"]
    assert loss.sel(function="cos", network="deep").values.tolist() == [[11, 11], [11, 11]]
    assert whole.attrs == {"study": "made"}


def test_what_was_not_planned_is_nan_and_moves_nothing():
    placed = [({"a": "z", "b": "y"}, record(1)), ({"a": "z", "b": "x"}, record(2)), ({"a": "k", "b": "x"}, record(3))]
    loss = assemble({"": placed}, {}).to_dataset()["loss"]
    assert loss["b"].values.tolist() == ["y", "x"]
    assert loss.sel(a="k", b="y").isnull().all()
    assert (loss.sel(a="k", b="x") == 3).all()


def test_groups_stand_apart():
    tree = assemble({"": [({}, record(1))], "grid": [({"images": 500}, record(2)), ({"images": 1000}, record(3))]}, {})
    assert tree.to_dataset()["loss"].dims == ("member", "epoch")
    assert tree["grid"].to_dataset()["loss"].sel(images=1000).values.tolist() == [[3, 3], [3, 3]]
