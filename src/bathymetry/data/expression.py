"""Expressions in x as people type them, evaluated by NumPy's float64 arithmetic over Python's syntax tree.

Only names and signs listed here pass, so nothing else is ever called. All numbers are float64, so no power is a large
integer, and functions get exactly one argument, so none can write into another (NumPy's second positional argument is
where to write). Comparisons count 1 where they hold and 0 elsewhere.
"""

import ast
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import reduce
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from bathymetry.core.errors import InputError

_MOST_TOKENS: Final = 2000
_LONGEST: Final = 40  # letters of a name that an error repeats
_CONSTANTS: Final = ("x", "pi", "e")
_SEVERAL: Final = ("max", "min")
_WORDS: Final = ("if", "else", "and", "or", "not")

_DIGITS: Final = "[0-9](?:_?[0-9])*"
_TOKEN: Final = re.compile(
    rf"\s*(?:(?P<number>(?:{_DIGITS}\.?(?:{_DIGITS})?|\.{_DIGITS})(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|//|<<|>>|<=|>=|==|!=|\S))"
)
_SIGNS: Final = ("**", "//", "<=", ">=", "==", "!=", *"+-*/%<>(),")
_SPELLINGS: Final = str.maketrans(
    {"^": "**", "²": "**2", "³": "**3", "π": " pi ", "÷": "/", "≤": "<=", "≥": ">=", "≠": "!="}
    | dict.fromkeys("×·⋅∙", "*")
    | dict.fromkeys("−–", "-")
)
_BINDING: Final = ("/", "//", "%", "**")  # after these, 2x can be read in two ways

_SIGN_REMEDIES: Final = {
    "|": "write abs(x) for |x|, and “or” between conditions",
    "&": "write “and” between conditions",
    "~": "write “not” before a condition",
    "√": "write sqrt(x)",
    "!": "write “not” before a condition; there is no factorial",
    ".": "attributes are not available; write numbers with digits beside the point",
    "<<": "shifts are not available; write x*2**n",
    ">>": "shifts are not available; write x/2**n",
    **dict.fromkeys("[{", "use round brackets"),
    **dict.fromkeys("'\"", "text in quotes is not available"),
}
_NAME_REMEDIES: Final = {
    name: remedy
    for remedy, names in {
        "write x**2": "pow power sqr",
        "write x % 2": "mod fmod",
        "write 1/cos(x)": "sec",
        "write 1/sin(x)": "csc cosec",
        "write 1/tan(x)": "cot cotan ctg",
        "write tan(x)": "tg",
        "write arctan(x)": "arctg",
        "write sinh(x)": "sh",
        "write cosh(x)": "ch",
        "write tanh(x)": "th",
        "write log10(x)": "lg",
        "write log2(x)": "ld",
        "write abs(x)": "fabs",
        "write sqrt(x)": "root",
        "write 1 if x > 0 else 0": "where",
        "write only what stands after “lambda x:”": "lambda",
        "the variable is x": "t y z u θ theta x1 x2",
        "values must be real": "i j",
    }.items()
    for name in names.split()
}
Values = NDArray[np.float64]


def evaluate_expression(text: str, x: Values, functions: Mapping[str, Callable[..., Any]]) -> Values:
    """Evaluate an expression in x, in the shape of x; NaN or infinite where it has no value."""
    spelled = python_spelling(text, functions)
    try:
        parsed = ast.parse(spelled, mode="eval").body
        values = _Evaluation(text, x, functions).value(parsed)
    except SyntaxError:
        _refuse(text, "its brackets and operators do not fit; expected an expression in x such as sin(3*x)/x")
    except (RecursionError, MemoryError):  # the parser's stack is full
        _refuse(text, "it is nested too deeply; expected a shorter expression")
    return np.array(np.broadcast_to(values, x.shape))


def python_spelling(text: str, functions: Collection[str]) -> str:
    """Write 2x^2 - 5π sin(x) as 2 * x ** 2 - 5 * pi * sin ( x ), or say which spelling works."""
    _check_characters(text)
    tokens: list[str] = []
    opened: list[int] = []
    start = 0  # where the factor before the current token begins
    for token in _tokens(text, functions):
        before = tokens[-1] if tokens else ""
        if _is_product(before, token, functions):
            operator = next((one for one in reversed(tokens[:start]) if one not in ("+", "-")), "")
            if operator in _BINDING:
                _refuse(text, f"a product without * after {operator} can be read in two ways; write * and brackets")
            tokens.append("*")
            start = len(tokens)
        elif before in functions and token != "(":
            power = f"; write {before}(x)**2 for its square" if token == "**" else ""
            _refuse(text, f"{before} needs its argument in brackets, such as {before}(x){power}")
        if token == ")":
            if not opened:
                _refuse(text, "a bracket closes that was not opened")
            start = opened.pop()
        elif token == "(":
            opened.append(len(tokens) - (before in functions or before in _SEVERAL))
        else:
            start = len(tokens)
        if len(tokens) > _MOST_TOKENS:
            _refuse(text, f"expected an expression of at most {_MOST_TOKENS:,} numbers, names and signs")
        tokens.append(token)
    if opened:
        _refuse(text, "a bracket is not closed")
    return " ".join(tokens[:-1])


def _refuse(text: str, remedy: str) -> NoReturn:
    raise InputError("functions", text, remedy)


