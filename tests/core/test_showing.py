"""What results print in a REPL: short, numbers as numbers, large tensors by their shapes."""

import dataclasses
import importlib
import math
import pkgutil
import typing

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.showing import joined, plural, printable, readable, short, with_article
from bathymetry.linalg import estimates
from bathymetry.training.checkpoint import Checkpoint

RESULTS = [
    one
    for package in (bm.probes, bm.linalg)
    for file in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    for one in vars(importlib.import_module(file.name)).values()
    if dataclasses.is_dataclass(one) and one.__module__ == file.name and hasattr(one, "_repr_html_")
]
COS = bm.data.function("cos", samples=50)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 30), nn.Tanh(), nn.Linear(30, 1))


def some(kind: object, large: bool) -> object:
    """A value of a field's type."""
    if kind in (int, float, bool, str):
        return {int: 10, float: 1 / 3, bool: True, str: "words " * 4}[kind]
    if typing.get_origin(kind) is tuple:
        return tuple(some(one, large) for one in typing.get_args(kind)[:1]) * (200 if large else 2)
    return torch.rand((300, 40) if large else (), dtype=torch.float64)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_result_is_short_and_names_all_its_fields(kind, large, unchecked):
    hints = typing.get_type_hints(kind)
    shown = repr(kind(**{field.name: some(hints[field.name], large) for field in dataclasses.fields(kind)}))
    assert shown.startswith(f"{kind.__name__}(")
    assert len(shown) < 900
    assert all(len(line) <= 160 for line in shown.splitlines())
    assert "tensor(" not in shown
    assert all(f"{field.name}=" in shown for field in dataclasses.fields(kind) if field.repr)


def test_counts_are_plain_numbers_and_come_before_what_is_large():
    surface = bm.LossSurface(network(), "mse", COS, dtype=torch.float64)
    index = bm.probes.curvature_index(surface)
    assert repr(index).startswith(
        f"CurvatureIndex(positive={int(index.positive)}, zero={int(index.zero)}, negative={int(index.negative)}, "
    )
    assert repr(index).endswith("eigenvalues=(91,) float64)")
    found = repr(bm.probes.critical_point(surface, iterations=2))
    assert found.index("converged=False") < found.index("theta=(91,) float64")


def test_an_ensembles_counts_are_lists_of_plain_numbers():
    surface = bm.LossSurface(nn.Linear(1, 1), "mse", COS, dtype=torch.float64)
    assert "positive=[2, 2, 2]" in repr(bm.probes.curvature_index(surface, torch.zeros(3, 2)))


def test_numbers_have_four_digits_and_no_needless_exponent():
    shown = repr(estimates.Trace(12345.678, math.nan, 60)), repr(estimates.Trace(1.23456e-7, math.inf, 60))
    assert shown == (
        "Trace(value=12346, standard_error=nan, num_matvecs=60)",
        "Trace(value=1.235e-07, standard_error=inf, num_matvecs=60)",
    )


def test_an_ensemble_says_in_one_line_what_it_is_and_how_it_ended():
    trained = bm.train(network, COS, members=3, epochs=5, same_start=True)
    median = float(trained.record.loss.sel(split="train").isel(epoch=-1).median())
    assert repr(trained) == (
        f"Trained(members 0 to 2 of Sequential, 91 parameters, 5 epochs, median of the last train loss {median:.4g})"
    )


def test_an_ensemble_says_who_is_in_it_and_who_diverged():
    rates = (1e-3, 1e30)
    trained = bm.train(network, COS, members=range(4, 6), epochs=5, same_start=True, optimizer=bm.SGD(lr=rates))
    assert repr(trained).startswith("Trained(members 4 to 5 of Sequential, ")
    assert repr(trained).endswith(", 1 diverged)")
    lost = bm.train(network, COS, members=2, epochs=5, same_start=True, optimizer=bm.SGD(lr=1e30))
    assert repr(lost) == "Trained(members 0 to 1 of Sequential, 91 parameters, 5 epochs, 2 diverged)"
    unjudged = bm.train(network, COS, members=range(7, 8), epochs=5, evaluate_on={})
    assert repr(unjudged) == "Trained(member 7 of Sequential, 91 parameters, 5 epochs)"


