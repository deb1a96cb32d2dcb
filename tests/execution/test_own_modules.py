"""Studies in files with modules of one's own next to them: found in every process, and never mistaken for others."""

import importlib
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from bathymetry.core.errors import InputError
from bathymetry.execution.jobs import train_chunk
from bathymetry.execution.study_run import run_study
from bathymetry.execution.work import compare
from bathymetry.studies import find

STUDY = '''
import torch

import bathymetry as bm
from own_helper import network

X = torch.linspace(-1, 1, 8)[:, None]

def build():
    import own_layers
    return network(own_layers.WIDTH)

class Own(bm.Study):
    """Does it train?"""

    presets = {"smoke": {"members": 2}}

    def plan(self):
        yield self.ensemble({"n": "a"}, build, data=(X, X), epochs=2)
'''
HELPER = """
from torch import nn

def network(width):
    return nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a study with its modules into a folder; nothing of it stays imported."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)

    def written(folder="one", helper=HELPER):
        (tmp_path / folder).mkdir()
        for name, text in {"study": STUDY, "own_helper": helper, "own_layers": "WIDTH = 4\n"}.items():
            (tmp_path / folder / f"{name}.py").write_text(text)
        return tmp_path / folder / "study.py"

    yield written
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_modules_next_to_a_study_are_found_here_and_in_the_process_that_trains_its_chunks(write, tmp_path):
    study = find(write()).preset("smoke")
    (task,) = compare(tmp_path, study.planned).ensembles
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(train_chunk, study, 0, task.config_hash, range(2), tmp_path / "there").result()
    here = train_chunk(study, 0, task.config_hash, range(2), tmp_path / "here")
    assert there.record.drop_attrs().identical(here.record.drop_attrs())


def test_a_module_of_another_study_is_not_taken_for_the_one_next_to_this(write):
    find(write("one"))
    with pytest.raises(InputError, match=r"another module own_helper was imported before \(.*one.own_helper.py\)"):
        find(write("two"))


def test_a_chunk_is_not_stored_under_the_name_of_code_that_was_edited_since(write, tmp_path):
    path = write()
    study = find(path)
    importlib.import_module("own_helper")
    (path.parent / "own_helper.py").write_text(HELPER.replace("Tanh", "ReLU"))
    with pytest.raises(InputError, match="its file changed after it was imported"):
        run_study(study, preset="smoke", out=tmp_path / "out")
    assert not list(tmp_path.rglob("*.safetensors"))
