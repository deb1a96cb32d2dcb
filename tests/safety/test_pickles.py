"""No pickle is read from a file: one whose loading would leave a mark is put into every kind of file that is read."""

import contextlib
import gzip
import io
import json
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

import bathymetry as bm
from bathymetry.core.errors import BathymetryError
from bathymetry.report.publishing import publish
from bathymetry.runs import settings
from bathymetry.store import yaml_files
from bathymetry.store.chunks import checkpoint_path, chunk_path, read_checkpoint, read_chunk
from bathymetry.store.results import read_results
from bathymetry.sweeps.reading import read_file
from bathymetry.training import load_trained
from data import files
from safety.conftest import SMALL
from safety.test_data_files import npy
from store.test_results import sealed


class Mark:
    """Unpickled, it makes a file."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def planted(place):
    """Contents that the loaders of other libraries would unpickle."""
    mark = Mark(place)
    objects, torchs = np.array([mark] * 6, dtype=object), io.BytesIO()
    torch.save({"state": mark}, torchs)
    names = ("x_train", "y_train", "x_test", "y_test")
    netcdf = io.BytesIO()
    with h5py.File(netcdf, "w") as file:
        file.attrs["_pickle"] = np.void(pickle.dumps(mark))
        file.attrs["schema_version"] = np.void(pickle.dumps(mark))
        file.create_dataset("main/loss", data=np.frombuffer(pickle.dumps(mark), np.uint8))
    return {
        "pickle": pickle.dumps(mark),
        "pickle in gzip": gzip.compress(pickle.dumps(mark)),
        "npy of objects": npy(objects),
        "npz of objects": zipped({f"{name}.npy": npy(objects) for name in names}),
        "npz with pickles as members": zipped({f"{name}.npy": pickle.dumps(mark) for name in names}),
        "file of torch.save": torchs.getvalue(),
        "results with pickles under a right digest": sealed(netcdf.getvalue()),
        "JSON that names a pickle": json.dumps({"py/reduce": ["os.mkdir", [str(place)]]}).encode(),
        "YAML tag": f"!!python/object/apply:os.mkdir ['{place}']".encode(),
    }


NAME = "0" * 32
CONTENTS = list(planted(Path("mark")))


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_planted_pickle_does_what_it_should_not_where_it_is_loaded(tmp_path, kind):
    """Else the tests below would show nothing."""
    content = planted(tmp_path / "mark")[kind]
    loaders = {
        "pickle": lambda: pickle.loads(content),
        "pickle in gzip": lambda: pickle.loads(gzip.decompress(content)),
        "npy of objects": lambda: np.load(io.BytesIO(content), allow_pickle=True),
        "npz of objects": lambda: np.load(io.BytesIO(content), allow_pickle=True)["x_train"],
        "npz with pickles as members": lambda: pickle.loads(zipfile.ZipFile(io.BytesIO(content)).read("x_train.npy")),
        "file of torch.save": lambda: torch.load(io.BytesIO(content), weights_only=False),
        "results with pickles under a right digest": lambda: pickle.loads(
            h5py.File(io.BytesIO(content))["main/loss"][:].tobytes()
        ),
    }
    if kind not in loaders:
        pytest.skip("loading it is not part of any library that is installed for the tests")
    loaders[kind]()
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", CONTENTS)
def test_no_file_of_data_networks_or_results_is_unpickled(tmp_path, kind):
    content = planted(tmp_path / "mark")[kind]
    folder = files.write(tmp_path / "mine")
    chunk = chunk_path(tmp_path, NAME, range(3))
    chunk.parent.mkdir(parents=True)
    readers = {
        tmp_path / "own.npz": lambda: bm.load(tmp_path / "own.npz"),
        **{folder / name: lambda: bm.load(folder) for name in files.NAMES},
        chunk: lambda: read_chunk(chunk),
        checkpoint_path(chunk): lambda: read_checkpoint(checkpoint_path(chunk)),
        tmp_path / "trained": lambda: load_trained(tmp_path / "trained"),
        tmp_path / "spec.yaml": lambda: read_file(tmp_path / "spec.yaml"),
        tmp_path / "result.nc": lambda: read_results(tmp_path / "result.nc", earlier=True),
    }
    for path, read in readers.items():
        path.write_bytes(content)
        with contextlib.suppress(BathymetryError):
            read()
        path.unlink()
        assert not (tmp_path / "mark").exists(), path


SLOW = [one if one in ("pickle", "npz of objects") else pytest.param(one, marks=pytest.mark.slow) for one in CONTENTS]


@pytest.mark.parametrize("kind", SLOW)
def test_no_file_of_an_output_folder_is_unpickled(tmp_path, made, undrawn, kind):
    content = planted(tmp_path / "mark")[kind]
    paths = [one.relative_to(made) for one in made.rglob("*") if one.is_file() and not one.name.endswith("lock")]
    assert {"claims.json", "provenance.json", "bathymetry.json"} <= {path.name for path in paths}
    shutil.copytree(made, tmp_path / "out")
    for path in paths:  # all at once: what can't be read leads to what else there is
        (tmp_path / "out" / path).write_bytes(content)
    with contextlib.suppress(BathymetryError):
        publish(tmp_path / "out")
    with contextlib.suppress(BathymetryError):
        bm.load_study(tmp_path / "out" / "depth-function")
    bm.run_study("depth-function", preset="smoke", out=tmp_path / "out", **SMALL)
    assert not (tmp_path / "mark").exists()


def test_no_line_of_the_program_unpickles_or_evaluates_text():
    """Pickles travel between this program's own processes, in memory; a file is read as numbers and JSON alone."""
    loads = (
        r"\bpickle\.loads?\(|(?<!safetensors\.)\b(np|numpy|torch)\.load\(|\bjoblib\b|\bshelve\b|\bmarshal\b|\bdill\b"
    )
    texts = r"\byaml\.(load\((?!content, _Loader\))|unsafe_load|full_load)|(?<![.\w])(eval|exec)\("
    forbidden = re.compile(rf"{loads}|{texts}|allow_pickle=True|\bos\.system\(|shell=True")
    source = Path(bm.__file__).parent
    found = [
        f"{path.relative_to(source)}: {line.strip()}"
        for path in sorted(source.rglob("*.py"))
        for line in path.read_text("utf-8").splitlines()
        if forbidden.search(line)
    ]
    assert found == []
    assert all(issubclass(one._Loader, yaml.SafeLoader) for one in (settings, yaml_files))
