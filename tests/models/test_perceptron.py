import pytest
import torch
from torch import nn

from bathymetry.core.errors import InputError
from bathymetry.models import mlp
from bathymetry.models.mlp import parameter_count

COUNTS = {
    (1, 250, 1): 751,
    (1, 32, 16, 9, 1): 755,
    (1, 24, 16, 10, 8, 4, 1): 747,
    (784, 30, 10): 23_860,
    (784, 25, 60, 38, 10): 23_893,
    (784, 20, 40, 60, 50, 30, 10): 23_890,
    (784, 800, 400, 10): 952_410,
}


@pytest.mark.parametrize(("widths", "count"), COUNTS.items())
def test_the_networks_of_the_studies_have_the_counts_that_were_reported(widths, count):
    assert parameter_count(widths) == count
    assert sum(p.numel() for p in mlp(widths).parameters()) == count


def test_the_same_seed_gives_the_layers_that_pytorch_would():
    torch.manual_seed(0)
    ours = mlp([3, 5, 2], activation="tanh")
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    x = torch.randn(4, 3)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("widths", [[], [3], [3, 0, 1], [3, -1]])
def test_widths_that_make_no_network_are_refused(widths):
    with pytest.raises(InputError, match=r"^widths"):
        mlp(widths)


def test_an_unknown_activation_is_refused():
    with pytest.raises(InputError, match=r"^activation = swish"):
        mlp([1, 2, 1], activation="swish")
