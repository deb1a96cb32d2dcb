"""A study's section of the page: its words, its settings, and how to reproduce it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bathymetry.charts.sheet import Sheet
from bathymetry.claims.judging import Judged
from bathymetry.core.errors import StorageError
from bathymetry.core.showing import flag_of, joined, plural
from bathymetry.data.examples import PART_OF
from bathymetry.execution.load_study import understood
from bathymetry.execution.study_run import OUT, StudyRun
from bathymetry.report.cards import card_chart, packed
from bathymetry.store.results import others, sources_of
from bathymetry.store.storage import label
from bathymetry.studies import Study
from bathymetry.studies.base import MAIN
from bathymetry.studies.catalogue import SHIPPED
from bathymetry.studies.settings import PRESETS, Preset, as_text, field_name, setting, shown
from bathymetry.sweeps.reading import SPECIFICATION, portable
from bathymetry.sweeps.results import UNFINISHED, in_words, values_at_points
from bathymetry.sweeps.sweep import Sweep

_FREE = ("seed", "data_seed", "device")  # settings that say nothing of how much was run
_USUAL_DATA = ("mnist", "strokes", "digits")
_DIVERGED = 50  # members that are named
_NAMED = 3  # settings that differ between two results, before the others are only counted
_COUNT = dict(enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2))
_TITLES = {"mnist": "MNIST", "strokes": "drawn digits", "fashion-mnist": "Fashion-MNIST", "kmnist": "KMNIST"}


@dataclass(frozen=True)
class Picture:
    """A figure that an earlier page drew, shown as it was stored."""

    name: str
    title: str
    source: str  # a data URI of a PNG or SVG
    finding: str
    reading: str


@dataclass(frozen=True)
class StudySection:
    """One study: its question and all that answers it. It is stored, so that a later page can show it again."""

    name: str  # "depth-function"
    chapter: str = "Shown as stored"  # or "Part 1: depth"
    question: str = ""
    about: str = ""  # what it measures
    reading: str = ""  # how to read its charts
    answer: str = ""  # in one sentence
    card: Mapping[str, Any] | None = None  # a small chart of it
    main_findings: tuple[str, ...] = ()
    figures: tuple[Sheet, ...] = ()
    claims: tuple[Judged, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    code: str = ""  # the few lines of Python that reproduce it
    warnings: tuple[str, ...] = ()  # for example who diverged
    pictures: tuple[Picture, ...] = ()  # where figures can't be drawn
    compared: str = ""  # in what this run differs from the reference run, whose verdicts are shown as well
    setup: str = ""  # of this run, where that differs: "6 members and 30 epochs"


def section_of(run: StudyRun) -> StudySection:
    """A study's section, without what is judged and drawn."""
    study = run.study
    words = {name: getattr(study, name) for name in ("name", "chapter", "question", "about", "reading")}
    warnings = (*run.results.attrs["notes"], *diverged(run), *other_results(run))
    settings = study.fields if isinstance(study, Sweep) else study.model_dump()
    settings |= {name: str(value) for name, value in settings.items() if name.endswith("seed")}  # without separators
    if sources := sources_of(run.results.attrs):
        settings["seed"] = joined(list(dict.fromkeys(str(one.settings["seed"]) for one in sources)))
    return StudySection(**words, settings=settings, warnings=(*unfinished(run), *warnings))


def card_of(run: StudyRun) -> Mapping[str, Any] | None:
    """The small chart that answers a study's question, or that of its first figure."""
    _, method, *places = run.study.answered_by
    own = [one for mark, one in run.drawn if mark.method == method] or [one for _, one in run.drawn[:1]]
    panels = own[0].sheet().panels if own else ()
    return packed(card_chart(panels[min(places[0], len(panels) - 1)], places[1:])) if panels else None


def unfinished(run: StudyRun) -> list[str]:
    """Say how many members of a sweep are pending or failed."""
    status = run.results[MAIN].get("status") if isinstance(run.study, Sweep) else None
    if status is None:
        return []
    counts = {one: int((status == one).sum()) for one in UNFINISHED}
    words = [f"{count:,} {one}" for one, count in counts.items() if count]
    return [f"Of {status.size:,} networks {joined(words)}; charts and claims are without them."] if words else []


