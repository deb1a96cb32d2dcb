"""Reading a command's arguments with tyro, its complaints turned into one sentence."""

import contextlib
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypeVar

import tyro

from bathymetry.core.errors import InputError
from bathymetry.core.showing import printable

T = TypeVar("T")
Values = Literal["none", "one", "several"]  # that an option takes


def parse(
    command: Callable[..., T], name: str, arguments: Sequence[str], flags: Mapping[str, Values] | None = None
) -> T:
    """Read arguments into a dataclass.

    Args:
        command: The dataclass; its docstring is the help text.
        name: How the command is called, for example "run depth-function".
        arguments: What was given.
        flags: The options that there are with how many values each takes; anything else is refused by name.

    Returns:
        The filled-in dataclass.

    Raises:
        InputError: If the arguments do not fit.
        SystemExit: With status 0, after the help was shown.
    """
    if flags is not None:
        _check_flags(arguments, name, flags)
    heard = io.StringIO()
    kept = [_held(one) for one in arguments]
    try:
        with contextlib.redirect_stderr(heard):
            return tyro.cli(command, prog=f"bathymetry {name}", args=kept, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as end:
        if end.code in (0, None):
            raise SystemExit(0) from end
        raise InputError("arguments", " ".join(arguments) or "none", _sentence(heard.getvalue(), name)) from end


def _check_flags(arguments: Sequence[str], name: str, flags: Mapping[str, Values]) -> None:
    """Refuse options that there are not, options without a value, and values that belong to none."""
    place = 0
    while place < len(arguments):
        flag, given, _ = arguments[place].partition("=")
        if flag in ("-h", "--help"):
            return
        taken = flags.get(flag, "none" if flag.startswith("--no-") and flags.get(f"--{flag[5:]}") == "none" else None)
        if taken is None:
            raise _unknown(arguments[place], name, flags)
        place += 1
        values = []
        while place < len(arguments) and not arguments[place].startswith("--") and not _is_option(arguments[place]):
            values.append(arguments[place])
            place += 1
        field = flag.removeprefix("--").replace("-", "_")
        if taken == "none" and (given or values):
            raise InputError(field, " ".join(values) or arguments[place - 1].partition("=")[2], "it takes no value")
        if taken != "none" and not (given or values):
            raise InputError(field, "nothing", "give a value")
        if taken == "one" and bool(given) + len(values) > 1:
            named = [arguments[place - len(values) - 1].partition("=")[2]] if given else []
            raise InputError(field, " ".join([*named, *values]), "expected one value")


def _unknown(argument: str, name: str, flags: Mapping[str, Values]) -> InputError:
    if not argument.startswith("-"):
        return InputError("argument", argument, f"expected an option; bathymetry {name} --help lists them")
    flag = argument.partition("=")[0]
    alike = did_you_mean(f"--{flag.lstrip('-').lower().replace('_', '-')}", list(flags))
    remedy = f"{alike}bathymetry {name} --help lists all" if alike else f"{name} has {', '.join(flags)}"
    return InputError("option", flag, remedy)


def _is_option(argument: str) -> bool:
    """Tell "-seed", with one minus too few, from values that begin with a minus, such as -10, -x or -sin(x)."""
    return re.fullmatch(r"-[a-z][a-z_-]{2,}", argument) is not None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest what a misspelt word may have been.

    Args:
        word: What was given.
        known: What there is.

    Returns:
        A question that ends in a blank; empty if nothing is near.

    Example:
        >>> did_you_mean("--learningrate", ["--epochs", "--learning-rate"])
        'did you mean --learning-rate? '
    """
    alike = get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f"did you mean {alike[0]}? " if alike else ""


def _held(argument: str) -> str:
    """Keep a value that begins with a minus, such as -10 or -x, from being taken for a flag."""
    return f" {argument}" if re.match(r"-(?!-)(?!h$)", argument) else argument


def _sentence(complaint: str, name: str) -> str:
    """Take the words out of tyro's box, without its title."""
    untitled = [line for line in complaint.splitlines() if not line.lstrip().startswith(("╭", "┏"))]
    lines = [re.sub(r"[│╭╮╰╯─┃┏┓┗┛━]", " ", line).strip() for line in untitled]
    words = [line for line in lines if line.strip("-") and "help" not in line.lower() and line not in _TITLES]
    said = " ".join(words)[:200] or "they do not fit"
    return f"{said[:1].lower()}{said[1:].rstrip('.')}; bathymetry {name} --help explains them"


_TITLES = ("Parsing error", "Unrecognized options", "Required options", "Missing argument", "Invalid choice")


def as_text(value: Any) -> Any:
    """Write a default as it would be typed.

    Args:
        value: A setting's value.

    Returns:
        Text, or a tuple of texts for a list.
    """
    if isinstance(value, tuple):
        return tuple(",".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value)
    return str(value)


def say(words: str) -> None:
    """Print a line at once.

    Args:
        words: The line.
    """
    print(printable(words), flush=True)
