"""Searches for critical points, on surfaces that have known ones or none."""

import pytest
import torch

import bathymetry as bm
from bathymetry import LossSurface, probes
from bathymetry.core.errors import InputError
from bathymetry.probes import critical_points
from probes.surfaces import quadratic, surface_of


def test_a_search_near_a_saddle_ends_at_the_saddle():
    found = probes.critical_point(quadratic(torch.diag(torch.tensor([1.0, -2.0]).double()), torch.tensor([0.3, 0.4])))
    assert found.converged
    torch.testing.assert_close(found.theta, torch.zeros(2).double(), atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    ("function", "start", "end"),
    [
        (lambda w: (w[0] ** 2 - 1) ** 2, (0.2,), (0.0,)),  # the nearest is a maximum
        (lambda w: (w[0] ** 2 - 1) ** 2, (0.9,), (1.0,)),
        (lambda w: w[0] ** 3 - 3 * w[0] + w[1] ** 2, (0.8, 2.0), (1.0, 0.0)),
        (lambda w: w[0] ** 3 - 3 * w[0] + w[1] ** 2, (-1.3, 2.0), (-1.0, 0.0)),
    ],
)
def test_the_nearest_critical_point_is_found_whatever_its_kind(function, start, end):
    found = probes.critical_point(surface_of(function, *start))
    assert found.converged
    torch.testing.assert_close(found.theta, torch.tensor(end).double(), atol=1e-6, rtol=0)


def test_a_slope_without_a_bottom_is_flat_and_never_critical():
    found = probes.critical_point(surface_of(lambda w: w[0] + w[1] ** 2, 0.5, 2.0), restarts=3)
    assert not found.converged
    assert found.flat
    assert found.gradient_norm >= 1
    assert found.flatness < 1e-6


def test_members_are_searched_together_without_the_diverged_one():
    surface = quadratic(torch.diag(torch.tensor([1.0, -2.0]).double()))
    found = probes.critical_point(
        surface, torch.tensor([[1.0, 1.0], [torch.nan, 1.0], [0.0, 0.0]], dtype=torch.float64)
    )
    assert found.converged.tolist() == [True, False, True]
    assert found.flat.tolist() == [False, False, False]
    assert found.attempts.tolist() == [1, 0, 0]  # the third is where it began


def test_a_small_tanh_network_reaches_a_gradient_that_vanishes():
    torch.manual_seed(0)
    x = torch.linspace(-2, 2, 40)[:, None]
    surface = LossSurface(bm.mlp([1, 2, 1], "tanh"), "mse", (x, x.sin()))
    found = probes.critical_point(surface, restarts=10)
    assert found.converged
    gradient = surface.double().gradient(found.theta)
    assert gradient.norm() <= 1e-8 * surface.double().gradient().norm()
    assert found.gradient_norm == pytest.approx(gradient.norm().item())


def test_a_search_without_an_attempt_or_a_tolerance_is_refused():
    surface = quadratic(torch.eye(2).double())
    with pytest.raises(InputError, match="tolerance"):
        probes.critical_point(surface, tolerance=0.0)
    with pytest.raises(InputError, match="iterations"):
        probes.critical_point(surface, iterations=0)


def test_a_steep_wall_does_not_make_a_slope_critical():
    """L = w₀ + 10¹⁰w₁²: the norm falls by ten orders of magnitude, and what is left is a slope without a bottom."""
    found = probes.critical_point(surface_of(lambda w: w[0] + 1e10 * w[1] ** 2, 0.5, 2.0))
    assert found.relative_norm < 1e-8
    assert not found.converged
    assert found.flat


def test_a_point_at_infinity_is_not_critical():
    """On exp(−w) Newton's step stays 1 while the slope vanishes."""
    found = probes.critical_point(surface_of(lambda w: torch.exp(-w[0]), 0.0))
    assert found.relative_norm < 1e-8
    assert found.runaway
    assert not found.converged
    assert found.newton_step > 0.01


def test_separable_classes_have_no_critical_point():
    x = torch.tensor([[-1.0], [-2.0], [1.0], [3.0]])
    surface = LossSurface(torch.nn.Linear(1, 2), "cross_entropy", (x, (x[:, 0] > 0).long()))
    assert not probes.critical_point(surface, iterations=400).converged


