import torch

from bathymetry.core.streams import stream, stream_seed


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
