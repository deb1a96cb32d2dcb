from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry.core.errors import InputError


def network(*layers):
    """Build a ReLU network from its layers, (weight rows, biases) each."""
    modules = []
    for weight, bias in layers:
        linear = nn.Linear(len(weight[0]), len(weight))
        linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1]).double()


def counted_exactly(module):
    """Count in rational arithmetic, by following every sign pattern along the line: slow, and obviously right."""
    layers = [
        ([[Fraction(w) for w in row] for row in one.weight.tolist()], [Fraction(b) for b in one.bias.tolist()])
        for one in module
        if isinstance(one, nn.Linear)
    ]

    def slope_and_roots(x, side):
        units, roots = [(Fraction(1), Fraction(0))], []
        for place, (weight, bias) in enumerate(layers):
            affine = [
                (sum((w * a for w, (a, _) in zip(row, units, strict=True)), Fraction(0)),
                 sum((w * c for w, (_, c) in zip(row, units, strict=True)), b))
                for row, b in zip(weight, bias, strict=True)
            ]  # fmt: skip
            if place == len(layers) - 1:
                return affine[0][0], roots
            roots += [-c / a for a, c in affine if a != 0]
            units = []
            for a, c in affine:
                value = a * x + c
                on = value > 0 or (value == 0 and a * side > 0)
                units.append((a, c) if on else (Fraction(0), Fraction(0)))
        raise AssertionError("a network has a last layer")

    x, count = Fraction(-(10**9)), 1
    slope, roots = slope_and_roots(x, 1)
    while True:
        ahead = [root for root in roots if root > x]
        if not ahead:
            return count
        x = min(ahead)
        new_slope, roots = slope_and_roots(x, 1)
        count += new_slope != slope
        slope = new_slope


def test_the_absolute_value_has_two_pieces_that_meet_at_zero():
    pieces = bm.probes.linear_regions(network(([[1.0], [-1.0]], [0.0, 0.0]), ([[1.0, 1.0]], [0.0])))
    assert pieces.count.tolist() == [2.0]
    assert pieces.breakpoints[0].tolist() == [0.0]


def test_units_that_cancel_leave_a_straight_line():
    """relu(x/3) − relu(−x/3) = x/3."""
    third = 1 / 3
    pieces = bm.probes.linear_regions(network(([[third], [-third]], [0.1, -0.1]), ([[1.0, -1.0]], [0.0])))
    assert pieces.count.tolist() == [1.0]


@pytest.mark.parametrize("times", [1, 2, 3, 4, 5, 6])
def test_a_tent_map_composed_k_times_has_two_to_the_k_teeth(times):
    """Telgarsky 2016: inside [0, 1] the k-fold tent has 2^k pieces; outside it adds one flat piece at each end."""
    tent = ([[2.0], [2.0], [2.0]], [0.0, -1.0, -2.0])
    # tent(x) = relu(2x) − 2 relu(2x − 1) + relu(2x − 2), zero outside [0, 1]
    middle = ([[2.0, -4.0, 2.0]] * 3, [0.0, -1.0, -2.0])
    pieces = bm.probes.linear_regions(network(tent, *[middle] * (times - 1), ([[1.0, -2.0, 1.0]], [0.0])))
    assert pieces.count.tolist() == [2.0**times + 2]


@pytest.mark.parametrize("widths", [[1, 3, 1], [1, 6, 1], [1, 4, 3, 1], [1, 3, 5, 1], [1, 4, 4, 4, 1]])
@pytest.mark.parametrize("seed", range(4))
def test_random_networks_agree_with_rational_arithmetic(widths, seed):
    torch.manual_seed(seed)
    module = bm.mlp(widths).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_((parameter * 64).round() / 16)
    pieces = bm.probes.linear_regions(module)
    assert pieces.count.item() == counted_exactly(module)
    assert pieces.count.item() <= pieces.bound


