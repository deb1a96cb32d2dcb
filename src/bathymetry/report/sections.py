"""A study's results as a section of the page: its words, its settings, and how to make it again."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bathymetry.charts import Figure
from bathymetry.core.errors import StorageError
from bathymetry.data.examples import PART_OF
from bathymetry.execution import OUT, StudyRun, others, understood
from bathymetry.report.content import ClaimRow, Picture, StudySection
from bathymetry.report.presets import compared, nearest_preset, presets_in_words, settings_of
from bathymetry.report.stored import StoredPage
from bathymetry.studies import PRESETS
from bathymetry.studies.wording import field_name, joined, shown

_SETTINGS_TOLD = 3  # that differ between two results, before the others are only counted


def section(
    run: StudyRun,
    claims: Sequence[ClaimRow],
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
        settings={field_name(name).capitalize(): shown(value) for name, value in settings_of(run).model_dump().items()},
        code=_code(run, out, rather),
        warnings=(*notes, *run.results.attrs["notes"], *diverged(run), *other_results(run, out)),
        compared=compared(run) if any(claim.kept for claim in claims) else "",
    )


def stored_section(
    name: str, attributes: Mapping[str, Any], stored: StoredPage, claims: Sequence[ClaimRow], notes: Sequence[str]
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
    here = settings_of(run).model_dump()
    for results in others(out / run.study.name, run.results.attrs):
        other = StudyRun(run.study, results, out, run.found_as)
        try:
            results.attrs = understood(run.study, results.attrs)
            there = settings_of(other).model_dump()
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
    preset, changes = nearest_preset(settings_of(run), rather)
    if getattr(settings_of(run), "data", None) == "auto":
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
