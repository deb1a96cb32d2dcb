"""Chunks of one architecture are trained in one stack, each with the numbers and the file that it has alone."""

from collections import Counter
from pathlib import Path

import pytest
import torch
import xarray as xr

import bathymetry as bm
from bathymetry.core.errors import IncompleteError
from bathymetry.execution.work import compare
from bathymetry.store.chunks import chunk_path, read_chunk
from bathymetry.studies import find

STACKED = str(Path(__file__).with_name("stacked_study.py"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in which all points trained in stacks."""
    return bm.run_study(STACKED, preset="smoke", out=tmp_path_factory.mktemp("whole"))


def test_every_chunk_of_a_plan_is_in_one_stack(tmp_path):
    study = find(STACKED).preset("smoke", points=100, members=25)
    jobs = compare(tmp_path, study.planned).jobs(study)
    sizes = [sum(len(part.members) for part in job.parts) for job in jobs]
    assert sum(sizes) == 100 * 25
    assert max(sizes) <= 250
    assert len(jobs) < 15
    assert set(Counter(part.id for job in jobs for part in job.parts).values()) == {1}


def test_a_stacked_chunk_is_the_one_that_its_config_gives_alone(whole):
    for task in compare(whole.out, whole.study.planned).ensembles:
        for members in task.planned_chunks:
            stored = read_chunk(chunk_path(whole.out, task.config_hash, members))
            alone = bm.train(task.config, members=members)
            assert stored.record.identical(alone.record)
            for name, values in alone.parameters.items():
                assert torch.equal(torch.from_numpy(stored.snapshots[30][name]), values)


def test_what_is_stored_of_a_stack_is_not_trained_again(tmp_path, whole):
    bm.run_study(STACKED, preset="smoke", out=tmp_path, points=3)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    run = bm.run_study(STACKED, preset="smoke", out=tmp_path)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    xr.testing.assert_identical(dataset(run), dataset(whole))


def test_a_point_that_fails_is_found_in_its_stack_and_the_others_are_stored(tmp_path, monkeypatch, whole):
    monkeypatch.setenv("FAILING", "5")
    with pytest.raises(IncompleteError, match=r"^\w+ 5, members \d+ to \d+ failed 3 times: ZeroDivisionError"):
        bm.run_study(STACKED, preset="smoke", out=tmp_path)
    missing = [len(task.missing) for task in compare(tmp_path, whole.study.planned).ensembles]
    assert missing == [0, 0, 0, 0, 0, 2, 0, 0]
    assert len(list(tmp_path.rglob("*.failed.json"))) == 2
    monkeypatch.delenv("FAILING")
    xr.testing.assert_identical(dataset(bm.run_study(STACKED, preset="smoke", out=tmp_path)), dataset(whole))
    assert not list(tmp_path.rglob("*.failed.json"))


def dataset(run):
    return run.results["main"].to_dataset().drop_attrs()
