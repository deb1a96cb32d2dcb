"""A study's results as a section of the page: its words, its settings, and how to make it again."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bathymetry.charts import Figure
from bathymetry.claims import Judged
from bathymetry.core.errors import StorageError
from bathymetry.core.showing import joined
from bathymetry.data.examples import PART_OF
from bathymetry.execution import OUT, StudyRun, others, understood
from bathymetry.report.content import Picture, StudySection
from bathymetry.report.stored import StoredPage
from bathymetry.stats.verdict import Decision, Kind, Part, Verdict
from bathymetry.studies import PRESETS, Preset, Study, reference_verdicts
from bathymetry.studies.wording import field_name, shown

_FREE = ("seed", "device")  # settings that say nothing of how much was run


def differences(settings: Study, preset: str) -> dict[str, Any]:
    """Find in which fields settings differ from a preset.

    Args:
        settings: The settings.
        preset: The preset's name.

    Returns:
        The fields that differ, with the values of these settings.
    """
    usual = type(settings).preset(preset).model_dump()
    return {field: value for field, value in settings.model_dump().items() if value != usual[field]}


def nearest_preset(settings: Study, rather: Sequence[str] = PRESETS) -> tuple[str, dict[str, Any]]:
    """Find the preset that settings differ from in the fewest fields.

    Args:
        settings: The settings.
        rather: All presets, those first that are taken where several are as near.

    Returns:
        The preset, and the fields that differ.
    """
    return min(((name, differences(settings, name)) for name in rather), key=lambda one: len(one[1]))


def common_first(runs: Sequence[StudyRun]) -> list[Preset]:
    """Order the presets by how many studies of a page were run with them.

    Args:
        runs: The studies.

    Returns:
        All presets; the one to name where several are the same for a study comes first.
    """
    fitting = [one for run in runs for one in _exact(run.study)]
    return sorted(PRESETS, key=lambda one: -fitting.count(one))


def _exact(settings: Study) -> list[Preset]:
    return [one for one in PRESETS if not differences(settings, one)]


def presets_in_words(runs: Sequence[StudyRun]) -> str:
    """Tell which presets the studies of a page were run with, those with the same together.

    Args:
        runs: The studies.

    Returns:
        A sentence a preset, the most common first, and one for studies whose presets are the same.
    """
    each = {run.study.name: run.study for run in runs}
    exact, rather = {name: _exact(given) for name, given in each.items()}, common_first(runs)
    groups: dict[str, list[str]] = {}
    for name, given in each.items():
        preset, changes = nearest_preset(given, rather)
        varied = joined([f"{field_name(field)} {shown(value)}" for field, value in changes.items()])
        groups.setdefault(preset, []).append(f"{name} (with {varied})" if changes else name)
    if len(groups) == 1 and len(runs) > 2 and not any("(" in name for names in groups.values() for name in names):
        sentences = [f"Preset {next(iter(groups))} for all {len(runs)} studies."]
    else:
        ranked = sorted(groups.items(), key=lambda one: -len(one[1]))
        sentences = [f"Preset {preset}: {', '.join(names)}." for preset, names in ranked]
    for name, same in exact.items():
        if len(same) > 1:
            sentences.append(f"For {name} the presets {joined(same)} are the same.")
    return " ".join(sentences)


def compared(run: StudyRun) -> str:
    """Say in what the reference run, whose verdicts stand beside those that differ, differs from this one.

    Args:
        run: The run.

    Returns:
        A sentence; empty if there is no reference run, or nothing differs.
    """
    if not any(name.startswith(f"{run.study.name}.") for name in reference_verdicts()):
        return ""
    settings = run.study
    usual = type(settings).preset("full").model_dump()
    fields = [field for field in differences(settings, "full") if field not in (*_FREE, "data")]
    given = settings.model_dump()
    told = [f"{_amount(usual[field])} {field_name(field)} (here {_amount(given[field])})" for field in fields]
    protocol = run.study.protocol_data
    if protocol is not None and protocol not in run.results.attrs["data"]:
        told.append(f"{protocol} for data (here {joined(list(run.results.attrs['data']))})")
    if not told:
        return ""
    return f"The reference run had {joined(told)}. Where it says otherwise, that may be why."


def _amount(value: Any) -> str:
    # A list of several says how many and what they are, so that it reads before its field's name.
    return f"{len(value)} ({shown(value)})" if isinstance(value, tuple) and len(value) > 1 else shown(value)


_SETTINGS_TOLD = 3  # that differ between two results, before the others are only counted


def section(
    run: StudyRun,
    claims: Sequence[Judged],
    out: Path,
    *,
    figures: Sequence[Figure],
    seen: Sequence[str],
    pictures: Sequence[Picture] = (),
    notes: Sequence[str] = (),
    rather: Sequence[str] = PRESETS,
) -> StudySection:
    """Make a study's section.

    Args:
        run: The study with its results.
        claims: Its claims.
        out: Its output folder.
        figures: Its charts.
        seen: What was seen, in plain words.
        pictures: Figures of an earlier page where there are no charts.
        notes: What a reader must know of what could not be read or made.
        rather: All presets, those first that are named where several are the same.

    Returns:
        The section.
    """
    study = run.study
    return StudySection(
        name=study.name,
        part=study.part,
        question=study.question,
        about=study.about,
        reading=study.reading,
        seen=tuple(seen),
        figures=tuple(figures),
        pictures=tuple(pictures),
        claims=tuple(claims),
        settings={field_name(name).capitalize(): shown(value) for name, value in run.study.model_dump().items()},
        code=_code(run, out, rather),
        warnings=(*notes, *run.results.attrs["notes"], *diverged(run), *other_results(run, out)),
        compared=compared(run) if any(claim.reference for claim in claims) else "",
    )


def stored_section(
    name: str, attributes: Mapping[str, Any], stored: StoredPage, claims: Sequence[Judged], notes: Sequence[str]
) -> StudySection:
    """Make the section of a study that is shown as an earlier page left it.

    Args:
        name: The study's folder.
        attributes: What stands beside its results.
        stored: What the earlier page said.
        claims: Its claims.
        notes: Why it is shown in this way.

    Returns:
        The section: words and pictures only.
    """
    question, settings, said = (attributes.get(one) for one in ("question", "settings", "notes"))
    return StudySection(
        name=name,
        part=stored.part or "Shown as stored",
        question=stored.question or (question if isinstance(question, str) else "") or name,
        about=stored.about,
        reading=stored.reading,
        seen=stored.seen,
        figures=(),
        pictures=stored.pictures,
        claims=tuple(claims),
        settings={str(one): str(value) for one, value in settings.items()} if isinstance(settings, dict) else {},
        code="",
        warnings=(*notes, *(map(str, said) if isinstance(said, list) else ())),
    )


def diverged(run: StudyRun) -> tuple[str, ...]:
    """Name the members that diverged.

    Args:
        run: The run.

    Returns:
        A sentence for each group of results that has some.
    """
    sentences = []
    for node in run.results.subtree:
        if "diverged" not in node.data_vars:
            continue
        flags = node.to_dataset()["diverged"].fillna(False).astype(bool)
        if flags.any():
            dims = [dim for dim in flags.dims if dim != "member"]
            where = flags.to_series()
            named = [" ".join(map(str, one if isinstance(one, tuple) else (one,))) for one in where[where].index]
            place = f" (by {', '.join(map(str, dims))} and member: {'; '.join(named)})"
            sentences.append(
                f"{int(flags.sum())} of {flags.size} members diverged{place}. They count as failures where members "
                "are counted or ranked, and are left out of means."
            )
    return tuple(sentences)


def other_results(run: StudyRun, out: Path) -> tuple[str, ...]:
    """Name the results with other settings that stand beside the one on the page.

    Args:
        run: The run on the page.
        out: Its output folder.

    Returns:
        A sentence for each, with the settings that differ and the command that shows it.
    """
    sentences = []
    here = run.study.model_dump()
    for results in others(out / run.study.name, run.results.attrs):
        try:
            settings, results.attrs = understood(type(run.study), results.attrs)
            other = StudyRun(settings, results, out)
            there = settings.model_dump()
        except StorageError:  # settings of another version of the study
            sentences.append("Another result of this study, by another version, is stored in its folder.")
            continue
        fields = [name for name in here if name not in ("device", "data") and here[name] != there[name]]
        told = [f"{field_name(name)} {shown(there[name])} (here {shown(here[name])})" for name in fields]
        data = [joined(list(one.results.attrs["data"])) for one in (other, run)]
        if data[0] != data[1] and "data" in here:
            told.insert(0, f"data {data[0]} (here {data[1]})")
        if len(told) > _SETTINGS_TOLD + 1:
            told[_SETTINGS_TOLD:] = [f"{len(told) - _SETTINGS_TOLD} other settings"]
        sentences.append(
            f"This folder also holds a result of this study with {joined(told) or 'other data'}. "
            f"To show that one: {reproduce(other, out)}"
        )
    return tuple(sentences)


def opening(runs: Sequence[StudyRun], stored: Sequence[str] = ()) -> tuple[str, ...]:
    """Say first what was run, on what.

    Args:
        runs: The studies of the page.
        stored: Names of those that are shown as an earlier page left them.

    Returns:
        The page's first lines.
    """
    lines = []
    if runs:
        time = max(str(run.results.attrs["provenance"].get("time", "")) for run in runs)
        named = [f"{name} ({'; '.join(sources)})" for name, sources in _sources(runs).items()]
        lines = [f"Data: {', '.join(named)}." if named else "", presets_in_words(runs)]
        lines += [f"Results of {time[:10]}."] if time else []
    if stored:
        lines.append(f"Shown as stored, not made again: {joined(list(stored))}.")
    return tuple(line for line in lines if line)


def _sources(runs: Sequence[StudyRun]) -> dict[str, list[str]]:
    # Where each data set came from; several studies may have taken other parts of one.
    sources: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, origin in run.results.attrs["data"].items():
            sources.setdefault(name, {})[origin.partition(", digest")[0].partition(PART_OF)[0]] = None
    return {name: list(named) for name, named in sources.items()}


def reproduce(run: StudyRun, out: Path, rather: Sequence[str] = PRESETS) -> str:
    """Write the command that makes a run again.

    Args:
        run: The run.
        out: Its output folder.
        rather: All presets, those first that are named where several are the same.

    Returns:
        One line for a shell.
    """
    preset, changes = _named_data(run, rather)
    words = ["bathymetry", "run", run.found_as or run.study.name, "--preset", preset]
    for name, value in changes.items():
        words.append(f"--{name.replace('_', '-')}")
        words += [_word(one) for one in value] if isinstance(value, tuple) else [_word(value)]
    return shlex.join([*words, *(["--out", out.name] if out.name != OUT.name else [])])


def _named_data(run: StudyRun, rather: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Name the data that "auto" stood for, so that the same are taken again."""
    preset, changes = nearest_preset(run.study, rather)
    if getattr(run.study, "data", None) == "auto":
        changes["data"] = next(iter(run.results.attrs["data"]), "auto")
    return preset, changes


