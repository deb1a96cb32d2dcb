"""Spectra of surfaces that are known in closed form."""

import sys

import pytest
import torch
from torch import nn

import bathymetry as bm
from bathymetry import LossSurface, linalg, probes
from bathymetry.core.errors import InputError
from bathymetry.linalg import eigenpairs, operator
from bathymetry.linalg.estimates import spectral_density
from probes.surfaces import linear_regression, quadratic, surface_of


def product(w):
    """½(w₁w₂ − 1)²."""
    return (w[0] * w[1] - 1) ** 2 / 2


def test_a_diagonal_with_two_negative_entries_of_five_has_the_ratio_three_fifths():
    index = probes.curvature_index(quadratic(torch.diag(torch.tensor([-2.0, -1.0, 3.0, 4.0, 5.0]).double())))
    assert (index.positive, index.zero, index.negative, index.minimal_ratio) == (3, 0, 2, 0.6)
    assert index.exact
    assert index.interval.tolist() == [0.6, 0.6]


def test_linear_regression_of_low_rank_has_rank_over_p():
    surface, _, _ = linear_regression(features=7, rank=3)
    index = probes.curvature_index(surface)
    assert (index.positive, index.zero, index.negative) == (3, 4, 0)
    assert index.minimal_ratio == pytest.approx(3 / 7)


@pytest.mark.parametrize(
    ("at", "eigenvalues"), [((0.0, 0.0), (-1, 1)), ((2.0, 0.5), (0, 4.25)), ((3.0, 1 / 3), (0, 9 + 1 / 9))]
)
def test_a_product_of_weights_is_a_saddle_at_the_origin_and_a_valley_elsewhere(at, eigenvalues):
    index = probes.curvature_index(surface_of(product, *at))
    torch.testing.assert_close(
        index.eigenvalues, torch.tensor(eigenvalues, dtype=torch.float64), atol=1e-12, rtol=1e-12
    )
    assert index.zero == (0 if at == (0.0, 0.0) else 1)
    assert index.gradient_norm < 1e-12


def test_float32_zeros_are_not_counted_by_their_random_sign():
    model = bm.mlp([1, 3, 5, 1])
    x = torch.linspace(-1, 1, 50)[:, None]
    index = probes.curvature_index(LossSurface(model, "mse", (x, x.cos())))
    again = probes.curvature_index(LossSurface(model, "mse", (x, x.cos()), dtype=torch.float64))
    assert torch.equal(index.zero, again.zero)


def test_an_ensemble_is_counted_at_once_and_a_diverged_member_is_nan():
    surface = quadratic(torch.diag(torch.tensor([1.0, -1.0]).double()))
    index = probes.curvature_index(surface, torch.tensor([[0.0, 1.0], [torch.nan, 0.0]], dtype=torch.float64))
    assert index.minimal_ratio[0] == 0.5
    assert index.minimal_ratio.isnan().tolist() == [False, True]
    assert index.gradient_norm[0] == 1


def test_beyond_a_few_thousand_parameters_the_ratio_has_an_interval():
    torch.manual_seed(0)
    values = torch.cat([torch.linspace(1, 2, 1400), torch.linspace(-1, -0.5, 2100)]).double()

    class Diagonal(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(3500, dtype=torch.float64))

        def forward(self, x):
            return x * (values * self.w**2).sum() / 2

    one = torch.ones(1, 1).double()
    index = probes.curvature_index(LossSurface(Diagonal(), lambda o, t: o.mean(), (one, one)), probes=15, steps=30)
    assert not index.exact
    low, high = index.interval.tolist()
    assert low < 0.4 < high
    assert high - low < 0.1
    assert index.eigenvalues is None


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
def test_eigenvalues_come_with_residuals_that_hold(which):
    surface = LossSurface(
        bm.mlp([3, 8, 2], "tanh"), "mse", (torch.randn(30, 3), torch.randn(30, 2)), dtype=torch.float64
    )
    found = probes.eigenvalues(surface, k=3, which=which)
    every = torch.linalg.eigvalsh(surface.hessian()).flip(0)
    expected = {
        "largest": every[:3], "smallest": every[-3:], "both": torch.cat([every[:3], every[-3:]]),
        "magnitude": every[every.abs().argsort(descending=True)[:3]],
    }[which]  # fmt: skip
    torch.testing.assert_close(found.values, expected, rtol=1e-8, atol=1e-9)
    residual = (surface.hvp(found.vectors) - found.values[:, None] * found.vectors).norm(dim=1)
    torch.testing.assert_close(found.residuals, residual, atol=1e-12, rtol=1e-6)
    assert found.converged.all()


def test_more_eigenvalues_than_parameters_are_refused():
    surface, _, _ = linear_regression()
    with pytest.raises(InputError, match="k = 5"):
        probes.eigenvalues(surface, k=5)


