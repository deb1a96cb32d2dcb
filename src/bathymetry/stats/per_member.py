"""Numbers made of several observations: rank correlations, and the jackknife's error of a statistic."""

import numpy as np
from jaxtyping import Float, Real
from scipy import stats

from bathymetry.core.errors import InputError
from bathymetry.stats.intervals import IDENTITY, Transform
from bathymetry.stats.validation import instance, numbers


def paired_difference(
    a: Real[np.ndarray, " member"], b: Real[np.ndarray, " member"], transform: Transform = IDENTITY
) -> Float[np.ndarray, " member"]:
    """Subtract each member's second number from its first on a scale, f(a) − f(b); NaN where either has none."""
    a, b = numbers("a", a), numbers("b", b)
    if a.shape != b.shape:
        raise InputError("b", f"shape {b.shape}", f"expected the shape of a, {a.shape}")
    instance(Transform, "a Transform, for example LOG", transform=transform)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN: no number
        return np.asarray(transform.forward(a) - transform.forward(b))


def regression_slope(
    x: Real[np.ndarray, " point"], y: Real[np.ndarray, "*member point"]
) -> Float[np.ndarray, "*member"]:
    """Fit a straight line to each member by least squares and return its slope, Σ (x − x̄)(y − ȳ) / Σ (x − x̄)².

    NaN for a member that lacks a finite value at any point.
    """
    across, up = numbers("x", x), numbers("y", y, axes=None)
    if up.ndim == 0 or up.shape[-1] != len(across):
        raise InputError("y", f"shape {up.shape}", f"expected {len(across)} points along the last axis, as x has")
    if not np.isfinite(across).all() or len(np.unique(across)) < 2:
        raise InputError("x", x, "expected at least two different finite values")
    centred = across - across.mean()
    complete = np.asarray(np.isfinite(up).all(axis=-1))
    finite = np.where(complete[..., None], up, 0.0)
    slopes = (finite - finite.mean(axis=-1, keepdims=True)) @ centred / (centred @ centred)
    return np.where(complete, slopes, np.nan)


def spearman_z(
    x: Real[np.ndarray, "*member point"], y: Real[np.ndarray, "*member point"]
) -> Float[np.ndarray, "*member"]:
    """Compute each member's rank correlation as Fisher's z = artanh ρ, ρ the correlation of midranks.

    A ρ of ±1 would be infinite, so it is brought halfway to the value next to it, 12 / (n³ − n) away. NaN for a member
    that lacks a finite value at any point, has fewer than three points, or has one side constant. Spearman 1904,
    American Journal of Psychology 15:72; Fisher 1921, Metron 1:3.
    """
    across, up = numbers("x", x, axes=None), numbers("y", y, axes=None)
    if across.shape != up.shape or across.ndim == 0:
        raise InputError("y", f"shape {up.shape}", f"expected the shape of x, {across.shape}")
    points = across.shape[-1]
    if points < 3:
        return np.full(across.shape[:-1], np.nan)
    complete = np.asarray((np.isfinite(across) & np.isfinite(up)).all(axis=-1))
    a, b = (stats.rankdata(np.where(complete[..., None], v, 0.0), axis=-1) - (points + 1) / 2 for v in (across, up))
    spread = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    usable = complete & (spread > 0)
    rho = (a * b).sum(axis=-1) / np.where(usable, spread, 1.0)
    most = 1 - 6 / (points**3 - points)
    return np.where(usable, np.arctanh(np.clip(rho, -most, most)), np.nan)


def jackknife_error(left_out: Float[np.ndarray, "observation *shape"]) -> Float[np.ndarray, "*shape"]:
    """Compute a statistic's standard error, √((n − 1)/n Σ (θ̂₍₋ᵢ₎ − mean θ̂)²), from its n values θ̂₍₋ᵢ₎ without one.

    For smooth statistics; it fails for quantiles. Tukey 1958, Annals of Mathematical Statistics 29:614.
    """
    n = len(left_out)
    return np.asarray(np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)))
