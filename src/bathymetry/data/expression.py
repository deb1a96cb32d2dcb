"""Values of an expression in x: NumPy's float64 arithmetic over the expression's syntax tree.

Nothing but the operations below is ever called. All numbers are float64, so no power is a large integer, and functions
get exactly one argument, so none can write into another (NumPy's second positional argument is where to write).
Comparisons count 1 where they hold and 0 elsewhere.
"""

import ast
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from bathymetry.core.errors import InputError

MOST_TOKENS: Final = 2000
_DEEPEST = 50  # brackets within brackets; Python's parser ends at 200
_LONGEST = 40  # letters of a name that a sentence repeats
_WORDS = ("if", "else", "and", "or", "not")
_CONSTANTS = ("x", "pi", "e")
_SEVERAL = ("max", "min")

_DIGITS = "[0-9](?:_?[0-9])*"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|//|<<|>>|<=|>=|==|!=|\S))"
)
_SIGNS = {"**", "//", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "<", ">", "(", ")", ","}
_SPELT = str.maketrans({
    "^": "**", "π": " pi ", "−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/",
    "≤": "<=", "≥": ">=", "≠": "!=", "²": "**2", "³": "**3",
})  # fmt: skip
_BINDING = ("/", "//", "%", "**")  # after these, 2x can be read in two ways
_PACKAGES = re.compile(r"\b(np|numpy|math|torch|scipy)\s*\.")

_NO_SIGN = {
    "|": "write abs(x) for |x|, and “or” between conditions",
    "&": "write “and” between conditions",
    "~": "write “not” before a condition",
    "√": "write sqrt(x)",
    "!": "write “not” before a condition; there is no factorial",
    "[": "use round brackets",
    "{": "use round brackets",
    **dict.fromkeys("'\"", "text in quotes is not available"),
    ".": "attributes are not available; write numbers with digits beside the point",
    "<<": "shifts are not available; write x*2**n",
    ">>": "shifts are not available; write x/2**n",
}
_INSTEAD = {
    **dict.fromkeys(("pow", "power", "sqr"), "write x**2"),
    **dict.fromkeys(("mod", "fmod"), "write x % 2"),
    **dict.fromkeys("ij", "values must be real"),
    **dict.fromkeys(("t", "y", "z", "u", "θ", "theta", "x1", "x2"), "the variable is x"),
    "where": "write 1 if x > 0 else 0", "lambda": "give only what stands after “lambda x:”", "root": "write sqrt(x)",
    "sec": "write 1/cos(x)", "csc": "write 1/sin(x)", "cosec": "write 1/sin(x)", "fabs": "write abs(x)",
    "cot": "write 1/tan(x)", "cotan": "write 1/tan(x)", "ctg": "write 1/tan(x)", "tg": "write tan(x)",
    "lg": "write log10(x)", "ld": "write log2(x)", "arctg": "write arctan(x)",
    "sh": "write sinh(x)", "ch": "write cosh(x)", "th": "write tanh(x)",
}  # fmt: skip


def python_spelling(text: str, functions: Collection[str]) -> str:
    """Turn an expression in x into Python's spelling, or refuse it with the spelling that works.

    Args:
        text: The expression.
        functions: Names of functions of one argument.

    Returns:
        The expression with all its products and powers written out.

    Example:
        >>> python_spelling("2x^2 - 5π sin(x)", ["sin"])
        '2 * x ** 2 - 5 * pi * sin ( x )'
    """
    if not text.isprintable():
        refuse(text, "write the expression in one line, without tabs or control characters")
    if package := _PACKAGES.search(text):
        refuse(text, f"write functions without “{package[1]}.” before them, such as sin(x)")
    before, equals, _ = re.sub("[<>=!]=", "", text).partition("=")
    if equals:
        inside = before.count("(") > before.count(")")
        refuse(text, "functions take one argument, without a name" if inside else "give only what stands right of =")
    tokens: list[str] = []
    opened: list[int] = []
    start = 0  # where the factor before the current token begins
    for token in _tokens(text, functions):
        if tokens and _is_product(tokens[-1], token, functions):
            before = _before(tokens[:start])
            if before in _BINDING:
                refuse(text, f"a product without * after {before} can be read in two ways; write * and brackets")
            tokens.append("*")
            start = len(tokens)
        elif tokens and tokens[-1] in functions and token != "(":
            _refuse_bare(text, tokens[-1], token)
        if token == ")":
            if not opened:
                refuse(text, "a bracket closes that was not opened")
            start = opened.pop()
        elif token == "(":
            called = bool(tokens) and (tokens[-1] in functions or tokens[-1] in _SEVERAL)
            opened.append(len(tokens) - called)
            if len(opened) > _DEEPEST:
                refuse(text, f"expected at most {_DEEPEST} brackets within one another")
        else:
            start = len(tokens)
        tokens.append(token)
        if len(tokens) > MOST_TOKENS:
            refuse(text, f"expected an expression of at most {MOST_TOKENS:,} numbers, names and signs")
    if not tokens:
        refuse(text, f"expected an expression in x such as sin(3*x)/x, or one of {', '.join(functions)}")
    if opened:
        refuse(text, "a bracket is not closed")
    if tokens[-1] in functions:
        _refuse_bare(text, tokens[-1], "")
    return " ".join(tokens)


