"""Sharpness against closed forms and against every corner."""

import math

import pytest
import torch
from torch import nn

from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from probes.surfaces import quadratic, surface_of


def test_the_ball_around_a_parabolas_bottom_rises_by_half_its_largest_eigenvalue():
    matrix = torch.diag(torch.tensor([1.0, 7.0, -9.0, 3.0]).double())
    found = probes.sharpness(quadratic(matrix), kind="ball", epsilon=0.1)
    assert found.value.item() == pytest.approx(0.5 * 0.1**2 * 7, rel=1e-6)


def test_keskars_box_is_climbed_to_its_corner():
    found = probes.sharpness(quadratic(torch.diag(torch.tensor([2.0, 4.0]).double())), kind="keskar", epsilon=0.1)
    assert found.value.item() == pytest.approx(100 * (0.1**2 * 2 + 0.1**2 * 4) / 2, rel=1e-6)


def test_sam_steps_along_the_gradient():
    surface = quadratic(torch.diag(torch.tensor([2.0, 4.0]).double()), torch.tensor([1.0, 1.0]))
    theta = surface.parameters
    step = 0.05 * surface.gradient() / surface.gradient().norm()
    found = probes.sharpness(surface, kind="sam", epsilon=0.05)
    assert found.value.item() == pytest.approx(float(surface.loss(theta + step) - surface.loss(theta)))


def rescaled(factor):
    """A ReLU network without biases, its first layer times a factor and its second divided by it."""
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(3, 6, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False)).double()
    x, y = torch.randn(20, 3).double(), torch.randn(20, 2).double()
    with torch.no_grad():
        model[0].weight *= factor
        model[2].weight /= factor
    return LossSurface(model, "mse", (x, y))


def test_rescaling_layers_changes_the_trace_and_nothing_that_is_filter_normalised():
    one, other = rescaled(1.0), rescaled(5.0)
    assert one.loss().item() == pytest.approx(other.loss().item())
    planes = [probes.landscape(surface, directions="filter", points=5, radius=0.3) for surface in (one, other)]
    torch.testing.assert_close(planes[0].loss, planes[1].loss)
    sharp = [probes.sharpness(s, kind="ball", epsilon=0.1, scale="filter").value.item() for s in (one, other)]
    assert sharp[0] == pytest.approx(sharp[1], rel=1e-4)
    plain = [probes.sharpness(s, kind="ball", epsilon=0.1).value.item() for s in (one, other)]
    assert abs(plain[0] / plain[1] - 1) > 0.5
    traces = [probes.trace(surface).value.item() for surface in (one, other)]
    assert abs(traces[0] / traces[1] - 1) > 0.5


def corners_of(matrix, slope, reach):
    """The largest rise of ½ zᵀAz + bᵀz over every corner of a box."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0]).double()] * len(matrix)) * reach
    return float((((signs @ matrix) * signs).sum(1) / 2 + signs @ slope).max())


@pytest.mark.parametrize("dimension", [6, 9])
def test_keskars_box_around_a_convex_bottom_is_climbed_to_its_highest_corner(dimension):
    for seed in range(12):
        chance = torch.Generator().manual_seed(seed)
        root = torch.randn(dimension, dimension, generator=chance).double()
        surface, epsilon = quadratic(root @ root.T), 0.1
        expected = corners_of(root @ root.T, torch.zeros(dimension).double(), epsilon)
        assert probes.sharpness(surface, epsilon=epsilon).rise.item() == pytest.approx(expected)


def test_the_scale_is_an_argument_and_not_guessed_from_the_weights():
    model = nn.Linear(1, 1, bias=False).double()
    data = torch.ones(1, 1).double(), torch.zeros(1, 1).double()
    for weight in (1.0, 1.0000001, 2.0):
        nn.init.constant_(model.weight, weight)
        found = probes.sharpness(LossSurface(model, "mse", data), epsilon=0.1, scale="filter")
        assert found.rise.item() == pytest.approx(weight**2 * (1.1**2 - 1), rel=1e-6)


def test_the_interior_of_the_ball_is_searched():
    surface = surface_of(lambda w: (w[0] ** 2 - 1) ** 2, -0.5)
    assert probes.sharpness(surface, kind="ball", epsilon=0.9).value.item() == pytest.approx(0.4375, abs=1e-6)
    assert probes.sharpness(surface, kind="keskar", epsilon=0.6).rise.item() == pytest.approx(0.4375, abs=1e-2)


def test_sam_may_fall_where_its_step_is_too_long():
    surface = surface_of(lambda w: -((w[0] - 1) ** 2) + 3, 0.5)
    assert probes.sharpness(surface, kind="sam", epsilon=2.0).value.item() == pytest.approx(-(1.5**2) + 0.5**2)


def test_a_loss_of_minus_one_or_less_is_no_share():
    surface = surface_of(lambda w: w[0] ** 2 - 2, 0.0)
    with pytest.raises(InputError, match=r"loss = -2\.0"):
        probes.sharpness(surface)
    assert probes.sharpness(surface, kind="ball", epsilon=0.5).value.item() == pytest.approx(0.25)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_neighbourhood_that_is_empty_is_refused(weight):
    model = nn.Linear(2, 1)
    nn.init.constant_(model.weight, weight)
    surface = LossSurface(model, "mse", (torch.ones(3, 2), torch.ones(3, 1)), params=["bias"] if weight else None)
    for kind in ("keskar", "ball", "sam"):
        with pytest.raises(InputError, match="neighbourhood is empty"):
            probes.sharpness(surface, kind=kind, scale="filter")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", math.inf), ("epsilon", "a"), ("epsilon", None), ("epsilon", 0.0), ("steps", -1), ("steps", 1.5),
        ("kind", "box"), ("kind", torch.ones(3)), ("scale", 2),
    ],
)  # fmt: skip
def test_a_setting_that_can_not_be_is_refused_by_name(field, value, unchecked):
    with pytest.raises(InputError) as refusal:
        probes.sharpness(quadratic(torch.eye(2).double()), **{field: value})
    assert refusal.value.field == field
    assert len(str(refusal.value)) < 120
