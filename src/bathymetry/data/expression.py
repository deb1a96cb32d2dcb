"""Values of an expression in x: NumPy's float64 arithmetic over the expression's syntax tree.

Nothing but the operations below is ever called. All numbers are float64, so no power is a large integer, and functions
get exactly one argument, so none can write into another (NumPy's second positional argument is where to write).
Comparisons count 1 where they hold and 0 elsewhere.
"""

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bathymetry.data.notation import python_spelling, refuse

Values = NDArray[np.float64]

_BINARY: Final[Mapping[type[ast.operator], Callable[..., Any]]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: np.power,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[..., Any]]] = {
    ast.USub: np.negative,
    ast.UAdd: np.positive,
    ast.Not: np.logical_not,
}
_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[..., Any]]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_SEVERAL: Final = {"max": np.maximum, "min": np.minimum}


def expression(text: str, x: Values, functions: Mapping[str, Callable[..., Any]]) -> Values:
    """Evaluate an expression in x, or refuse what is none.

    Args:
        text: The expression.
        x: Where.
        functions: Functions of one argument, by name.

    Returns:
        Its values, in the shape of x; NaN or infinite where it has none.

    Example:
        >>> expression("x^2 if x > 0 else -x", np.array([-3.0, 3.0]), {})
        array([3., 9.])
    """
    spelt = python_spelling(text, list(functions))
    try:
        parsed = ast.parse(spelt, mode="eval").body
    except SyntaxError:
        refuse(text, "its brackets and operators do not fit; expected an expression in x such as sin(3*x)/x")
    except (RecursionError, MemoryError):  # the parser's stack is full
        refuse(text, "it is nested too deeply; expected a shorter expression")
    try:
        values = _Evaluation(text, x, functions).of(parsed)
    except RecursionError:
        refuse(text, "it is nested too deeply; expected a shorter expression")
    return np.array(np.broadcast_to(values, x.shape))


class _Evaluation:
    """One expression at some places."""

    def __init__(self, text: str, x: Values, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.text = text
        self.functions = functions
        self.names: Mapping[str, Any] = {"x": x, "pi": math.pi, "e": math.e}

    def of(self, node: ast.expr) -> Any:
        """Evaluate a part."""
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            return float(node.value)
        if isinstance(node, ast.Name) and node.id in self.names:
            return self.names[node.id]
        if isinstance(node, ast.BinOp):
            return self._chain(node)
        if isinstance(node, ast.UnaryOp):
            return _real(_UNARY[type(node.op)](self.of(node.operand)))
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.BoolOp):
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return _real(combine.reduce(np.broadcast_arrays(*map(self.of, node.values))))
        if isinstance(node, ast.IfExp):
            return np.where(np.asarray(self.of(node.test)) != 0, self.of(node.body), self.of(node.orelse))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return self._call(node.func.id, node.args)
        if isinstance(node, ast.Name) and node.id in _SEVERAL:
            return self._call(node.id, [])
        comma = isinstance(node, ast.Tuple) and node.elts
        remedy = "it holds a comma outside max and min; write decimals with a point"
        return refuse(self.text, remedy if comma else "expected an expression in x such as sin(3*x)/x")

    def _chain(self, node: ast.BinOp) -> Any:
        """Evaluate a sum or product from left to right, however many terms it has."""
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        values = self.of(chain[-1].left)
        for one in reversed(chain):
            values = _BINARY[type(one.op)](values, self.of(one.right))
        return values

    def _comparison(self, node: ast.Compare) -> Any:
        sides = [self.of(one) for one in (node.left, *node.comparators)]
        holds: Any = True
        for operator, left, right in zip(node.ops, sides, sides[1:], strict=False):
            holds = np.logical_and(holds, _COMPARISONS[type(operator)](left, right))
        return _real(holds)

    def _call(self, name: str, arguments: list[ast.expr]) -> Any:
        if name in _SEVERAL:
            if len(arguments) < 2:
                refuse(self.text, f"{name} takes two arguments or more, such as {name}(0, x)")
            values = self.of(arguments[0])
            for argument in arguments[1:]:
                values = _SEVERAL[name](values, self.of(argument))
            return values
        if len(arguments) != 1:
            commas = " (decimals are written with a point)" if arguments else ""
            refuse(self.text, f"{name} takes exactly one argument, and {len(arguments)} are given{commas}")
        return self.functions[name](self.of(arguments[0]))


def _real(truth: Any) -> Values:
    """Count 1 where something holds, so that a sum of two steps is a staircase."""
    return np.asarray(truth, dtype=np.float64)
