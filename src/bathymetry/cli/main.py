"""The program `bathymetry`: runs a command and reports every error in one sentence."""

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from types import FrameType

from bathymetry.core.errors import BathymetryError, IncompleteError, InputError, did_you_mean
from bathymetry.core.showing import joined, printable
from bathymetry.core.system import Terminated, is_out_of_memory

_COMMANDS = {
    "list": "the studies with their questions",
    "show": "a study's settings, its claims and how each is decided, its figures",
    "run": "run one study, several or all of them, and write the page",
    "sweep": "train an ensemble at every point of a specification's axes, and write the page",
    "compare": "which setting is better, decided over runs that other tools recorded",
    "report": "write the page again from what is stored",
    "diff": "which verdicts changed between two output folders, or from the reference run",
    "verify": "whether an output folder is whole, and its verdicts follow from its results",
    "predict": "a file in which you predict the verdicts of a study, for run --predict FILE",
    "merge": "merge the output folders of many people, and write the page of all their networks",
    "export": "write stored results as plain tables",
    "data": "the data sets that are present, and downloading others",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status.

    It is 0 if all went well, 1 if chunks failed, `verify` found something wrong or `compare` another verdict than
    expected, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    # GNU's OpenMP reads this when PyTorch loads: for so many turns a thread waits busily for the others. Its own
    # 300,000 cost up to twenty times the time where something else runs, and gain nothing where nothing does.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    for stream in (sys.stdout, sys.stderr):  # print a replacement for what a stream has no character for
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")
    before = signal.getsignal(signal.SIGTERM)
    handles = before is signal.SIG_DFL and threading.current_thread() is threading.main_thread()
    if handles:
        signal.signal(signal.SIGTERM, _terminate)
    if arguments is None:  # the program ends soon after: the collector need not look through all once more
        atexit.register(gc.freeze)
        sys.unraisablehook = _send_again
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except BathymetryError as error:
        status = _refuse(str(error))
        return 1 if isinstance(error, IncompleteError) else status
    except KeyboardInterrupt as stopped:
        stored = str(stopped) or "What is stored stays. Run the same command to go on"
        print(f"\nInterrupted. {stored}.", file=sys.stderr)
        return 143 if isinstance(stopped, Terminated) else 130
    except BrokenPipeError:  # the reader, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        remedy = "choose fewer members, examples or units per layer, or lift a limit that is set (ulimit -v, ulimit -u)"
        return _refuse(f"memory = less than this needs: {remedy}.")
    except OSError as error:  # such as a full disk behind the standard output
        where = f" ({error.filename})" if error.filename else ""
        return _refuse(printable(f"the system refuses{where}: {error.strerror or error}.", allowed=""))
    finally:
        if handles:
            signal.signal(signal.SIGTERM, before)


def _refuse(sentence: str) -> int:
    print(f"bathymetry: {sentence}", file=sys.stderr)
    return 2


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - as signals call it
    """End the program as Ctrl-C does, with a sentence."""
    signal.signal(number, signal.SIG_DFL)  # a second one does not wait
    raise Terminated


def _send_again(ignored: "sys.UnraisableHookArgs") -> None:
    """Send a signal once more that came while an object was deleted, where Python ignores what is raised."""
    if not isinstance(ignored.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(ignored)
        return
    number = signal.SIGINT
    if isinstance(ignored.exc_value, Terminated):
        number = signal.SIGTERM
        signal.signal(number, _terminate)
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"bathymetry {version('bathymetry')}")
        return 0
    name, *rest = words
    if name not in _COMMANDS:
        raise InputError("command", name, _instead(name))
    if name == "run":
        from bathymetry.cli.run import run

        run(rest)
    elif name == "sweep":
        from bathymetry.cli.sweep import sweep

        sweep(rest)
    elif name == "compare":
        from bathymetry.cli.compare import compare

        return compare(rest)
    elif name == "diff":
        from bathymetry.cli.diff import diff

        return diff(rest)
    elif name == "verify":
        from bathymetry.cli.verify import verify

        return verify(rest)
    elif name == "predict":
        from bathymetry.cli.predict import predict

        predict(rest)
    elif name == "merge":
        from bathymetry.cli.merge import merge

        merge(rest)
    else:
        from bathymetry.cli import commands

        getattr(commands, "list_" if name == "list" else name)(rest)
    return 0


def _instead(name: str) -> str:
    """Say which command may have been meant."""
    from bathymetry.studies.catalogue import entries

    if name in (*entries(), "all"):
        return f"that is a study; to run it: bathymetry run {name}"
    similar = did_you_mean(name.lower(), (*_COMMANDS, "--version", "--help"))
    return f"{similar}expected {joined(list(_COMMANDS), 'or')}; bathymetry --help explains them"


def _help() -> str:
    commands = "\n".join(f"  {name:<7}  {words}" for name, words in _COMMANDS.items())
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