def differences(settings: Study, preset: str) -> dict[str, Any]:
    usual = type(settings).preset(preset).model_dump()
    return {name: value for name, value in settings.model_dump().items() if value != usual[name]}


def nearest_preset(settings: Study, preferred: Sequence[str] = PRESETS) -> tuple[str, dict[str, Any]]:
    """Find the preset that settings differ from in the fewest fields, and these fields."""
    return min(((name, differences(settings, name)) for name in preferred), key=lambda one: len(one[1]))


def common_first(runs: Sequence[StudyRun]) -> list[Preset]:
    """Order the presets by how many studies of a page were run with them, or with few other settings."""
    fitting = [one for run in runs if not isinstance(run.study, Sweep) for one in _nearest(run.study)]
    return sorted(PRESETS, key=lambda one: -fitting.count(one))


def _nearest(settings: Study) -> list[Preset]:
    counts = {one: len(differences(settings, one)) for one in PRESETS}
    return [one for one in PRESETS if counts[one] == min(counts.values())]


def _exact(settings: Study) -> list[Preset]:
    return [one for one in PRESETS if not differences(settings, one)]


def presets_in_words(runs: Sequence[StudyRun]) -> str:
    """Say which presets the studies of a page were run with, those with the same together, the most common first."""
    sweeps = [f"Sweep {one.study.name}: {one.study.in_words()}." for one in runs if isinstance(one.study, Sweep)]
    return " ".join([_presets_of([one for one in runs if not isinstance(one.study, Sweep)]), *sweeps]).strip()


def _presets_of(runs: Sequence[StudyRun]) -> str:
    if not runs:
        return ""
    preferred = common_first(runs)
    groups: dict[str, list[str]] = {}
    for run in runs:
        preset, changes = nearest_preset(run.study, preferred)
        if sources_of(run.results.attrs):
            changes.pop("seed", None)  # that of the first
        words = {name: str(value) if name.endswith("seed") else shown(value) for name, value in changes.items()}
        varied = joined([f"{field_name(name)} {value}" for name, value in words.items()])
        groups.setdefault(preset, []).append(f"{run.study.name} (with {varied})" if changes else run.study.name)
    if len(groups) == 1 and len(runs) > 2 and not any("(" in name for names in groups.values() for name in names):
        sentences = [f"Preset {next(iter(groups))} for all {len(runs)} studies."]
    else:
        ranked = sorted(groups.items(), key=lambda one: -len(one[1]))
        sentences = [f"Preset {preset}: {', '.join(names)}." for preset, names in ranked]
    same = {run.study.name: _exact(run.study) for run in runs}
    sentences += [f"For {name} the presets {joined(some)} are the same." for name, some in same.items() if some[1:]]
    return " ".join(sentences)


def compared(run: StudyRun) -> str:
    """Say in what the reference run differs from this one; nothing if there is none, or no difference."""
    there, here = _differing(run)
    if not there:
        return ""
    used = f"The reference run used {joined(there)}; this run used {joined(here)}."
    return f"{used} These differences may explain differing verdicts."


def setup(run: StudyRun) -> str:
    """What this run used where the reference run used something else."""
    return joined(_differing(run)[1])


def _differing(run: StudyRun) -> tuple[list[str], list[str]]:
    """The settings and data of the reference run and of this one, where they differ."""
    study = run.study
    if isinstance(study, Sweep) or study.name not in SHIPPED:
        return [], []
    usual, fields = type(study).preset("full"), _unlike_reference(study)
    there, here = ([setting(name, getattr(one, name)) for name in fields] for one in (usual, study))
    if _on_other_data(run):
        there.append(f"the data {study.reference_data}")
        here.append(_data(run))
    return there, here


def _unlike_reference(study: Study) -> list[str]:
    return [name for name in differences(study, "full") if name not in (*_FREE, "data")]


def _on_other_data(run: StudyRun) -> bool:
    wanted = run.study.reference_data
    return wanted is not None and wanted not in run.results.attrs["data"]


def _data(run: StudyRun) -> str:
    return joined(list(run.results.attrs["data"]))


