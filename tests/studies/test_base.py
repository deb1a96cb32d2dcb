"""A study is a class: its fields, its presets, how it travels, and what it refuses."""

import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from pydantic import Field

import bathymetry as bm
from bathymetry.charts import attrs
from bathymetry.claims import median_sign
from bathymetry.core.errors import InputError, StorageError
from bathymetry.data.datasets import read_once
from bathymetry.execution.jobs import train_chunk
from bathymetry.execution.study_run import run_study
from bathymetry.execution.work import compare
from bathymetry.studies import ImageStudy, find
from bathymetry.studies.arrays import listed, means, slopes
from bathymetry.studies.catalogue import SHIPPED

OWN = Path(__file__).parents[1] / "execution" / "own_study.py"
ROOT = Path(__file__).parents[2]


def tutorial(folder):
    text = (ROOT / "docs" / "tutorials" / "your-own-study.md").read_text(encoding="utf-8")
    path = folder / "learning_rate.py"
    path.write_text(text.partition('```python title="learning_rate.py"\n')[2].partition("```")[0], encoding="utf-8")
    return path


class TwoWords(bm.Study):
    """Is it named?

    It is, and
    described.
    """

    presets = {"smoke": {"epochs": 2}}
    variables = {"gap": attrs("the gap", "log"), "few/gap": attrs("the gap of few")}
    epochs: int = Field(5, gt=0)


def test_the_name_follows_from_the_class_and_question_and_text_from_its_docstring():
    assert (TwoWords.name, TwoWords.question, TwoWords.about) == ("two-words", "Is it named?", "It is, and described.")


def test_an_instance_is_a_set_of_settings_and_a_copy_with_changes_is_validated():
    study = TwoWords.preset("smoke", members=7)
    assert (study.epochs, study.members) == (2, 7)
    assert study.model_copy(update={"epochs": 9}) == TwoWords(epochs=9, members=7)
    with pytest.raises(InputError, match=r"^epochs = 0: expected a whole number, at least 1\.$"):
        study.model_copy(update={"epochs": 0})


@pytest.mark.parametrize("make", [TwoWords, TwoWords.preset, lambda **changes: bm.run_study(TwoWords(), **changes)])
def test_a_wrong_setting_is_one_sentence_wherever_it_is_given(make):
    with pytest.raises(InputError, match=r"^epochs = -3: expected a whole number, at least 1\.$"):
        make(epochs=-3)
    with pytest.raises(InputError, match=r"^epocs = 3: there is no such field; did you mean epochs\? expected one of"):
        make(epocs=3)


def test_a_copy_with_other_settings_keeps_no_data_of_the_old_ones():
    study = ImageStudy.preset("full", data="digits", train_examples=100)
    assert len(study.examples.train) == 100
    assert len(study.model_copy(update={"train_examples": 50}).examples.train) == 50


@pytest.mark.filterwarnings("ignore:Field name")
def test_a_setting_and_a_method_of_one_name_are_refused():
    with pytest.raises(TypeError, match=r"Bad\.epochs is a setting and a method"):

        class Bad(bm.Study):
            epochs: int = 5

            def epochs(self):  # noqa: F811
                return 3

    with pytest.raises(TypeError, match=r"Worse\.ensemble is a setting here and a method of a base class"):

        class Worse(bm.Study):
            ensemble: int = 5

    with pytest.raises(TypeError, match=r"Worst\.examples is a setting here and a method of a base class"):

        class Worst(ImageStudy):
            examples: int = 5


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: None, "build = a function that returns a NoneType: expected one that makes an nn.Module"),
        (lambda: 1 / 0, r"build = <lambda>: it fails when it is called without arguments \(division by zero\)"),
    ],
)
def test_a_function_that_makes_no_network_is_refused_in_one_sentence(build, expected, tmp_path):
    class Broken(bm.Study):
        """Is it refused?"""

        presets = {"smoke": {}}

        def plan(self):
            yield self.ensemble({}, build, data=bm.data.function("cos", samples=4), epochs=1)

    with pytest.raises(InputError, match=expected):
        bm.run_study(Broken(members=2), out=tmp_path)


