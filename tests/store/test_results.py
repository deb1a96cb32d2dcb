import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bathymetry.core.errors import InputError, StorageError
from bathymetry.store import export, read_results, write_results


def results():
    main = xr.Dataset(
        {
            "train_loss": (("network", "member", "epoch"), np.arange(12.0).reshape(2, 2, 3)),
            "test_loss": (("network", "member", "epoch"), -np.arange(12.0).reshape(2, 2, 3)),
            "epochs_to_fit": (("network", "member"), [[1.0, np.inf], [np.nan, 2.0]]),
            "examples": ((), 7),
        },
        {"network": ["shallow", "deep"], "member": [0, 1], "epoch": [0, 1, 2]},
    )
    tree = xr.DataTree.from_dict({"/": main, "/grid": xr.Dataset({"share": ("images", [0.5])}, {"images": [500]})})
    tree.attrs = {"settings": {"members": 2, "names": ["ü"]}, "study": "made"}
    return tree


def test_results_come_back_with_their_groups_and_attributes(tmp_path):
    write_results(tmp_path / "result.nc", results())
    back = read_results(tmp_path / "result.nc")
    assert back.attrs == results().attrs
    xr.testing.assert_equal(back.to_dataset(), results().to_dataset())
    xr.testing.assert_equal(back["grid"].to_dataset(), results()["grid"].to_dataset())


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", None])
def test_damaged_results_are_said(tmp_path, content):
    path = tmp_path / "result.nc"
    write_results(path, results())
    path.write_bytes(path.read_bytes()[:500] if content is None else content)
    with pytest.raises(StorageError, match="damaged"):
        read_results(path)


def test_missing_results_are_said(tmp_path):
    with pytest.raises(StorageError, match="missing"):
        read_results(tmp_path / "result.nc")


@pytest.mark.parametrize(("kind", "read"), [("csv", pd.read_csv), ("parquet", pd.read_parquet)])
def test_tables_hold_every_number_beside_its_coordinates(tmp_path, kind, read):
    paths = export(results(), tmp_path, kind)
    tables = {path.stem: read(path) for path in paths}
    assert set(tables) == {"network-member-epoch", "network-member", "whole", "grid-images"}
    table = tables["network-member-epoch"].set_index(["network", "member", "epoch"])
    assert table.loc[("deep", 1, 2)].tolist() == [11.0, -11.0]
    assert np.isinf(tables["network-member"]["epochs_to_fit"][1])
    assert tables["whole"]["examples"].tolist() == [7]


def test_an_unknown_kind_of_table_is_refused(tmp_path):
    with pytest.raises(InputError, match="csv, parquet"):
        export(results(), tmp_path, "xls")