def diverged(run: StudyRun) -> list[str]:
    """Name the members that diverged, in a sentence for each group of results that has some."""
    sentences = []
    for node in run.results.subtree:
        found = node.to_dataset()
        flags = found.get("diverged")
        if flags is None and "status" in found:  # of a sweep
            flags = found["status"] == "diverged"
        if flags is None or not (flags := flags.fillna(False).astype(bool)).any():
            continue
        where = flags.to_series()
        few = where[where].index[:_DIVERGED]
        named = [" ".join(map(str, one if isinstance(one, tuple) else (one,))) for one in few]
        named += ["…"] * (int(flags.sum()) > len(named))
        dims = joined([str(dim) for dim in flags.dims])
        sentences.append(
            f"{int(flags.sum())} of {flags.size} members diverged (by {dims}: {'; '.join(named)}). They "
            "count as failures where members are counted or ranked, and are left out of means."
        )
    return sentences


def other_results(run: StudyRun) -> list[str]:
    """Name the results of other settings in the study's folder, each with the command that shows it."""
    sentences = []
    for results in others(run.out / run.study.name, run.results.attrs):
        try:
            settings, results.attrs = understood(type(run.study), results.attrs)
        except StorageError:  # settings of another version of the study
            sentences.append("Another result of this study, by another version, is stored in its folder.")
            continue
        other = StudyRun(settings, results, run.out)
        here, there = run.study.model_dump(), settings.model_dump()
        fields = [name for name in here if name not in ("device", "data") and here[name] != there[name]]
        words = [f"{field_name(name)} {shown(there[name])} (here {shown(here[name])})" for name in fields]
        if _data(other) != _data(run) and "data" in here:
            words.insert(0, f"data {_data(other)} (here {_data(run)})")
        if len(words) > _NAMED + 1:
            words[_NAMED:] = [f"{len(words) - _NAMED} other settings"]
        sentences.append(
            f"This folder also holds a result of this study with {joined(words) or 'other data'}. "
            f"To show that one: {reproduce(other)}"
        )
    return sentences


def opening(runs: Sequence[StudyRun], stored: Sequence[str] = ()) -> tuple[str, ...]:
    """Say first what was run on which data, and which studies are shown as an earlier page left them."""
    sources: dict[str, dict[str, None]] = {}  # several studies may have taken other parts of one data set
    for run in runs:
        for name, origin in run.results.attrs["data"].items():
            sources.setdefault(name, {})[origin.partition(", digest")[0].partition(PART_OF)[0]] = None
    data = [_named_data(name, list(origins)) for name, origins in sources.items()]
    time = max((str(run.results.attrs["provenance"].get("time", "")) for run in runs), default="")
    lines = [f"Data: {'; '.join(data)}." if data else "", presets_in_words(runs) if runs else ""]
    lines.append(f"Results of {time[:10]}." if time else "")
    lines.append(f"Shown as stored, not recomputed: {joined(list(stored))}." if stored else "")
    return tuple(line for line in lines if line)


def meta(runs: Sequence[StudyRun]) -> str:
    """What was run, in a few words: "quick run · 6 networks each · MNIST · 2026-11-26"."""
    studies = [run for run in runs if not isinstance(run.study, Sweep)]
    presets = {nearest_preset(run.study, common_first(studies))[0] for run in studies}
    members = sorted({run.study.members for run in runs})
    of_images = [run for run in studies if "data" in type(run.study).model_fields]
    images = dict.fromkeys(_TITLES.get(name, name) for run in of_images for name in run.results.attrs["data"])
    time = max((str(run.results.attrs["provenance"].get("time", "")) for run in runs), default="")
    seeds = list(dict.fromkeys(one for run in studies if (one := _seeds(run))))
    words = [
        f"{presets.pop()} run" if len(presets) == 1 else "",
        f"{'–'.join(f'{one:,}' for one in dict.fromkeys((members[0], members[-1])))} networks each" if members else "",
        ", ".join(list(images)[:_NAMED]),
        seeds[0] if len(seeds) == 1 else "",
        time[:10],
    ]
    return " · ".join(one for one in words if one)


