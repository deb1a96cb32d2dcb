"""From runs to labelled arrays: which runs are members of which setting, refused by name where that is not clear.

Variables lie over the compared setting, the settings named by `by`, and `member`; histories over `step` as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from bathymetry.charts import attrs
from bathymetry.core.errors import BathymetryError, InputError, did_you_mean
from bathymetry.core.showing import joined, plural
from bathymetry.runs.at import At, value_at
from bathymetry.runs.files import Source
from bathymetry.runs.run import History, Run, Scalar
from bathymetry.runs.settings import is_same

_MOST_NUMBERS = 20_000_000  # of a history over all runs; longer ones are thinned to _ROWS steps
_ROWS = 1_000
_LETTERS = 40  # of a name in a sentence
_NAMED = 5  # settings, runs or values that an error lists
_TIMES = ("_timestamp", "_runtime", "timestamp", "created_at", "wall_time", "_wandb")

Cell = tuple[Scalar, ...]
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
    metrics = all_metrics(runs) if metrics is None else metrics
    every = list(dict.fromkeys([*metrics, *also]))
    if not every:
        raise InputError("path", source.path, "the runs have no metrics")
    _check_names(runs, grouping, every)
    placed = _placed(runs, grouping)
    _check_others(placed, grouping)
    results, where = _laid_out(placed, grouping, metrics, every, at, higher_is_better)
    digests = [f"{name} {digest}" for name, digest in source.digests.items()]
    results = results.assign_attrs(source=source.tool, path=source.path, digests=digests)
    return results, Left(placed.counts, tuple(placed.sentences) + source.notes), where


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
        _known_setting("where", name, runs)
        values = list(dict.fromkeys(one.config.get(name) for one in runs))
        for value in wanted:
            if not any(is_same(value, one) for one in values):
                raise InputError("where", f"{name}={value}", f"expected a value that a run has: {_listed(values)}")
        runs = [one for one in runs if any(is_same(value, one.config.get(name)) for value in wanted)]
    if not runs:
        words = joined([f"{name}={value}" for name, values in grouping.where.items() for value in values])
        raise InputError("where", words, "no run has all of it")
    return runs


def _check_names(runs: Sequence[Run], grouping: Grouping, metrics: Sequence[str]) -> None:
    for role, names in (("members", (grouping.members,)), ("compare", (grouping.compare,)), ("by", grouping.by)):
        for name in names:
            if name is not None and not (role == "members" and name == "run"):
                _known_setting(role, name, runs)
    stated = [grouping.members, *grouping.axes]
    twice = next((name for name in stated if stated.count(name) > 1), None)
    if twice is not None:
        raise InputError("by", twice, "it has a role already; expected different settings for members, compare and by")
    known = all_metrics(runs)
    texts = {name for one in runs for name in one.texts}
    for name in metrics:
        if name in texts and name not in known:
            raise InputError("metric", name, f"it holds text; expected a metric with numbers: {_listed(known)}")
        if name not in known:
            raise InputError(
                "metric", name, f"no run has it; {did_you_mean(name, known)}expected one of {_listed(known)}"
            )


def _known_setting(role: str, name: str, runs: Sequence[Run]) -> None:
    known = all_settings(runs)
    if name in known:
        values = [one.config.get(name) for one in runs]
        if role == "members" and any(isinstance(one, float) and not one.is_integer() for one in values):
            shown = _listed(list(dict.fromkeys(values)))
            raise InputError(role, name, f"its values are measured numbers, not names of members ({shown})")
        return
    if name in all_metrics(runs) or name in ("step", "epoch", "episode"):
        raise InputError(role, name, f"it changes along a run; expected a setting: {_listed(known)}")
    remedy = f"no run has this setting; {did_you_mean(name, known)}expected one of {_listed(known)}"
    if role == "members":
        remedy += ", or run where each run is a member"
    raise InputError(role, name, remedy if known else "the runs have no settings; put them into names such as lr=0.1")


def _listed(values: Sequence[object]) -> str:
    shown = [_short(one) for one in values[: 2 * _NAMED]]
    return joined(shown, "or") if len(values) <= 2 * _NAMED else f"{', '.join(shown)}, … ({len(values)} in all)"


def _placed(runs: Sequence[Run], grouping: Grouping) -> _Placed:
    """Give each run its cell and its member, and settle which one counts where several have the same."""
    placed = _Placed(grouping.axes, {})
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
        _drop_copies(placed, grouping)
    return placed


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
        if any(_is_copy(one, other) for other in different):
            placed.note("identical copies", 1, f"{one.id} is a copy of another run of {_where(grouping, cell, member)}")
        else:
            different.append(one)
    if len(different) == 1:
        return different[0]
    for name in _differing(different, (*grouping.axes, grouping.members, *grouping.ignore)):
        values = list(dict.fromkeys(str(one.config.get(name)) for one in different))
        remedy = f"add it to --by, filter it (--where {_short(name)}={_short(values[0])}) or --ignore it"
        raise AmbiguousError(
            f"{_short(name)} differs within {_where(grouping, cell, member)} ({_listed(values)}): {remedy}."
        )
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


def _drop_copies(placed: _Placed, grouping: Grouping) -> None:
    """Where each run is a member, copies of one run are still one member."""
    for cell, runs in placed.cells.items():
        kept: list[Run] = []
        for one in runs.values():
            if any(_is_copy(one, other) for other in kept):
                placed.note("identical copies", 1, f"{one.id} is a copy of another run of {_where(grouping, cell)}")
            else:
                kept.append(one)
        placed.cells[cell] = dict(enumerate(kept))


def _is_copy(one: Run, other: Run) -> bool:
    """Whether two runs have the same settings and the same numbers."""
    if one.metrics.keys() != other.metrics.keys() or not one.metrics or one.config != other.config:
        return False
    return all(
        np.array_equal(logged.value, other.metrics[name].value, equal_nan=True)
        and np.array_equal(logged.step, other.metrics[name].step)
        for name, logged in one.metrics.items()
    )


def _differing(runs: Sequence[Run], known: Sequence[str]) -> list[str]:
    """Settings in which some runs differ, but for those that are text of its own in every run, such as a folder."""
    found = []
    for name in all_settings(runs):
        values = [one.config.get(name) for one in runs]
        if name in known or name in _TIMES or len(set(map(repr, values))) == 1:
            continue
        if len(set(map(repr, values))) == len(runs) and all(isinstance(one, str) for one in values):
            continue
        found.append(name)
    return found


def _check_others(placed: _Placed, grouping: Grouping) -> None:
    """Refuse a setting that differs among the members of one cell, unless the member decides it."""
    stated = (*grouping.axes, grouping.members, *grouping.ignore)
    everything = [one for runs in placed.cells.values() for one in runs.values()]
    unique = {
        name
        for name in all_settings(everything)
        if len(everything) > 2
        and len({repr(one.config.get(name)) for one in everything}) == len(everything)
        and all(isinstance(one.config.get(name), str) for one in everything)
    }
    if unique:
        placed.sentences.append(f"{joined(sorted(unique))} differs in every run and counts as its name")
    for cell, runs in placed.cells.items():
        members = list(runs)
        for name in all_settings(list(runs.values())):
            if name in stated or name in unique or name in _TIMES:
                continue
            values = {member: repr(runs[member].config.get(name)) for member in members}
            if len(set(values.values())) == 1 or _follows_member(name, placed):
                continue
            distinct = list(dict.fromkeys(str(runs[member].config.get(name)) for member in members))
            remedy = f"add it to --by, filter it (--where {_short(name)}={_short(distinct[0])}) or --ignore it"
            raise AmbiguousError(
                f"{_short(name)} differs within {_where(grouping, cell)} ({_listed(distinct)}): {remedy}."
            )
    for name in all_settings(everything):
        if name in stated or name in unique or name in _TIMES or len(placed.cells) < 2:
            continue
        values_by_cell = {
            cell: {str(one.config.get(name)) for one in runs.values()} for cell, runs in placed.cells.items()
        }
        if len(set(map(frozenset, values_by_cell.values()))) > 1 and all(
            len(one) == 1 for one in values_by_cell.values()
        ):
            words = "; ".join(f"{_where(grouping, cell)}: {next(iter(one))}" for cell, one in values_by_cell.items())
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


def _laid_out(
    placed: _Placed, grouping: Grouping, needed: Sequence[str], metrics: Sequence[str], at: At, higher_is_better: bool
) -> tuple[xr.Dataset, Runs]:
    axes = {name: _ordered([cell[place] for cell in placed.cells]) for place, name in enumerate(grouping.axes)}
    members = _ordered([member for runs in placed.cells.values() for member in runs])
    shape = (*map(len, axes.values()), len(members))
    place_of = {name: {repr(value): i for i, value in enumerate(values)} for name, values in axes.items()}
    member_of = {repr(member): i for i, member in enumerate(members)}
    dims = [*axes, "member"]
    where = {
        (*(place_of[name][repr(value)] for name, value in zip(axes, cell, strict=True)), member_of[repr(member)]): one
        for cell, runs in placed.cells.items()
        for member, one in runs.items()
    }
    status = np.full(shape, "missing", dtype="<U10")
    ids = np.full(shape, "", dtype=object)
    for index, one in where.items():
        status[index], ids[index] = one.status, one.id
    data: dict[str, Any] = {}
    grids = {
        metric: _grid([one.metrics[metric].step for one in where.values() if metric in one.metrics])
        for metric in metrics
    }
    is_shared = len({steps.tobytes() for steps, _ in grids.values()}) == 1
    for metric in metrics:
        final = np.full(shape, np.nan)
        last = np.full(shape, np.nan)
        logged = {index: one.metrics[metric] for index, one in where.items() if metric in one.metrics}
        for index, history in logged.items():
            value = value_at(history, at, higher_is_better=higher_is_better)
            final[index] = np.nan if value is None else value
            last[index] = history.step[-1] if len(history.step) else np.nan
            if value is None and metric in needed and status[index] in ("finished", "unknown"):
                status[index] = "too short"
        if metric in needed:
            _check_reached(metric, at, last)
        steps, thinned = grids[metric]
        whole = np.full((*shape, len(steps)), np.nan)
        for index, history in logged.items():
            whole[index] = _on_grid(history, steps, thinned=thinned)
        step = "step" if is_shared else f"{metric} step"
        scale = _scale(final)
        data[metric] = xr.Variable(dims, final, attrs(f"{metric} {at.words}", scale))
        data[f"{metric}_history"] = xr.Variable([*dims, step], whole, attrs(metric, scale))
        data[f"{metric}_last_step"] = xr.Variable(dims, last, {"long_name": f"last step at which {metric} was logged"})
        data[step] = xr.Variable([step], steps, attrs("step"))
        if thinned:
            data[f"{metric}_history"].attrs["thinned"] = f"to {len(steps):,} steps"
    data["status"] = xr.Variable(dims, status, {"long_name": "finished, running, crashed, too short or missing"})
    data["run"] = xr.Variable(dims, ids.astype(str), {"long_name": "the run's name in its tool"})
    results = xr.Dataset(data)
    results = results.set_coords(
        [name for name in results.data_vars if str(name).endswith("step") and name in results.dims]
    )
    coordinates = {name: _coordinate(values) for name, values in {**axes, "member": members}.items()}
    results = results.assign_coords(coordinates)
    for name in axes:
        results[name].attrs |= attrs(name)
    results["member"].attrs |= {"long_name": "run" if grouping.members == "run" else grouping.members}
    return results.assign_attrs(Conventions="CF-1.11", members=grouping.members, at=str(at)), where


def _check_reached(metric: str, at: At, last: np.ndarray[Any, Any]) -> None:
    known = last[np.isfinite(last)]
    if at.kind == "step" and not (known >= at.number).any():
        ends = f"the longest logs {metric} up to step {known.max():,.12g}" if known.size else f"none logs {metric}"
        raise InputError("at", str(at), f"no run reaches it; {ends}")


def _ordered(values: Sequence[Scalar]) -> list[Scalar]:
    """Sort numbers by size, and anything else as text."""
    distinct = list({repr(one): one for one in values}.values())
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in distinct):
        return sorted(distinct)  # type: ignore[type-var]
    return sorted(distinct, key=str)


def _coordinate(values: Sequence[Scalar]) -> list[Any]:
    """Values of one kind stay, and mixed ones become text, as arrays and files hold one kind."""
    kinds = {type(one) for one in values}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds != {type(None)}):
        return list(values)
    return [str(one) for one in values]


def _grid(steps: Sequence[np.ndarray[Any, Any]]) -> tuple[np.ndarray[Any, Any], bool]:
    """All steps at which any run logged, or fewer where that would be too many numbers."""
    if not steps:
        return np.zeros(0), False
    first = steps[0]
    if all(one is first or np.array_equal(one, first) for one in steps):
        union = first
    else:
        union = np.unique(np.concatenate(steps))
    if len(union) * len(steps) <= _MOST_NUMBERS:
        return union, False
    return union[np.unique(np.linspace(0, len(union) - 1, _ROWS).round().astype(int))], True


def _on_grid(logged: History, steps: np.ndarray[Any, Any], *, thinned: bool) -> np.ndarray[Any, Any]:
    """A run's values at the steps of all; NaN where it logged nothing."""
    if len(logged.step) == len(steps) and np.array_equal(logged.step, steps):
        return logged.value
    values = np.full(len(steps), np.nan)
    if not len(logged.step):
        return values
    if thinned:
        before = np.searchsorted(logged.step, steps, side="right") - 1
        there = (before >= 0) & (steps <= logged.step[-1])
        values[there] = logged.value[before[there]]
        return values
    values[np.searchsorted(steps, logged.step)] = logged.value
    return values


def _scale(final: np.ndarray[Any, Any]) -> str:
    """A logarithmic axis where positive values span more than a factor of ten."""
    finite = final[np.isfinite(final)]
    return "log" if len(finite) and finite.min() > 0 and finite.max() > 10 * finite.min() else "linear"
