"""The program `bathymetry`: runs a command and reports every error in one sentence."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from io import TextIOWrapper
from types import FrameType
from typing import Any

from bathymetry.cli.parsing import did_you_mean
from bathymetry.core.errors import BathymetryError, InputError
from bathymetry.core.showing import printable
from bathymetry.core.system import Terminated

_COMMANDS = {
    "list": "the studies with their questions",
    "show": "a study's settings, its claims and how each is decided, its figures",
    "run": "run one study, several or all of them, and write the page",
    "report": "write the page again from what is stored",
    "export": "write stored results as plain tables",
    "data": "the data sets that are present, and downloading others",
}

# Words of PyTorch, the C++ library, the dynamic linker and the threading module where memory or addresses run out.
_OUT_OF_MEMORY = ("allocat", "bad_alloc", "failed to map", "map segment", "start new thread")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        Exit status: 0 if all went well, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    _share_the_cores()
    _print_what_can_be_printed()
    before = _end_on_sigterm()
    try:
        return _dispatch(words)
    except BathymetryError as error:
        print(f"bathymetry: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        stored = str(stopped) or "what is stored stays; the same command goes on from there"
        print(f"\nInterrupted: {stored}.", file=sys.stderr)
        return 143 if isinstance(stopped, Terminated) else 130
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError, ImportError) as error:
        if not (isinstance(error, MemoryError) or any(word in str(error) for word in _OUT_OF_MEMORY)):
            raise
        remedy = "give fewer members, examples or units a layer, or lift the limit if one is set (ulimit -v, ulimit -u)"
        print(f"bathymetry: memory = less than this needs: {remedy}.", file=sys.stderr)
        return 2
    except OSError as error:  # such as a full disk behind the standard output
        where = printable(f" ({error.filename})", allowed="") if error.filename else ""
        print(
            f"bathymetry: the system refuses{printable(where, allowed='')}: {error.strerror or error}.", file=sys.stderr
        )
        return 2
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _end_on_sigterm() -> Any:
    """Let SIGTERM end the program as Ctrl-C does, with a sentence; give what handled it before, None if it stays."""
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        return None

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signals call it
        signal.signal(number, signal.SIG_DFL)  # a second one does not wait
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    return before


def _print_what_can_be_printed() -> None:
    """Print a replacement for what an output stream has no character for, instead of ending."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def _share_the_cores() -> None:
    # GNU's OpenMP reads this when PyTorch loads: for so many turns a thread waits busily for the others. Its own
    # 300,000 cost up to twenty times the time where something else runs, and gain nothing where nothing does.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"bathymetry {version('bathymetry')}")
        return 0
    name, *rest = words
    if name not in _COMMANDS:
        raise InputError("command", name or "nothing", _instead(words))
    command: Callable[[list[str]], None]
    if name == "run":
        from bathymetry.cli.run import run as command
    else:
        from bathymetry.cli import commands

        command = getattr(commands, "list_" if name == "list" else name)
    command(rest)
    return 0


def _instead(given: list[str]) -> str:
    """Say which command may have been meant."""
    from bathymetry.studies.catalogue import listed

    if given[0] in (*listed(), "all"):
        return f"that is a study; to run it: bathymetry run {given[0]}"
    similar = did_you_mean(given[0].lower(), (*_COMMANDS, "--version", "--help"))
    return f"{similar}expected one of {', '.join(_COMMANDS)}; bathymetry --help explains them"


def _help() -> str:
    commands = "\n".join(f"  {name:<6}  {words}" for name, words in _COMMANDS.items())
    return f"""\
bathymetry: controlled experiments on families of neural networks

usage: bathymetry COMMAND [OPTIONS]

commands:
{commands}

bathymetry COMMAND --help explains a command. To begin:

  bathymetry run depth-function      train, measure, judge, and write bathymetry-report/report.html
  bathymetry run all --preset quick  every study, in a few minutes"""


if __name__ == "__main__":
    sys.exit(main())
