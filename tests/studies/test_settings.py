import pytest

from bathymetry.core.errors import InputError
from bathymetry.studies import PRESETS, find, shipped

DEPTH = find("depth-function").settings
IMAGES = find("depth-classification").settings


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("study", shipped(), ids=lambda study: study.name)
def test_every_preset_of_every_study_is_valid_and_can_be_written_down(study, preset):
    settings = study.settings.preset(preset)
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
        ({"members": 0}, "members = 0: give a number above 0."),
        ({"members": "many"}, "members = many: give a whole number."),
        ({"seed": -1}, "seed = -1: give at least 0."),
        ({"device": "tpu"}, "device = tpu: give 'cpu' or 'cuda'."),
        ({"learning_rate": float("nan")}, "learning_rate = nan: give"),
        ({"learning_rate": -1}, "learning_rate = -1: give a number above 0."),
        ({"functions": ()}, "functions = (): give at least 1."),
        ({"functions": ("cos", "cos")}, "name each only once"),
        ({"networks": ("250,0",)}, "give a number above 0"),
        ({"low": 10, "high": 10}, "low = 10 must be below high = 10"),
        ({"depth": 3}, "depth = 3: there is no such field; give one of members, seed"),
    ],
)
def test_bad_values_are_answered_with_one_sentence(fields, words):
    with pytest.raises(InputError) as caught:
        DEPTH.preset("quick", **fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_preset_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="full, quick, smoke"):
        DEPTH.preset("enormous")
