import pytest
from hypothesis import given
from hypothesis import strategies as st

import bathymetry as bm
from bathymetry.core.errors import InputError
from bathymetry.models.mlp import parameter_count


@pytest.mark.parametrize("hidden", [(30,), (25, 60, 38), (20, 40, 60, 50, 30)])
def test_a_network_that_meets_its_budget_is_left_as_it_is(hidden):
    widths = [784, *hidden, 10]
    assert bm.fit_budget(parameter_count(widths), 784, 10, len(hidden), hidden) == widths


@given(
    st.integers(2_000, 200_000),
    st.integers(1, 900),
    st.integers(1, 20),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_the_budget_is_met_as_nearly_as_whole_widths_allow(parameters, inputs, outputs, shape):
    widths = bm.fit_budget(parameters, inputs, outputs, len(shape), shape)
    assert (widths[0], widths[-1], len(widths)) == (inputs, outputs, len(shape) + 2)
    # what half a unit of the layer whose units cost most is worth
    missed = abs(parameter_count(widths) - parameters)
    half = max(widths[layer - 1] + 1 + widths[layer + 1] for layer in range(1, len(widths) - 1)) / 2
    assert missed <= half + 0.001 * parameters


def test_one_hidden_layer_has_a_closed_form():
    """h(i + 1) + (h + 1)o = P gives h = (P − o)/(i + o + 1)."""
    for parameters in range(100, 5000, 37):
        width = bm.fit_budget(parameters, 12, 3, 1)[1]
        assert abs(width - (parameters - 3) / 16) <= 0.5 + 0.001 * parameters / 16


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((5, 784, 10, 3), "parameters"),
        ((100, 0, 10, 1), "inputs"),
        ((100, 1, 1, 0), "hidden_layers"),
        ((100, 1, 1, 2, (1,)), "shape"),
    ],
)
def test_what_can_not_be_met_is_refused(arguments, field):
    with pytest.raises(InputError, match=field):
        bm.fit_budget(*arguments)
