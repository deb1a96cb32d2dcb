"""The scales on which members are averaged: log for losses, logit for accuracies, Fisher's z for correlations.

On these scales the spread over members is nearly symmetrical and of the same size everywhere, so a t interval of the
mean is honest there, and its ends, taken back, stay possible values: no loss below 0, no accuracy above 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from bathymetry.core.errors import InputError
from bathymetry.statistics.arguments import numbers

Array = Float[np.ndarray, "*shape"]


@dataclass(frozen=True)
class Transform:
    """A scale: the way there and the way back."""

    name: str
    forward: Callable[[Array], Array]
    backward: Callable[[Array], Array]


def transform_of(field: str, value: object) -> Transform:
    """Take a scale.

    Args:
        field: What it is called.
        value: What was given.

    Returns:
        The scale.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(value, Transform):
        raise InputError(field, value, "expected a Transform, for example LOG")
    return value


def _same(values: Array) -> Array:
    return np.asarray(values, dtype=np.float64)


def _log(values: Array) -> Array:
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a loss of 0 is −∞ here and one below 0 is NaN, both on purpose
        return np.asarray(np.log(np.asarray(values, dtype=np.float64)))


def _exp(values: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.asarray(values, dtype=np.float64)))


def _fisher(values: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.arctanh(np.asarray(values, dtype=np.float64)))


def _tanh(values: Array) -> Array:
    return np.asarray(np.tanh(np.asarray(values, dtype=np.float64)))


IDENTITY = Transform("identity", _same, _same)
LOG = Transform("log", _log, _exp)
FISHER = Transform("Fisher's z", _fisher, _tanh)


def logit(
    correct: Real[np.ndarray, "*shape"] | float | int, total: Real[np.ndarray, "*#shape"] | int
) -> Float[np.ndarray, "*shape"]:
    """Give the logit of an accuracy, finite even when all or none are right.

        ln((c + ½) / (n − c + ½))

    The two halves remove most of the bias of the plain logit. Haldane 1956, Annals of Human Genetics 20:309;
    Anscombe 1956, Biometrika 43:461.

    Args:
        correct: c, how many are right; a mean of counts need not be whole.
        total: n, of how many.

    Returns:
        The logit, of the shape of `correct`; NaN where `correct` is.

    Raises:
        InputError: If a total is below 1, or more are right than there are.

    Example:
        >>> float(logit(50, 100)), round(float(logit(100, 100)), 4) == round(float(np.log(201)), 4)
        (0.0, True)
    """
    count, of = numbers("correct", correct, axes=None), _totals(total)
    _fits(of, count)
    if np.any((count < 0) | (count > of * (1 + 1e-6))):
        raise InputError("correct", correct, f"expected counts from 0 to {total}")
    return np.asarray(np.log((count + 0.5) / (np.maximum(of - count, 0.0) + 0.5)))


def accuracy(
    logits: Float[np.ndarray, "*shape"] | float, total: Real[np.ndarray, "*#shape"] | int
) -> Float[np.ndarray, "*shape"]:
    """Take a logit back to the accuracy it came from.

        c/n = ((n + 1) / (1 + e^−z) − ½) / n

    Args:
        logits: z, as from `logit`.
        total: n, the number of examples.

    Returns:
        The share of examples that are right; what would lie outside 0 to 1 is put at the end.

    Example:
        >>> round(float(accuracy(logit(97, 100), 100)), 12)
        0.97
    """
    z, of = numbers("logits", logits, axes=None), _totals(total)
    _fits(of, z)
    share = ((of + 1) * (0.5 + 0.5 * np.tanh(z / 2)) - 0.5) / of
    return np.asarray(np.clip(share, 0.0, 1.0))


def _totals(total: object) -> Array:
    of = numbers("total", total, axes=None)
    if not np.all((of >= 1) & np.isfinite(of)):
        raise InputError("total", total, "expected a finite number, at least 1")
    return of


def _fits(totals: Array, values: Array) -> None:
    try:
        np.broadcast_shapes(totals.shape, values.shape)
    except ValueError as error:
        raise InputError("total", f"shape {totals.shape}", f"expected one total, or shape {values.shape}") from error


def logit_accuracy(total: int) -> Transform:
    """Give the logit scale for accuracies that are shares of `total` examples.

    Args:
        total: The number of examples.

    Returns:
        The scale; formula and source as in `logit`.

    Example:
        >>> scale = logit_accuracy(10_000)
        >>> round(float(scale.forward(np.array(0.95))), 4), round(float(scale.backward(np.array(0.0))), 4)
        (2.9435, 0.5)
    """
    _totals(total)
    return Transform(
        f"logit of accuracy over {total}",
        lambda share: logit(np.asarray(share, dtype=np.float64) * total, total),
        lambda z: accuracy(z, total),
    )
