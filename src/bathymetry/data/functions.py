"""Functions of one variable to learn: by name, or as an expression in x."""

from collections.abc import Sized
from numbers import Real
from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.system import memory_for
from bathymetry.core.tensors import stream
from bathymetry.data.examples import Data, Examples
from bathymetry.data.expression import FUNCTIONS, evaluate_expression

_FARTHEST: Final = 1e30  # float32 holds the squares of such inputs
_LARGEST: Final = float(np.finfo(np.float32).max)
_MOST_SAMPLES: Final = 10_000_000


def evaluate(name: str, x: Float[np.ndarray, " point"], allow_nan: bool = False) -> Float[np.ndarray, " point"]:
    """Evaluate a function given by its name or expression.

    Args:
        name: One of `FUNCTIONS`, such as "cos", or an expression in x, such as "sin(3*x)/x".
        x: Where to evaluate it.
        allow_nan: Whether the function may have no finite value at some points, as its plot may have gaps.

    Returns:
        Its values, float64; NaN where it has no finite value.

    Raises:
        InputError: If it is no function, or has no finite value somewhere and allow_nan is False.

    Example:
        >>> evaluate("2*x + abs(x)", np.array([-1.0, 1.0]))
        array([-1.,  3.])
        >>> evaluate("sin(3*x)/x", np.array([-0.5, 0.0]), allow_nan=True)
        array([1.99498997,        nan])
    """
    points = _points(x)
    if not isinstance(name, str):
        raise InputError("functions", name, f"expected one of {', '.join(FUNCTIONS)}, or an expression in x")
    if not isinstance(allow_nan, bool):
        raise InputError("allow_nan", allow_nan, "expected True or False")
    name = name.strip()
    with np.errstate(all="ignore"):
        values = FUNCTIONS[name](points) if name in FUNCTIONS else evaluate_expression(name, points)
    missing = ~np.isfinite(values)
    if missing.any() and not allow_nan:
        raise InputError("functions", name, f"it has no finite value {_where(missing, points)}")
    return np.where(missing, np.nan, values)


def function(
    name: str,
    low: float = -10.0,
    high: float = 10.0,
    samples: int = 1000,
    seed: int = 0,
    test_samples: int | None = None,
) -> Data:
    """Draw examples of a function, with inputs uniform between two ends.

    Args:
        name: One of `FUNCTIONS`, or an expression in x.
        low: Lower end of the inputs.
        high: Upper end of the inputs.
        samples: Number of training examples.
        seed: Seed of the draw, the same for all members.
        test_samples: Number of test examples, drawn independently; as many as for training if None.

    Returns:
        The examples, inputs and targets float32 of shape (example, 1).

    Raises:
        InputError: If the interval is empty, there are no samples, or it is no function there.

    Example:
        >>> function("cos", samples=50)
        Data(cos: 50 training and 50 test examples, inputs (1,), targets (1,); cos(x) on (-10, 10), seed 0)
    """
    for field, end in (("low", low), ("high", high)):
        if isinstance(end, bool) or not isinstance(end, Real) or not abs(end) <= _FARTHEST:
            raise InputError(field, end, f"expected a number between −{_FARTHEST:g} and {_FARTHEST:g}")
    if not np.float32(low) < np.float32(high):
        raise InputError("low", low, f"expected a number below high, which is {high}")
    test_samples = samples if test_samples is None else test_samples
    for field, count in (("samples", samples), ("test_samples", test_samples)):
        whole_number(field, count, 1, _MOST_SAMPLES)
    whole_number("seed", seed, 0)
    with memory_for("samples", samples):
        train, test = _draw(name, low, high, samples, seed, 0), _draw(name, low, high, test_samples, seed, 1)
    source = f"{name}(x)" if name in FUNCTIONS else name
    return Data(name, train, test, f"{source} on ({low:g}, {high:g}), seed {seed}")


def _draw(name: str, low: float, high: float, samples: int, seed: int, index: int) -> Examples:
    uniform = torch.rand(samples, 1, dtype=torch.float64, generator=stream(seed, -1, "data draw", index))
    inputs = (low + (high - low) * uniform).float()
    points = inputs.double().numpy().ravel()
    targets = evaluate(name, points)
    beyond = np.abs(targets) > _LARGEST
    if beyond.any():
        fault = f"it is beyond ±{_LARGEST:.2g}, the range of float32, {_where(beyond, points)}"
        raise InputError("functions", name, fault)
    return Examples(inputs, torch.from_numpy(targets).float()[:, None])


def _points(x: object) -> NDArray[np.float64]:
    try:
        if isinstance(x, Sized) and not hasattr(x, "shape") and len(x) > _MOST_SAMPLES:
            raise TypeError("too many")
        points = np.asarray(x)
        if points.dtype.kind not in "iuf":
            raise TypeError("no real numbers")
        return points.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("x", type(x).__name__, "expected an array of real numbers") from error


def _where(bad: NDArray[np.bool_], points: NDArray[np.float64]) -> str:
    """Say at which points a function can't be learned, and the remedy."""
    where = points[bad]
    also = ""
    if where.size > 1:
        ends = f"between {where.min():.4g} and {where.max():.4g}"
        also = f", and at {where.size - 1:,} of the other {points.size - 1:,} inputs, {ends}"
    return f"at x = {where[0]:.4g}{also}; change low and high, or choose a function that is finite between them"
