"""Read a folder with one reader, and compare with the twenty runs that every tool writes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np

from bathymetry.runs.run import Layout
from runs import fixture

FILES = Path(__file__).parent / "files"


def snapshot(folder):
    """Every file below a folder with its digest and the time of its last change."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) for path in files}


def read(reader, path, layout=None):
    """Every run that a reader finds below a folder or in a file, where it writes nothing."""
    folder = path if path.is_dir() else path.parent
    before = snapshot(folder)
    files = list(before) if path.is_dir() else [path]
    try:
        return [run for unit in reader.units(folder, files) for run in reader.read(unit, layout or Layout())]
    finally:
        assert snapshot(folder) == before


def expect_fixture(runs, names=None, more=frozenset()):
    """The runs have exactly the settings and metrics of the fixture, but for other metrics that a tool adds."""
    expected = {name: (config, metrics) for name, config, metrics in fixture.runs() if names is None or name in names}
    by_name = {f"{run.config['optimizer']}-{run.config['seed']}": run for run in runs}
    assert sorted(by_name) == sorted(expected)
    assert len(runs) == len(expected)
    for name, (config, metrics) in expected.items():
        run = by_name[name]
        assert {key: run.config[key] for key in config} == config
        assert set(run.metrics) - more == set(metrics)
        for metric, values in metrics.items():
            np.testing.assert_array_equal(run.metrics[metric].step, list(fixture.STEPS))
            np.testing.assert_array_equal(run.metrics[metric].value, values)


def expect_whole_fixture(runs, status="finished"):
    """As above, with the types of all settings, and nothing to note."""
    expect_fixture(runs)
    types = {key: type(value) for key, value in fixture.config("adam", 0).items()}
    for run in runs:
        assert {key: type(run.config[key]) for key in types} == types
        assert (run.status, run.notes) == (status, ())
    assert len({run.id for run in runs}) == len(runs)


def write_anew(tool, folder):
    """Write the fixture with the tool in a process of its own; return the folder."""
    script = Path(__file__).parent / "write_fixtures.py"
    done = subprocess.run([sys.executable, script, tool, folder], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def one_run(reader, folder):
    (run,) = read(reader, folder)
    return run


def rows(run, metric):
    """The values of a metric by their steps."""
    return dict(zip(run.metrics[metric].step, run.metrics[metric].value, strict=True))