def refuse(text: str, remedy: str) -> NoReturn:
    """Refuse an expression.

    Args:
        text: The expression.
        remedy: What would be right.

    Raises:
        InputError: Always.
    """
    raise InputError("functions", text, remedy)


def _tokens(text: str, functions: Collection[str]) -> Iterator[str]:
    """Read numbers, names and signs; refuse what is none."""
    for found in _TOKEN.finditer(text.translate(_SPELT).strip()):
        token = found[0].strip()
        if found["number"]:
            if not math.isfinite(float(token)):
                refuse(text, "it holds a number above 1.8e308; expected finite numbers")
        elif found["name"]:
            if token not in (*functions, *_CONSTANTS, *_SEVERAL, *_WORDS):
                refuse(text, _unknown(token, functions))
        elif token not in _SIGNS:
            refuse(text, _NO_SIGN.get(token, f"“{token}” is not available in an expression; write such as sin(3*x)/x"))
        yield token


def _is_product(left: str, right: str, functions: Collection[str]) -> bool:
    """Tell whether two tokens side by side are factors, as in 2x, 3(x + 1) or x sin(x)."""
    ends = left == ")" or left in _CONSTANTS or left[0].isdigit() or left[0] == "."
    begins = right == "(" or right in _CONSTANTS or right in functions or right in _SEVERAL
    return ends and begins


def _before(tokens: list[str]) -> str:
    """Give the last of some tokens that is no sign of a factor."""
    return next((token for token in reversed(tokens) if token not in ("+", "-")), "")


def _refuse_bare(text: str, function: str, following: str) -> NoReturn:
    power = f"; write {function}(x)**2 for its square" if following == "**" else ""
    refuse(text, f"{function} needs its argument in brackets, such as {function}(x){power}")


def _unknown(name: str, functions: Collection[str]) -> str:
    """Say what to write instead of a name."""
    if len(name) > _LONGEST:
        return f"expected names of at most {_LONGEST} letters"
    if name.lower() in _INSTEAD:
        return f"“{name}” is not known; {_INSTEAD[name.lower()]}"
    if parts := _parts(name, functions):
        return f"“{name}” is not known; write {_joined(parts, functions)}"
    known = (*functions, *_CONSTANTS, *_SEVERAL)
    if name.lower() in known:
        return f"“{name}” is not known; write {name.lower()}"
    longer = [one for one in functions if len(one) > 2 and name.lower().startswith(one)]
    if alike := longer[-1:] or get_close_matches(name.lower(), functions, n=1, cutoff=0.75):
        return f"“{name}” is not known; did you mean {alike[0]}?"
    return f"“{name}” is not known; expected an expression in x with pi, e and {', '.join((*functions, *_SEVERAL))}"


def _parts(name: str, functions: Collection[str]) -> list[str]:
    """Split a name such as xsin or pix into names that are known."""
    best: dict[int, list[str]] = {0: []}
    for end in range(1, len(name) + 1):
        for known in sorted((*functions, *_CONSTANTS), key=len):
            if name[:end].endswith(known) and end - len(known) in best:
                best[end] = [*best[end - len(known)], known]
    return best.get(len(name), [])


def _joined(parts: list[str], functions: Collection[str]) -> str:
    words = ""
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        words += part
        if following:
            words += "(" if part in functions else "*"
    return words + ")" * sum(part in functions for part in parts[:-1])


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
_EXPRESSION_SEVERAL: Final = {"max": np.maximum, "min": np.minimum}


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
        if isinstance(node, ast.Name) and node.id in _EXPRESSION_SEVERAL:
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
        if name in _EXPRESSION_SEVERAL:
            if len(arguments) < 2:
                refuse(self.text, f"{name} takes two arguments or more, such as {name}(0, x)")
            values = self.of(arguments[0])
            for argument in arguments[1:]:
                values = _EXPRESSION_SEVERAL[name](values, self.of(argument))
            return values
        if len(arguments) != 1:
            commas = " (decimals are written with a point)" if arguments else ""
            refuse(self.text, f"{name} takes exactly one argument, and {len(arguments)} are given{commas}")
        return self.functions[name](self.of(arguments[0]))


def _real(truth: Any) -> Values:
    """Count 1 where something holds, so that a sum of two steps is a staircase."""
    return np.asarray(truth, dtype=np.float64)