def _code(run: StudyRun, out: Path, rather: Sequence[str]) -> str:
    preset, changes = _named_data(run, rather)
    if out.name != OUT.name:
        changes["out"] = out.name
    given = "".join(f", {name}={value!r}" for name, value in changes.items())
    return (
        "import bathymetry as bm\n\n"
        f'run = bm.run_study({json.dumps(run.found_as or run.study.name)}, preset="{preset}"{given})\n'
        "run.results   # every number, labelled: an xarray.DataTree\n"
        "run.claims    # the verdicts\n"
        "run.figures   # the charts"
    )


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


_ROOM = 4.0  # per cent left free at both ends


@dataclass(frozen=True)
class Effect:
    """Where to draw one part's effect, in per cent of the width."""

    label: str  # which network, function or quantity
    part: Part
    decision: Decision  # of the part; "not tested" where the whole claim is not
    middle: float
    low: float
    high: float
    neutral: float | None  # where no effect would be; None where there is no such value


def effects(verdict: Verdict) -> tuple[Effect, ...]:
    """Lay out the effects of a verdict's parts on one scale.

    Args:
        verdict: The verdict.

    Returns:
        One for each part that has an estimate and an interval.
    """
    parts = [part for part in verdict.parts if all(math.isfinite(end) for end in (part.estimate, *part.interval))]
    if not parts:
        return ()
    start, end, neutral = _scale(verdict.kind, parts)

    def place(value: float) -> float:
        share = (value - start) / (end - start)
        return round(_ROOM + (100 - 2 * _ROOM) * min(max(share, 0.0), 1.0), 2)

    return tuple(
        Effect(
            label=", ".join(part.coordinates.values()),
            part=part,
            decision=verdict.decision if verdict.decision == "not tested" else part.decision,
            middle=place(part.estimate),
            low=place(part.interval[0]),
            high=place(part.interval[1]),
            neutral=None if neutral is None else place(neutral),
        )
        for part in parts
    )


