"""Holm's rule by hand, and its properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.core.errors import InputError
from bathymetry.stats import holm

PS = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=12)


def test_by_hand():
    """Sorted 0.01 ·4, 0.02 ·3, 0.03 ·2 (raised to the 0.06 before it), 0.04 ·1 (likewise)."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


def test_claims_without_a_p_are_not_counted():
    assert holm([None, 0.03, None]) == [None, 0.03, None]
    assert holm([None]) == [None]
    assert holm([]) == []


def test_nothing_rises_above_one():
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(PS)
def test_it_lies_between_the_p_and_bonferronis_and_keeps_their_order(p):
    adjusted = holm(p)
    count = sum(value is not None for value in p)
    pairs = sorted((a, b) for a, b in zip(p, adjusted, strict=True) if a is not None)
    assert all(a <= b <= min(1, count * a) + 1e-12 for a, b in pairs)
    assert [b for _, b in pairs] == sorted(b for _, b in pairs)


@given(PS, st.floats(0.01, 0.5))
def test_it_rejects_what_the_step_down_rejects(p, level):
    """The slow twin: go up from the smallest and stop at the first that fails."""
    left = sorted(value for value in p if value is not None)
    rejected = 0
    while rejected < len(left) and (len(left) - rejected) * left[rejected] <= level:
        rejected += 1
    assert sum(value is not None and value <= level for value in holm(p)) == rejected


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(value):
    with pytest.raises(InputError, match="expected a number"):
        holm([value])
