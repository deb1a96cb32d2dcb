import numpy as np
import pytest
import torch

from bathymetry.core.errors import InputError
from bathymetry.data import function
from bathymetry.data.functions import evaluate


def test_targets_are_the_function_at_the_inputs():
    data = function("cos", samples=50)
    torch.testing.assert_close(data.y_train, data.x_train.cos())
    torch.testing.assert_close(data.y_test, data.x_test.cos())


def test_an_expression_is_evaluated_point_by_point():
    x = np.linspace(-3, 3, 7) + 0.1
    np.testing.assert_allclose(evaluate("sin(3*x)/x + pi*x**2", x), np.sin(3 * x) / x + np.pi * x**2, rtol=1e-14)


def test_a_constant_is_a_function_too():
    np.testing.assert_array_equal(evaluate("3", np.zeros(4)), np.full(4, 3.0))


def test_the_draw_depends_on_the_seed_alone_and_the_test_set_is_fresh():
    first, again, other = function("cos"), function("cos"), function("cos", seed=1)
    assert torch.equal(first.x_train, again.x_train)
    assert first.digest == again.digest != other.digest
    assert not set(first.x_train.ravel().tolist()) & set(first.x_test.ravel().tolist())


def test_inputs_are_uniform_between_the_ends():
    x = function("cos", low=-2, high=6, samples=4000).x_train
    assert -2 <= x.min() < -1.9
    assert 5.9 < x.max() <= 6
    # the mean of n uniform numbers has standard error (high − low)/√(12 n); five of them hold for any sound draw
    assert abs(x.mean() - 2) < 5 * 8 / (12 * 4000) ** 0.5


@pytest.mark.parametrize(
    "bad", ["", "x +", "nonsense(x)", "x.real", "__import__('os')", "'text'", "y", "x if x", "[x, x]", "x; x"]
)
def test_what_is_no_function_is_refused(bad):
    with pytest.raises(InputError, match=r"^functions"):
        function(bad, samples=10)


@pytest.mark.parametrize("bad", ["log", "sqrt", "1/(x - x)", "exp(exp(x))"])
def test_a_function_without_a_finite_value_somewhere_is_refused(bad):
    with pytest.raises(InputError, match="no finite value at x"):
        function(bad)


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (float("nan"), 1), (-float("inf"), 0)])
def test_an_interval_that_is_none_is_refused(ends):
    with pytest.raises(InputError, match=r"^low"):
        function("cos", *ends)


def test_no_samples_are_refused():
    with pytest.raises(InputError, match=r"^samples = 0"):
        function("cos", samples=0)
