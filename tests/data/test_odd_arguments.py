"""Invalid arguments of functions that make data and networks are refused in one sentence."""

import numpy as np
import pytest
import torch

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.models.mlp import parameter_count

COS = bm.data.function("cos", samples=20)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bm.load(3), "data = 3: expected one of auto"),
        (lambda: bm.load("strokes", seed="a"), "seed = 'a'"),
        (lambda: bm.data.function("cos", low="a"), "low = a"),
        (lambda: bm.data.function("cos", samples=2.5), "samples = 2.5"),
        (lambda: bm.data.function("cos", test_samples=True), "test_samples = True"),
        (lambda: bm.data.function("cos", seed="a"), "seed = 'a'"),
        (lambda: bm.data.subset("cos", 3), "data = cos: expected a data set"),
        (lambda: bm.data.subset(COS, train="a"), "train_examples = 'a'"),
        (lambda: bm.data.subset(COS, test=2.5), "test_examples = 2.5"),
        (lambda: bm.mlp(3), "widths = 3"),
        (lambda: bm.mlp([3, 2.5]), r"widths = \(3, 2\.5\)"),
        (lambda: bm.fit_budget("a", inputs=1, outputs=1, hidden_layers=1), "parameters = 'a'"),
        (lambda: bm.fit_budget(90, inputs=1, outputs=1, hidden_layers=1.5), "hidden_layers = 1.5"),
    ],
)
def test_an_argument_of_another_kind_is_named(make, words, unchecked):
    with pytest.raises(InputError, match=words):
        make()


def test_a_path_is_accepted_as_a_name(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is missing there"):
        bm.load(tmp_path / "empty")


ODD = [
    None, True, -1, 10**9, 10**400, 0.5, float("nan"), float("inf"), "a", "", "a\nb", b"a", int, object(), len,
    [], [1, 2], [0, 1], [1, 10**30], [None, 1], [float("nan"), 1], [1e300, 1], {}, {1: 2},
    range(0), range(-2, 2), range(10**12), range(1, 10**12), COS, bm.mlp([1, 1]),
    np.ones(3), np.array("a"), np.array([{}], dtype=object), torch.ones(3, 2), torch.tensor(1.0),
    torch.ones(3, device="meta"), torch.eye(3).to_sparse(), torch.ones(3, dtype=torch.complex64), torch.tensor([True]),
]  # fmt: skip

EXAMPLES = bm.Examples(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))
CALLS = {
    "load": (bm.load, {"name": "digits", "seed": 0}),
    "function": (
        bm.data.function,
        {"name": "cos", "low": -1.0, "high": 1.0, "samples": 5, "seed": 0, "test_samples": 5},
    ),
    "subset": (bm.data.subset, {"data": COS, "train": 5, "test": 5, "seed": 0}),
    "label_noise": (
        bm.data.label_noise,
        {"labels": torch.tensor([0, 1]), "share": 0.5, "classes": 3, "members": range(2), "seed": 0},
    ),
    "strokes": (bm.data.strokes, {"seed": 0, "train": 1, "test": 1}),
    "fetch": (bm.data.fetch, {"name": "none"}),
    "Examples": (bm.Examples, {"inputs": torch.ones(4, 2), "targets": torch.zeros(4), "scale": 1.0}),
    "scaled": (EXAMPLES.scaled, {"inputs": torch.ones(2, 2), "dtype": torch.float32}),
    "Data": (
        bm.Data,
        {
            "name": "a",
            "train": EXAMPLES,
            "test": EXAMPLES,
            "source": "",
            "classes": 2,
            "image_shape": (2,),
        },
    ),
    "mlp": (bm.mlp, {"widths": [1, 2, 1], "activation": "relu"}),
    "MLPConfig": (lambda **given: bm.MLPConfig(**given)(), {"widths": (1, 2, 1), "activation": "relu"}),
    "parameter_count": (parameter_count, {"widths": [1, 2, 1]}),
    "fit_budget": (
        bm.fit_budget,
        {"parameters": 100, "inputs": 1, "outputs": 1, "hidden_layers": 2, "shape": [1, 2]},
    ),
    "align": (bm.align, {"a": bm.mlp([1, 2, 1]), "b": bm.mlp([1, 2, 1])}),
}


@pytest.mark.parametrize("name", CALLS)
def test_any_odd_argument_is_accepted_or_refused_in_one_sentence(name, unchecked):
    call, usual = CALLS[name]
    refused = 0
    for field in usual:
        for value in ODD:
            text = ""
            try:
                call(**{**usual, field: value})
            except InputError as error:
                text = str(error)
            assert text.isprintable()
            assert len(text) < 1000
            refused += bool(text)
    assert refused > len(ODD) / 2  # most of them are of the wrong kind wherever they stand


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: bm.mlp([1, 10**9, 10**9, 1]), "there are .* expected smaller widths"),
        (lambda: bm.mlp([1, 10**30]), "expected smaller widths"),
        (lambda: bm.data.strokes(train=10**12), "train = 1000000000000: they need"),
        (lambda: bm.data.function("cos", samples=10**9), "samples = 1000000000: expected at most 10,000,000"),
        (lambda: bm.data.label_noise(torch.zeros(4, dtype=int), 0.5, 3, range(10**12)), "expected fewer members"),
        (
            lambda: bm.fit_budget(10**400, inputs=1, outputs=1, hidden_layers=1),
            "expected at most 1,000,000",
        ),
        (lambda: bm.fit_budget(100, 1, 1, 2, shape=[float("nan"), 1]), "shape = .*expected 2 positive widths"),
        (lambda: bm.Examples(torch.ones(2, 1), torch.ones(2), scale=float("nan")), "scale = nan: expected a finite"),
    ],
)
def test_sizes_beyond_any_memory_are_refused_at_once(make, words, unchecked):
    with pytest.raises(InputError, match=words):
        make()
