"""Every public function of the folder, given what it cannot take, answers in one sentence or gives a result."""

import inspect

import numpy as np
import pytest
import torch

from bathymetry import stats
from bathymetry.core.errors import InputError
from bathymetry.stats import intervals, per_member
from bathymetry.stats.group_tests import median_in_interval
from bathymetry.stats.wording import percent_range

NUMBERS = np.arange(1.0, 21.0)
RIGHT = {
    "brunner_munzel": {"a": NUMBERS, "b": NUMBERS},
    "clopper_pearson": {"count": 3, "total": 9},
    "holm": {"p": [0.1, None, 0.2]},
    "logit_accuracy": {"total": 100},
    "mean_interval": {"values": NUMBERS, "axis": 0, "transform": intervals.LOG, "confidence": 0.95},
    "sign_test": {"differences": NUMBERS},
    "spearman_z": {"x": NUMBERS, "y": NUMBERS},
}
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
    functions = {name for name in stats.__all__ if inspect.isfunction(getattr(stats, name))}
    assert functions <= RIGHT.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(RIGHT))
def test_whatever_a_function_is_given_it_answers_or_refuses_in_one_sentence(name):
    inner = {"logit_accuracy": intervals.logit_accuracy, "spearman_z": per_member.spearman_z}
    function, right = inner.get(name) or getattr(stats, name), RIGHT[name]
    function(**right)
    for field in right:
        for what, wrong in WRONG.items():
            said = refusal(function, {**right, field: wrong}, what)
            assert "\n" not in said, (field, what)
            assert len(said) < 500, (field, what)


@pytest.mark.parametrize("wrong", ["booleans", "words", "a table", "None", "complex numbers"])
def test_what_only_looks_like_numbers_is_refused(wrong):
    with pytest.raises(InputError, match=r"a = .*: expected one number per member"):
        stats.brunner_munzel(WRONG[wrong], NUMBERS)


@pytest.mark.parametrize("confidence", [0, 1, 95, -0.1, "0.95", None, True, np.nan])
def test_a_confidence_lies_between_0_and_1(confidence):
    with pytest.raises(InputError, match="confidence"):
        stats.clopper_pearson(3, 9, confidence)


@pytest.mark.parametrize("low", [-0.001, -1e-17, -5.0])
def test_a_share_has_no_negative_bound_in_words(low):
    assert percent_range(low, 0.46) == "0–46 %"
    assert percent_range(0.2, 1 - low) == "20–100 %"


def test_the_median_of_shares_has_an_interval_of_shares():
    near_one = median_in_interval(np.array([1.0, 1, 1, 1, 1, 0.97]), 0.9, 1.0, as_percent=True)
    assert near_one.interval[1] == 1.0
    assert "to 100" in near_one.summary.split(";")[0]
    near_zero = median_in_interval(np.array([0.0, 0, 0, 0, 0, 0.03]), 0.0, 0.1, as_percent=True)
    assert near_zero.interval[0] == 0.0
    assert "−" not in near_zero.summary


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: stats.clopper_pearson(1, 10**400), "total = .*: expected at most"),
        (lambda: stats.holm(np.array(0.1)), "p = .*: expected a list of p values"),
        (lambda: stats.mean_interval(NUMBERS, transform="log"), "transform = log: expected a Transform"),
        (lambda: stats.mean_interval(NUMBERS, axis=2), "axis = 2: expected one of the 1 axes"),
    ],
)
def test_counts_scales_and_axes_of_another_kind_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()