def test_trace_diagonal_and_density_of_linear_regression_are_exact_with_enough_products():
    surface, x, _ = linear_regression()
    hessian = 2 / len(x) * x.T @ x
    assert probes.trace(surface).value == pytest.approx(float(hessian.trace()))
    torch.testing.assert_close(probes.diagonal(surface).value, hessian.diagonal())
    density = probes.spectral_density(surface, probes=4, steps=4)
    assert density.moment(2)[0] == pytest.approx(float((hessian @ hessian).trace()) / 4)


@pytest.mark.parametrize(
    "probe", [probes.eigenvalues, probes.curvature_index, probes.gradient_norm, probes.spectral_density]
)
def test_nan_on_the_surface_is_one_clear_error(probe, unchecked):
    surface, _, _ = linear_regression()
    with pytest.raises(InputError, match="loss = nan: expected a point where the loss is finite"):
        probe(surface, theta=torch.full((4,), torch.nan, dtype=torch.float64))


def test_an_ensemble_has_a_trace_a_diagonal_and_a_density_each():
    surface = quadratic(torch.diag(torch.tensor([1.0, -3.0, 4.0]).double()))
    theta = torch.tensor([[0.0, 0, 0], [1, 2, 3], [torch.nan, 0, 0]], dtype=torch.float64)
    assert probes.trace(surface, theta).value[:2].tolist() == [2, 2]
    assert probes.diagonal(surface, theta).value[1].tolist() == [1, -3, 4]
    share, error = probes.spectral_density(surface, theta).mass(0, 10)
    assert share[:2].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert error.shape == (3,)
    for found in (probes.trace(surface, theta), probes.diagonal(surface, theta)):
        assert bool(found.value[2].isnan().all())


def test_a_preconditioned_hessian_is_that_of_the_rescaled_problem():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 8.0]]).double()
    divisor = torch.tensor([1.0, 4.0]).double()
    root = divisor.sqrt()
    expected = torch.linalg.eigvalsh(matrix / (root[:, None] * root)).max()
    assert probes.preconditioned_eigenvalue(quadratic(matrix), preconditioner=divisor).item() == pytest.approx(
        expected.item()
    )
    with pytest.raises(InputError, match="preconditioner = not positive"):
        probes.preconditioned_eigenvalue(quadratic(matrix), preconditioner=-divisor)


def wide_regression(rank, parameters):
    """Mean squared error of `rank` examples with P weights: H has `rank` eigenvalues over four decades, and zeros."""
    values = torch.logspace(-4, 0, rank, dtype=torch.float64)
    inputs = torch.zeros(rank, parameters, dtype=torch.float64)
    inputs[:, :rank] = torch.diag((values * rank / 2).sqrt())
    model = nn.Linear(parameters, 1, bias=False).double()
    return LossSurface(model, "mse", (inputs, torch.zeros(rank, 1, dtype=torch.float64)))


def test_directions_that_lanczos_has_not_resolved_are_not_called_positive():
    surface = wide_regression(300, 3100)
    with pytest.warns(eigenpairs.NotConverged, match="not resolved from zero"):
        index = probes.curvature_index(surface, steps=60, probes=5)
    low, high = index.interval.tolist()
    assert low <= 300 / 3100 <= high
    assert index.minimal_ratio < 0.15


def test_enough_steps_resolve_the_rank():
    index = probes.curvature_index(wide_regression(60, 3100), steps=70, probes=8)
    low, high = index.interval.tolist()
    assert low <= 60 / 3100 <= high
    assert high - low < 0.02


def test_copies_are_found_among_many_parameters():
    """Two outputs with the same inputs: every eigenvalue of mean squared error comes twice."""
    torch.manual_seed(0)
    x = torch.randn(50, 400, dtype=torch.float64)
    surface = LossSurface(nn.Linear(400, 2).double(), "mse", (x, torch.zeros(50, 2, dtype=torch.float64)))
    with_bias = torch.cat([x, torch.ones(50, 1, dtype=torch.float64)], dim=1)
    largest = torch.linalg.svdvals(with_bias)[0] ** 2 / 50
    found = probes.eigenvalues(surface, k=2)
    torch.testing.assert_close(found.values, largest.expand(2), rtol=1e-3, atol=0)
    assert found.converged.all()


