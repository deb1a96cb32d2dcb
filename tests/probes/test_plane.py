"""Landscapes against closed forms."""

import pytest
import torch

from bathymetry import probes
from bathymetry.core.errors import InputError
from probes.surfaces import quadratic, surface_of


def test_a_landscape_has_true_distances_its_centre_and_its_gaps():
    surface = quadratic(torch.eye(2).double())
    along = torch.tensor([[3.0, 4.0]]).double()
    line = probes.landscape(surface, directions=along, radius=2.0, points=5)
    torch.testing.assert_close(line.axes[0], torch.tensor([-10.0, -5, 0, 5, 10]).double())
    torch.testing.assert_close(line.loss, line.axes[0].square() / 2)
    broken = surface_of(lambda w: w[0].log(), 1.0)
    gaps = probes.landscape(broken, directions=torch.tensor([[1.0]]).double(), radius=2.0, points=5).loss
    assert bool(gaps[0].isnan())
    assert gaps[2] == 0


def test_eigenvectors_span_the_plane_of_the_sharpest_directions():
    surface = quadratic(torch.diag(torch.tensor([1.0, 5.0, 3.0]).double()))
    plane = probes.landscape(surface, directions="eigenvectors", radius=1.0, points=3)
    assert plane.loss[2, 1].item() == pytest.approx(2.5)
    assert plane.loss[1, 2].item() == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("field", "setting"),
    [
        ("theta", {"theta": torch.ones(2, 2)}),
        ("directions", {"directions": torch.ones(3, 2)}),
        ("directions", {"directions": torch.tensor([[1.0, 2.0], [-2.0, -4.0]])}),
        ("directions", {"directions": torch.tensor([1.0, torch.nan])}),
        ("directions", {"directions": torch.zeros(2)}),
        ("directions", {"directions": torch.ones(3)}),
        ("directions", {"directions": "random"}),
        ("points", {"points": 2.5}),
        ("points", {"points": 1}),
        ("radius", {"radius": float("inf")}),
        ("radius", {"radius": float("nan")}),
    ],
)
def test_a_setting_that_can_not_be_is_refused_by_name(field, setting, unchecked):
    with pytest.raises(InputError) as refusal:
        probes.landscape(quadratic(torch.eye(2).double()), **setting)
    assert refusal.value.field == field


def test_directions_may_be_numpys(unchecked):
    line = probes.landscape(quadratic(torch.eye(2).double()), directions=torch.ones(1, 2).numpy(), points=3)
    torch.testing.assert_close(line.loss, torch.tensor([1.0, 0.0, 1.0]).double())
