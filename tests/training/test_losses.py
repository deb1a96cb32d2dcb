"""Right answers, counted fast and slowly."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from bathymetry.training.loss import is_correct

NUMBERS = st.sampled_from([0.0, 1.0, -1.0, 2.5, float("nan"), float("inf"), float("-inf")])


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=4), st.data())
def test_ties_and_what_is_no_number_are_judged_as_one_by_one(rows, data):
    targets = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    outputs = torch.tensor([rows])
    slow = [
        all(abs(one) < float("inf") for one in row) and row.index(max(row)) == target
        for row, target in zip(rows, targets, strict=True)
    ]
    assert is_correct(outputs, torch.tensor([targets])).tolist() == [slow]


def test_without_ties_the_largest_output_decides():
    chance = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 200, 10, generator=chance)
    targets = torch.randint(0, 10, (3, 200), generator=chance)
    assert torch.equal(is_correct(outputs, targets), outputs.argmax(2) == targets)
