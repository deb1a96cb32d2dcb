"""Folders of the first version: results are made again from their chunks, or said to be outdated."""

import json

import pytest
import xarray as xr

import bathymetry as bm
from bathymetry.core.identity import digest
from bathymetry.report.publishing import publish
from bathymetry.store.results import OutdatedError, read_results

SMALL = {"data": "digits", "train_examples": 100, "test_examples": 50, "few_examples": 50, "epochs": 1, "few_epochs": 1}


@pytest.fixture
def out(tmp_path):
    """A folder whose result has the first version's schema."""
    run = bm.run_study("capacity", preset="smoke", out=tmp_path, members=2, **SMALL)
    publish(tmp_path)
    path = tmp_path / "capacity" / "result.nc"
    old = xr.Dataset({"train_loss": run.results["main/loss"].sel(split="train", drop=True)})
    tree = xr.DataTree(old.drop_vars("examples", errors="ignore"))
    attributes = {name: json.dumps(value) for name, value in run.results.attrs.items()}
    tree.attrs = {"schema_version": 1, **attributes}
    content = bytes(tree.to_netcdf(engine="h5netcdf"))
    path.write_bytes(content + b"\nbathymetry digest " + digest(content).encode())
    return tmp_path


def test_reading_a_result_of_the_first_version_says_in_one_sentence_what_to_do(out):
    with pytest.raises(OutdatedError, match=r"by an earlier version of Bathymetry: run the study again"):
        bm.load_study(out / "capacity")


def test_a_page_puts_it_together_again_from_its_chunks(out, monkeypatch):
    monkeypatch.setattr("bathymetry.report.figure_files.begin", lambda *_: [])
    page, claims = publish(out)
    assert [one.id for one in claims] == ["capacity.a", "capacity.b", "capacity.c"]
    assert "rebuilt from the stored chunks" in page.read_text(encoding="utf-8")
    assert read_results(out / "capacity" / "result.nc")["main/loss"].dims == ("network", "split", "member")


def test_without_its_chunks_the_page_before_is_shown(out):
    for path in out.rglob("*.safetensors"):
        path.unlink()
    page, claims = publish(out)
    assert [one.id for one in claims] == ["capacity.a", "capacity.b", "capacity.c"]
    assert "by an earlier version of Bathymetry: run the study again." in page.read_text(encoding="utf-8")
