import re

import numpy as np
import pytest
import torch

from bathymetry.core.errors import InputError
from bathymetry.studies import find
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.settings import PRESETS

STUDIES = [find(name) for name in SHIPPED]
DEPTH = find("depth-function")
IMAGES = find("depth-classification")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_every_preset_of_every_study_is_valid_and_can_be_written_down(study, preset):
    settings = study.preset(preset)
    assert type(settings).model_validate(settings.model_dump(mode="json")) == settings
    assert settings.members >= 6


def test_full_has_the_protocols_settings():
    full = DEPTH.preset("full")
    assert (full.members, full.epochs, full.samples, full.learning_rate) == (10, 1500, 1000, 1e-3)
    assert (full.low, full.high, full.functions) == (-10.0, 10.0, ("cos", "arcsinh"))
    assert full.networks == ((250,), (32, 16, 9), (24, 16, 10, 8, 4))
    images = IMAGES.preset("full")
    assert (images.members, images.epochs, images.batch_size, images.train_examples) == (10, 120, 50, None)
    assert images.networks == ((30,), (25, 60, 38), (20, 40, 60, 50, 30))


def test_values_may_be_typed_as_text():
    settings = DEPTH.preset("quick", networks=("250", "32,16,9"), epochs="200", learning_rate="0.003")
    assert settings.networks == ((250,), (32, 16, 9))
    assert (settings.epochs, settings.learning_rate, settings.members) == (200, 0.003, 6)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"members": 0}, "members = 0: expected a whole number, at least 1."),
        ({"members": "many"}, "members = many: expected a whole number."),
        ({"seed": -1}, "seed = -1: expected at least 0."),
        ({"device": "tpu"}, "device = tpu: expected cpu or cuda."),
        ({"learning_rate": float("nan")}, "learning_rate = nan: expected"),
        ({"learning_rate": -1}, "learning_rate = -1: expected a number above 0."),
        ({"functions": ()}, "functions = (): expected at least 1 function."),
        ({"networks": ((),)}, "networks = (): expected at least 1 hidden width."),
        ({"functions": ("cos", "cos")}, "name each only once"),
        ({"networks": ("250,0",)}, "expected a whole number, at least 1"),
        ({"low": 10, "high": 10}, "low = 10: expected less than high, 10."),
        ({"networks": ("10 18 15 4",)}, "networks = 10 18 15 4: separate widths by commas, such as 10,18,15,4."),
        ({"networks": ("10-18",)}, "networks = 10-18: separate widths by commas, such as 10,18."),
        ({"networks": ("10;18", "3")}, "such as 10,18."),
        ({"networks": ("[10, 18]",)}, "such as 10,18."),
        ({"networks": ("10,18,",)}, "such as 10,18."),
        ({"networks": ("-3",)}, "networks = -3: expected a whole number, at least 1."),
        ({"networks": ("1e3",)}, "networks = 1e3: expected a whole number."),
        ({"networks": ("99999999999999999999",)}, "expected at most 100,000."),
        ({"networks": ("250", "250")}, "name each only once"),
        ({"networks": ("10,18", "10, 18")}, "name each only once"),
        ({"networks": "250"}, "networks = 250: expected a tuple or list of values."),
        ({"networks": (True,)}, "networks = True: expected"),
        ({"networks": (",".join(["2"] * 1001),)}, "expected at most 1,000 hidden widths"),
        ({"functions": "cos"}, "functions = cos: expected a tuple or list of values."),
        ({"functions": (3,)}, "functions = 3: expected text."),
        ({"epochs": 10**20}, "epochs = 100000000000000000000: expected at most 1,000,000,000."),
        ({"epochs": "9" * 5000}, "expected a whole number of fewer digits."),
        ({"epochs": True}, "epochs = True: expected a number"),
        ({"epochs": "1e400"}, "epochs = 1e400: expected a whole number."),
        ({"samples": 2.5}, "samples = 2.5: expected a whole number."),
        ({"seed": 2**63}, "seed = 9223372036854775808: expected at most 9,223,372,036,854,775,807."),
        ({"learning_rate": "1e400"}, "learning_rate = 1e400: expected a finite number."),
        ({"device": "cpu\ncuda"}, "device = cpu\\ncuda: expected cpu or cuda."),
        ({"members": ""}, "members = '': expected a whole number."),
        ({"member": 3}, "member = 3: there is no such field; did you mean members? expected one of"),
        ({"depth": 3}, "depth = 3: there is no such field; expected one of members, seed"),
    ],
)
def test_bad_values_are_answered_with_one_sentence(fields, words):
    with pytest.raises(InputError) as caught:
        DEPTH.preset("quick", **fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="full, quick or smoke"):
        DEPTH.preset("enormous")


