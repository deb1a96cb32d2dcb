"""From runs to labelled arrays: which runs are members of which setting, refused by name where that is not clear.

Variables lie over the compared setting, the settings named by `by`, and `member`; histories over `step` as well.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from bathymetry.core.errors import BathymetryError, InputError, did_you_mean
from bathymetry.core.showing import joined, plural
from bathymetry.runs.at import At
from bathymetry.runs.files import Source
from bathymetry.runs.laying import Cell, check_free, free_of, laid_out
from bathymetry.runs.run import Run, Scalar
from bathymetry.runs.settings import NAMES, is_same
from bathymetry.runs.table import STEPS

_LETTERS = 40  # of a name in a sentence
_WHOLE = ("finished", "unknown", "running", "crashed")  # the most complete first
_DIFFERENT = 5  # numbers; with fewer, equal runs may be so by chance
_NAMED = 5  # settings, runs or values that an error lists
_SEED = re.compile(r"(seed|random_state)\d*$", re.IGNORECASE)  # where each run is a member, its seed needs no role
_TIMES = ("_timestamp", "_runtime", "timestamp", "created_at", "wall_time", "_wandb")

Runs = Mapping[tuple[int, ...], Run]  # by their place along the axes and `member`


class AmbiguousError(BathymetryError, ValueError):
    """Runs of which it is not clear what tells them apart."""


@dataclass(frozen=True)
class Grouping:
    """What the user states: which setting tells members apart, which is compared, which others are axes."""

    members: str  # a setting, or "run" where each run is a member
    compare: str | None = None
    by: tuple[str, ...] = ()
    where: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)  # only runs with one of these values
    ignore: tuple[str, ...] = ()  # settings that may differ

    @property
    def axes(self) -> tuple[str, ...]:
        return (self.compare, *self.by) if self.compare is not None else self.by


@dataclass(frozen=True)
class Left:
    """What was left out or is missing, as the page counts it: one sentence each."""

    counts: Mapping[str, int]
    sentences: tuple[str, ...]


@dataclass
class _Placed:
    """Runs in their cells: for each cell one run for each member."""

    axes: Sequence[str]
    cells: dict[Cell, dict[Scalar, Run]]
    free: frozenset[str]  # settings that may differ among the members of a cell
    copies: list[tuple[str, str]] = field(default_factory=list)  # and the runs whose copies they are
    counts: dict[str, int] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)

    def note(self, kind: str, count: int, sentence: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + count
        self.sentences.append(sentence)


def dataset(
    source: Source,
    grouping: Grouping,
    metrics: Sequence[str] | None,
    at: At,
    *,
    higher_is_better: bool = True,
    also: Sequence[str] = (),
) -> tuple[xr.Dataset, Left, Runs]:
    """Lay metrics of runs (None: all) out along their settings; also say what was left out, and where each run lies.

    A run without a final value of `metrics` is too short; `also` are further metrics that it may lack.
    """
    runs = _chosen(source, grouping) if source.runs else []
    metrics = free_of(all_metrics(runs)) if metrics is None else metrics
    every = list(dict.fromkeys([*metrics, *also]))
    if not every:
        raise InputError("path", source.path, "the runs have no metrics")
    _check_names(runs, grouping, every, source)
    check_free(grouping.compare, grouping.by, every)
    for name in grouping.ignore:
        if name not in (known := all_settings(source.runs)):
            remedy = f"no run has this setting; {did_you_mean(name, known)}expected one of {_listed(known)}"
            raise InputError("ignore", name, remedy)
    placed = _placed(runs, grouping, source.runs)
    _check_others(placed, grouping)
    having = {name for of_cell in placed.cells.values() for one in of_cell.values() for name in one.metrics}
    if metrics and not having.intersection(metrics):
        stated = [name for name in (*grouping.axes, grouping.members) if name != "run"]
        raise InputError("metric", joined(metrics), f"no run has it together with the settings {joined(stated)}")
    results, where = laid_out(
        placed.cells, grouping.axes, grouping.members, metrics, every, at, higher_is_better=higher_is_better
    )
    digests = [f"{name} {digest}" for name, digest in source.digests.items()]
    results = results.assign_attrs(source=source.tool, path=source.path, digests=digests)
    whole = [one for index, one in where.items() if results["status"].values[index] not in ("running", "crashed")]
    return results, Left(placed.counts, (*placed.sentences, *source.notes, *_notes(whole))), where


def _notes(runs: Sequence[Run]) -> list[str]:
    """What is to be known of runs that are compared; what holds for several is said once."""
    noted: dict[str, list[str]] = {}
    for one in runs:
        for note in one.notes:
            noted.setdefault(note, []).append(one.id)
    return [f"{f'run {ids[0]}' if len(ids) == 1 else _runs_named(ids)}: {note}" for note, ids in noted.items()]


def all_settings(runs: Sequence[Run]) -> list[str]:
    """All names of settings, in the order in which they come up."""
    return list(dict.fromkeys(name for one in runs for name in one.config))


def all_metrics(runs: Sequence[Run]) -> list[str]:
    """All names of metrics, in the order in which they come up."""
    return list(dict.fromkeys(name for one in runs for name in one.metrics))


def _chosen(source: Source, grouping: Grouping) -> list[Run]:
    """Choose the runs that the user asks for."""
    runs = list(source.runs)
    for name, wanted in grouping.where.items():
        _known_setting("where", name, runs, source)
        values = list(dict.fromkeys(one.config.get(name) for one in runs))
        for value in wanted:
            if not any(is_same(value, one) for one in values):
                raise InputError("where", f"{name}={value}", f"expected a value that a run has: {_listed(values)}")
        runs = [one for one in runs if any(is_same(value, one.config.get(name)) for value in wanted)]
    if not runs:
        words = joined([f"{name}={value}" for name, values in grouping.where.items() for value in values])
        raise InputError("where", words, "no run has all of it")
    return runs


def _check_names(runs: Sequence[Run], grouping: Grouping, metrics: Sequence[str], source: Source) -> None:
    for role, names in (("members", (grouping.members,)), ("compare", (grouping.compare,)), ("by", grouping.by)):
        for name in names:
            if name is not None and not (role == "members" and name == "run"):
                _known_setting(role, name, runs, source)
    stated = [grouping.members, *grouping.axes]
    twice = next((name for name in stated if stated.count(name) > 1), None)
    if twice is not None:
        raise InputError("by", twice, "it has a role already; expected different settings for members, compare and by")
    known = all_metrics(runs)
    texts = {name for one in runs for name in one.texts}
    for name in metrics:
        if name in texts and name not in known:
            raise InputError("metric", name, f"it holds text; {_expected('metric with numbers', known)}")
        if name not in known:
            remedy = f"no run has it; {did_you_mean(name, known)}{_expected('metric with numbers', known)}"
            raise InputError("metric", name, remedy)


def _known_setting(role: str, name: str, runs: Sequence[Run], source: Source) -> None:
    known = all_settings(runs)
    if name in known:
        values = [one.config.get(name) for one in runs]
        if role == "members" and any(isinstance(one, float) and not one.is_integer() for one in values):
            shown = _listed(list(dict.fromkeys(values)))
            raise InputError(role, name, f"its values are measured numbers, not names of members ({shown})")
        return
    if name in all_metrics(runs) or name in ("step", "epoch", "episode"):
        raise InputError(role, name, f"it changes along a run; {_expected('setting', known)}")
    remedy = f"no run has this setting; {did_you_mean(name, known)}expected one of {_listed(known)}"
    if role == "members":
        remedy += ", or run where each run is a member"
    if not known:
        remedy = f"the runs have no settings, and none is in a name such as {_short(runs[0].id)}; "
        if source.tool == "W&B export":
            remedy += "export the table of runs as CSV, too, into the folder of the chart"
        else:
            remedy += f"expected {NAMES}"
    raise InputError(role, name, remedy)


def _expected(what: str, known: Sequence[object]) -> str:
    return f"expected a {what}: {_listed(known)}" if known else f"the runs have no {what}"


def _listed(values: Sequence[object]) -> str:
    shown = [_short(one) for one in values[: 2 * _NAMED]]
    return joined(shown, "or") if len(values) <= 2 * _NAMED else f"{', '.join(shown)}, … ({len(values)} in all)"


def _placed(runs: Sequence[Run], grouping: Grouping, everything: Sequence[Run]) -> _Placed:
    """Give each run its cell and its member, and settle which one counts where several have the same."""
    runs = sorted(runs, key=lambda one: _WHOLE.index(one.status))  # of copies the one that finished counts
    stated = {*grouping.axes, grouping.members, *grouping.ignore}
    identifying = _identifying(everything) - stated
    placed = _Placed(grouping.axes, {}, frozenset({*identifying, *stated, *_TIMES}))
    if identifying & set(all_settings(runs)):
        placed.sentences.append(f"{joined(sorted(identifying))} differs in every run and counts as its name")
    together: dict[tuple[Cell, Scalar], list[Run]] = {}
    lacking: dict[str, list[str]] = {}
    order: dict[Cell, int] = {}
    for one in runs:
        needed = [name for name in (*grouping.axes, grouping.members) if name != "run"]
        without = next((name for name in needed if one.config.get(name) is None and name not in one.config), None)
        if without is not None or (grouping.members != "run" and one.config[grouping.members] is None):
            lacking.setdefault(without or grouping.members, []).append(one.id)
            continue
        cell = tuple(one.config[name] for name in grouping.axes)
        order[cell] = order.get(cell, -1) + 1
        member = order[cell] if grouping.members == "run" else one.config[grouping.members]
        together.setdefault((cell, member), []).append(one)
    for name, ids in lacking.items():
        words = f"{plural_of(len(ids), 'run')} without the setting {name} left out: {_some(ids)}"
        placed.note("without a setting", len(ids), words)
    for (cell, member), same in together.items():
        placed.cells.setdefault(cell, {})[member] = _one_of(same, placed, grouping, cell, member)
    if not placed.cells:
        raise InputError("members", grouping.members, f"no run has it together with {joined(grouping.axes)}")
    if grouping.members == "run":
        _drop_copies(placed)
    if placed.copies:
        copies = [copy for copy, _ in placed.copies]
        originals = list(dict.fromkeys(original for _, original in placed.copies))
        verb = "is a copy" if len(copies) == 1 else "are copies"
        placed.note("identical copies", len(copies), f"{_runs_named(copies)} {verb} of {_runs_named(originals)}")
    return placed


def _runs_named(ids: Sequence[str]) -> str:
    """Runs by their folder where there are several in one, and some of them by name."""
    if len(ids) == 1:
        return ids[0]
    folders = {one.rpartition("/")[0] for one in ids}
    inside = f" in {_short(folders.pop())}" if len(folders) == 1 and "" not in folders else ""
    return f"{plural_of(len(ids), 'run')}{inside} ({_some(ids)})"


def plural_of(count: int, noun: str) -> str:
    return f"{count:,} {plural(noun, count)}"


def _short(value: object) -> str:
    """A value of few letters as it is; a long one is cut."""
    text = str(value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _some(names: Sequence[str]) -> str:
    names = [_short(one) for one in names]
    return joined(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])}, …"


def _where(grouping: Grouping, cell: Cell, member: Scalar = None) -> str:
    words = [f"{_short(name)}={_short(value)}" for name, value in zip(grouping.axes, cell, strict=True)]
    words += [] if member is None else [f"{_short(grouping.members)}={_short(member)}"]
    return ", ".join(words) or "all runs"


def _one_of(same: list[Run], placed: _Placed, grouping: Grouping, cell: Cell, member: Scalar) -> Run:
    """Of several runs with one seed: one of identical copies, or the one that finished; otherwise refuse."""
    different: list[Run] = []
    for one in same:
        _add(one, different, placed)
    if len(different) == 1:
        return different[0]
    for name in all_settings(different):
        if name not in placed.free:
            _check_same(name, different, _where(grouping, cell, member))
    whole = [one for one in different if one.status in ("finished", "unknown")]
    if len(whole) == 1:
        ids = _some([one.id for one in different if one is not whole[0]])
        count = len(different) - 1
        placed.note("replaced", count, f"{ids} did not finish and {whole[0].id} has the same settings")
        return whole[0]
    ids = _some([one.id for one in different])
    remedy = "remove all but one, or --members run"
    where = _where(grouping, cell, member)
    raise AmbiguousError(f"{len(different)} runs of {where} have different numbers ({ids}): {remedy}.")


def _add(one: Run, to: list[Run], placed: _Placed) -> None:
    """Add a run to others unless it is a copy of one of them."""
    original = next((other for other in to if _is_copy(one, other)), None)
    if original is None:
        to.append(one)
    else:
        placed.copies.append((one.id, original.id))


def _drop_copies(placed: _Placed) -> None:
    """Where each run is a member, copies of one run are still one member."""
    for cell, runs in placed.cells.items():
        kept: list[Run] = []
        for one in runs.values():
            if _has_evidence(one):
                _add(one, kept, placed)
            else:
                kept.append(one)
        placed.cells[cell] = dict(enumerate(kept))


def _has_evidence(run: Run) -> bool:
    """Whether a run logged so many different numbers along its steps that another with the same is a copy.

    The numbers of steps and epochs are those of every run.
    """
    numbers = [logged.value for name, logged in run.metrics.items() if name not in STEPS and len(logged.value) > 1]
    return sum(len(np.unique(one[np.isfinite(one)])) for one in numbers) >= _DIFFERENT


def _is_copy(one: Run, other: Run) -> bool:
    """Whether two runs have the same settings and the same numbers."""
    if one.metrics.keys() != other.metrics.keys() or not one.metrics or one.config != other.config:
        return False
    return all(
        np.array_equal(logged.value, other.metrics[name].value, equal_nan=True)
        and np.array_equal(logged.step, other.metrics[name].step)
        for name, logged in one.metrics.items()
    )


def _identifying(runs: Sequence[Run]) -> frozenset[str]:
    """Settings that are text of its own in every run, such as a folder; copies and unfinished runs do not count."""
    whole = [one for one in runs if one.status in ("finished", "unknown")] or runs
    texts = [name for name in all_settings(whole) if all(isinstance(one.config.get(name), str) for one in whole)]
    if not texts:
        return frozenset()
    alike: dict[str, list[Run]] = {}
    for one in whole:
        others = alike.setdefault(repr(sorted(one.config.items(), key=repr)), [])
        if not any(_is_copy(one, other) for other in others):
            others.append(one)
    distinct = [one for some in alike.values() for one in some]
    return frozenset(
        name for name in texts if len(distinct) > 2 and len({one.config[name] for one in distinct}) == len(distinct)
    )


def _check_same(name: str, runs: Sequence[Run], where: str) -> None:
    """Refuse a setting in which runs differ that nothing tells apart."""
    if len({repr(one.config.get(name)) for one in runs}) > 1:
        values = list(dict.fromkeys(str(one.config.get(name)) for one in runs))
        remedy = f"add it to --by, filter it (--where {_short(name)}={_short(values[0])}) or --ignore it"
        raise AmbiguousError(f"{_short(name)} differs within {where} ({_listed(values)}): {remedy}.")


def _check_others(placed: _Placed, grouping: Grouping) -> None:
    """Refuse a setting that differs among the members of one cell, unless the member decides it."""
    everything = [one for runs in placed.cells.values() for one in runs.values()]
    each = grouping.members == "run"
    for name in all_settings(everything):
        if name in placed.free:
            continue
        if not (_SEED.search(name) if each else _follows_member(name, placed)):
            for cell, runs in placed.cells.items():
                _check_same(name, list(runs.values()), _where(grouping, cell))
        values = {cell: {str(one.config.get(name)) for one in runs.values()} for cell, runs in placed.cells.items()}
        every = list(dict.fromkeys(str(one.config.get(name)) for one in everything))
        is_pooled = not each and any(len(one) > 1 for one in values.values())
        if is_pooled and len(every) < len({member for runs in placed.cells.values() for member in runs}):
            placed.sentences.append(f"{name} goes with {grouping.members} and is pooled ({_listed(every)})")
        if len(set(map(frozenset, values.values()))) > 1 and all(len(one) == 1 for one in values.values()):
            words = "; ".join(f"{_where(grouping, cell)}: {next(iter(one))}" for cell, one in values.items())
            placed.sentences.append(f"{name} differs as well ({words})")


def _follows_member(name: str, placed: _Placed) -> bool:
    """Whether each member has one value in all cells, as the seed of the data may follow the seed."""
    found: dict[Scalar, set[str]] = {}
    shared = 0
    for runs in placed.cells.values():
        for member, one in runs.items():
            shared += member in found
            found.setdefault(member, set()).add(repr(one.config.get(name)))
    return shared > 0 and all(len(one) == 1 for one in found.values())
