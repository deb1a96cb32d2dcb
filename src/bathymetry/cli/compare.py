"""`bathymetry compare PATH`: which setting is better, decided over runs that other tools recorded."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from bathymetry.cli.parsing import UsageError, lasting_place, parse
from bathymetry.cli.terminal import OpenFlag, open_page, reading, say, wrapped
from bathymetry.core.errors import BathymetryError, InputError, path_of
from bathymetry.core.showing import joined

if TYPE_CHECKING:
    from bathymetry.claims.judging import Judged
    from bathymetry.runs.comparing import Comparison
    from bathymetry.store.storage import Place

_OUT = "bathymetry-comparison"
_EXAMPLE = "bathymetry compare runs --metric val/accuracy --higher-is-better --compare optimizer --members seed"


def _option(metavar: str, words: str) -> Any:
    return tyro.conf.arg(metavar=metavar, help=words, help_behavior_hint="")


@dataclass(frozen=True)
class CompareCommand:
    """Decide which setting is better on a metric, over runs recorded by other tools.

    PATH is a folder or file of CSV, Parquet, JSON Lines, TensorBoard, W&B, MLflow, Trackio, Lightning, Optuna or Hydra.
    For example:
      bathymetry compare runs --metric val/accuracy --higher-is-better --compare optimizer --members seed
      bathymetry compare runs.csv --metric loss --lower-is-better --compare net --members seed --baseline small
      bathymetry compare runs --members seed --claims claims.yaml --expect supported

    Of each pair it prints the difference with its 95 % interval, how often the first is better, the verdict, and how
    many more members would settle what is undecided. The exit status is 0 whatever the verdicts are; with --expect it
    is 1 if some verdict is another. Without --baseline the claim of a pair is that the two differ, so that --expect
    supported asks whether every pair is decided; with it, whether each other value is better than the baseline.
    """

    path: tyro.conf.Positional[Annotated[str, _option("PATH", "the runs: a folder or a file")]]
    metric: Annotated[str | None, _option("NAME", "the metric that is compared")] = None
    claims: Annotated[str | None, _option("FILE", "a YAML file of claims; --metric and --compare are optional")] = None
    higher_is_better: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "larger values are better")]] = False
    lower_is_better: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "smaller values are better")]] = False
    compare: Annotated[str | None, _option("SETTING", "the setting whose values are compared")] = None
    members: Annotated[str | None, _option("SETTING", "what tells members apart: seed, or run if each is one")] = None
    by: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        _option("SETTING", "a further setting that becomes an axis (repeatable)"),
    ] = ()
    at: Annotated[str, _option("POINT", "last, best, step:N or mean:last-10%")] = "last"
    baseline: Annotated[str | None, _option("VALUE", "compare each other value with this one only")] = None
    paired: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "runs of one seed form a pair")]] = False
    unpaired: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "no pairs, although seeds are shared")]] = False
    examples: Annotated[str | None, _option("N", "an accuracy is a share of N examples: compare odds as well")] = None
    where: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        _option("SETTING=VALUE", "only these runs (repeatable: of one setting any, of several all)"),
    ] = ()
    ignore: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        _option("SETTING", "a setting that may differ among members (repeatable)"),
    ] = ()
    step: Annotated[str | None, _option("COLUMN", "the column of a table that counts steps")] = None
    run: Annotated[str | None, _option("COLUMN", "the column of a table that names the run")] = None
    format: Annotated[str | None, _option("TOOL", "the tool, where a folder holds files of several")] = None
    expect: Annotated[
        Literal["supported", "contradicted", "undecided"] | None,
        _option("VERDICT", "end with status 1 unless every claim has this verdict"),
    ] = None
    json: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "print JSON instead")]] = False
    out: Annotated[str | None, _option("DIR", f"the folder of the page; by default {_OUT}")] = None
    no_page: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "write no page")]] = False
    open: OpenFlag = False
    watch: Annotated[str | None, _option("SECONDS", "read again every so many seconds, until Ctrl-C")] = None
    no_cache: tyro.conf.FlagCreatePairsOff[Annotated[bool, _option("", "read every file again")]] = False


def compare(arguments: list[str]) -> int:
    """Compare runs; return the exit status."""
    command = parse(CompareCommand, "compare", arguments, _EXAMPLE)
    _check(command)
    call = _call(command)
    seconds = None if command.watch is None else _seconds(command.watch)
    page = _page(command, arguments, call)
    found = _compared(call)
    if command.json:
        from bathymetry.core.showing import plain as plain_json

        say(json.dumps(plain_json(found.to_dict()), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        _print(found, judges_all=command.expect is not None)
    place = None if page is None else page(found, seconds or 0)
    if place is not None:
        if not command.json:
            say(f"\nPage: {place}")
        if command.open:
            open_page(place)
    if seconds is not None:
        found = _watched(found, call, page, seconds, place)
    return 0 if command.expect is None else _expected(found, command.expect)


def _expected(found: "Comparison", verdict: str) -> int:
    """The exit status; where some verdict is another, a line says which."""
    others = [f"{one.id} is {one.verdict.decision}" for one in found.claims if one.verdict.decision != verdict]
    if others:
        print(f"--expect {verdict}: {', '.join(others)}.", file=sys.stderr)
    return int(bool(others) or not found.claims)


def _call(command: CompareCommand) -> dict[str, Any]:
    """The arguments of `bm.compare`, without those that are as they would be."""
    from bathymetry.runs.reading import read_where
    from bathymetry.runs.settings import parsed

    has_direction = command.higher_is_better or command.lower_is_better
    stated = {"runs": command.path, "metric": command.metric, "compare": command.compare}
    options = stated | {
        "higher_is_better": command.higher_is_better if has_direction else None,
        "members": command.members,
        "claims": _claims(command.claims),
        "by": list(command.by),
        "at": command.at,
        "baseline": None if command.baseline is None else parsed(command.baseline),
        "paired": True if command.paired else False if command.unpaired else None,
        "examples": _whole("examples", command.examples),
        "where": read_where(command.where),
        "ignore": list(command.ignore),
        "step": command.step,
        "run": command.run,
        "format": command.format,
        "cache": not command.no_cache,
    }
    usual = {"claims": (), "by": [], "at": "last", "where": {}, "ignore": [], "cache": True}
    return {name: value for name, value in options.items() if value != usual.get(name)}


def _compared(call: Mapping[str, Any]) -> "Comparison":
    from bathymetry.runs.comparing import compare as compare_runs

    with reading() as progress:
        return compare_runs(**call, progress=progress)


def _page(
    command: CompareCommand, arguments: Sequence[str], call: Mapping[str, Any]
) -> "Callable[[Comparison, float], Place] | None":
    """What writes the page; None where none is wanted. A folder that is not ours is refused before runs are read."""
    if command.no_page or (command.json and command.out is None):
        return None
    from bathymetry.report.comparison import publish
    from bathymetry.store.folder import check_folder

    out = lasting_place(_OUT if command.out is None else command.out)
    check_folder(out, "comparison")
    words = [one for one in arguments if one != "--open"]
    if command.watch is not None:
        place = next(k for k, one in enumerate(words) if one.partition("=")[0] == "--watch")
        del words[place : place + 1 + ("=" not in words[place])]
    return lambda found, refresh: publish(found, out, words, call, refresh)


def _check(command: CompareCommand) -> None:
    """Ask for what must be stated, and refuse what excludes each other."""
    claims_alone = command.claims is not None and command.metric is None and command.compare is None
    if command.claims is not None and (command.metric is None) != (command.compare is None):
        raise UsageError("--metric, --compare: expected both of them or neither, next to --claims.")
    asked = [one for one in ("metric", "compare", "members") if getattr(command, one) is None]
    missing = [f"--{one}" for one in asked if one == "members" or not claims_alone]
    has_direction = command.higher_is_better or command.lower_is_better
    if missing:
        missing += [] if has_direction or claims_alone else ["--higher-is-better or --lower-is-better"]
        raise UsageError(f"{', '.join(missing)}: missing; {_what_is_there(command)}for example {_EXAMPLE}.")
    if command.higher_is_better == command.lower_is_better and (command.higher_is_better or not claims_alone):
        both = "only one of them" if command.higher_is_better else "one of them"
        raise UsageError(f"--higher-is-better, --lower-is-better: expected {both}, the direction of the metric.")
    if command.paired and command.unpaired:
        raise UsageError("--paired, --unpaired: expected at most one of them.")
    for given, name in ((command.out is not None, "out"), (command.open, "open")):
        if given and command.no_page:
            raise UsageError(f"--{name}, --no-page: expected at most one of them.")
    if command.json and (command.watch is not None or (command.open and command.out is None)):
        raise UsageError("--json: it can't be combined with --watch, nor with --open without --out.")


def _what_is_there(command: CompareCommand) -> str:
    """Name the metrics and settings of runs that can be read."""
    from bathymetry.runs.claims import Known, few
    from bathymetry.runs.dataset import Grouping
    from bathymetry.runs.reading import read_runs

    columns: dict[str, Any] = {"step": command.step, "run": command.run, "format": command.format}
    members = command.members or "run"
    by = tuple(one for one in (command.compare, *command.by) if one is not None)
    try:
        with reading() as progress:
            source = read_runs(command.path, Grouping(members, None, by), None, **columns, advance=progress)
    except BathymetryError:
        return ""
    known = Known.of(source.runs)
    metrics, settings = few(known.metrics, last="and"), few([*known.settings], last="and")
    return f"{command.path} has the metrics {metrics} and the settings {settings}; "


def _claims(file: str | None) -> Any:
    """Read claims from a YAML file; they are checked by those who use them."""
    if file is None:
        return ()
    from bathymetry.store.yaml_files import read_yaml

    found = read_yaml(path_of("claims", file), "claims")
    if not found:
        raise InputError("claims", file, "it holds no claims; expected a list of sentences or fields")
    return found


def _whole(field: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not int(text[:18]) > 0 or len(text) > 18:
        raise InputError(field, text, "expected a whole number, at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise InputError("watch", text, "expected seconds between two readings, from 1 to 86400")
    return seconds


def _watched(
    found: "Comparison",
    call: Mapping[str, Any],
    page: "Callable[[Comparison, float], Place] | None",
    seconds: float,
    place: "Place | None",
) -> "Comparison":
    """Read again until Ctrl-C, and say in one line what changed; unchanged files come from the cache."""
    from bathymetry.runs.answer import LOOKS
    from bathymetry.runs.watching import changes
    from bathymetry.store.storage import exists

    say(f"\n{wrapped(LOOKS)}\nReading again every {seconds:g} s, until Ctrl-C.")
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(seconds)
            try:
                now = _compared(call)
                words = changes(found, now)
                if page is not None and (words or (place is not None and not exists(place))):
                    words = words or "the page was gone and is written again"
                    page(now, seconds)
                found = now
            except BathymetryError as error:  # such as a file that is being written
                words = str(error).rstrip(".")
            say(f"{time.strftime('%H:%M:%S')}  {words or 'nothing changed'}.")
    if page is not None:
        page(found, 0)
    return found


def _print(found: "Comparison", *, judges_all: bool) -> None:
    """Print the answer, the claims with several parts or all that are judged, and then each pair."""
    from bathymetry.runs.answer import answer, remarks
    from bathymetry.runs.wording import pair_lines

    say(f"{found.title}; {joined_runs(found)}.\n")
    for words in (answer(found), *remarks(found)) if found.pairs else ():
        say(wrapped(words, "", "  "))
    for claim in found.claims:
        if claim not in found.stated and (judges_all or len(claim.verdict.parts) > 1):
            say(wrapped(_outcome(claim), "", "  "))
    for one in found.pairs:
        first, *others = pair_lines(one, found.scale)
        say("\n" + wrapped(first, "", "  "))
        for words in others:
            say(wrapped(words.strip(), "  ", "    "))
    for claim in found.stated:
        say("\n" + wrapped(_outcome(claim), "", "  "))
        for words in (claim.finding, *claim.remarks):
            say(wrapped(words, "  ", "    "))
    if found.left_out:
        say("")
    for words in found.left_out:
        say(wrapped(f"{words[:1].upper()}{words[1:]}.", "", "  "))


def joined_runs(found: "Comparison") -> str:
    """How many runs of which tool are compared: "20 runs of CSV"."""
    count = int((found.results["status"] != "missing").sum())
    words = f"{count:,} runs read from {found.source}"
    if found.compare is None:
        return words
    values = [str(one) for one in found.results[found.compare].values.tolist()]
    return f"{words}, {found.compare} {joined(values)}"


def _outcome(claim: "Judged") -> str:
    text = claim.text.strip()
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {claim.verdict.decision.capitalize()}{_p(claim)}."


def _p(claim: "Judged") -> str:
    """The p of a claim, and after Holm's correction where that is another."""
    from bathymetry.stats.wording import with_p

    p, adjusted = claim.verdict.p, claim.p_holm
    return with_p(p) + (f", {with_p(adjusted)[2:]} after Holm" if adjusted != p else "")
