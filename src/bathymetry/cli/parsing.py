"""Reading a command's arguments with tyro, whose complaints become one sentence."""

import contextlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

import tyro

from bathymetry.core.errors import InputError, did_you_mean

T = TypeVar("T")
Arity = Literal["none", "one", "several"]  # values that an option takes

_TITLES = ("Parsing error", "Unrecognized options", "Required options", "Missing argument", "Invalid choice")


def parse(
    command: Callable[..., T], name: str, arguments: Sequence[str], options: Mapping[str, Arity] | None = None
) -> T:
    """Read arguments into a dataclass, whose docstring is the help text.

    With `options`, any other option is refused by its name, and so is a wrong number of values.
    """
    if options is not None and not {"-h", "--help"} & set(arguments):
        _check_options(list(arguments), name, options)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            args = [_protected(one) for one in arguments]
            return tyro.cli(command, prog=f"bathymetry {name}", args=args, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as end:
        if end.code in (0, None):  # the help was shown
            raise SystemExit(0) from end
        remedy = f"{_sentence(complaint.getvalue())}; bathymetry {name} --help explains them"
        raise InputError("arguments", " ".join(arguments) or "none", remedy) from end


def _check_options(arguments: list[str], name: str, options: Mapping[str, Arity]) -> None:
    while arguments:
        argument = arguments.pop(0)
        option, equals, value = argument.partition("=")
        negated = option.startswith("--no-") and options.get(f"--{option[5:]}") == "none"
        arity = "none" if negated else options.get(option)
        if arity is None:
            raise _unknown(argument, name, options)
        values = [value] if value else []
        while arguments and not _is_option(arguments[0]):
            values.append(arguments.pop(0))
        field = option.removeprefix("--").replace("-", "_")
        if arity == "none" and (values or equals):
            raise InputError(field, " ".join(values), "it takes no value")
        if arity != "none" and not values:
            raise InputError(field, "nothing", "expected a value")
        if arity == "one" and len(values) > 1:
            raise InputError(field, " ".join(values), "expected one value")


def _unknown(argument: str, name: str, options: Mapping[str, Arity]) -> InputError:
    if not argument.startswith("-"):
        return InputError("argument", argument, f"expected an option; bathymetry {name} --help lists them")
    option = argument.partition("=")[0]
    similar = did_you_mean(f"--{option.lstrip('-').lower().replace('_', '-')}", options)
    remedy = f"{similar}bathymetry {name} --help lists all" if similar else f"{name} has {', '.join(options)}"
    return InputError("option", option, remedy)


def _is_option(argument: str) -> bool:
    """Whether it is an option, also "-seed" with one minus too few, and not a value such as -10, -x or -sin(x)."""
    return argument.startswith("--") or re.fullmatch(r"-[a-z][a-z_-]{2,}", argument) is not None


def _protected(argument: str) -> str:
    """Keep a value that begins with a minus from being read as an option."""
    return f" {argument}" if re.match(r"-(?!-)(?!h$)", argument) else argument


def _sentence(complaint: str) -> str:
    """The words in tyro's box, without its title."""
    untitled = [line for line in complaint.splitlines() if not line.lstrip().startswith(("╭", "┏"))]
    lines = [re.sub(r"[│╭╮╰╯─┃┏┓┗┛━]", " ", line).strip() for line in untitled]
    words = " ".join(line for line in lines if line.strip("-") and "help" not in line.lower() and line not in _TITLES)
    words = words[:200].rstrip(".") or "they do not fit"
    return words[:1].lower() + words[1:]