def _scale(kind: Kind, parts: list[Part]) -> tuple[float, float, float | None]:
    # Choose from where to where, and what would mean nothing.
    if kind in ("majority", "stochastic_order", "best_of"):
        return 0.0, 1.0, 0.5
    if kind == "correlation":
        return -1.0, 1.0, 0.0
    ends = [end for part in parts for end in (part.estimate, *part.interval)]
    if kind == "mean_sign":
        reach = max(abs(end) for end in ends) or 1.0
        return -reach, reach, 0.0
    low, high = min(ends), max(ends)
    return (low, high, None) if high > low else (low - 1, high + 1, None)


def chance(claims: Sequence[Judged]) -> tuple[str, ...]:
    """Say what a verdict is worth, alone and among the others.

    Args:
        claims: The claims of a page.

    Returns:
        Paragraphs: how parts make a verdict, and what adjusting for many claims does to it.
    """
    return (_PARTS, _many(claims)) if claims else ()


_PARTS = (
    "A claim has one or more parts: one for each network, function or quantity that it is about. Each part is a "
    "two-sided test at 5 % over members, so if chance alone decided, about one part in twenty would come out one "
    "way or the other. A claim is supported if every part is, and its p is then the largest of theirs; it is "
    "contradicted if one part is at 5 % divided by the number of parts, and its p is then that part's times their "
    "number. A claim that is undecided has the smallest p of a part that points against it, times the number of "
    "parts, or if none does, the largest of the parts'."
)