def _check_characters(text: str) -> None:
    """Refuse what the tokens would not show: control characters, a package's name, an equation."""
    if not text.isprintable():
        _refuse(text, "write the expression in one line, without tabs or control characters")
    if package := re.search(r"\b(np|numpy|math|torch|scipy)\s*\.", text):
        _refuse(text, f"write functions without “{package[1]}.” before them, such as sin(x)")
    before, equals, _ = re.sub("[<>=!]=", "", text).partition("=")
    if equals:
        inside = before.count("(") > before.count(")")
        _refuse(text, "functions take one argument, without a name" if inside else "write only what stands right of =")


def _tokens(text: str, functions: Collection[str]) -> Iterator[str]:
    """Read numbers, names and signs, then an empty token for the end; refuse what is none of these."""
    spelled = text.translate(_SPELLINGS).strip()
    if not spelled:
        _refuse(text, f"expected an expression in x such as sin(3*x)/x, or one of {', '.join(functions)}")
    for found in _TOKEN.finditer(spelled):
        token = found[0].strip()
        if found["number"] and not math.isfinite(float(token)):
            _refuse(text, "it holds a number above 1.8e308; expected finite numbers")
        if found["name"] and token not in (*functions, *_CONSTANTS, *_SEVERAL, *_WORDS):
            _refuse(text, _remedy_for_name(token, functions))
        if found["sign"] and token not in _SIGNS:
            unknown = f"“{token}” is not available in an expression; write such as sin(3*x)/x"
            _refuse(text, _SIGN_REMEDIES.get(token, unknown))
        yield token
    yield ""


def _is_product(left: str, right: str, functions: Collection[str]) -> bool:
    """Tell whether two tokens side by side are factors, as in 2x, 3(x + 1) or x sin(x)."""
    is_end = left == ")" or left in _CONSTANTS or left[:1].isdigit() or left[:1] == "."
    return is_end and (right == "(" or right in (*_CONSTANTS, *functions, *_SEVERAL))


def _remedy_for_name(name: str, functions: Collection[str]) -> str:
    if len(name) > _LONGEST:
        return f"expected names of at most {_LONGEST} letters"
    lower, known = name.lower(), (*functions, *_CONSTANTS, *_SEVERAL)
    factors = re.findall("|".join(sorted((*functions, *_CONSTANTS), key=len, reverse=True)), name)
    longer = [one for one in functions if len(one) > 2 and lower.startswith(one)]
    if lower in _NAME_REMEDIES:
        remedy = _NAME_REMEDIES[lower]
    elif "".join(factors) == name:  # such as xsin or pix
        opened = [one in functions for one in factors[:-1]]
        product = "".join(one + ("(" if opens else "*") for one, opens in zip(factors[:-1], opened, strict=True))
        remedy = f"write {product}{factors[-1]}{')' * sum(opened)}"
    elif lower in known:
        remedy = f"write {lower}"
    elif alike := longer[-1:] or get_close_matches(lower, functions, n=1, cutoff=0.75):
        remedy = f"did you mean {alike[0]}?"
    else:
        remedy = f"expected an expression in x with pi, e and {', '.join((*functions, *_SEVERAL))}"
    return f"“{name}” is not known; {remedy}"


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


class _Evaluation:
    """One expression at some points."""

    def __init__(self, text: str, x: Values, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.text = text
        self.functions: Mapping[str, Callable[..., Any]] = {**functions, "max": np.maximum, "min": np.minimum}
        self.names: Mapping[str, Any] = {"x": x, "pi": math.pi, "e": math.e}

    def value(self, node: ast.expr) -> Any:
        """Evaluate one node; a truth value counts 1 where it holds, so that a sum of two steps is a staircase."""
        match node:
            case ast.Constant(value=int() | float() as number):
                return float(number)
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
            case ast.Name(id=name):
                return self._call(name, [])
            case ast.BinOp():
                return self._chain(node)
            case ast.UnaryOp():
                return _real(_OPERATIONS[type(node.op)](self.value(node.operand)))
            case ast.BoolOp():
                return _real(reduce(_OPERATIONS[type(node.op)], map(self.value, node.values)))
            case ast.Compare():
                sides = [self.value(one) for one in (node.left, *node.comparators)]
                pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
                return _real(
                    reduce(np.logical_and, (_OPERATIONS[type(one)](left, right) for one, left, right in pairs))
                )
            case ast.IfExp():
                return np.where(np.asarray(self.value(node.test)) != 0, self.value(node.body), self.value(node.orelse))
            case ast.Call(func=ast.Name(id=name)):
                return self._call(name, node.args)
        is_comma = isinstance(node, ast.Tuple) and node.elts
        remedy = "it holds a comma outside max and min; write decimals with a point"
        return _refuse(self.text, remedy if is_comma else "expected an expression in x such as sin(3*x)/x")

    def _chain(self, node: ast.BinOp) -> Any:
        """Evaluate a sum or product from left to right, however many terms it has."""
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):
            chain.append(chain[-1].left)
        values = self.value(chain[-1].left)
        for one in reversed(chain):
            values = _OPERATIONS[type(one.op)](values, self.value(one.right))
        return values

    def _call(self, name: str, arguments: list[ast.expr]) -> Any:
        count = len(arguments)
        if name in _SEVERAL and count < 2:
            _refuse(self.text, f"{name} takes two arguments or more, such as {name}(0, x)")
        if name not in _SEVERAL and count != 1:
            point = " (decimals are written with a point)" if arguments else ""
            _refuse(self.text, f"{name} takes exactly one argument, and there are {count}{point}")
        first, *others = map(self.value, arguments)
        return reduce(self.functions[name], others, first) if others else self.functions[name](first)


def _real(truth: Any) -> Values:
    return np.asarray(truth, dtype=np.float64)
