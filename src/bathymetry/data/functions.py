"""Functions of one variable to learn, by name or as an expression in x such as people type it.

Expressions are evaluated by NumPy's float64 arithmetic over Python's syntax tree. Only the names and signs listed here
pass, so nothing else is ever called. All numbers are float64, so no power is a large integer, and functions get exactly
one argument, so none can write into another. Comparisons count 1 where they hold and 0 elsewhere.
"""

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import reduce
from itertools import pairwise
from numbers import Real
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from bathymetry.core.errors import InputError, whole_number
from bathymetry.core.randomness import stream
from bathymetry.core.system import memory_for
from bathymetry.data.examples import Data, Examples

Values = NDArray[np.float64]

_FARTHEST: Final = 1e30  # float32 holds the squares of such inputs
_LARGEST: Final = float(np.finfo(np.float32).max)
_MOST_SAMPLES: Final = 10_000_000

_NUMPY_FUNCTIONS: Final = (
    "abs arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh exp exp2 expm1 floor log log10 log1p log2 "
    "round sign sin sinc sinh sqrt square tan tanh"
)
_OTHER_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "erf": np.vectorize(math.erf, otypes=[np.float64]),
    "relu": lambda x: np.maximum(x, 0.0),
    "sigmoid": lambda x: 0.5 + 0.5 * np.tanh(0.5 * x),
    "softplus": lambda x: np.logaddexp(x, 0.0),
    "step": lambda x: np.heaviside(x, 0.5),
}
_ALIASES: Final = {
    **{f"a{name}": f"arc{name}" for name in ("cos", "cosh", "sin", "sinh", "tan", "tanh")},
    **{f"ar{name}": f"arc{name}" for name in ("cosh", "sinh", "tanh")},
    "heaviside": "step",
    "ln": "log",
    "sgn": "sign",
}
FUNCTIONS: dict[str, Callable[..., Values]] = {
    name: _OTHER_FUNCTIONS.get(name) or getattr(np, name)
    for name in sorted([*_NUMPY_FUNCTIONS.split(), *_OTHER_FUNCTIONS])
}
FUNCTIONS |= {alias: FUNCTIONS[name] for alias, name in sorted(_ALIASES.items())}