def test_a_flat_bottom_is_critical():
    """w⁴ has no curvature at its minimum, and Newton's steps shrink all the same."""
    found = probes.critical_point(surface_of(lambda w: w[0] ** 4 + w[1] ** 2, 0.7, 0.2))
    assert found.converged
    assert found.theta.norm() < 0.01


def test_a_kink_at_the_bottom_is_no_critical_point():
    found = probes.critical_point(surface_of(lambda w: w[0].abs() + w[1] ** 2, 0.3, 0.2), restarts=2)
    assert not found.converged
    assert found.gradient_norm >= 1


@pytest.mark.parametrize("norm", [0.0, float("inf"), -1.0, float("nan")])
def test_a_start_norm_that_is_not_positive_is_refused(norm):
    surface = surface_of(lambda w: w[0] ** 2 + w[0], 0.5)
    with pytest.raises(InputError, match="start_norm"):
        probes.critical_point(surface, start_norm=torch.tensor(norm))


@pytest.mark.parametrize("tolerance", [float("inf"), float("nan"), -1e-3, 1.0])
def test_a_tolerance_outside_zero_to_one_is_refused(tolerance):
    with pytest.raises(InputError, match="tolerance"):
        probes.critical_point(surface_of(lambda w: w[0] ** 2, 0.5), tolerance=tolerance)


def test_a_step_takes_one_hessian_and_the_final_check_another(monkeypatch):
    taken, hessian = [], bm.LossSurface.hessian
    monkeypatch.setattr(bm.LossSurface, "hessian", lambda surface, theta: taken.append(1) or hessian(surface, theta))
    found = probes.critical_point(surface_of(lambda w: w[0] ** 4 + w[1] ** 2, 0.7, 0.2), iterations=3, tolerance=1e-12)
    assert found.iterations == 3
    assert len(taken) == 4


def test_a_search_stops_when_its_time_is_over():
    surface = surface_of(lambda w: w[0] ** 4 + w[1] ** 2, 0.7, 0.2)
    found = probes.critical_point(surface, seconds=1e-9, restarts=3)
    assert not found.converged
    assert found.iterations == 0
    torch.testing.assert_close(found.theta, surface.parameters)
    assert probes.critical_point(surface, seconds=1e9, iterations=3).iterations == 3
    with pytest.raises(InputError, match="seconds"):
        probes.critical_point(surface, seconds=-1.0)


class Clock:
    """Time that passes only while Hessians are computed, ten seconds for each."""

    def __init__(self, monkeypatch):
        self.now, self.hessians, hessian = 0.0, 0, bm.LossSurface.hessian

        def slow(surface, theta):
            self.now, self.hessians = self.now + 10.0 * len(theta), self.hessians + 1
            return hessian(surface, theta)

        monkeypatch.setattr(bm.LossSurface, "hessian", slow)
        monkeypatch.setattr(critical_points.time, "monotonic", lambda: self.now)


@pytest.mark.parametrize(("seconds", "steps"), [(35.0, 2), (19.0, 1), (55.0, 4)])
def test_no_step_begins_that_would_not_end_in_time(monkeypatch, seconds, steps):
    """The first is begun, as products take no time here; each takes ten seconds, and so does the final check."""
    clock = Clock(monkeypatch)
    found = probes.critical_point(surface_of(lambda w: w[0] ** 4 + w[1] ** 2, 0.7, 0.2), seconds=seconds)
    assert found.iterations == steps
    assert clock.now <= seconds
    assert found.status == "stalled"
    assert found.relative_norm < 1


def test_a_step_that_products_show_to_be_too_long_is_not_begun(monkeypatch):
    clock = Clock(monkeypatch)
    product = bm.LossSurface.product

    def slow(surface, theta):
        operator = product(surface, theta)

        def multiply(vectors):
            clock.now += 1.0 * len(vectors)
            return operator(vectors)

        return multiply

    monkeypatch.setattr(bm.LossSurface, "product", slow)
    surface = quadratic(torch.diag(torch.arange(1.0, 31.0).double()), torch.ones(30))
    found = probes.critical_point(surface, seconds=20.0)  # a Hessian takes thirty products
    assert clock.hessians == 0
    assert clock.now <= 20
    assert (found.status, found.iterations.item(), found.converged.item()) == ("stalled", 0, False)
    torch.testing.assert_close(found.theta, surface.parameters)
    assert found.gradient_norm == surface.gradient().norm()
    assert "a step was expected to take at least 30 s" in found.ended_early  # thirty products of a second each
    assert "the limit of 20 s (seconds)" in found.ended_early