def _many(claims: Sequence[Judged]) -> str:
    tested = [claim for claim in claims if claim.verdict.p is not None]
    if len(tested) < 2:
        return "Only one claim on this page has a p, so there is nothing to adjust for." if tested else ""
    light = sum(claim.light for claim in claims)
    words = (
        f"{len(tested)} claims on this page have a p, and each is tested at 5 %. Among so many, chance alone gives "
        "some verdicts, so each p is also adjusted for their number by Holm's method: on 19 pages of 20 no verdict "
        "with an adjusted p below 5 % is false. Adjusting changes no verdict, only its mark: one whose adjusted p is "
        f"above 5 % has a lighter, broken ring. {light or 'None'} of them {'has' if light < 2 else 'have'} one."
    )
    return words + _too_few_for_a_share(claims)


def _too_few_for_a_share(claims: Sequence[Judged]) -> str:
    # Where even all members are no more than chance could do, a reader should not look for the fault in the data.
    clearest = [
        claim
        for claim in claims
        if claim.verdict.kind == "majority" and claim.light and claim.verdict.p == 2.0 ** (1 - claim.verdict.members)
    ]
    if not clearest:
        return ""
    members = min(claim.verdict.members for claim in clearest)
    return (
        f" With {members} members even {members} of {members} have a p of {2.0 ** (1 - members):.2g}, which is too "
        "large for the full ring among so many claims; a run with more members can have it."
    )


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write rows by column.

    Args:
        rows: Rows that all have the same names.

    Returns:
        `rows`, how many there are, and `columns`: by name either the values; or `levels` of which each is held for
        `each` rows, round and round; or `levels` with the `place` of each row's among them.

    Example:
        >>> columns([{"x": x, "of": of} for of in ("a", "b") for x in (0.0, 1.0)])["columns"]
        {'x': {'levels': [0, 1], 'each': 1}, 'of': {'levels': ['a', 'b'], 'each': 2}}
    """
    names = list(rows[0]) if rows else []
    return {"rows": len(rows), "columns": {name: _small([_short(row[name]) for row in rows]) for name in names}}


def _small(column: list[Any]) -> Any:
    levels = list(dict.fromkeys(column))
    if len(levels) * 2 > len(column) and len(column) > 2:
        return column
    each = next((place for place, value in enumerate(column) if value != column[0]), len(column))
    if all(value == levels[place // each % len(levels)] for place, value in enumerate(column)):
        return {"levels": levels, "each": each}
    if len(levels) * 4 > len(column):
        return column
    places = {value: place for place, value in enumerate(levels)}
    return {"levels": levels, "place": [places[value] for value in column]}


def _short(value: Any) -> Any:
    # Write 3.0 as 3.
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value
