"""Label noise."""

import math

import pytest
import torch

import bathymetry as bm
from bathymetry.core.errors import InputError


def test_each_member_has_its_own_label_noise_of_the_same_share():
    labels = torch.arange(1000) % 10
    noisy = bm.data.label_noise(labels, 0.2, 10, range(5))
    assert torch.equal(noisy[3], bm.data.label_noise(labels, 0.2, 10, range(3, 4))[0])
    changed = (noisy != labels).sum(1)
    assert (changed <= 200).all()
    assert abs(changed.double().mean() - 180) < 4 * math.sqrt(18 / 5)
    assert not torch.equal(noisy[0], noisy[1])
    with pytest.raises(InputError, match=r"share = 1\.5"):
        bm.data.label_noise(labels, 1.5, 10, range(1))


@pytest.mark.parametrize(
    ("field", "setting"),
    [
        ("share", {"share": "a"}), ("share", {"share": math.nan}), ("classes", {"classes": 1}),
        ("members", {"members": range(0)}), ("members", {"members": 3}), ("labels", {"labels": [1, 2]}),
        ("labels", {"labels": torch.ones(3)}), ("labels", {"labels": torch.ones(3, 2, dtype=torch.int64)}),
        ("labels", {"labels": torch.tensor([0, -1])}), ("labels", {"labels": torch.tensor([0, 10])}),
    ],
)  # fmt: skip
def test_an_invalid_argument_of_label_noise_is_named(field, setting, unchecked):
    given = {"labels": torch.arange(5), "share": 0.5, "classes": 10, "members": range(2), **setting}
    with pytest.raises(InputError) as refusal:
        bm.data.label_noise(**given)
    assert refusal.value.field == field