def test_text_is_hashed_to_the_seed_that_b2sum_gives_and_whole_numbers_stay():
    """`printf anna | b2sum -l 40`, read as one number."""
    assert DEPTH(seed="anna").seed == DEPTH(seed=" anna\n", data_seed="anna").data_seed == 0x8925A7A69C
    assert DEPTH(seed="12").seed == DEPTH(seed="12.0").seed == 12
    assert DEPTH(seed="Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}").seed == DEPTH(seed="Zoe\N{COMBINING DIAERESIS}").seed
    assert DEPTH(seed="Anna").seed != DEPTH(seed="anna").seed


def first_ensemble(study, **settings):
    return find(study).preset("smoke", **settings).planned.ensembles[-1].config


@pytest.mark.parametrize("study", SHIPPED)
def test_the_seed_is_that_of_the_networks_and_the_data_seed_that_of_examples_and_labels(study):
    usual, networks = first_ensemble(study), first_ensemble(study, seed=7)
    assert (usual.seed, networks.seed) == (0, 7)
    assert networks.data.digest == usual.data.digest
    fewer = {"few_examples": 300} if study == "capacity" else {"train_examples": 600}
    given = fewer if "data" in find(study).model_fields else {}
    drawn = first_ensemble(study, data_seed=7, **given)
    assert drawn.seed == 0
    assert drawn.data.digest != first_ensemble(study, **given).data.digest


@pytest.mark.parametrize("study", ["random-labels", "capacity"])
def test_label_noise_is_that_of_the_data_seed(study):
    drawn = [first_ensemble(study, **seeds).targets(range(2)) for seeds in ({}, {"seed": 7}, {"data_seed": 7})]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


ODD = [None, "", " ", "a\nb", "\x1b[31m", "x" * 5000, "9" * 5000, 10**400, float("nan"), "1e400", [], {}, object(),
       b"1", True, [[[1]]], ("a\nb",), (None,), ("\0",), -1, 0, "-1"]  # fmt: skip


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_any_odd_value_of_any_setting_is_taken_or_answered_in_one_short_line(study):
    for field in study.model_fields:
        for value in ODD:
            said = ""
            try:
                study.preset("smoke", **{field: value})
            except InputError as error:
                said = str(error)
            assert said.isprintable()
            assert len(said) < 500


@pytest.mark.parametrize("functions", [("cos", "cos(x)"), ("x*2", "2*x", "sin"), ("sgn(x)", "sin", "sign(x)")])
def test_one_function_by_two_names_is_refused(functions):
    with pytest.raises(InputError, match=f"it is the same function as {re.escape(functions[0])}; name each only once"):
        list(DEPTH.preset("smoke", functions=functions).plan())


@pytest.mark.parametrize(
    "name", [None, 3, ["capacity"], b"capacity", "a\0b", "a\0b.py", "x" * 5000, "x" * 5000 + ".py"]
)
def test_an_impossible_name_of_a_study_is_answered_in_one_sentence(name):
    with pytest.raises(InputError, match=r"^study = ") as caught:
        find(name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [None, 3, ["full"], np.ones(3), "Full"])
def test_an_impossible_preset_is_answered_with_those_there_are(name):
    with pytest.raises(InputError, match="full, quick or smoke"):
        DEPTH.preset(name)


@pytest.mark.parametrize(
    ("study", "networks", "inner"),
    [("depth-function", ("1,250,1",), "250"), ("depth-classification", ((784, 30, 20, 10),), "30,20")],
)
def test_inputs_and_outputs_among_the_hidden_widths_are_answered_by_the_hidden_ones(study, networks, inner):
    with pytest.raises(InputError, match=f"expected the hidden widths only, such as {inner}"):
        find(study).preset("smoke", networks=networks)


def test_a_constant_function_is_nothing_to_fit():
    study = find("depth-function")
    with pytest.raises(InputError, match="constant on the inputs"):
        list(study.preset("smoke", functions=("5",)).plan())
