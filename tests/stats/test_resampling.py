"""The jackknife's standard error against closed forms."""

import numpy as np
import pytest

from bathymetry.stats.per_member import jackknife_error


def test_of_a_mean_it_is_the_textbooks_standard_error():
    values = np.random.default_rng(9).normal(size=(12, 3))
    left_out = np.array([np.delete(values, i, axis=0).mean(axis=0) for i in range(12)])
    assert jackknife_error(left_out) == pytest.approx(values.std(axis=0, ddof=1) / np.sqrt(12))


def test_of_a_ratio_it_is_the_spread_of_the_pseudo_values():
    """Pseudo-value i = n θ̂ − (n − 1) θ̂₍₋ᵢ₎."""
    values = np.random.default_rng(12).lognormal(size=(10, 2))
    ratio, left_out = (
        values[:, 0].mean() / values[:, 1].mean(),
        np.array([np.divide(*np.delete(values, i, axis=0).mean(axis=0)) for i in range(10)]),
    )
    pseudo_values = 10 * ratio - 9 * left_out
    assert float(jackknife_error(left_out)) == pytest.approx(pseudo_values.std(ddof=1) / np.sqrt(10))
