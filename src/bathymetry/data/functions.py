"""Functions of one variable to be learned: by name, or as an expression in x."""

import math
from collections.abc import Callable, Sized
from numbers import Real

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.resources import memory_for
from bathymetry.core.streams import stream
from bathymetry.data.examples import Data, Examples, digest
from bathymetry.data.expression import expression


def _relu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(x, 0.0)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def _softplus(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.logaddexp(x, 0.0)


def _step(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.heaviside(x, 0.5)


def _erf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.vectorize(math.erf, otypes=[np.float64])(x)  # type: ignore[no-any-return]


FUNCTIONS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "abs": np.abs,
    "arccos": np.arccos,
    "arccosh": np.arccosh,
    "arcsin": np.arcsin,
    "arcsinh": np.arcsinh,
    "arctan": np.arctan,
    "arctanh": np.arctanh,
    "cbrt": np.cbrt,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": _erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "floor": np.floor,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "relu": _relu,
    "round": np.round,
    "sigmoid": _sigmoid,
    "sign": np.sign,
    "sin": np.sin,
    "sinc": np.sinc,
    "sinh": np.sinh,
    "softplus": _softplus,
    "sqrt": np.sqrt,
    "square": np.square,
    "step": _step,
    "tan": np.tan,
    "tanh": np.tanh,
}
_ALIASES = {
    "acos": "arccos", "acosh": "arccosh", "arcosh": "arccosh", "arsinh": "arcsinh", "artanh": "arctanh",
    "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atanh": "arctanh",
    "heaviside": "step", "ln": "log", "sgn": "sign",
}  # fmt: skip
FUNCTIONS |= {alias: FUNCTIONS[name] for alias, name in _ALIASES.items()}

_EXPECTED = f"expected one of {', '.join(FUNCTIONS)}, or an expression in x"
_FARTHEST = 1e30  # squares of such inputs still have a place in float32
_LARGEST = float(np.finfo(np.float32).max)
_MOST_SAMPLES = 10_000_000


def evaluate(name: str, x: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Evaluate a function by its name or expression.

    Args:
        name: One of the named functions, such as "cos", or an expression in x, such as "sin(3*x)/x".
        x: Where.

    Returns:
        Its values, float64.

    Raises:
        InputError: If it is no function, or has no finite value somewhere in x.

    Example:
        >>> evaluate("2*x + abs(x)", np.array([-1.0, 1.0]))
        array([-1.,  3.])
    """
    values = curve(name, x)
    missing = np.isnan(values)
    if missing.any():
        raise InputError("functions", name, f"it has no finite value {_places(missing, _points(x))}")
    return values


def curve(name: str, x: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Evaluate a function to draw it: where it has no finite value, its curve has a gap.

    Args:
        name: As for `evaluate`.
        x: Where.

    Returns:
        Its values, float64; NaN where it has none.

    Raises:
        InputError: If it is no function.

    Example:
        >>> curve("sin(3*x)/x", np.array([-0.5, 0.0]))
        array([1.99498997,        nan])
    """
    points = _points(x)
    if not isinstance(name, str):
        raise InputError("functions", name, _EXPECTED)
    name = name.strip()
    with np.errstate(all="ignore"):
        values = FUNCTIONS[name](points) if name in FUNCTIONS else expression(name, points, FUNCTIONS)
    return np.where(np.isfinite(values), values, np.nan)


def function(
    name: str,
    low: float = -10.0,
    high: float = 10.0,
    samples: int = 1000,
    seed: int = 0,
    test_samples: int | None = None,
) -> Data:
    """Draw examples of a function, inputs uniform between two ends.

    Args:
        name: A named function or an expression in x.
        low: Lower end of the inputs.
        high: Upper end of the inputs.
        samples: Training examples.
        seed: Which draw; all members share it.
        test_samples: Test examples, drawn afresh; as many as for training if None.

    Returns:
        The examples, inputs and targets float32 of shape (example, 1).

    Raises:
        InputError: If the interval is empty, there are no samples, or it is no function there.
    """
    for field, end in (("low", low), ("high", high)):
        if isinstance(end, bool) or not isinstance(end, Real) or not abs(end) <= _FARTHEST:
            raise InputError(field, end, f"give an end between −{_FARTHEST:g} and {_FARTHEST:g}")
    if not np.float32(low) < np.float32(high):
        raise InputError("low", low, f"give an end below high, which is {high}")
    count = samples if test_samples is None else test_samples
    for field, value in (("samples", samples), ("test_samples", count)):
        whole_number(field, value, 1, _MOST_SAMPLES)
    whole_number("seed", seed, 0)
    if not isinstance(name, str):
        raise InputError("functions", name, _EXPECTED)
    source = f"{name}(x)" if name in FUNCTIONS else name
    with memory_for("samples", samples):
        train, test = _draw(name, low, high, samples, seed, 0), _draw(name, low, high, count, seed, 1)
        return Data(name, train, test, digest(train, test), f"{source} on ({low:g}, {high:g}), seed {seed}")


def _draw(name: str, low: float, high: float, samples: int, seed: int, index: int) -> Examples:
    uniform = torch.rand(samples, 1, dtype=torch.float64, generator=stream(seed, -1, "data draw", index))
    inputs = (low + (high - low) * uniform).float()
    points = inputs.double().numpy().ravel()
    targets = evaluate(name, points)
    beyond = np.abs(targets) > _LARGEST
    if beyond.any():
        fault = f"it is beyond ±{_LARGEST:.2g}, the range of float32, {_places(beyond, points)}"
        raise InputError("functions", name, fault)
    return Examples(inputs, torch.from_numpy(targets).float()[:, None])


def _points(x: object) -> NDArray[np.float64]:
    """Read places as float64."""
    try:
        if isinstance(x, Sized) and not hasattr(x, "shape") and len(x) > _MOST_SAMPLES:
            raise TypeError("too many")
        points = np.asarray(x)
        if points.dtype.kind not in "iuf":
            raise TypeError("no real numbers")
        return points.astype(np.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError("x", type(x).__name__, "expected an array of real numbers") from error


def _places(bad: NDArray[np.bool_], points: NDArray[np.float64]) -> str:
    """Say at which points a function can't be learned, and the way on."""
    where = points[bad]
    remedy = "change low and high, or give a function that is finite between them"
    if where.size == 1:
        return f"at x = {where[0]:.4g}; {remedy}"
    others = f"{where.size - 1:,} of the other {points.size - 1:,} inputs"
    return f"at x = {where[0]:.4g}, and at {others}, between {where.min():.4g} and {where.max():.4g}; {remedy}"
