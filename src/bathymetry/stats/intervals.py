"""Intervals that hold their 95 % with six to ten members, and the scales that they are taken on."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import ArrayLike
from scipy import optimize, stats

from bathymetry.core.errors import InputError, whole_number
from bathymetry.stats.validation import confidence_level, instance, numbers
from bathymetry.stats.verdict import CONFIDENCE
from bathymetry.stats.wording import number

Array = Float[np.ndarray, "*shape"]
NO_INTERVAL = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Transform:
    """A scale: the way there and the way back."""

    name: str
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]


def _elementwise(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Compute in float64; outside a function's domain NaN and ±∞ are the answer, as for the log of a loss of 0."""

    def applied(values: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(np.asarray(values, dtype=np.float64)))

    return applied


IDENTITY = Transform("identity", _elementwise(np.positive), _elementwise(np.positive))
LOG = Transform("log", _elementwise(np.log), _elementwise(np.exp))
FISHER = Transform("Fisher's z", _elementwise(np.arctanh), _elementwise(np.tanh))


def logit(
    correct: Real[np.ndarray, "*shape"] | float, total: Real[np.ndarray, "*#shape"] | float
) -> Float[np.ndarray, "*shape"]:
    """Compute the logit of an accuracy, ln((c + ½) / (n − c + ½)), finite even when all or none are right.

    The two halves remove most of the bias of the plain logit. Haldane 1956, Annals of Human Genetics 20:309;
    Anscombe 1956, Biometrika 43:461.
    """
    count = numbers("correct", correct, axes=None)
    if np.any((count < 0) | (count > total * (1 + 1e-6))):
        raise InputError("correct", correct, f"expected counts from 0 to {total}")
    return np.asarray(np.log((count + 0.5) / (np.maximum(total - count, 0.0) + 0.5)))


def accuracy(
    logits: Float[np.ndarray, "*shape"] | float, total: Real[np.ndarray, "*#shape"] | float
) -> Float[np.ndarray, "*shape"]:
    """Take a logit back to the accuracy it came from, c/n = ((n + 1) / (1 + e^−z) − ½) / n."""
    share = ((total + 1) * (0.5 + 0.5 * np.tanh(numbers("logits", logits, axes=None) / 2)) - 0.5) / total
    return np.asarray(np.clip(share, 0.0, 1.0))


def logit_accuracy(total: float) -> Transform:
    """Make the logit scale for accuracies that are shares of `total` examples."""
    if not 1 <= float(numbers("total", total, axes=0)) < np.inf:
        raise InputError("total", total, "expected a finite number, at least 1")
    return Transform(
        f"logit of accuracy over {total}",
        lambda share: logit(np.asarray(share, dtype=np.float64) * total, total),
        lambda z: accuracy(z, total),
    )


def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give the exact interval of a share.

    The shares p for which neither P(X ≥ count) nor P(X ≤ count), X binomial(total, p), is below (1 − confidence)/2.
    Clopper and Pearson 1934, Biometrika 26:404.

    Args:
        count: For how many the condition holds.
        total: Of how many.
        confidence: Two-sided, from 0 to 1.

    Returns:
        The lower and the upper end; (0, 1) of none.

    Raises:
        InputError: If the count is not from 0 to the total.

    Example:
        Of 10 of 10 the lower end is the tenth root of 0.025.

        >>> low, high = clopper_pearson(10, 10)
        >>> round(low, 4), high
        (0.6915, 1.0)
    """
    total, confidence = whole_number("total", total, 0, 2**53), confidence_level(confidence)
    count = whole_number("count", count, 0, total)
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(stats.beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(stats.beta.ppf(1 - tail, count + 1, total - count))
    return low, high


def superiority_interval(
    estimate: float, first: int, second: int, confidence: float = CONFIDENCE, *, error: float = 0.0
) -> tuple[float, float]:
    """Compute the interval of the probability of superiority θ = P(A < B) + ½ P(A = B).

    The θ with |θ̂ − θ| ≤ z √V(θ), where with N = (m + n)/2 − 1

    V(θ) = θ (1 − θ) [1 + N (1 − θ)/(2 − θ) + N θ/(1 + θ)] / (m n)

    Method 5 of Newcombe 2006, Statistics in Medicine 25:559 (doi 10.1002/sim.2324): Hanley and McNeil's variance with
    the two sizes evened out, taken at θ and not at its estimate. So it stays inside 0 to 1 and keeps a width at
    complete separation, where the estimated variance is 0; and V(½) = (m + n + 1)/(12 m n) is the variance of
    superiority where both groups have one distribution. With ties it is on the wide side. Where the standard error that
    the data have, `error`, is larger than √V(θ̂), as where one group spreads more widely, z is larger by their ratio.
    """
    if first < 1 or second < 1:
        return NO_INTERVAL
    z2 = float(stats.norm.ppf((1 + confidence) / 2)) ** 2
    n_star = (first + second) / 2 - 1

    def variance(theta: float) -> float:
        spread = 1 + n_star * (1 - theta) / (2 - theta) + n_star * theta / (1 + theta)
        return theta * (1 - theta) * spread / (first * second)

    if 0 < estimate < 1:
        z2 *= max(1.0, error**2 / variance(estimate))

    def excess(theta: float) -> float:
        return (estimate - theta) ** 2 - z2 * variance(theta)

    inside = 1e-12  # at an estimate of 0 or 1 the estimate is itself a root; the other one is sought
    low = 0.0 if estimate == 0 else float(optimize.brentq(excess, 0.0, min(estimate, 1 - inside)))
    high = 1.0 if estimate == 1 else float(optimize.brentq(excess, max(estimate, inside), 1.0))
    return max(low, 0.0), min(high, 1.0)


def median_interval(
    values: Float[np.ndarray, "member *point"], confidence: float = CONFIDENCE
) -> tuple[Float[np.ndarray, "*point"], Float[np.ndarray, "*point"], Float[np.ndarray, "*point"]]:
    """Take the median of members point by point, with the interval between two of them, whatever their distribution.

    From x₍ₖ₎ to x₍ₙ₊₁₋ₖ₎ with the largest k for which 2 P(B < k) ≤ 1 − confidence, B binomial(n, ½): with six to eight
    members from the least to the greatest. NaN with fewer. Thompson 1936, Annals of Mathematical Statistics 7:122.
    """
    ordered, count = np.sort(values, axis=0), len(values)
    middle = ordered[(count - 1) // 2] / 2 + ordered[count // 2] / 2
    k = int(stats.binom.ppf((1 - confidence) / 2, count, 0.5))
    none = np.full_like(middle, np.nan)
    return middle, ordered[k - 1] if k else none, ordered[-k] if k else none


@dataclass(frozen=True)
class Band:
    """Centre and pointwise interval of a family of curves, on the curves' own scale."""

    centre: Float[np.ndarray, "*point"]  # the mean on the chosen scale, taken back; NaN where no member has a number
    low: Float[np.ndarray, "*point"]  # NaN where fewer than two members have a number
    high: Float[np.ndarray, "*point"]
    members: Int[np.ndarray, "*point"]  # how many were averaged
    left_out: Int[np.ndarray, "*point"]  # how many were not finite there: diverged