def test_a_wide_layer_bends_once_for_each_unit_that_matters():
    rng = np.random.default_rng(0)
    bends = np.sort(rng.choice(np.arange(-500, 500), 250, replace=False)).astype(float)
    first = ([[1.0]] * 250, (-bends).tolist())
    weights = [[0.0 if unit % 5 == 0 else 1.0 for unit in range(250)]]
    pieces = bm.probes.linear_regions(network(first, (weights, [0.0])))
    assert pieces.count.item() == 201
    assert np.allclose(pieces.breakpoints[0], [bend for unit, bend in enumerate(bends) if unit % 5])


def test_an_ensemble_is_counted_like_its_members_and_a_diverged_one_has_no_number():
    modules = []
    for seed in range(4):
        torch.manual_seed(seed)
        modules.append(bm.mlp([1, 8, 6, 1]))
    names = dict(modules[0].named_parameters())
    stacked = {name: torch.stack([dict(m.named_parameters())[name].detach() for m in modules]) for name in names}
    alone = [bm.probes.linear_regions(module).count.item() for module in modules]
    assert bm.probes.linear_regions(stacked).count.tolist() == alone
    stacked["2.bias"][1, 0] = torch.nan
    assert bm.probes.linear_regions(stacked).count.isnan().tolist() == [False, True, False, False]


@pytest.mark.parametrize("module", [bm.mlp([2, 3, 1]), bm.mlp([1, 3, 2]), bm.mlp([1, 3, 1], "tanh"), nn.Linear(1, 1)])
def test_other_networks_are_refused(module):
    with pytest.raises(InputError):
        bm.probes.linear_regions(module)


def bends_seen(module, low, high, steps=200_000):
    """Where the slope between neighbours of a fine grid changes: slow, and blind only to pieces below its step."""
    grid = torch.linspace(low, high, steps + 1, dtype=torch.float64)
    with torch.no_grad():
        slope = torch.diff(module(grid[:, None])[:, 0]) / torch.diff(grid)
    changed = (torch.diff(slope).abs() > 1e-7).numpy()
    # a bend within a step changes two differences in a row
    return int((changed & ~np.concatenate([[False], changed[:-1]])).sum())


@pytest.mark.parametrize("widths", [[1, 6, 1], [1, 5, 4, 1], [1, 4, 4, 3, 1]])
@pytest.mark.parametrize("interval", [(-10.0, 10.0), (-1.0, 0.5), (3.0, 4.0)])
def test_on_an_interval_the_count_is_that_of_a_fine_grid(widths, interval):
    torch.manual_seed(sum(widths))
    module = bm.mlp(widths).double()
    for parameter in module.parameters():
        parameter.data *= 3
    pieces = bm.probes.linear_regions(module, interval=interval)
    assert pieces.count.item() == 1 + bends_seen(module, *interval)
    assert all(interval[0] < bend < interval[1] for bend in pieces.breakpoints[0])
    whole = bm.probes.linear_regions(module)
    assert pieces.count.item() == 1 + sum(interval[0] < bend < interval[1] for bend in whole.breakpoints[0])
    assert pieces.bound == whole.bound


@pytest.mark.parametrize("interval", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0)])
def test_an_invalid_interval_is_refused(interval):
    with pytest.raises(InputError, match=r"interval = .*: expected"):
        bm.probes.linear_regions(bm.mlp([1, 4, 1]), interval=interval)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_a_trainings_parameters_of_another_activation_are_refused(activation):
    x = torch.linspace(-1, 1, 20)[:, None]
    trained = bm.train(lambda: bm.mlp([1, 4, 1], activation), (x, x), members=2, epochs=1, snapshots=[0])
    for parameters in (trained.parameters, trained.snapshots[0]):
        with pytest.raises(InputError, match="ReLU"):
            bm.probes.linear_regions(parameters)
        with pytest.raises(InputError, match="ReLU"):
            bm.probes.dead_units(parameters, x)


def test_a_trainings_parameters_of_relu_networks_are_counted_like_their_modules():
    x = torch.linspace(-1, 1, 20)[:, None]
    trained = bm.train(lambda: bm.mlp([1, 6, 1]), (x, x), members=2, epochs=1)
    alone = [bm.probes.linear_regions(trained.model(member)).count.item() for member in range(2)]
    assert bm.probes.linear_regions(trained.parameters).count.tolist() == alone