def _seeds(run: StudyRun) -> str:
    """Which seeds a run has, or of how many its networks are; nothing for the usual ones."""
    seed, data_seed = run.study.seed, getattr(run.study, "data_seed", run.study.seed)
    sources = sources_of(run.results.attrs)
    drawn = f"data seed {data_seed}"
    if sources:
        count = len({one.settings["seed"] for one in sources})
        return f"{count} {plural('seed', count)}" + (f", {drawn}" if data_seed else "")
    return f"seed {seed}, {drawn}" if seed or data_seed else ""


_CHOSEN = frozenset({"function", "functions", "hidden", "high", "low", "network", "networks"})  # settings of them


def is_demonstration(runs: Sequence[StudyRun]) -> bool:
    """Whether all is of built-in studies with other settings than the reference run's, and none that the user chose.

    More members than the reference run's do not count: a class of 300 networks with the preset `full` is evidence.
    """
    if not all(run.study.name in SHIPPED and not _is_own(run) for run in runs):
        return False
    return any(
        _on_other_data(run) or any(not _is_more_members(run.study, name) for name in _unlike_reference(run.study))
        for run in runs
    )


def _is_more_members(study: Study, name: str) -> bool:
    return name.endswith("members") and getattr(study, name) > getattr(type(study).preset("full"), name)


def _is_own(run: StudyRun) -> bool:
    """Whether the user chose the functions, networks or data of a run."""
    changes = nearest_preset(run.study)[1]
    own_data = "data" in changes and not set(run.results.attrs["data"]) <= {*_USUAL_DATA, "auto"}
    return own_data or not _CHOSEN.isdisjoint(changes)


def _named_data(name: str, origins: Sequence[str]) -> str:
    """A data set's name with its sources, which may begin with it as "cos(x) on …" does."""
    words = "; ".join(origins).replace("(-", "(−").replace(", -", ", −")
    return words if words.startswith(name) else f"{name} ({words})"


def provenance(runs: Sequence[StudyRun]) -> dict[str, str]:
    """List software versions, hardware, and where data came from, by study where studies took other parts of them."""
    machine: Mapping[str, Any] = runs[-1].results.attrs["provenance"] if runs else {}
    versions = machine.get("versions")
    listed = {name: str(version) for name, version in versions.items()} if isinstance(versions, dict) else {}
    named = ("python", "system", "processor", "threads", "device")
    listed |= {name.capitalize(): str(machine[name]) for name in named if name in machine}
    sources = [one for run in runs for one in sources_of(run.results.attrs)]
    if sources:
        people = dict.fromkeys(f"{one.name} (seed {one.settings['seed']})" for one in sources)
        listed["Merged from"] = "; ".join(people)
    origins: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        for origin in run.results.attrs["data"].items():
            origins.setdefault(origin, []).append(run.study.name)
    names = [name for name, _ in origins]
    for (name, origin), studies in origins.items():
        listed[f"Data: {name}" + (f", of {joined(studies)}" if names.count(name) > 1 else "")] = origin
    return listed


def points(runs: Sequence[StudyRun]) -> dict[str, list[str]]:
    """Where the points of each sweep lie, in words; none for one on a grid."""
    found = {}
    for run in runs:
        if isinstance(run.study, Sweep):
            axes = () if run.study.specification.is_grid else run.study.specification.axis_list
            found[run.study.name] = [*map(in_words, values_at_points(run.results[MAIN].to_dataset(), axes))]
    return found


def own_files(runs: Sequence[StudyRun]) -> tuple[str, ...]:
    """Say why a command names a specification that is not stored, and what that means."""
    return tuple(
        f"The command names your {run.study.name}.yaml, because it names other files, which the copy in "
        f"{run.out.name}/{run.study.name} can't reach: paths in a specification lead only into its own folder. If one "
        "of these files has changed since, its networks are trained as it says now."
        for run in runs
        if isinstance(run.study, Sweep) and not portable(run.study)
    )