def mean_interval(
    values: Real[np.ndarray, "*shape"], axis: int = 0, transform: Transform = IDENTITY, confidence: float = CONFIDENCE
) -> Band:
    """Average members point by point on a scale of choice, with a t interval, and take both back.

        f⁻¹(mean f(x)),  f⁻¹(mean f(x) ± t(n − 1) s / √n)

    Pointwise: each point's interval covers with the given confidence, the whole curve with less. Student 1908,
    Biometrika 6:1.

    Args:
        values: The curves, any shape with one axis over members; what is not finite on the scale is left out and
            counted.
        axis: Which axis is the members'.
        transform: The scale: `LOG` for losses, `logit_accuracy(n)` for accuracies.
        confidence: Two-sided, from 0 to 1.

    Returns:
        The band, of the shape of `values` without the axis.

    Raises:
        InputError: If the values are not numbers, or have no such axis.

    Example:
        >>> band = mean_interval(np.array([[1.0, 2.0], [100.0, 2.0]]), axis=0, transform=LOG)
        >>> [round(float(c), 9) for c in band.centre]
        [10.0, 2.0]
    """
    curves, confidence = numbers("values", values, axes=None), confidence_level(confidence)
    if not isinstance(axis, int) or not -curves.ndim <= axis < curves.ndim:
        raise InputError("axis", axis, f"expected one of the {curves.ndim} axes of values")
    instance(Transform, "a Transform, for example LOG", transform=transform)
    scaled = np.moveaxis(np.asarray(transform.forward(curves)), axis, 0)
    usable = np.isfinite(scaled)
    members = np.asarray(usable.sum(axis=0))
    kept = np.where(usable, scaled, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0/0 is the NaN that is wanted where nobody is left
        mean = kept.sum(axis=0) / members
        squares = np.where(usable, (kept - mean) ** 2, 0.0).sum(axis=0)
        error = np.sqrt(squares / (members - 1) / members)
    error = np.where(members >= 2, error, np.nan)
    half = stats.t.ppf((1 + confidence) / 2, np.maximum(members - 1, 1)) * error
    return Band(
        centre=transform.backward(mean),
        low=transform.backward(mean - half),
        high=transform.backward(mean + half),
        members=members,
        left_out=np.asarray(scaled.shape[0] - members),
    )


def middle(values: ArrayLike) -> str:
    """The median over members, with the digits that the 95 % interval of their mean supports, at most three."""
    values = np.asarray(values)
    known = values[np.isfinite(values)]
    median = float(np.median(known)) if known.size else math.nan
    width = (band := mean_interval(known)).high - band.low if known.size > 1 else math.nan
    if not (width > 0 and median):
        return number(median)
    size = math.floor(math.log10(abs(median)))
    decimals = min(max(-math.floor(math.log10(width)), -size), 2 - size)
    return number(round(median, decimals), size + decimals + 1)


def change(first: ArrayLike, last: ArrayLike) -> str:
    """How a median changes: "falls from 1.1 to 0.15", where the interval of the members' mean change leaves out 0."""
    logs = np.log(np.asarray(last) / np.asarray(first))
    band = mean_interval(logs[np.isfinite(logs)])
    if band.high < 0 or band.low > 0:
        return f"{'falls' if band.high < 0 else 'rises'} from {middle(first)} to {middle(last)}"
    return "does not clearly change"