_CONSTANTS: Final = {"pi": math.pi, "e": math.e}
_SEVERAL: Final = {"max": np.maximum, "min": np.minimum}  # of two arguments or more
_FACTORS: Final = (*FUNCTIONS, "x", *_CONSTANTS, *_SEVERAL)  # names with which a factor begins
_NAMES: Final = (*_FACTORS, "if", "else", "and", "or", "not")
_SIGNS: Final = ("**", "//", "<=", ">=", "==", "!=", *"+-*/%<>(),")
_SPELLINGS: Final = str.maketrans(
    {"^": "**", "²": "**2", "³": "**3", "π": " pi ", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!="}
    | dict.fromkeys("×·⋅∙", "*")
    | dict.fromkeys("−–", "-")
)
_BINDING: Final = ("/", "//", "%", "**")  # after these, 2x can be read in two ways
_MOST_TOKENS: Final = 2000

_DIGITS: Final = "[0-9](?:_?[0-9])*"
_TOKEN: Final = re.compile(
    rf"\s*(?:(?P<number>(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|//|<<|>>|<=|>=|==|!=|\S))"
)

_EXPECTED: Final = "expected an expression in x such as sin(3*x)/x"
_SOME: Final = "abs, cos, exp, log, relu, sin, sqrt, step and tanh"  # all are too many for a sentence
_SIGN_REMEDIES: Final = {
    "|": "write abs(x) for |x|, and “or” between conditions",
    "&": "write “and” between conditions",
    "~": "write “not” before a condition",
    "√": "write sqrt(x)",
    "!": "write “not” before a condition; there is no factorial",
    ".": "attributes are not available; write numbers with digits around the point",
    "<<": "shifts are not available; write x*2**n",
    ">>": "shifts are not available; write x/2**n",
    **dict.fromkeys("[{", "use round brackets"),
    **dict.fromkeys("'\"", "text in quotes is not available"),
}
_SYNONYMS: Final = "tg:tan arctg:arctan sh:sinh ch:cosh th:tanh lg:log10 ld:log2 fabs:abs root:sqrt"
_NAME_REMEDIES: Final = {
    **{name: f"write {known}(x)" for name, known in (pair.split(":") for pair in _SYNONYMS.split())},
    **dict.fromkeys(("pow", "power", "sqr"), "write x**2"),
    **dict.fromkeys(("mod", "fmod"), "write x % 2"),
    "sec": "write 1/cos(x)",
    **dict.fromkeys(("csc", "cosec"), "write 1/sin(x)"),
    **dict.fromkeys(("cot", "cotan", "ctg"), "write 1/tan(x)"),
    **dict.fromkeys(("t", "y", "z", "u", "θ", "theta", "x1", "x2"), "the variable is x"),
    **dict.fromkeys(("i", "j"), "values must be real"),
    "where": "write 1 if x > 0 else 0",
    "lambda": "write only what stands after “lambda x:”",
}
_OPERATIONS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: np.power,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
    ast.Not: np.logical_not,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


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

    Example:
        >>> function("cos", samples=50)
        Data(cos: 50 training and 50 test examples, inputs (1,), targets (1,); cos(x) on (-10, 10), seed 0)
    """
    for field, end in (("low", low), ("high", high)):
        if isinstance(end, bool) or not isinstance(end, Real) or not abs(end) <= _FARTHEST:
            raise InputError(field, end, f"expected a number between −{_FARTHEST:g} and {_FARTHEST:g}")
    if not np.float32(low) < np.float32(high):
        raise InputError("low", low, f"expected less than high, {high:g}")
    test_samples = samples if test_samples is None else test_samples
    whole_number("samples", samples, 1, _MOST_SAMPLES)
    whole_number("test_samples", test_samples, 1, _MOST_SAMPLES)
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
    for fault, bad in (
        ("has no finite value", np.isnan(targets)),
        (f"is beyond ±{_LARGEST:.2g}, the range of float32,", np.abs(targets) > _LARGEST),
    ):
        if bad.any():
            remedy = "change low and high, or choose another function"
            raise InputError("functions", name, f"it {fault} at {_first_and_range(points[bad], len(points))}; {remedy}")
    return Examples(inputs, torch.from_numpy(targets).float()[:, None])


def _first_and_range(bad: Values, count: int) -> str:
    if len(bad) == 1:
        return f"x = {bad[0]:.4g}"
    others = f"{len(bad) - 1:,} of the other {count - 1:,} inputs, between {bad.min():.4g} and {bad.max():.4g}"
    return f"x = {bad[0]:.4g}, and at {others}"


def evaluate(name: str, x: Values) -> Values:
    """Evaluate a function, named or an expression, in float64; NaN where it has no finite value."""
    if not isinstance(name, str):
        raise InputError("functions", name, f"{_EXPECTED}, with functions such as {_SOME}")
    name = name.strip()
    with np.errstate(all="ignore"):
        values = FUNCTIONS[name](x) if name in FUNCTIONS else _evaluate_expression(name, x)
    return np.where(np.isfinite(values), values, np.nan)


class _ExpressionError(ValueError):
    """An expression that can't be read; its text is the remedy."""


def _evaluate_expression(text: str, x: Values) -> Values:
    try:
        return np.broadcast_to(_value(ast.parse(_python_spelling(text), mode="eval").body, x), x.shape)
    except _ExpressionError as error:
        remedy = str(error)
    except SyntaxError:
        remedy = f"its brackets and operators do not fit; {_EXPECTED}"
    except (RecursionError, MemoryError):  # the parser's stack is full
        remedy = "it is nested too deeply; expected a shorter expression"
    raise InputError("functions", text, remedy)


def _python_spelling(text: str) -> str:
    """Write 2x^2 - 5π sin(x) as 2 * x ** 2 - 5 * pi * sin ( x )."""
    tokens: list[str] = []
    opened: list[int] = []
    start = 0  # where the factor before the current token begins
    for token in _tokens(text):
        before = tokens[-1] if tokens else ""
        if _is_product(before, token):
            operator = next((one for one in reversed(tokens[:start]) if one not in ("+", "-")), "")
            if operator in _BINDING:
                ambiguous = f"a product without * after {operator} can be read in two ways"
                raise _ExpressionError(f"{ambiguous}; write * and brackets")
            tokens.append("*")
            start = len(tokens)
        elif before in FUNCTIONS and token != "(":
            power = f"; write {before}(x)**2 for its square" if token == "**" else ""
            raise _ExpressionError(f"{before} needs its argument in brackets, such as {before}(x){power}")
        if token == ")":
            if not opened:
                raise _ExpressionError("a bracket closes that was not opened")
            start = opened.pop()
        elif token == "(":
            opened.append(len(tokens) - (before in FUNCTIONS or before in _SEVERAL))
        else:
            start = len(tokens)
        if len(tokens) > _MOST_TOKENS:
            raise _ExpressionError(f"expected at most {_MOST_TOKENS:,} numbers, names and signs")
        tokens.append(token)
    if opened:
        raise _ExpressionError("a bracket is not closed")
    return " ".join(tokens[:-1])


def _tokens(text: str) -> Iterator[str]:
    """Read numbers, names and signs, then an empty token for the end."""
    spelled = text.translate(_SPELLINGS).strip()
    if not spelled:
        raise _ExpressionError(f"{_EXPECTED}, with functions such as {_SOME}")
    if not text.isprintable():
        raise _ExpressionError("write the expression in one line, without tabs or control characters")
    if package := re.search(r"\b(np|numpy|math|torch|scipy)\s*\.", text):
        raise _ExpressionError(f"write functions without “{package[1]}.” before them, such as sin(x)")
    left, equals, _ = re.sub("[<>=!]=", "", text).partition("=")
    if equals and left.count("(") > left.count(")"):
        raise _ExpressionError("functions take one argument, without a name")
    if equals:
        raise _ExpressionError("write only what stands right of =")
    for found in _TOKEN.finditer(spelled):
        token = found[0].strip()
        if found["number"] and not math.isfinite(float(token)):
            raise _ExpressionError("it holds a number above 1.8e308; expected finite numbers")
        if found["name"] and token not in _NAMES:
            raise _ExpressionError(_remedy_for_name(token))
        if found["sign"] and token not in _SIGNS:
            raise _ExpressionError(_SIGN_REMEDIES.get(token, f"“{token}” is not available; {_EXPECTED}"))
        yield token
    yield ""


def _is_product(left: str, right: str) -> bool:
    """Whether two successive tokens are factors, as in 2x, 3(x + 1) or x sin(x)."""
    is_end = left in (")", "x", *_CONSTANTS) or left[:1].isdigit() or left[:1] == "."
    return is_end and (right == "(" or right in _FACTORS)


def _remedy_for_name(name: str) -> str:
    if len(name) > 40:
        return "expected names of at most 40 letters"
    lower = name.lower()
    parts = re.findall("|".join(sorted((*FUNCTIONS, "x", *_CONSTANTS), key=len, reverse=True)), name)
    similar = [one for one in FUNCTIONS if len(one) > 2 and lower.startswith(one)][-1:]
    similar = similar or get_close_matches(lower, FUNCTIONS, n=1, cutoff=0.75)
    if lower in _NAME_REMEDIES:
        remedy = _NAME_REMEDIES[lower]
    elif "".join(parts) == name:  # such as xsin or pix
        product = "".join(f"{one}(" if one in FUNCTIONS else f"{one}*" for one in parts[:-1]) + parts[-1]
        remedy = f"write {product}{')' * product.count('(')}"
    elif lower in _FACTORS:
        remedy = f"write {lower}"
    elif similar:
        remedy = f"did you mean {similar[0]}?"
    else:
        remedy = f"{_EXPECTED}, with functions such as {_SOME}"
    return f"“{name}” is not known; {remedy}"


def _value(node: ast.expr, x: Values) -> Any:
    """Evaluate one node; truth values become 1.0 and 0.0, so that a sum of two steps is a staircase."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id="x"):
            return x
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.BinOp():  # from left to right, however many terms a sum has
            chain = [node]
            while isinstance(chain[-1].left, ast.BinOp):
                chain.append(chain[-1].left)
            values = _value(chain[-1].left, x)
            for one in reversed(chain):
                values = _OPERATIONS[type(one.op)](values, _value(one.right, x))
            return values
        case ast.UnaryOp():
            return _OPERATIONS[type(node.op)](_value(node.operand, x)) * 1.0
        case ast.BoolOp():
            return reduce(_OPERATIONS[type(node.op)], [_value(one, x) for one in node.values]) * 1.0
        case ast.Compare():
            sides = [_value(one, x) for one in (node.left, *node.comparators)]
            pairs = zip(node.ops, pairwise(sides), strict=True)
            return reduce(np.logical_and, [_OPERATIONS[type(sign)](*pair) for sign, pair in pairs]) * 1.0
        case ast.IfExp():
            return np.where(np.not_equal(_value(node.test, x), 0), _value(node.body, x), _value(node.orelse, x))
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _call(name, arguments, x)
        case ast.Tuple(elts=[_, *_]):
            raise _ExpressionError("it holds a comma outside max and min; write decimals with a point")
    raise _ExpressionError(_EXPECTED)


def _call(name: str, arguments: list[ast.expr], x: Values) -> Any:
    if name in _SEVERAL:
        if len(arguments) < 2:
            raise _ExpressionError(f"{name} takes two arguments or more, such as {name}(0, x)")
        return reduce(_SEVERAL[name], [_value(one, x) for one in arguments])
    if len(arguments) != 1:
        point = " (decimals are written with a point)" if arguments else ""
        raise _ExpressionError(f"{name} takes exactly one argument, and there are {len(arguments)}{point}")
    return FUNCTIONS[name](_value(arguments[0], x))
