"""Reading a command's arguments with tyro, its complaints turned into one sentence."""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import zip_longest
from typing import Any, TypeVar

import tyro

from bathymetry.core.errors import InputError

T = TypeVar("T")


def parse(command: Callable[..., T], name: str, arguments: Sequence[str], flags: Sequence[str] = ()) -> T:
    """Read arguments into a dataclass.

    Args:
        command: The dataclass; its docstring is the help text.
        name: How the command is called, for example "run depth-function".
        arguments: What was given.
        flags: The flags that there are; another one is refused by name.

    Returns:
        The filled-in dataclass.

    Raises:
        InputError: If the arguments do not fit.
        SystemExit: With status 0, after the help was shown.
    """
    if flags:
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


def _check_flags(arguments: Sequence[str], name: str, flags: Sequence[str]) -> None:
    for argument, following in zip_longest(arguments, arguments[1:], fillvalue="--"):
        flag, given, _ = argument.partition("=")
        if not flag.startswith("--") or flag == "--help":
            continue
        if flag not in (*flags, "--no-plan"):
            alike = get_close_matches(flag, flags, n=1)
            remedy = f"did you mean {alike[0]}? " if alike else ""
            raise InputError("field", flag, f"{remedy}{name} has {', '.join(flags)}")
        if not given and following.startswith("--") and flag not in ("--plan", "--no-plan"):
            raise InputError(flag.removeprefix("--").replace("-", "_"), "nothing", "give a value")


def _held(argument: str) -> str:
    """Keep a value that begins with a minus, such as -10 or -x, from being taken for a flag."""
    return f" {argument}" if re.match(r"-(?!-)(?!h$)", argument) else argument


def _sentence(complaint: str, name: str) -> str:
    """Take the words out of tyro's box."""
    untitled = [line for line in complaint.splitlines() if not line.lstrip().startswith(("╭", "┏"))]
    lines = [re.sub(r"[│╭╮╰╯─┃┏┓┗┛━]", " ", line).strip() for line in untitled]
    words = [line for line in lines if line and "help" not in line.lower() and not line.startswith("Parsing error")]
    said = " ".join(words)[:200] or "they do not fit"
    return f"{said[:1].lower()}{said[1:].rstrip('.')}; bathymetry {name} --help explains them"


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
    print(words, flush=True)
