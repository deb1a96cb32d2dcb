"""Numbers in words: short, and on the right side of every line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.stats.wording import p_value, percent, percent_range, with_interval


@given(st.floats(0, 1))
def test_a_percentage_never_changes_sides_of_none_half_and_all(share):
    shown = float(percent(share))
    for line in (0, 50, 100):
        if abs(share * 100 - line) > 1e-9:
            assert (shown > line) == (share * 100 > line)
            assert (shown < line) == (share * 100 < line)


@given(st.floats(1e-4, 1))
def test_a_p_never_changes_sides_of_0_05(p):
    shown = float(p_value(p).removeprefix("p = "))
    if abs(p - 0.05) > 1e-9:
        assert (shown < 0.05) == (p < 0.05)


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0"), (0.333, "33"), (0.5, "50"), (0.5041, "50.4"), (0.9996, "99.96"), (1.0, "100")]
)
def test_percentages(share, words):
    assert percent(share) == words


def test_a_range_has_one_sign():
    assert percent_range(0.6915, 1.0) == "69–100 %"


@pytest.mark.parametrize(
    ("number", "interval", "words"),
    [
        (-1.234, (-2.468, -0.1), ("−1.2", "95 % interval −2.5 to −0.1")),
        (0.001234, (0.001, 0.0014), ("0.00123", "95 % interval 0.00100 to 0.00140")),
        (123456.0, (123000.0, 124000.0), ("123,500", "95 % interval 123,000 to 124,000")),
        (1.5e-12, (1e-12, 2e-12), ("1.5e−12", "95 % interval 1e−12 to 2e−12")),
        (2.0, (2.0, 2.0), ("2.00", "95 % interval 2.00 to 2.00")),
        (0.0, (0.0, 0.0), ("0.0", "95 % interval 0.0 to 0.0")),
        (2.0, (float("nan"), float("nan")), ("2.00", "no 95 % interval")),
        (float("nan"), (float("nan"), float("nan")), ("no number", "no 95 % interval")),
    ],
)
def test_numbers_have_the_digits_that_their_interval_deserves(number, interval, words):
    assert with_interval(number, interval) == words
