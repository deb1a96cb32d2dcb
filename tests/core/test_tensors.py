import torch

from bathymetry.core.randomness import stream, stream_seed
from bathymetry.core.tensors import norms, power_of_two


def test_a_stream_is_named_by_all_of_seed_member_purpose_and_index():
    names = [
        (seed, member, purpose, index)
        for seed in range(3)
        for member in range(-1, 4)
        for purpose in ("initialisation", "data order", "dropout")
        for index in range(3)
    ]
    assert len({stream_seed(*name) for name in names}) == len(names)


def test_opening_a_stream_again_begins_it_again():
    first, second = (torch.rand(4, generator=stream(1, 2, "data order", 3)) for _ in range(2))
    assert torch.equal(first, second)


def test_norms_neither_overflow_nor_underflow():
    found = norms(torch.tensor([[3e-25, 4e-25], [3e30, 4e30], [3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(found, torch.tensor([5e-25, 5e30, 5.0, 0.0]), rtol=1e-6, atol=0.0)


def test_a_size_is_rounded_to_a_power_of_two_and_zero_to_one():
    assert power_of_two(torch.tensor([0.0, 3.0, 1e-3])).tolist() == [1.0, 4.0, 2**-9]