def test_the_limit_that_ended_a_search_is_named():
    surface = surface_of(lambda w: w[0] ** 4 + w[1] ** 2, 0.7, 0.2)
    assert probes.critical_point(surface, seconds=1e-9).ended_early == "the limit of 1e-09 s (seconds) was over"
    assert probes.critical_point(surface, seconds=None, iterations=3).ended_early == ""
    bowl = quadratic(torch.diag(torch.tensor([1.0, -2.0]).double()), torch.ones(2))
    assert probes.critical_point(bowl).ended_early == ""


def test_progress_rises_to_one(unchecked):
    shares, surface = [], quadratic(torch.diag(torch.tensor([1.0, -2.0]).double()), torch.ones(2))
    probes.critical_point(surface, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    with pytest.raises(InputError, match="progress"):
        probes.critical_point(surface, progress="yes")


def test_hessians_that_do_not_fit_are_refused_before_they_are_allocated():
    surface = LossSurface(torch.nn.Linear(102_815, 1), "mse", (torch.zeros(2, 102_815), torch.zeros(2, 1)))
    with pytest.raises(InputError, match=r"parameters = 102,816: a step needs Hessians .* GB and there are"):
        probes.critical_point(surface)


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda w: w[0].abs(), (0.0,)),
        (lambda w: torch.relu(w[0]), (0.0,)),
        (lambda w: torch.relu(-w[0]), (0.0,)),
        (lambda w: w[0].abs() + (w[1] - 1) ** 2, (0.0, 0.0)),  # the other coordinate is not at its minimum
        (lambda w: 1e-20 * (w[0].abs() + w[1] ** 2), (0.0, 0.5)),
        (lambda w: torch.maximum(w[0], 2 * w[1]) ** 2 + w[0].abs(), (0.0, 0.0)),
    ],
)
def test_a_search_begun_on_a_kink_does_not_converge_there(function, at):
    found = probes.critical_point(surface_of(function, *at))
    assert not found.converged
    assert found.status == "kink"


@pytest.mark.parametrize(
    ("function", "at"),
    [
        (lambda w: w[0] ** 4, (0.0,)),
        (lambda w: w[0].abs() ** 2.5, (0.0,)),
        (lambda w: 1e-20 * (w[0] ** 2 - w[1] ** 2), (0.0, 0.0)),
        (lambda w: 1e8 + (w[0] - 0.3) ** 2, (0.3,)),
        (lambda w: torch.relu(w[0]) ** 2 + w[1] ** 2, (0.0, 0.0)),  # its slope is continuous
        (lambda w: torch.relu(w[0] - 1) + w[1] ** 2, (0.0, 0.0)),  # the kink is elsewhere
    ],
)
def test_a_critical_point_without_a_kink_is_one(function, at):
    found = probes.critical_point(surface_of(function, *at))
    assert found.converged
    assert found.status == "converged"


def test_each_member_has_a_status():
    surface = surface_of(lambda w: w[0].abs() + w[1] ** 2 + w[2].abs() ** 1.5, 0.0, 0.0, 0.0)
    theta = torch.tensor([[0.0, 1.0, 1.0], [torch.nan, 1.0, 1.0], [1.0, 1.0, 0.0]]).double()
    found = probes.critical_point(surface, theta, iterations=30)
    assert found.status[1:] == ("undefined", "undefined")  # no loss; and no second derivative
    assert not found.converged.any()


def test_a_search_without_second_derivatives_at_its_start_is_refused():
    for at in ((0.0, 0.0), (0.0, 0.5)):
        with pytest.raises(InputError, match="product = not finite"):
            probes.critical_point(surface_of(lambda w: w[0].abs() ** 1.5 + w[1] ** 2, *at))
