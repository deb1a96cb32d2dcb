"""Algorithms that see nothing but products are held to `eigvalsh` and to matrices whose spectrum is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.linalg import MatrixOperator
from bathymetry.linalg.eigenpairs import NotConverged, eigenpairs
from bathymetry.linalg.estimates import diagonal, few_samples, spectral_density, trace
from bathymetry.linalg.operator import ScaledOperator


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def with_spectrum(values, seed=0, dtype=torch.float64):
    """A dense symmetric matrix with these eigenvalues."""
    values = torch.as_tensor(values, dtype=torch.float64)
    turned, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=chance(seed), dtype=torch.float64))
    matrix = turned @ torch.diag(values) @ turned.T
    return MatrixOperator(((matrix + matrix.T) / 2).to(dtype))


@pytest.fixture(scope="module")
def papyan():
    """A bulk of radius 1 with spikes at 5, 4 and 3, 2000 × 2000, as in Papyan 2018, arXiv:1811.07062."""
    size = 2000
    noise = torch.randn(size, size, generator=chance(4), dtype=torch.float64) / math.sqrt(8 * size)
    matrix = noise + noise.T
    matrix += torch.diag(torch.cat([torch.tensor([5.0, 4.0, 3.0]), torch.zeros(size - 3)]).double())
    return MatrixOperator(matrix)


def test_the_spikes_of_papyans_matrix_are_found(papyan):
    found = eigenpairs(papyan, 3, tolerance=1e-8)
    truth = torch.linalg.eigvalsh(papyan.matrix)[-3:].flip(0)
    torch.testing.assert_close(found.values, truth, rtol=1e-10, atol=1e-10)
    assert found.converged.all()
    assert (found.residuals <= 1e-8 * 5.2).all()
    assert found.num_matvecs < 200


def test_the_density_of_papyans_matrix_has_its_bulk_and_its_spikes(papyan):
    density = spectral_density(papyan, probes=12, steps=60)
    truth = torch.linalg.eigvalsh(papyan.matrix)
    for low, high in [(-1.2, -0.5), (-0.5, 0.5), (0.5, 1.2), (2.5, 6.0)]:
        share, error = density.mass(low, high)
        assert abs(share - float(((truth >= low) & (truth <= high)).double().mean())) < 4 * error + 0.01
    assert density.mass(-10, 10)[0] == pytest.approx(1.0)
    grid = torch.linspace(-8, 8, 4001).double()
    assert float(torch.trapezoid(density.density(grid, 0.05), grid)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 7, 30])
def test_as_many_probes_and_steps_as_dimensions_give_the_spectrum_itself(size):
    operator = with_spectrum(torch.randn(size, generator=chance(1)))
    density = spectral_density(operator, probes=size, steps=size)
    truth = torch.linalg.eigvalsh(operator.matrix)
    for order in range(6):
        assert density.moment(order)[0] == pytest.approx(float((truth**order).mean()), rel=1e-9, abs=1e-10)
    for cut in (truth[1:] + truth[:-1]) / 2:
        expected = float((truth <= cut).double().mean())
        assert density.mass(-1e9, float(cut))[0] == pytest.approx(expected, abs=1e-9)


def test_a_twentieth_of_the_eigenvalues_weighs_a_twentieth():
    operator = with_spectrum([10.0] * 20 + [0.0] * 380)
    share, error = spectral_density(operator, probes=40, steps=10).mass(9, 11)
    assert abs(share - 0.05) < 4 * error
    assert error < 0.01


WHICH = ["largest", "smallest", "both", "magnitude"]


def expected(matrix, k, which):
    values = torch.linalg.eigvalsh(matrix.double()).flip(0)
    match which:
        case "largest":
            return values[:k]
        case "smallest":
            return values[-k:]
        case "both":
            return torch.cat([values[:k], values[-k:]])
    return values[values.abs().argsort(descending=True, stable=True)[:k]]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 4), st.sampled_from(WHICH), st.integers(0, 1000))
def test_small_matrices_have_the_eigenvalues_of_eigvalsh(size, k, which, seed):
    operator = with_spectrum(torch.randn(size, generator=chance(seed)), seed)
    if k * (2 if which == "both" else 1) > size:
        with pytest.raises(InputError, match="k = "):
            eigenpairs(operator, k, which)
        return
    found = eigenpairs(operator, k, which)
    torch.testing.assert_close(found.values, expected(operator.matrix, k, which), rtol=1e-9, atol=1e-10)
    assert found.converged.all()


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spectrum", ["spread", "clustered", "low rank", "indefinite"])
def test_large_matrices_have_the_eigenvalues_of_eigvalsh(which, dtype, spectrum):
    size = 500
    values = {
        "spread": torch.randn(size, generator=chance(2)),
        "clustered": torch.cat([torch.tensor([3, 2.999, 2.998, -3.01, -3.009]), torch.linspace(-0.3, 0.3, size - 5)]),
        "low rank": torch.cat([torch.tensor([2.0, 1.0, -1.5, -0.5, 0.3, 0.2, -0.1, 0.05]), torch.zeros(size - 8)]),
        "indefinite": torch.linspace(-1, 1.001, size) ** 3,
    }[spectrum]  # fmt: skip
    operator = with_spectrum(values, dtype=dtype)
    found = eigenpairs(operator, 3, which, tolerance=1e-4)
    largest = float(values.abs().max())
    torch.testing.assert_close(found.values, expected(operator.matrix, 3, which), rtol=0, atol=2e-4 * largest)
    assert found.converged.all()
    residual = (found.vectors @ operator.matrix).double() - found.values[:, None] * found.vectors.double()
    torch.testing.assert_close(found.residuals, residual.norm(dim=1), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("repeated", [2, 3, 5])
def test_every_copy_of_an_eigenvalue_is_found(repeated):
    operator = with_spectrum([5.0] * repeated + torch.linspace(0, 1, 400).tolist())
    torch.testing.assert_close(
        eigenpairs(operator, repeated, tolerance=1e-6).values, torch.full((repeated,), 5.0).double(), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("which", ["largest", "smallest", "both", "magnitude"])
@pytest.mark.parametrize("end", [1.0, -1.0])
def test_copies_next_to_a_crowd_are_found(which, end):
    operator = with_spectrum([end] * 3 + (end * torch.linspace(0, 0.99, 397)).tolist())
    found = eigenpairs(operator, 3, which)
    torch.testing.assert_close(found.values, expected(operator.matrix, 3, which), rtol=0, atol=2e-3)
    assert found.converged.all()


def test_a_search_that_ends_before_it_has_looked_around_says_so():
    operator = with_spectrum([5.0, 5.0, *torch.linspace(0, 1, 400).tolist()])
    with pytest.warns(NotConverged, match="may have missed"):
        found = eigenpairs(operator, 1, max_matvecs=12)
    assert not found.converged.any()


def test_few_samples_have_wide_errors():
    operator = with_spectrum(torch.linspace(-1, 1, 120))
    truth = operator.matrix.diagonal()
    inside = []
    for seed in range(60):
        found = diagonal(operator, 3, chance(seed))
        inside.append(((found.value - truth).abs() <= 1.96 * found.standard_error).double().mean())
    assert float(torch.stack(inside).mean()) > 0.93


def test_the_largest_by_magnitude_keeps_its_sign():
    operator = with_spectrum(torch.cat([torch.tensor([0.53, -0.68]), torch.linspace(-0.3, 0.3, 600)]))
    assert eigenpairs(operator, 1, "magnitude").values.item() == pytest.approx(-0.68, abs=1e-3)
    assert eigenpairs(operator, 1, "largest").values.item() == pytest.approx(0.53, abs=1e-3)


def test_too_few_products_are_warned_of_and_said():
    operator = with_spectrum(torch.linspace(0.9, 1, 600))
    with pytest.warns(NotConverged, match="residuals above 1e-06 of the largest"):
        found = eigenpairs(operator, 4, tolerance=1e-6, max_matvecs=15)
    assert not found.converged.all()


@pytest.mark.parametrize("spectrum", ["decaying", "flat", "no trace", "low rank"])
def test_a_trace_lies_within_its_standard_errors_as_often_as_it_should(spectrum):
    size = 200
    values = {
        "decaying": 0.9 ** torch.arange(size),
        "flat": torch.ones(size) + 0.2 * torch.randn(size, generator=chance(5)),
        "no trace": torch.linspace(-1, 1, size),
        "low rank": torch.cat([torch.tensor([3.0, 2.0, -1.0]), torch.zeros(size - 3)]),
    }[spectrum]
    operator = with_spectrum(values)
    truth = float(values.double().sum())
    estimates = [trace(operator, 24, chance(seed)) for seed in range(200)]
    errors = np.array([one.value - truth for one in estimates])
    stated = np.array([one.standard_error for one in estimates])
    within = np.abs(errors) <= 1.96 * stated + 1e-8
    assert within.mean() > 0.90  # of 200 that hold 95 % each
    assert abs(errors.mean()) < 4 * errors.std() / math.sqrt(200) + 1e-8
    widened = stats.t.ppf(0.975, 7) / 1.96  # 8 samples
    assert np.sqrt((stated**2).mean()) == pytest.approx(widened * errors.std(), rel=0.25, abs=1e-8)


def test_a_diagonal_has_honest_standard_errors():
    operator = with_spectrum(torch.randn(80, generator=chance(6)))
    found = diagonal(operator, 60, chance(7))
    scores = (found.value - operator.matrix.diagonal()) / found.standard_error
    assert 0.8 < float(scores.std()) < 1.25
    assert found.num_matvecs == 60


def test_enough_products_give_trace_and_diagonal_exactly():
    operator = with_spectrum(torch.randn(20, generator=chance(8)))
    assert trace(operator, 20).value == pytest.approx(float(operator.matrix.trace()), abs=1e-12)
    assert trace(operator, 20).standard_error == 0
    torch.testing.assert_close(diagonal(operator, 20).value, operator.matrix.diagonal())


class NotANumber:
    dimension, dtype, device = 400, torch.float64, torch.device("cpu")

    def __call__(self, vectors):
        return vectors * math.nan


@pytest.mark.parametrize("ask", [lambda a: eigenpairs(a, 2), spectral_density, trace, diagonal])
def test_a_product_that_is_not_a_number_is_refused(ask):
    with pytest.raises(InputError, match="product = not finite"):
        ask(NotANumber())


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda a: eigenpairs(a, 0), "k"),
        (lambda a: eigenpairs(a, 6), "k"),
        (lambda a: eigenpairs(a, 3, "both"), "k"),
        (lambda a: eigenpairs(a, 1, "lowest"), "which"),
        (lambda a: spectral_density(a, probes=0), "probes"),
        (lambda a: spectral_density(a, steps=0), "steps"),
        (lambda a: trace(a, 5), "num_matvecs"),
        (lambda a: diagonal(a, 1), "num_matvecs"),
    ],
)
def test_what_can_not_be_asked_is_named(ask, field, unchecked):
    with pytest.raises(InputError, match=f"{field} = "):
        ask(with_spectrum(torch.ones(5)))


@pytest.mark.parametrize(
    "matrix", [torch.ones(2, 3), torch.tensor([[1.0, 2.0], [3.0, 1.0]]), torch.full((2, 2), torch.nan)]
)
def test_what_is_no_symmetric_matrix_is_refused(matrix, unchecked):
    with pytest.raises(InputError, match="matrix = "):
        MatrixOperator(matrix)


@pytest.mark.parametrize(("probes", "steps"), [(10, 30), (30, 20)])
@pytest.mark.parametrize(("low", "high"), [(-0.01, 0.01), (0.02, 1.0)])
def test_a_shares_error_covers_what_too_few_steps_leave_over_too(probes, steps, low, high):
    """A third of the eigenvalues near 0, the rest spread over a decade and more: more probes don't help the ends."""
    chance = torch.Generator().manual_seed(0)
    values = torch.cat([1e-3 * torch.randn(25, generator=chance), 10 ** (3 * torch.rand(58, generator=chance) - 2)])
    operator, truth = MatrixOperator(torch.diag(values.double())), ((values >= low) & (values <= high)).double().mean()
    covered = []
    for seed in range(40):
        found = spectral_density(operator, probes, steps, torch.Generator().manual_seed(seed))
        share, error = found.mass(low, high)
        covered.append(float(abs(share - truth) < 1.96 * error))
    assert sum(covered) / len(covered) > 0.8


def test_a_scaled_operator_is_the_matrix_between_two_diagonal_ones():
    matrix = MatrixOperator(torch.tensor([[2.0, 1.0], [1.0, 3.0]]))
    scaled = ScaledOperator(matrix, torch.tensor([1.0, 10.0]))
    assert scaled(torch.eye(2)).tolist() == [[2.0, 10.0], [10.0, 300.0]]


def test_a_standard_error_of_few_samples_is_widened_as_students_distribution_is():
    assert few_samples(2) == pytest.approx(12.7062 / 1.95996, rel=1e-4)
    assert few_samples(1000) == pytest.approx(1.0, abs=2e-3)


def test_a_share_of_an_interval_turned_around_and_a_grid_that_is_none_are_refused(unchecked):
    density = spectral_density(MatrixOperator(torch.eye(3)), probes=2, steps=2)
    with pytest.raises(InputError, match=r"^low = 2: expected a number up to high, 1\.$"):
        density.mass(2, 1)
    with pytest.raises(InputError, match=r"^grid = .*: expected a tensor with one axis\.$"):
        density.density("a", 1.0)
