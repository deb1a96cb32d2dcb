"""Expressions as people write them, turned into Python's spelling: 2x, x^2 and 5π x, or a sentence that says how.

The result holds numbers, known names, operators, brackets and commas, and nothing else.
"""

import math
import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Final, NoReturn

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