def title(shown: Sequence[StudySection]) -> str:
    """What the page is called: the question of one study, else how many studies and claims there are."""
    if len(shown) == 1:
        return shown[0].question
    count, claims = len(shown), sum(len(one.claims) for one in shown)
    what = "sweeps" if all(one.chapter == Sweep.chapter for one in shown) else "studies"
    words = f"{_COUNT.get(count, count)} {what} of neural networks, {claims} {plural('claim', claims)}"
    return f"{words[:1].upper()}{words[1:]}"


def folders(runs: Sequence[StudyRun]) -> dict[str, list[str]]:
    """Whose the networks of merged studies are, in their order."""
    sources = {run.study.name: sources_of(run.results.attrs) for run in runs}
    return {name: [one.name for one in some for _ in one.numbers] for name, some in sources.items() if some}


def reproduce(run: StudyRun, preferred: Sequence[str] = PRESETS) -> str:
    """Write the command that reproduces a run, as one line for a shell."""
    if sources := sources_of(run.results.attrs):
        folders = dict.fromkeys(one.folder for one in sources)
        return shlex.join(["bathymetry", "merge", *folders, "--out", label(run.out)])
    if isinstance(run.study, Sweep):
        spec = f"{run.out.name}/{run.study.name}/{SPECIFICATION}" if portable(run.study) else f"{run.study.name}.yaml"
        return shlex.join(["bathymetry", "sweep", spec, *_out(run)])
    return _command(run.found_as, run, *_options(run, preferred))


def _command(what: str, run: StudyRun, preset: str, changes: Mapping[str, Any]) -> str:
    options = [
        word
        for name, value in changes.items()
        for word in (flag_of(name), *as_text(value, type(run.study).model_fields.get(name)))
    ]
    return shlex.join(["bathymetry", "run", what, "--preset", preset, *options])


def reproduce_all(runs: Sequence[StudyRun], preferred: Sequence[str]) -> str:
    """Write the commands that reproduce several runs: a single one for all nine studies with the same options."""
    if [run.study.name for run in runs] == [*SHIPPED] and not any(sources_of(run.results.attrs) for run in runs):
        options = [_options(run, preferred) for run in runs]
        shared = {name: value for _, changes in options for name, value in changes.items()}
        own = [{name: shared[name] for name in shared if name in ("out", *vars(run.study))} for run in runs]
        if options == [(options[0][0], one) for one in own]:
            return _command("all", runs[-1], options[0][0], shared)
    return "\n".join(dict.fromkeys(reproduce(run, preferred) for run in runs))


def code(run: StudyRun, preferred: Sequence[str]) -> str:
    """Write the Python that reproduces a run, or that reads a merged one."""
    if sources_of(run.results.attrs):
        read = f'bm.load_study("{label(run.out)}/{run.study.name}")'
        return f"import bathymetry as bm\n\nrun = {read}\nrun.results   # every number, labelled: an xarray.DataTree"
    if isinstance(run.study, Sweep):
        given = run.study.fields | ({} if run.out.name == OUT.name else {"out": run.out.name})
        fields = "".join(f"    {name}={_literal(value)},\n" for name, value in given.items())
        return f"import bathymetry as bm\n\nrun = bm.sweep(\n{fields})\nrun.dataset   # every number over the axes"
    preset, changes = _options(run, preferred)
    options = "".join(f", {name}={_literal(value)}" for name, value in changes.items())
    return (
        "import bathymetry as bm\n\n"
        f'run = bm.run_study({json.dumps(run.found_as)}, preset="{preset}"{options})\n'
        "run.results   # every number, labelled: an xarray.DataTree\n"
        "run.claims    # the verdicts\n"
        "run.figures   # the charts"
    )


def _out(run: StudyRun) -> list[str]:
    return [] if run.out.name == OUT.name else ["--out", run.out.name]


def _literal(value: Any) -> str:
    """Write a setting in Python, texts in double quotes."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_literal, value))}{',' * (len(value) == 1)})"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _options(run: StudyRun, preferred: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The preset, and what differs from it: with the data that "auto" stood for, so that the same are taken again."""
    preset, changes = nearest_preset(run.study, preferred)
    if getattr(run.study, "data", None) == "auto":
        changes["data"] = next(iter(run.results.attrs["data"]), "auto")
    return preset, changes if label(run.out) == OUT.name else changes | {"out": label(run.out)}
