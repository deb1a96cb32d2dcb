"""Sharpness against closed forms and against every corner."""

import pytest
import torch
from torch import nn

from bathymetry import LossSurface, probes
from probes.surfaces import quadratic


def test_the_ball_around_a_parabolas_bottom_rises_by_half_its_largest_eigenvalue():
    matrix = torch.diag(torch.tensor([1.0, 7.0, -9.0, 3.0]).double())
    found = probes.sharpness(quadratic(matrix), "ball", epsilon=0.1)
    assert found.value.item() == pytest.approx(0.5 * 0.1**2 * 7, rel=1e-6)


def test_keskars_box_is_climbed_to_its_corner():
    found = probes.sharpness(quadratic(torch.diag(torch.tensor([2.0, 4.0]).double())), "keskar", epsilon=0.1)
    assert found.value.item() == pytest.approx(100 * (0.1**2 * 2 + 0.1**2 * 4) / 2, rel=1e-6)


def test_sam_steps_along_the_gradient():
    surface = quadratic(torch.diag(torch.tensor([2.0, 4.0]).double()), torch.tensor([1.0, 1.0]))
    theta = surface.parameters
    step = 0.05 * surface.gradient() / surface.gradient().norm()
    found = probes.sharpness(surface, "sam", epsilon=0.05)
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
    planes = [probes.landscape(surface, "filter", points=5, reach=0.3) for surface in (one, other)]
    torch.testing.assert_close(planes[0].loss, planes[1].loss)
    sharp = [probes.sharpness(s, "ball", epsilon=0.1, scale="filter").value.item() for s in (one, other)]
    assert sharp[0] == pytest.approx(sharp[1], rel=1e-4)
    plain = [probes.sharpness(s, "ball", epsilon=0.1).value.item() for s in (one, other)]
    assert abs(plain[0] / plain[1] - 1) > 0.5
    traces = [probes.trace(surface).value.item() for surface in (one, other)]
    assert abs(traces[0] / traces[1] - 1) > 0.5