def test_attributes_say_what_each_variable_is_and_a_group_may_say_it_otherwise():
    groups = {name: xr.Dataset({"gap": ("member", [1.0]), "loss": ("member", [2.0])}) for name in ("main", "few")}
    described = TwoWords().described(groups)
    assert described["main"]["gap"].attrs == attrs("the gap", "log")
    assert described["few"]["gap"].attrs["long_name"] == "the gap of few"
    assert described["main"]["loss"].attrs["scale"] == "log"


def test_a_study_is_pickled_as_its_place_and_its_settings_without_its_data():
    study = ImageStudy.preset("full", data="digits")
    assert len(study.examples.train) > 1000
    assert len(pickle.dumps(study)) < 1000
    assert pickle.loads(pickle.dumps(study)) == study


def test_the_study_of_the_tutorial_trains_the_same_chunk_in_a_spawned_process(tmp_path):
    study = find(tutorial(tmp_path)).preset("smoke", members=3, epochs=3)
    (first, second), _ = (compare(tmp_path, study.planned).ensembles, None)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        there = pool.submit(train_chunk, study, 0, first.config_hash, range(3), tmp_path / "there").result()
    here = train_chunk(study, 0, first.config_hash, range(3), tmp_path / "here")
    assert there.record.drop_attrs().identical(here.record.drop_attrs())
    with pytest.raises(StorageError, match="code or data differ"):
        train_chunk(study, 0, second.config_hash, range(3), tmp_path / "here")


@pytest.mark.slow
def test_the_study_of_the_tutorial_is_short_and_passes_the_strict_type_checker(tmp_path):
    path = tutorial(tmp_path)
    assert len(path.read_text().splitlines()) <= 35
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", str(path)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout


def test_two_files_of_one_name_are_two_studies(tmp_path):
    for folder, default in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        source = OWN.read_text().replace("Field(20, gt=0", f"Field({default}, gt=0")
        (tmp_path / folder / "own_study.py").write_text(source)
    first, second = (find(tmp_path / folder / "own_study.py") for folder in ("a", "b"))
    assert (first().epochs, second().epochs) == (3, 4)
    assert pickle.loads(pickle.dumps(first())).epochs == 3


def test_what_is_stored_is_judged_and_drawn_without_data(tmp_path):
    run_study("capacity", preset="smoke", out=tmp_path)
    loaded = bm.load_study(tmp_path / "capacity")
    elsewhere = loaded.study.model_copy(update={"data": "/nowhere.npz"})
    assert [one.id for one in elsewhere.judge(loaded.results)] == ["capacity.a", "capacity.b", "capacity.c"]
    assert len(elsewhere.draw(loaded.results)) == 2


def test_a_plan_is_made_once(tmp_path, monkeypatch):
    study, calls = find(OWN), []
    plan = study.plan
    monkeypatch.setattr(study, "plan", lambda self: calls.append(1) or plan(self))
    settings = study.preset("smoke", members=2)
    compare(tmp_path, settings.planned)
    run_study(settings, out=tmp_path)
    assert len(calls) == 1


def test_each_stored_chunk_is_read_once(tmp_path, monkeypatch):
    run_study("interpolation", preset="smoke", out=tmp_path, data="digits", members=2, epochs=1)
    from bathymetry.store import chunks

    read, opened = chunks._unseal, []
    monkeypatch.setattr(chunks, "_unseal", lambda path: opened.append(path) or read(path))
    run_study("interpolation", preset="smoke", out=tmp_path, data="digits", members=2, epochs=1)
    assert len(opened) == len(set(opened)) == len(list(tmp_path.rglob("*.safetensors")))


def test_listing_loads_no_study():
    code = "import sys; from bathymetry.studies.catalogue import entries; entries(); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not any(name in loaded for name in ("'torch'", "'xarray'", "'pydantic'", "bathymetry.studies.capacity"))
    assert SHIPPED["capacity"].question == "Do more parameters generalise better?"


@pytest.mark.parametrize("where", ["json:loads", "json:nothing", "no_such_module:Study"])
def test_an_import_that_is_no_study_is_refused(where):
    with pytest.raises(InputError, match="study = "):
        find(where)


