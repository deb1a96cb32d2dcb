import pytest
import torch

import bathymetry as bm
from bathymetry.core.errors import InputError


def by_asking_every_layer(module, inputs):
    counts, below = [], inputs.double()
    for layer in list(module.double())[:-1]:
        below = layer(below)
        if isinstance(layer, torch.nn.ReLU):
            counts.append(int((below == 0).all(0).sum()))
    return counts


@pytest.mark.parametrize("examples", [1, 7, 5000])
def test_the_counts_are_those_of_the_network_itself(examples):
    torch.manual_seed(3)
    module, inputs = bm.mlp([2, 30, 20, 1]), torch.randn(examples, 2)
    dead = bm.probes.dead_units(module, inputs)
    expected = by_asking_every_layer(module, inputs)
    assert dead.count.tolist() == [expected]
    assert dead.share.item() == pytest.approx(sum(expected) / 50)


def test_a_unit_that_is_always_on_is_not_dead():
    module = bm.mlp([1, 1, 1])
    module[0].weight.data.fill_(0.0)
    module[0].bias.data.fill_(2.0)
    assert bm.probes.dead_units(module, torch.ones(3, 1)).share.item() == 0.0


def test_a_diverged_member_has_no_share():
    parameters = {name: p.detach().expand(2, *p.shape).clone() for name, p in bm.mlp([1, 3, 1]).named_parameters()}
    parameters["0.bias"][1] = torch.inf
    assert bm.probes.dead_units(parameters, torch.ones(3, 1)).share.isnan().tolist() == [False, True]


@pytest.mark.parametrize("inputs", [torch.ones(0, 1), torch.ones(3, 2), torch.ones(3)])
def test_inputs_that_do_not_fit_are_refused(inputs, unchecked):
    with pytest.raises(InputError, match="inputs"):
        bm.probes.dead_units(bm.mlp([1, 3, 1]), inputs)


def test_a_network_without_hidden_units_is_refused():
    with pytest.raises(InputError, match="hidden"):
        bm.probes.dead_units(torch.nn.Sequential(torch.nn.Linear(1, 1)), torch.ones(2, 1))