def test_a_surface_says_what_it_is_of():
    batches = [(torch.rand(n, 1), torch.rand(n, 1)) for n in (4, 4, 1)]
    assert repr(bm.LossSurface(network(), nn.MSELoss(), batches, dtype=torch.float64)) == (
        "LossSurface(Sequential, 91 parameters, MSELoss() over 9 examples in 3 batches, float64; "
        "a perceptron's own formulas)"
    )


def test_data_say_how_many_there_are_and_of_what_shape():
    assert repr(COS) == (
        "Data(cos: 50 training and 50 test examples, inputs (1,), targets (1,); cos(x) on (-10, 10), seed 0)"
    )
    digits = bm.load("digits")
    assert "1,500 training and 297 test examples, inputs (64,), 10 classes" in repr(digits)
    assert repr(digits.test) == "Examples(297: inputs (64,) uint8 × 0.0625, targets () int64)"


def test_a_checkpoint_and_a_moment_print_no_tensor():
    kept: list[Checkpoint] = []
    moments: list[str] = []

    def seen(moment):
        moments.append(repr(moment))
        return moment.batch_loss

    bm.train(
        network,
        COS,
        members=2,
        epochs=1,
        same_start=True,
        measurements={"seen": seen},
        checkpoint=kept.append,
        checkpoint_every=0,
    )
    assert len(repr(kept[0])) < 100
    assert all("tensor(" not in one and "StackedTensors(members=2, flat=" in one for one in moments)


def test_records_show_themselves_in_a_notebook_as_a_table_with_every_field():
    @readable
    class Named:
        value: float
        name: str

    assert Named(0.123456, "<b>")._repr_html_() == (
        "<table><caption>Named</caption><tr><td>value</td><td>0.1235</td></tr>"
        "<tr><td>name</td><td>&#x27;&lt;b&gt;&#x27;</td></tr></table>"
    )
    surface = bm.LossSurface(network(), torch.nn.MSELoss(), (torch.ones(4, 1), torch.ones(4, 1)), dtype=torch.float64)
    shown = bm.probes.gradient_norm(surface)._repr_html_()
    assert "<caption>GradientNorm</caption>" in shown
    assert "<td>by_layer</td>" in shown


def test_an_ensemble_shows_itself_in_a_notebook_with_what_was_recorded():
    trained = bm.train(network, COS, members=2, epochs=1, same_start=True)
    assert trained._repr_html_().startswith("<p>Trained(members 0 to 1 of ")
    assert "split" in trained._repr_html_()


def test_numbers_and_tensors_are_short():
    values = (torch.tensor(96.0), torch.tensor([0.5, 1 / 3]), torch.zeros(10, 195))
    assert [short(one) for one in values] == ["96", "[0.5, 0.3333]", "(10, 195) float32"]


def test_control_characters_are_escaped_and_letters_stay():
    assert printable("a line\nand \x1b[2J, café") == "a line\nand \\x1b[2J, café"
    assert printable("a\nb", allowed="") == "a\\nb"


def test_words_are_joined_into_a_list():
    assert [joined(words) for words in ([], ["one"], ["one", "two", "three"])] == ["", "one", "one, two and three"]


@pytest.mark.parametrize(
    ("noun", "article"),
    [("int", "an"), ("tuple", "a"), ("ndarray", "an"), ("LSTM", "an"), ("GRU", "a"), ("OrderedDict", "an"),
     ("Linear", "a"), ("RNN", "an"), ("str", "a"), ("NoneType", "a")],
)  # fmt: skip
def test_a_noun_has_the_article_that_is_spoken(noun, article):
    assert with_article(noun) == f"{article} {noun}"


def test_a_plural_ends_as_it_is_spoken():
    words = [("batch", 2), ("batch", 1), ("network", 3), ("images", 2), ("function", 0)]
    assert [plural(*one) for one in words] == ["batches", "batch", "networks", "images", "functions"]