def test_a_member_without_a_finite_hessian_leaves_the_others_alone():
    surface = surface_of(lambda w: w[0].abs().sqrt() + (w**2).sum(), *([0.5] * 400))
    theta = torch.stack([torch.full((400,), 0.5), torch.cat([torch.zeros(1), torch.full((399,), 0.5)])]).double()
    found = probes.eigenvalues(surface, theta, k=1)
    assert found.values[0].item() == pytest.approx(2.0, rel=1e-3)
    assert found.values[1].isnan().all()
    assert found.converged.tolist() == [[True], [False]]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda s: probes.eigenvalues(s, k=1.5), "k"),
        (lambda s: probes.eigenvalues(s, k=1, tolerance=-1.0), "tolerance"),
        (lambda s: probes.eigenvalues(s, k=1, tolerance=float("inf")), "tolerance"),
        (lambda s: probes.eigenvalues(s, k=1, max_matvecs=0), "max_matvecs"),
        (lambda s: probes.eigenvalues(s, k=1, seconds=-1.0), "seconds"),
        (lambda s: probes.eigenvalues(s, k=1, start=torch.ones(4)), "start"),
        (lambda s: probes.eigenvalues(s, k=1, start=torch.zeros(3)), "start"),
        (lambda s: probes.eigenvalues(s, k=1, start=torch.full((3,), torch.nan)), "start"),
        (lambda s: probes.eigenvalues(s, k=10**12), "k"),
        (lambda s: probes.spectral_density(s, steps=2.5), "steps"),
        (lambda s: probes.spectral_density(s, probes=0), "probes"),
        (lambda s: probes.trace(s, num_matvecs=5), "num_matvecs"),
        (lambda s: probes.diagonal(s, num_matvecs=True), "num_matvecs"),
        (lambda s: probes.curvature_index(s, probes=1), "probes"),
    ],
)  # fmt: skip
def test_an_argument_out_of_range_is_named(ask, field, unchecked):
    with pytest.raises(InputError, match=f"^{field} = "):
        ask(quadratic(torch.eye(3).double()))


def diagonal_surface(values):
    """½ Σ λᵢwᵢ², which has the eigenvalues λ and the unit vectors."""
    return surface_of(lambda w: (values * w**2).sum() / 2, *([0.0] * len(values)))


def test_one_parameter_has_no_two_ends():
    with pytest.raises(InputError, match='k = 1: this surface has one parameter, so which="both" is not available'):
        probes.eigenvalues(surface_of(lambda w: w[0] ** 2, 1.0), k=1, which="both")


def test_a_start_near_the_eigenvectors_saves_products():
    values = torch.linspace(0, 1, 400).double()
    surface = diagonal_surface(values)
    first = probes.eigenvalues(surface, k=2, certify=False)
    again = probes.eigenvalues(surface, k=2, start=first.vectors, certify=False)
    assert again.converged.all()
    torch.testing.assert_close(again.values, values[-2:].flip(0), atol=1e-3, rtol=0)
    assert again.num_matvecs < 0.7 * first.num_matvecs


def test_members_have_starts_of_their_own():
    values = torch.linspace(0, 1, 400).double()
    units = torch.eye(400).double()[[399, 398]]
    found = probes.eigenvalues(diagonal_surface(values), torch.zeros(2, 400).double(), k=1, start=units, certify=False)
    torch.testing.assert_close(found.values[:, 0], values[[399, 398]])  # each stays where it began
    torch.testing.assert_close(found.vectors[:, 0].abs(), units)


def test_without_certification_fewer_products_are_made():
    values = torch.cat([torch.linspace(0, 1, 398), torch.tensor([5.0, 5.0])]).double()
    trusting, certified = (probes.eigenvalues(diagonal_surface(values), k=1, certify=sure) for sure in (False, True))
    assert trusting.converged.all()
    assert certified.converged.all()
    assert trusting.num_matvecs < certified.num_matvecs


def test_what_was_found_when_the_time_is_over_has_its_true_residual():
    values = torch.linspace(0, 1, 400).double()
    surface = diagonal_surface(values)
    with pytest.warns(eigenpairs.NotConverged, match="seconds"):
        found = probes.eigenvalues(surface, k=3, seconds=1e-9)
    assert not found.converged.any()
    assert found.num_matvecs == 6  # three, and one more for each residual
    residual = (values * found.vectors - found.values[:, None] * found.vectors).norm(dim=1)
    torch.testing.assert_close(found.residuals, residual)


def test_a_few_vectors_and_restarts_find_the_largest_eigenvalue(monkeypatch):
    from bathymetry.linalg import lanczos

    values = torch.cat([torch.linspace(0, 1, 499) ** 2, torch.tensor([1.5])]).double()
    monkeypatch.setattr(sys.modules["bathymetry.linalg.eigenpairs"], "_BASIS", 11 * 500 * 8)
    monkeypatch.setattr(lanczos, "_BLOCK", 1)  # a basis in several blocks
    held = []
    grow = lanczos.Krylov.grow
    monkeypatch.setattr(
        lanczos.Krylov, "grow", lambda run: held.append(sum(b.shape[1] for b in run._blocks)) or grow(run)
    )
    found = probes.eigenvalues(diagonal_surface(values), k=1, tolerance=1e-6)
    assert found.converged.all()
    assert found.values.item() == pytest.approx(1.5, abs=1e-9)
    assert max(held) <= 12
    assert found.num_matvecs > 12


