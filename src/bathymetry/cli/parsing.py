"""Reading a command's arguments: one sentence answers a mistake; tyro makes the help and the values."""

import contextlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from bathymetry.core.errors import BathymetryError, InputError, did_you_mean
from bathymetry.core.showing import joined

if TYPE_CHECKING:  # so that the help need not wait for PyTorch
    from bathymetry.store.storage import Place

T = TypeVar("T")


class UsageError(BathymetryError):
    """An argument that is missing, or one too many."""


@dataclass(frozen=True)
class _Argument:
    """A field of a command: an option, or an argument known by its position."""

    field: str
    metavar: str
    is_positional: bool
    is_required: bool
    arity: Literal["none", "one", "several", "repeated"]  # values that an option takes
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        return f"--{self.field.replace('_', '-')}"

    def check(self, values: Sequence[str]) -> None:
        if self.arity == "none" and values:
            raise UsageError(f"{self.flag} takes no value.")
        expected = f"expected {joined(self.choices, 'or')}" if self.choices else "a value is missing"
        if self.arity != "none" and not values:
            raise UsageError(f"{self.flag}: a value is missing{f'; {expected}' if self.choices else ''}.")
        if self.arity == "one" and len(values) > 1:
            raise InputError(self.field, " ".join(values), "expected one value")
        if self.choices and values[0] not in self.choices:
            raise InputError(self.field, values[0], did_you_mean(values[0].lower(), self.choices) + expected)


def parse(command: Callable[..., T], name: str, arguments: Sequence[str], example: str = "") -> T:
    """Read arguments into a dataclass, whose docstring is the help text.

    `example` is shown where an argument is missing: a whole command that works.
    """
    if not {"-h", "--help"} & set(arguments):
        known = _known(command)
        if arguments and not known:
            raise UsageError(f"{name} takes no arguments.")
        positions = [one for one in known if one.is_positional]
        options = {one.flag: one for one in known if not one.is_positional}
        _check_positions(_check_options(arguments, name, options, bool(positions)), name, positions, example)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            args = [_protected(one) for one in arguments]
            return tyro.cli(command, prog=f"bathymetry {name}", args=args, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as end:
        if end.code in (0, None):  # the help was shown
            raise
        raise UsageError(f"{name}: these arguments do not fit; bathymetry {name} --help explains them.") from end


def _known(command: Callable[..., Any]) -> list[_Argument]:
    hints = get_type_hints(command, include_extras=True)
    known = []
    for one in fields(command):  # type: ignore[arg-type]
        kind, *marks = get_args(hints[one.name])
        several = "repeated" if tyro.conf.UseAppendAction in marks else "several"
        arity: Any = "none" if kind is bool else several if "tuple" in str(kind) else "one"
        choices = next((get_args(one) for one in (kind, *get_args(kind)) if get_origin(one) is Literal), ())
        metavar = next((mark.metavar for mark in marks if getattr(mark, "metavar", None)), one.name.upper())
        known.append(
            _Argument(one.name, metavar, tyro.conf.Positional in marks, one.default is MISSING, arity, choices)
        )
    return known


def _check_options(
    arguments: Sequence[str], name: str, options: Mapping[str, _Argument], has_positions: bool
) -> list[str]:
    """Check options and their values; returns the other arguments."""
    words, others, before = list(arguments), [], set()
    while words:
        word = words.pop(0)
        option, equals, value = word.partition("=")
        if option not in options:
            if not has_positions or word.startswith("-"):
                raise _unknown(word, name, options)
            others.append(word)
            continue
        one = options[option]
        values = [value] if value or (equals and one.arity == "none") else []
        while words and not _is_option(words[0]) and not (has_positions and values):
            values.append(words.pop(0))
        one.check(values)
        if option in before and one.arity != "repeated":
            several = f", with all values after it: {option} A B" if one.arity == "several" else ""
            raise UsageError(f"{option}: expected only once{several}.")
        before.add(option)
    return others


def _check_positions(values: Sequence[str], name: str, positions: Sequence[_Argument], example: str) -> None:
    if len(values) > len(positions) and positions[-1].arity != "several":
        names = joined([one.metavar for one in positions])
        count = "one argument" if len(positions) == 1 else f"at most {len(positions)} arguments"
        raise UsageError(f"{name} takes {count}, {names}; {values[len(positions)]} is one too many.")
    for one, value in zip(positions, values, strict=False):
        one.check([value])
    for one in positions[len(values) :]:
        if one.is_required:
            raise UsageError(f"{one.field}: missing; for example {example}.")


def _unknown(argument: str, name: str, options: Mapping[str, _Argument]) -> InputError:
    if not argument.startswith("-"):
        return InputError("argument", argument, f"expected an option; bathymetry {name} --help lists them")
    option = argument.partition("=")[0]
    similar = did_you_mean(f"--{option.lstrip('-').lower().replace('_', '-')}", options)
    if similar:
        return InputError("option", option, f"{similar}bathymetry {name} --help lists all options")
    return InputError(
        "option", option, f"expected {joined(list(options), 'or')}" if options else f"{name} takes no options"
    )


def _is_option(argument: str) -> bool:
    """Whether it is an option, also "-seed" with one minus too few, and not a value such as -10, -x or -sin(x)."""
    return argument.startswith("--") or re.fullmatch(r"-[a-z][a-z_-]{2,}", argument) is not None


def _protected(argument: str) -> str:
    """Keep a value that begins with a minus from being read as an option, and None from being read as no value."""
    return re.sub(r"^(--[a-z-]+=)?(None$|-(?!-|h$))", r"\1 \2", argument)


def parse_bytes(field: str, text: str) -> int:
    """Read an amount of memory such as 8GB, 500 MB or 2GiB."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", text, re.IGNORECASE)
    size = float(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " ") if found else 0
    if found and not (found[2] or found[3]) and 0 < size < 10_000:
        raise InputError(field, text, f"expected a unit too: {found[1]}GB or {found[1]}MB")
    if not 1_000_000 <= size < 2**62:
        raise InputError(field, text, "expected an amount of memory such as 8GB or 500MB")
    return int(size)


def lasting_place(out: str) -> "Place":
    """Read where a command writes to; refuse its own memory, which ends with it."""
    from bathymetry.store.storage import is_shared, place_of

    place = place_of("out", out.strip())
    if not is_shared(place):
        remedy = "it is lost when the command ends; expected a folder, or an address such as s3://bucket/run1"
        raise InputError("out", place, remedy)
    return place


def parse_shard(text: str) -> tuple[int, int]:
    """Read a share such as 2/40, the second of forty."""
    found = re.fullmatch(r"\s*(\d{1,9})/(\d{1,9})\s*", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError("shard", text, "expected I/N with I from 1 to N, such as 2/40 for the second of forty")
    return int(found[1]), int(found[2])
