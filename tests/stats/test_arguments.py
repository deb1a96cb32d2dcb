"""Every public function of the folder, given what it cannot take, answers in one sentence or gives a result."""

import inspect

import numpy as np
import pytest
import torch

from bathymetry import stats
from bathymetry.core.errors import InputError
from bathymetry.stats import intervals, per_member
from bathymetry.stats.intervals import accuracy, logit, superiority_interval
from bathymetry.stats.wording import percent_range

NUMBERS, HOLDS = np.arange(1.0, 21.0), np.ones(20, dtype=bool)
VERDICT = stats.combine("majority", [stats.majority(HOLDS)])
RIGHT = {
    "accuracy": {"logits": NUMBERS, "total": 100},
    "best_of": {"candidates": {"b": NUMBERS}, "others": {"a": NUMBERS}, "larger_is_better": True},
    "clopper_pearson": {"count": 3, "total": 9},
    "combine": {"kind": "majority", "parts": list(VERDICT.parts)},
    "correlation": {"x": NUMBERS, "y": NUMBERS**2, "expected": "above"},
    "exists": {"cells": {"a": HOLDS}, "decides": "supported", "signs": {"a": HOLDS}},
    "from_left_out": {"value": 1.0, "left_out": NUMBERS},
    "holm": {"p": [0.1, None, 0.2]},
    "jackknife": {"values": NUMBERS, "statistic": np.mean},
    "logit": {"correct": NUMBERS, "total": 100},
    "logit_accuracy": {"total": 100},
    "mann_whitney": {"a": NUMBERS, "b": NUMBERS},
    "mean_interval": {"values": NUMBERS, "axis": 0, "transform": stats.LOG, "confidence": 0.95},
    "stochastic_order": {"a": NUMBERS, "b": NUMBERS, "larger_is_better": True, "relation": "above", "confidence": 0.9},
    "paired_difference": {"a": NUMBERS, "b": NUMBERS},
    "mean_in_interval": {"values": NUMBERS, "low": 0.0, "high": 1.0, "diverged": ~HOLDS},
    "regression_slope": {"x": NUMBERS, "y": NUMBERS},
    "majority": {"holds": HOLDS, "confidence": 0.95},
    "mean_sign": {"values": NUMBERS, "expected": "above", "bounds": (-10.0, 10.0)},
    "spearman_z": {"x": NUMBERS, "y": NUMBERS},
    "superiority_interval": {"estimate": 0.7, "first": 6, "second": 6},
    "t_interval": {"values": NUMBERS, "confidence": 0.95},
    "t_tails": {"values": NUMBERS, "line": 0.0},
}
UNEXPORTED = {"accuracy", "logit", "superiority_interval", "t_interval", "t_tails", "from_left_out"}
WRONG = {
    "None": None,
    "a word": "deep",
    "words": ["a", "b"],
    "a boolean": True,
    "booleans": np.array([True, False] * 10),
    "NaN": np.nan,
    "NaNs": np.full(20, np.nan),
    "infinity": -np.inf,
    "nothing": [],
    "a table": np.ones((3, 4)),
    "a ragged list": [[1.0], [1.0, 2.0]],
    "a number": 3.7,
    "complex numbers": np.ones(20) * 1j,
    "objects": [object()] * 20,
    "a function": np.mean,
    "a dictionary": {"a": None},
    "numbers in a dictionary": {3: NUMBERS},
    "a tensor with a gradient": torch.ones(20, requires_grad=True),
    "a meta tensor": torch.ones(20, device="meta"),
    "a sparse tensor": torch.ones(20).to_sparse(),
}
FUNCTIONS = {
    name: value
    for place in (stats, intervals, per_member)
    for name in dir(place)
    if inspect.isfunction(value := getattr(place, name)) and name in {*stats.__all__, *UNEXPORTED}
}


def refusal(function, given, what):
    """What it says; nothing if it answers."""
    try:
        function(**given)
    except InputError as error:
        return str(error)
    except Exception as error:
        raise AssertionError(f"{function.__name__} with {what} raised {error!r}") from error
    return ""


def test_every_public_function_is_swept():
    assert FUNCTIONS.keys() - {"not_run"} == RIGHT.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(RIGHT))
def test_whatever_a_function_is_given_it_answers_or_refuses_in_one_sentence(name):
    function, right = FUNCTIONS[name], RIGHT[name]
    function(**right)
    for field in right:
        for what, wrong in WRONG.items():
            said = refusal(function, {**right, field: wrong}, what)
            assert "\n" not in said, (field, what)
            assert len(said) < 500, (field, what)