def test_means_have_the_digits_that_their_intervals_support_and_numbers_their_names():
    values = xr.DataArray([[0.31, 0.314, 0.312], [0.01, 0.03, 0.09]], {"network": ["a", "b"]}, ("network", "member"))
    assert means(values, "network") == "0.31 (a) and 0.03 (b)"
    assert listed(values.max("member"), "network") == "0.31 (a) and 0.090 (b)"
    assert listed(values.sum("member"), "network", "{:.1f} %") == "0.9 % (a) and 0.1 % (b)"


def test_the_words_of_a_figure_name_what_there_is_one_of_for_each():
    first = find("depth-function").figures()[0]
    assert first.words == "Figures 1 and 2: Training loss on each function"


def test_studies_of_one_run_read_each_data_set_once(monkeypatch):
    names, load = [], bm.load
    monkeypatch.setattr("bathymetry.data.datasets.load", lambda name: names.append(name) or load(name))
    with read_once():
        for name in ("capacity", "depth-classification", "capacity"):
            assert len(find(name).preset("smoke", data="digits").examples.train) == 1500
    assert names == ["digits"]


def test_the_docstring_of_a_figure_says_how_to_read_it():
    class Own(bm.Study):
        """What is drawn?"""

        @bm.figure("One")
        def one(self, r):
            """Each dot is
            one member.
            """

        @bm.figure("Other", reading="As said.")
        def other(self, r):
            """Something else."""

        @bm.figure("None")
        def nothing(self, r):
            pass

    assert [one.reading for one in Own.figures()] == ["Each dot is one member.", "As said.", ""]


class Faulty(bm.Study):
    """Which method is at fault?"""

    mistake: str = ""

    def plan(self):
        x = torch.linspace(-1, 1, 8)[:, None]
        wrong = {"optimiser": bm.SGD(lr=0.1)} if self.mistake == "field" else {}
        for _ in range(2 if self.mistake == "coordinates" else 1):
            yield self.ensemble({"net": "a"}, bm.MLPConfig((1, 2, 1)), data=(x, x), epochs=1, **wrong)

    @bm.claim("It has members.", median_sign("loss"))
    def a(self, r):
        return (
            r["loss"].sel(split="train").isel(epoch=-1, member=0) if self.mistake == "claim" else r["loss"][0, ..., -1]
        )

    @bm.figure("Loss")
    def loss(self, r):
        panels = bm.charts.lines(r["loss"].sel(split="train"), "epoch", "net")
        return panels if self.mistake == "figure" else (panels, "A sentence.")


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("field", r"optimiser = .*: did you mean optimizer\? expected a field of TrainingConfig\."),
        ("coordinates", r"faulty\.plan = 2 ensembles at \{'net': 'a'\}: expected different coordinates"),
        ("claim", r"faulty\.a: evidence = axes \('net',\): expected the axis 'member'"),
        ("figure", r"faulty\.loss: figure = list: expected \(panels, sentence\)"),
    ],
)
def test_a_mistake_in_a_study_is_named_with_its_method(mistake, words, tmp_path):
    def judge_and_draw():
        run = bm.run_study(Faulty.preset("full", members=2, mistake=mistake), out=tmp_path)
        return run.claims, run.figures

    with pytest.raises(InputError, match=f"^{words}"):
        judge_and_draw()


def test_a_slope_says_what_it_means_for_twice_the_parameters():
    parameters = xr.DataArray([100, 200, 400, 800], dims="network")
    factors = xr.DataArray(np.linspace(0.98, 1.02, 6), dims="member")
    loss = xr.DataArray(0.7 ** np.arange(4.0), dims="network") * factors
    by = {
        "log loss": (np.log(loss), "−30 % per doubling"),
        "logit accuracy": (-np.log(loss), "odds × 1.43 per doubling"),
        "gap": (xr.DataArray([0.1, 0.2, 0.3, 0.4], dims="network") * factors, "+0.1 per doubling"),
    }
    for name, (values, expected) in by.items():
        (part,) = bm.claims.median_sign("slopes")(slopes(values.assign_attrs(long_name=name), parameters))
        assert part.effect.startswith(expected.partition(" per")[0])
        assert part.effect.endswith("per doubling")
