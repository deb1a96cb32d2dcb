"""Functions of one variable to be learned: by name, or as an expression in x."""

import ast
import math
import warnings
from collections.abc import Callable
from numbers import Real

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from simpleeval import InvalidExpression, SimpleEval

from bathymetry.core.checks import whole_number
from bathymetry.core.errors import InputError
from bathymetry.core.streams import stream
from bathymetry.data.examples import Data, Examples
from bathymetry.data.identity import digest

FUNCTIONS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "abs": np.abs,
    "arcsinh": np.arcsinh,
    "arctan": np.arctan,
    "cos": np.cos,
    "exp": np.exp,
    "log": np.log,
    "sign": np.sign,
    "sin": np.sin,
    "sinc": np.sinc,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}

_NO_EXPRESSION = (
    InvalidExpression, SyntaxError, TypeError, ValueError, ArithmeticError, AttributeError, KeyError, UserWarning,
)  # fmt: skip
_FARTHEST = 1e30  # squares of such inputs still have a place in float32


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
    if np.isnan(values).any():
        where = np.asarray(x)[np.isnan(values)][0]
        raise InputError("functions", name, f"it has no finite value at x = {where:.4g}; give one that has")
    return values


def curve(name: str, x: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    """Evaluate a function to draw it: where it has no finite value, its curve has a gap.

    Args:
        name: As for `evaluate`.
        x: Where.

    Returns:
        Its values, float64; NaN where it has none.

    Example:
        >>> curve("sin(3*x)/x", np.array([-0.5, 0.0]))
        array([1.99498997,        nan])
    """
    points = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        values = FUNCTIONS[name](points) if name in FUNCTIONS else _expression(name, points)
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
        if isinstance(end, bool) or not isinstance(end, Real) or not abs(float(end)) <= _FARTHEST:
            raise InputError(field, end, f"give an end between −{_FARTHEST:g} and {_FARTHEST:g}")
    if not low < high:
        raise InputError("low", low, f"give an end below high, which is {high}")
    count = samples if test_samples is None else test_samples
    for field, value in (("samples", samples), ("test_samples", count)):
        whole_number(field, value, 1)
    whole_number("seed", seed, 0)
    train, test = _draw(name, low, high, samples, seed, 0), _draw(name, low, high, count, seed, 1)
    source = f"{name}(x)" if name in FUNCTIONS else name
    return Data(name, train, test, digest(train, test), f"{source} on ({low:g}, {high:g}), seed {seed}")


def _draw(name: str, low: float, high: float, samples: int, seed: int, index: int) -> Examples:
    uniform = torch.rand(samples, 1, dtype=torch.float64, generator=stream(seed, -1, "data draw", index))
    inputs = (low + (high - low) * uniform).float()
    targets = evaluate(name, inputs.double().numpy().ravel())
    return Examples(inputs, torch.from_numpy(targets).float()[:, None])


def _expression(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    evaluator = SimpleEval(functions=dict(FUNCTIONS), names={"x": x, "pi": math.pi, "e": math.e})
    # its own guard against huge powers compares numbers, not arrays; powers of floats are never huge
    evaluator.operators[ast.Pow] = lambda base, power: np.power(np.asarray(base, dtype=np.float64), power)
    del evaluator.nodes[ast.Attribute], evaluator.nodes[ast.Subscript]
    remedy = f"give one of {', '.join(FUNCTIONS)}, or an expression in x such as sin(3*x)/x"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # which is how several expressions in one are told of
            values = np.asarray(evaluator.eval(name), dtype=np.float64)
        return np.array(np.broadcast_to(values, x.shape))
    except _NO_EXPRESSION as error:
        raise InputError("functions", name, remedy) from error
