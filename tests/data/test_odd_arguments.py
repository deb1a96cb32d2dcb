"""Arguments of another kind are answered in one sentence, wherever data and networks are made."""

import pytest

import bathymetry as bm
from bathymetry.core.errors import InputError

COS = bm.data.function("cos", samples=20)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bm.load(3), "data = 3: give one of auto"),
        (lambda: bm.load("strokes", seed="a"), "seed = a"),
        (lambda: bm.data.function("cos", low="a"), "low = a"),
        (lambda: bm.data.function("cos", samples=2.5), "samples = 2.5"),
        (lambda: bm.data.function("cos", test_samples=True), "test_samples = True"),
        (lambda: bm.data.function("cos", seed="a"), "seed = a"),
        (lambda: bm.data.subset("cos", 3), "data = str"),
        (lambda: bm.data.subset(COS, train="a"), "train_examples = a"),
        (lambda: bm.data.subset(COS, test=2.5), "test_examples = 2.5"),
        (lambda: bm.mlp(3), "widths = 3"),
        (lambda: bm.mlp([3, 2.5]), r"widths = \(3, 2\.5\)"),
        (lambda: bm.fit_budget("a", inputs=1, outputs=1, hidden_layers=1), "parameters = a"),
        (lambda: bm.fit_budget(90, inputs=1, outputs=1, hidden_layers=1.5), "hidden_layers = 1.5"),
    ],
)
def test_what_is_of_another_kind_is_named(make, words, unchecked):
    with pytest.raises(InputError, match=words):
        make()


def test_a_path_will_do_for_a_name(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is missing there"):
        bm.load(tmp_path / "empty")
