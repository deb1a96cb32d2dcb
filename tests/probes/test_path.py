"""Paths in a plane, and what random walks make of it."""

import math

import pytest
import torch

from bathymetry import probes
from bathymetry.core.errors import InputError
from bathymetry.probes import random_walk, random_walk_limit, trajectory
from probes.surfaces import quadratic


@pytest.mark.parametrize(("snapshots", "ratios"), [(10, (0.619, 0.159, 0.074)), (1000, (0.608, 0.152, 0.068))])
def test_random_walks_in_many_dimensions_have_their_known_ratios(snapshots, ratios):
    walks = 40 if snapshots == 10 else 3
    walk = random_walk(snapshots, 10_000, 3, walks=walks)
    for component, (seen, known) in enumerate(zip(walk.ratio.tolist(), ratios, strict=True), start=1):
        assert seen == pytest.approx(known, abs=0.012)
        assert random_walk_limit(snapshots, component) == pytest.approx(known, abs=6e-4)
    assert (walk.spread[0] <= walk.ratio).all()
    assert (walk.ratio <= walk.spread[1]).all()


def test_drawing_the_gram_matrix_is_drawing_the_walk():
    """In 30 dimensions a walk of 11 points can be drawn either way; the ratios must have one law."""
    chance = torch.Generator().manual_seed(0)
    plain = []
    for _ in range(400):
        walk = torch.randn(10, 30, generator=chance, dtype=torch.float64).cumsum(0)
        walk = torch.cat([torch.zeros(1, 30).double(), walk])
        values = torch.linalg.svdvals(walk - walk.mean(0)).square()
        plain.append(values[:2] / values.sum())
    plain = torch.stack(plain)
    drawn = random_walk(11, 30, 2, walks=400)
    torch.testing.assert_close(drawn.ratio, plain.mean(0), atol=4 * float(plain.std(0).max()) / math.sqrt(200), rtol=0)


@pytest.mark.parametrize("shape", [(12, 300), (1200, 3)])
def test_the_plane_is_that_of_a_singular_value_decomposition(shape):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(3)).double().cumsum(0)
    path = trajectory(weights, walks=2)
    left, sizes, _ = torch.linalg.svd(weights - weights.mean(0), full_matrices=False)
    torch.testing.assert_close(path.explained_variance_ratio, (sizes.square() / sizes.square().sum())[:2])
    torch.testing.assert_close(path.projection.abs(), (left * sizes)[:, :2].abs(), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(path.components @ path.components.T, torch.eye(2).double(), atol=1e-10, rtol=0)


def test_a_circle_turns_by_its_angle_and_fills_its_plane():
    angle = torch.arange(13).double() * math.pi / 6
    circle = torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=1)
    path = trajectory(circle, walks=2)
    assert path.explained_variance_ratio.sum() == pytest.approx(1)
    assert path.turning.item() == pytest.approx(math.cos(math.pi / 6))
    assert path.distance.item() == pytest.approx(12 * 2 * math.sin(math.pi / 12))
    assert path.displacement.item() == pytest.approx(0, abs=1e-12)


def test_members_that_do_not_move_have_no_variance_within():
    still = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0]]).double()[:, None].expand(3, 6, 2)
    path = trajectory(still, walks=2)
    assert path.within_share == pytest.approx(0, abs=1e-20)
    assert path.distance.tolist() == [0, 0, 0]


def test_members_that_move_together_have_all_variance_within():
    path = trajectory(torch.linspace(0, 1, 5).double()[None, :, None].expand(3, 5, 2), walks=2)
    assert path.within_share == pytest.approx(1)


def test_the_loss_at_a_projection_is_not_the_loss_at_the_point():
    surface = quadratic(torch.eye(3).double())
    weights = torch.tensor([[2.0, 0, 0], [1, 1, 0.8], [0, 0, -0.9], [-1, 1, 0.7]]).double()
    path = trajectory(weights, surface, walks=2)
    torch.testing.assert_close(path.loss, weights.square().sum(1) / 2)
    projected = path.mean + path.projection @ path.components
    torch.testing.assert_close(path.plane_loss, projected.square().sum(1) / 2)
    assert (path.plane_loss - path.loss).abs().max() > 0.01


def test_a_diverged_member_is_left_out_of_the_plane():
    weights = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1)).double()
    broken = weights.clone()
    broken[1, 3:] = torch.nan
    path, without = trajectory(broken, walks=2), trajectory(weights[[0, 2]], walks=2)
    torch.testing.assert_close(path.projection[[0, 2]], without.projection)
    assert path.projection[1, 3:].isnan().all()


@pytest.mark.parametrize("weights", [torch.zeros(1, 3), torch.zeros(4), torch.full((3, 2), torch.nan)])
def test_what_is_no_path_is_refused(weights, unchecked):
    with pytest.raises(InputError, match="weights = "):
        probes.trajectory(weights)


@pytest.mark.parametrize(("snapshots", "component"), [(10, 0), (10, 10), (1, 1), (10, 1.5)])
def test_a_component_that_a_walk_does_not_have_has_no_limit(snapshots, component, unchecked):
    with pytest.raises(InputError, match=r"^(snapshots|component) = "):
        random_walk_limit(snapshots, component)