@pytest.mark.parametrize(
    "rule", ["stochastic_order", "mean_sign", "mean_in_interval", "correlation", "t_interval", "mann_whitney"]
)
@pytest.mark.parametrize("wrong", ["booleans", "words", "a table", "None", "complex numbers"])
def test_what_only_looks_like_numbers_is_refused(rule, wrong):
    first = next(iter(RIGHT[rule]))
    with pytest.raises(InputError, match="expected one number per member"):
        FUNCTIONS[rule](**{**RIGHT[rule], first: WRONG[wrong]})


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.1, "0.95", None, True, np.nan])
def test_a_confidence_lies_between_0_and_1(confidence):
    with pytest.raises(InputError, match="confidence"):
        stats.majority(HOLDS, confidence=confidence)


@pytest.mark.parametrize("low", [-0.001, -1e-17, -5.0])
def test_a_share_has_no_negative_bound_in_words(low):
    assert percent_range(low, 0.46) == "0–46 %"
    assert percent_range(0.2, 1 - low) == "20–100 %"


def test_the_mean_of_shares_has_an_interval_of_shares():
    near_one = stats.mean_in_interval(np.array([1.0, 1, 1, 1, 1, 0.97]), 0.9, 1.0, as_percent=True)
    assert near_one.interval[1] == 1.0
    assert "to 100" in near_one.summary.split(";")[0]
    near_zero = stats.mean_in_interval(np.array([0.0, 0, 0, 0, 0, 0.03]), 0.0, 0.1, as_percent=True)
    assert near_zero.interval[0] == 0.0
    assert "−" not in near_zero.summary


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: stats.majority(np.ones(8, bool), coordinates="deep"), "coordinates = deep: expected a mapping"),
        (
            lambda: stats.majority(np.ones(8, bool), coordinates={"network": 3}),
            "expected a mapping of names to names",
        ),
        (lambda: stats.not_run("was not run", "deep"), "coordinates = deep: expected a mapping"),
        (lambda: stats.mean_sign(np.ones(8), expected="above", unit=3), "unit = 3: expected text"),
        (lambda: stats.best_of(np.ones(8), {"B": np.ones(8)}, larger_is_better=True), "candidates = "),
        (lambda: stats.mean_in_interval(np.ones(8), 0, 1, as_percent=np.ones(3)), "expected True or False"),
        (lambda: stats.clopper_pearson(1, 10**400), "expected at most"),
        (lambda: superiority_interval(0.5, 10**400, 5), "expected at most"),
        (lambda: stats.holm(np.array(0.1)), "expected a list of p values"),
    ],
)
def test_words_and_counts_of_another_kind_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()


VALUES = np.arange(8.0)
RULES = {
    "best_of": lambda **odd: stats.best_of({"A": VALUES}, {"B": VALUES}, **{"larger_is_better": True, **odd}),
    "correlation": lambda **odd: stats.correlation(VALUES, VALUES, expected="above", **odd),
    "exists": lambda **odd: stats.exists({"A": HOLDS}, decides="supported", **odd),
    "stochastic_order": lambda **odd: stats.stochastic_order(VALUES, VALUES, **{"larger_is_better": True, **odd}),
    "mean_in_interval": lambda **odd: stats.mean_in_interval(VALUES, 0, 1, **odd),
    "majority": lambda **odd: stats.majority(HOLDS, **odd),
    "mean_sign": lambda **odd: stats.mean_sign(VALUES, expected="above", **odd),
    "not_run": lambda **odd: stats.not_run(**{"reason": "was not run", "coordinates": {}, **odd}),
    "paired_difference": lambda **odd: stats.paired_difference(VALUES, VALUES, **odd),
    "mean_interval": lambda **odd: stats.mean_interval(VALUES, **odd),
}
KEYWORDS = {
    "coordinates": (
        "best_of",
        "correlation",
        "exists",
        "stochastic_order",
        "mean_in_interval",
        "majority",
        "mean_sign",
        "not_run",
    ),
    "first": ("correlation", "stochastic_order"),
    "second": ("correlation", "stochastic_order"),
    "quantity": ("mean_in_interval", "mean_sign"),
    "condition": ("exists",),
    "sign": ("exists",),
    "cell": ("exists",),
    "unit": ("mean_sign",),
    "reason": ("not_run",),
    "relation": ("stochastic_order",),
    "as_percent": ("mean_in_interval",),
    "larger_is_better": ("best_of", "stochastic_order"),
    "shown": ("mean_sign",),
    "transform": ("paired_difference", "mean_interval"),
}


@pytest.mark.parametrize(("field", "rule"), [(field, rule) for field, rules in KEYWORDS.items() for rule in rules])
def test_a_keyword_of_another_kind_is_named_in_one_sentence(field, rule, unchecked):
    for odd in (3, 1.5, [], ["A"], np.ones(3), torch.ones(2), object(), b"x"):
        with pytest.raises(InputError, match=rf"^{field} = .*: .*\.$"):
            RULES[rule](**{field: odd})


def test_a_total_without_end_is_refused():
    for make in (lambda: logit(3, np.inf), lambda: accuracy(0.0, np.inf)):
        with pytest.raises(InputError, match="expected a finite number"):
            make()