@pytest.mark.parametrize("size", [4, 1500])
def test_a_preconditioned_surface_has_the_eigenvalues_of_the_rescaled_one(size):
    """D^(−½) diag(λ) D^(−½) = diag(λ/D)."""
    values = torch.linspace(-1, 2, size).double()
    divisor = torch.linspace(3, 0.1, size).double()
    truth = (values / divisor).sort(descending=True).values
    surface = diagonal_surface(values)
    found = probes.eigenvalues(surface, k=2, which="both", preconditioner=divisor, tolerance=1e-6)
    torch.testing.assert_close(found.values, torch.cat([truth[:2], truth[-2:]]), rtol=1e-6, atol=1e-4)
    assert found.converged.all()
    largest = probes.preconditioned_eigenvalue(surface, preconditioner=divisor)
    assert largest.item() == pytest.approx(truth[0].item(), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("size", [2, 1500])
@pytest.mark.parametrize("entry", [0.0, -1.0, float("nan"), float("inf")])
def test_what_divides_no_gradient_is_no_preconditioner(size, entry):
    surface, divisor = diagonal_surface(torch.ones(size).double()), torch.ones(size).double()
    divisor[1] = entry
    for wrong in (divisor, divisor[:-1]):
        with pytest.raises(InputError, match="preconditioner = "):
            probes.preconditioned_eigenvalue(surface, preconditioner=wrong)


PRODUCTS = [
    lambda s, t: probes.eigenvalues(s, t, k=1),
    probes.curvature_index,
    probes.spectral_density,
    probes.trace,
    probes.diagonal,
    lambda s, t: probes.preconditioned_eigenvalue(s, t, preconditioner=torch.ones_like(s.points(t)[0]).squeeze(0)),
    lambda s, t: probes.sharpness(s, t, kind="ball"),
    probes.critical_point,
]


@pytest.mark.parametrize("probe", PRODUCTS)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_curvature_that_is_not_finite_has_one_refusal(probe, size):
    """|w|^1.5 has a slope of 0 at 0, and no second derivative."""
    surface = surface_of(lambda w: (w.abs() ** 1.5).sum(), *([0.0] * size))
    with pytest.raises(operator.NotFiniteError, match="product = not finite"):
        probe(surface, None)


def test_a_member_without_second_derivatives_leaves_the_curvature_of_others_alone():
    surface = surface_of(lambda w: (w.abs() ** 1.5).sum(), 1.0, 1.0)
    theta = torch.tensor([[1.0, 4.0], [0.0, 1.0]]).double()
    index = probes.curvature_index(surface, theta)
    torch.testing.assert_close(index.eigenvalues[0], torch.tensor([0.375, 0.75]).double())
    assert index.eigenvalues[1].isnan().all()
    assert index.positive.isnan().tolist() == [False, True]
    largest = probes.preconditioned_eigenvalue(surface, theta, preconditioner=torch.ones(2, 2))
    assert largest[0].item() == pytest.approx(0.75)
    assert largest[1].isnan()


def test_one_parameter_has_a_share_without_an_error():
    share, error = probes.spectral_density(quadratic(torch.tensor([[3.0]]).double())).mass(2, 4)
    assert (share.item(), error.item()) == (1.0, 0.0)


def test_a_spectrum_that_is_whole_has_no_sampling_error():
    density = spectral_density(linalg.MatrixOperator(torch.diag(torch.tensor([1.0, 2.0, 5.0]))), 3, 3)
    share, error = density.mass(4, 6)
    assert (round(share.item(), 9), error.item()) == (0.333333333, 0.0)
    assert spectral_density(linalg.MatrixOperator(torch.eye(3)), 3, 1).mass(0, 2)[1].item() == pytest.approx(0)


def test_with_time_for_all_products_the_whole_matrix_is_decomposed():
    values = torch.linspace(-1, 1, 40).double()
    found = probes.eigenvalues(diagonal_surface(values), k=5, seconds=600.0)
    assert found.converged.all()
    torch.testing.assert_close(found.values, values.flip(0)[:5])


@pytest.mark.parametrize("start", [torch.ones(3).double(), torch.ones(3, 4).double(), "ones"])
def test_starts_of_several_members_have_a_row_for_each(start, unchecked):
    surface = diagonal_surface(torch.arange(4.0).double())
    with pytest.raises(InputError, match=r"start = .*: expected \(2, parameter\) or \(2, vector, parameter\)"):
        probes.eigenvalues(surface, torch.zeros(2, 4).double(), k=1, start=start)
